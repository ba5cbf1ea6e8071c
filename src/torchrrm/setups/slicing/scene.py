"""A slice to look at: which user gets which bandwidth, and what rate it makes of it."""

from collections.abc import Mapping

import torch

from torchrrm.bench import Places, Scene, Service
from torchrrm.problems import SliceAction, SliceBandwidth, SliceInstance
from torchrrm.setups.places import nodes_m
from torchrrm.setups.workbench import Given

__all__ = ["slice_scene"]


def slice_scene(
    problem: SliceBandwidth, given: Given[SliceInstance], actions: Mapping[str, tuple[SliceAction, str]]
) -> Scene:
    """The active users of a slice with the bandwidths that allocators give them; each action with what it tells."""
    active = given.instance.active
    users, station = nodes_m(given.place), nodes_m(given.place, "station_")
    places = None if users is None else Places(users[active].numpy(), station)
    return Scene(
        f"{problem.name}, {given.setting}",
        {name: _service(problem, given.instance, *action) for name, action in actions.items()},
        amount="bandwidth / MHz",
        rate="rate / (Mbit/s)",
        places=places,
        attribution=given.attribution,
    )


def _service(problem: SliceBandwidth, instance: SliceInstance, action: SliceAction, told: str) -> Service:
    active = instance.active
    amount = action.bandwidth_hz[active]
    return Service(
        torch.where(amount > 0, 0, -1).numpy(),
        (amount / 1e6).numpy(),
        (problem.evaluate(instance, action).utility[active] / 1e6).numpy(),
        told=told,
    )
