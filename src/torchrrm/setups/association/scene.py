"""A network to look at: who is served by which station with which share of the band, and how loud stations are."""

from collections.abc import Mapping

import torch
from torch import Tensor

from torchrrm.bench import Places, Scene, Service
from torchrrm.problems.association import SERVED_FROM, AssociationAction, CellInstance, load, user_rate
from torchrrm.setups.places import nodes_m
from torchrrm.setups.workbench import Given
from torchrrm.units import watt_to_dbm

__all__ = ["cell_scene"]


def cell_scene(given: Given[CellInstance], actions: Mapping[str, tuple[AssociationAction, str]]) -> Scene:
    """The active users and stations of a network; each action with what it tells.

    A user that gets less than `SERVED_FROM` bit/s/Hz counts as not served.
    """
    return Scene(
        given.setting,
        {name: _service(given.instance, *action) for name, action in actions.items()},
        amount="share of the station's band / %",
        rate="rate / (bit/s/Hz)",
        station_amount="power / dBm",
        places=_places(given),
        attribution=given.attribution,
    )


def _places(given: Given[CellInstance]) -> Places | None:
    users, stations = nodes_m(given.place), nodes_m(given.place, "station_")
    if users is None or stations is None:
        return None
    user, bs = given.instance.active_user, given.instance.active_bs
    buildings = given.place.get("building_m")
    return Places(
        users[user].numpy(),
        stations[bs].numpy(),
        given.place["macro"][bs].numpy(),
        None if buildings is None else buildings.numpy(),
    )


def _service(instance: CellInstance, action: AssociationAction, told: str) -> Service:
    user, bs = instance.active_user, instance.active_bs
    chosen, count = load(instance, action.station)
    rate, share = user_rate(instance, action), (chosen / count.clamp_min(1)).sum(-1)
    served = rate >= SERVED_FROM
    return Service(
        _renumbered(action.station, bs)[user].numpy(),
        torch.where(served, 100 * share, 0.0)[user].numpy(),
        rate[user].numpy(),
        torch.where(action.power_w > 0, watt_to_dbm(action.power_w), torch.nan)[bs].numpy(),
        told,
    )


def _renumbered(station: Tensor, active: Tensor) -> Tensor:
    """Indices among the active stations, -1 where it was negative."""
    number = active.cumsum(0) - 1
    return torch.where(station < 0, -1, number[station.clamp_min(0)])
