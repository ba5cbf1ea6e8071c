"""Interference links, set up to be worked on."""

from torchrrm.setups.links.given import given_links, given_slots
from torchrrm.setups.links.qos import USUAL_MIN_RATE, QosOfDraws, QosSetup, new_unrolled_policy
from torchrrm.setups.links.setup import MOST_CERTIFIED, ErgodicSetup, SumRateSetup, new_policy
from torchrrm.setups.links.sources import (
    RAYLEIGH_TERMS,
    SEVEN_CELL_TERMS,
    LinkSource,
    LinkTerms,
    Pairing,
    draw_configurations,
    draw_links,
    ergodic_task,
    pairs_of,
    paused,
    qos_task,
    sum_rate_task,
    terms_of,
)

__all__ = [
    "MOST_CERTIFIED",
    "RAYLEIGH_TERMS",
    "SEVEN_CELL_TERMS",
    "USUAL_MIN_RATE",
    "ErgodicSetup",
    "LinkSource",
    "LinkTerms",
    "Pairing",
    "QosOfDraws",
    "QosSetup",
    "SumRateSetup",
    "draw_configurations",
    "draw_links",
    "ergodic_task",
    "given_links",
    "given_slots",
    "new_policy",
    "new_unrolled_policy",
    "pairs_of",
    "paused",
    "qos_task",
    "sum_rate_task",
    "terms_of",
]
