"""Problems: what an instance and an action are, and how an action is scored."""

from torchrrm.problems.base import Allocator, Evaluation, Problem, Task
from torchrrm.problems.links import (
    ErgodicAction,
    ErgodicInstance,
    ErgodicPower,
    LinkInstance,
    PowerAction,
    QosSumRate,
    WeightedSumRate,
    ergodic_instance,
    link_instance,
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
    "QosSumRate",
    "QoS",
    "SliceAction",
    "SliceBandwidth",
    "SliceInstance",
    "SliceSchedule",
    "Task",
    "WeightedSumRate",
    "ergodic_instance",
    "link_instance",
    "reserve_bandwidth",
    "slice_instance",
]
