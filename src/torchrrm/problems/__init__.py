"""Problems: what an instance and an action are, and how an action is scored."""

from torchrrm.problems.base import Allocator, Evaluation, Problem, Task
from torchrrm.problems.links import (
    ErgodicAction,
    ErgodicInstance,
    ErgodicPower,
    LinkInstance,
    PowerAction,
    QosSumRate,
    SparseLinkInstance,
    SparseSumRate,
    WeightedSumRate,
    ergodic_instance,
    link_instance,
    relative_gain,
    sparse_links,
    sparsify,
)
from torchrrm.problems.reservation import reserve_bandwidth
from torchrrm.problems.slicing import (
    KINDS,
    QoS,
    SliceAction,
    SliceBandwidth,
    SliceInstance,
    SliceSchedule,
    slice_instance,
)

__all__ = [
    "KINDS",
    "Allocator",
    "ErgodicAction",
    "ErgodicInstance",
    "ErgodicPower",
    "Evaluation",
    "LinkInstance",
    "PowerAction",
    "Problem",
    "QoS",
    "QosSumRate",
    "SliceAction",
    "SliceBandwidth",
    "SliceInstance",
    "SliceSchedule",
    "SparseLinkInstance",
    "SparseSumRate",
    "Task",
    "WeightedSumRate",
    "ergodic_instance",
    "link_instance",
    "relative_gain",
    "reserve_bandwidth",
    "slice_instance",
    "sparse_links",
    "sparsify",
]
