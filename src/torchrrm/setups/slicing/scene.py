"""A slice to look at: which user gets which bandwidth, and what rate it makes of it."""

from collections.abc import Mapping

import torch

from torchrrm.bench import Places, Scene, Service
from torchrrm.problems import SliceAction, SliceBandwidth, SliceInstance
from torchrrm.setups.places import nodes_m
from torchrrm.setups.workbench import Given

__all__ = ["slice_scene"]


def slice_scene(
    problem: SliceBandwidth, given: Given[SliceInstance], actions: Mapping[str, SliceAction]
) -> Scene:
    """The active users of a slice with the bandwidths that allocators give them."""
    active = given.instance.active
    users, station = nodes_m(given.place), nodes_m(given.place, "station_")
    places = None if users is None else Places(users[active].numpy(), station)
    return Scene(
        f"{problem.name}, {given.setting}",
        {name: _service(problem, given.instance, action) for name, action in actions.items()},
        amount="bandwidth / MHz",
        rate="rate / (Mbit/s)",
        places=places,
        attribution=given.attribution,
    )


def _service(problem: SliceBandwidth, instance: SliceInstance, action: SliceAction) -> Service:
    found, active = problem.evaluate(instance, action), instance.active
    amount = action.bandwidth_hz[active]
    served = amount > 0
    told = f"{int(served.sum())} of {len(served)} users served; sum rate {found.objective.item() / 1e6:.4g} Mbit/s"
    return Service(
        torch.where(served, 0, -1).numpy(),
        (amount / 1e6).numpy(),
        (found.utility[active] / 1e6).numpy(),
        told=told,
    )
