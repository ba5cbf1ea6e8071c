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
from torchrrm.channels.snapshot import (
    Snapshot,
    SnapshotError,
    bundled_snapshot,
    from_sionna_cir,
    from_sionna_h_freq,
    load_deepmimo,
    load_snapshot,
    save_snapshot,
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
    "Snapshot",
    "SnapshotError",
    "SquareCell",
    "Topology",
    "UrbanMacro",
    "UrbanMicro",
    "breakpoint_distance_m",
    "bundled_snapshot",
    "from_sionna_cir",
    "from_sionna_h_freq",
    "hml_scenario",
    "load_deepmimo",
    "load_snapshot",
    "save_snapshot",
    "uma_los_probability",
    "uma_scenario",
    "umi_los_probability",
    "umi_scenario",
]
