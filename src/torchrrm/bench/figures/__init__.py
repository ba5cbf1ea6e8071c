"""Figures: made without pyplot's global state, and readable without colour.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; markers and line styles
say the same. Legends stand outside of the data.
"""

from torchrrm.bench.figures.city import city_map
from torchrrm.bench.figures.demands import DemandTraces, demands_over_slots
from torchrrm.bench.figures.network import NetworkPlaces, NetworkService, network_map
from torchrrm.bench.figures.samples import (
    cdf_panels,
    curve_panels,
    curves,
    mean_against_least,
    rate_cdf,
    values_beside_print,
)
from torchrrm.bench.figures.scores import latency_front
from torchrrm.bench.figures.style import render, save

__all__ = [
    "DemandTraces",
    "NetworkPlaces",
    "NetworkService",
    "cdf_panels",
    "city_map",
    "curve_panels",
    "curves",
    "demands_over_slots",
    "latency_front",
    "mean_against_least",
    "network_map",
    "rate_cdf",
    "render",
    "save",
    "values_beside_print",
]
