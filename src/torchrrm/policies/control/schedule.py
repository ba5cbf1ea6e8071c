"""Demands that change from window to window, and a loop that follows them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torchrrm.policies.control.base import Controller, Track, require_demands
from torchrrm.problems.links import ErgodicInstance
from torchrrm.problems.structure import require_record
from torchrrm.records import replace

__all__ = ["Window", "asking", "follow", "require_schedule"]


@dataclass(frozen=True)
class Window:
    """Slots in which demands stay.

    Attributes:
        demand_bps_hz: mean rate that each link asks for, in bit/s/Hz.
        slots: how many.
    """

    demand_bps_hz: tuple[float, ...]
    slots: int

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"slots: must be at least 1, received {self.slots}")
        for demand in self.demand_bps_hz:
            if not 0 <= demand < math.inf:
                raise ValueError(f"demands: must be finite and not negative, received {demand} bit/s/Hz")


def require_schedule(schedule: Sequence[Window], links: int) -> None:
    """Checks that each window has a demand for each link.

    Raises:
        ValueError: if there is no window, or if one has another number of demands.
    """
    if not schedule:
        raise ValueError("schedule: must hold at least one window, received none")
    for window in schedule:
        if len(window.demand_bps_hz) != links:
            received = f"{len(window.demand_bps_hz)} for {links} links"
            raise ValueError(f"demands: must be one a link, received {received}")


def asking(instance: ErgodicInstance, window: Window) -> ErgodicInstance:
    """The instance with the window's demands as its minima, of every run of a batch."""
    demands = torch.tensor(window.demand_bps_hz, dtype=instance.gain.dtype)
    return replace(instance, min_rate_bps_hz=require_demands(demands, instance))


def follow(loop: Controller[Any], instance: ErgodicInstance, schedule: Sequence[Window]) -> list[Track]:
    """What a loop does in each window of a schedule, one after the other, its state carried on.

    Args:
        loop: made without demands of its own.
        instance: of at least as many slots as the schedule.
        schedule: windows in the order of time.

    Raises:
        ValueError: if the schedule does not fit the instance.
    """
    require_schedule(schedule, require_record(instance, ErgodicInstance).gain.shape[-1])
    wanted, slots = sum(window.slots for window in schedule), instance.gain.shape[-3]
    if wanted > slots:
        raise ValueError(f"schedule: must have at most the instance's {slots} slots, received {wanted}")
    state, first, seen = loop.start(asking(instance, schedule[0])), 0, []
    for number, window in enumerate(schedule):
        part = asking(instance.between(first, first + window.slots), window)
        state = loop.retarget(state, part) if number else state
        track, state = loop.track(part, state)
        first += window.slots
        seen.append(track)
    return seen
