"""Channels: random scenarios, and snapshots that somebody brings."""

from torchrrm.channels.fading import Fading, LogNormal, Nakagami, Rayleigh, Rice
from torchrrm.channels.pathloss import (
    DualSlope,
    LosNlos,
    PathLoss,
    PowerLaw,
    UrbanMacro,
    UrbanMicro,
    breakpoint_distance_m,
    uma_los_probability,
    umi_los_probability,
)
from torchrrm.channels.scenario import (
    SCENARIOS,
    ChannelDraw,
    Scenario,
    hml_scenario,
    uma_scenario,
    umi_scenario,
)
from torchrrm.channels.topology import DiscCell, Drop, PairedLinks, SquareCell, Topology

__all__ = [
    "SCENARIOS",
    "ChannelDraw",
    "DiscCell",
    "Drop",
    "DualSlope",
    "Fading",
    "LogNormal",
    "LosNlos",
    "Nakagami",
    "PairedLinks",
    "PathLoss",
    "PowerLaw",
    "Rayleigh",
    "Rice",
    "Scenario",
    "SquareCell",
    "Topology",
    "UrbanMacro",
    "UrbanMicro",
    "breakpoint_distance_m",
    "hml_scenario",
    "uma_los_probability",
    "uma_scenario",
    "umi_los_probability",
    "umi_scenario",
]
