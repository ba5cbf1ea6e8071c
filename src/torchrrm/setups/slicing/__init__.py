"""Slices of bandwidth, set up to be worked on."""

from torchrrm.setups.slicing.given import cell_slice, given_cell, positions
from torchrrm.setups.slicing.setup import SliceSetup, find_kinds, new_policy, policy_loss
from torchrrm.setups.slicing.sources import SliceSource, SliceTerms, slice_task, station_uplink

__all__ = [
    "SliceSetup",
    "SliceSource",
    "SliceTerms",
    "cell_slice",
    "find_kinds",
    "given_cell",
    "new_policy",
    "policy_loss",
    "positions",
    "slice_task",
    "station_uplink",
]
