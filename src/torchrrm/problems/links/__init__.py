"""Interference links: transmitter-receiver pairs on one channel, in one slot and over many."""

from torchrrm.problems.links.demands import DemandInstance, MetDemands, SlotPowers
from torchrrm.problems.links.ergodic_power import ErgodicPower, ergodic_instance
from torchrrm.problems.links.qos_sum_rate import QosSumRate
from torchrrm.problems.links.records import ErgodicAction, ErgodicInstance, LinkInstance, PowerAction
from torchrrm.problems.links.sparse import (
    SparseLinkInstance,
    SparseSumRate,
    at_neighbours,
    relative_sparse_gain,
    sparse_links,
    sparsify,
)
from torchrrm.problems.links.weighted_sum_rate import (
    MAX_POWER_W,
    NOISE_POWER_W,
    WeightedSumRate,
    link_instance,
    relative_gain,
    saturated_gain,
)

__all__ = [
    "MAX_POWER_W",
    "NOISE_POWER_W",
    "DemandInstance",
    "ErgodicAction",
    "ErgodicInstance",
    "ErgodicPower",
    "LinkInstance",
    "MetDemands",
    "PowerAction",
    "QosSumRate",
    "SlotPowers",
    "SparseLinkInstance",
    "SparseSumRate",
    "WeightedSumRate",
    "at_neighbours",
    "ergodic_instance",
    "link_instance",
    "relative_gain",
    "relative_sparse_gain",
    "saturated_gain",
    "sparse_links",
    "sparsify",
]
