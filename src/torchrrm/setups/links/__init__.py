"""Interference links, set up to be worked on."""

from torchrrm.setups.links.given import given_links, given_slots
from torchrrm.setups.links.setup import MOST_CERTIFIED, ErgodicSetup, SumRateSetup, new_policy
from torchrrm.setups.links.sources import (
    RAYLEIGH_TERMS,
    SEVEN_CELL_TERMS,
    LinkSource,
    LinkTerms,
    draw_configurations,
    draw_links,
    ergodic_task,
    paused,
    sum_rate_task,
    terms_of,
)

__all__ = [
    "MOST_CERTIFIED",
    "RAYLEIGH_TERMS",
    "SEVEN_CELL_TERMS",
    "ErgodicSetup",
    "LinkSource",
    "LinkTerms",
    "SumRateSetup",
    "draw_configurations",
    "draw_links",
    "ergodic_task",
    "given_links",
    "given_slots",
    "new_policy",
    "paused",
    "sum_rate_task",
    "terms_of",
]
