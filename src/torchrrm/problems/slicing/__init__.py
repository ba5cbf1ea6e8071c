"""Bandwidth allocation within one network slice: records, scheduling and the problem of six kinds."""

from torchrrm.problems.slicing.problem import KINDS, QoS, SliceBandwidth, slice_instance
from torchrrm.problems.slicing.records import SliceAction, SliceInstance, SliceSchedule

__all__ = [
    "KINDS",
    "QoS",
    "SliceAction",
    "SliceBandwidth",
    "SliceInstance",
    "SliceSchedule",
    "slice_instance",
]
