"""Control loops over slots: allocators of one slot put to work on long-term aims."""

from torchrrm.policies.control.base import (
    Controller,
    EachSlot,
    LinkAllocator,
    Track,
    reads_of,
    require_demands,
)
from torchrrm.policies.control.dual import DualState, OnlineDual
from torchrrm.policies.control.fair import FairState, ProportionalFair
from torchrrm.policies.control.schedule import Window, asking, follow, require_schedule
from torchrrm.policies.control.time_sharing import SharingSettings, SharingState, TimeSharing

__all__ = [
    "Controller",
    "DualState",
    "EachSlot",
    "FairState",
    "LinkAllocator",
    "OnlineDual",
    "ProportionalFair",
    "SharingSettings",
    "SharingState",
    "TimeSharing",
    "Track",
    "Window",
    "asking",
    "follow",
    "reads_of",
    "require_demands",
    "require_schedule",
]
