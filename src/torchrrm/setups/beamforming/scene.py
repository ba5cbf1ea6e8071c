"""Users of a station to look at: how much of its power each gets, and what rate it makes of it."""

from collections.abc import Mapping

import torch

from torchrrm.bench import Places, Scene, Service
from torchrrm.problems.beamforming import BeamAction, MisoInstance, UrllcBeamforming, to_downlink
from torchrrm.setups.places import nodes_m
from torchrrm.setups.workbench import Given

__all__ = ["beam_scene"]


def beam_scene(
    problem: UrllcBeamforming, given: Given[MisoInstance], actions: Mapping[str, tuple[BeamAction, str]]
) -> Scene:
    """The active users of a station with their shares of its power limit; each action with what it tells."""
    users, station = nodes_m(given.place), nodes_m(given.place, "station_")
    active = given.instance.active
    return Scene(
        given.setting,
        {name: _service(problem, given.instance, *action) for name, action in actions.items()},
        amount="power / % of limit",
        rate="rate / nat",
        places=None if users is None else Places(users[active].numpy(), station),
        attribution=given.attribution,
    )


def _service(problem: UrllcBeamforming, instance: MisoInstance, action: BeamAction, told: str) -> Service:
    active = instance.active
    share = to_downlink(instance, action).power_w[active] / instance.max_power_w
    return Service(
        torch.where(share > 0, 0, -1).numpy(),
        (100 * share).numpy(),
        problem.rate(instance, action)[active].numpy(),
        told=told,
    )
