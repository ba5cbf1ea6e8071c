"""Records of a cellular downlink whose users choose among stations: the instance, its action, and a relaxed one."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.records import tensor_record

__all__ = ["UNSERVED", "AssociationAction", "CellInstance", "RelaxedAssociation", "harden", "one_hot"]

UNSERVED = -1
"""Station of a user that has none: it is not active, or no active station reaches it."""


@tensor_record
class CellInstance:
    """Stations that share a band, and users of which each is to be served by one of them.

    Attributes:
        gain: `|h|^2`, linear; `gain[..., i, j]` is station `j` to user `i`, 0 where there is no path. [Zhang2022HBGNN]
            writes `g_ij` likewise.
        noise_power_w: noise power at each user in W, over the whole band.
        max_power_w: power limit of each station in W.
        bandwidth_hz: of the band, which every station uses whole and divides among its users.
        active_user: users that are to be served; the others are padding or have been told to pause.
        active_bs: stations that may transmit; the others are padding or switched off.
    """

    gain: Float[Tensor, "*batch user bs"]
    noise_power_w: Float[Tensor, "*batch"]
    max_power_w: Float[Tensor, "*batch bs"]
    bandwidth_hz: Float[Tensor, "*batch"]
    active_user: Bool[Tensor, "*batch user"]
    active_bs: Bool[Tensor, "*batch bs"]

    may_be_empty: ClassVar[tuple[str, ...]] = ("user",)
    holds: ClassVar[str] = "users and stations"


@tensor_record
class AssociationAction:
    """Who is served by whom, and how loud stations are.

    Attributes:
        station: index of each user's station; `UNSERVED` of users that are not active or out of reach.
        power_w: of each station in W; 0 of stations that are not active.
    """

    station: Int[Tensor, "*batch user"]
    power_w: Float[Tensor, "*batch bs"]

    index_of: ClassVar[Mapping[str, str]] = {"station": "bs"}
    """Fields that hold indices of an axis, by which they are renumbered with it."""
    may_be_empty: ClassVar[tuple[str, ...]] = ("user",)


@tensor_record
class RelaxedAssociation:
    """An association by probabilities, as networks are trained on it.

    Attributes:
        probability: of each station for each user; rows sum to 1, or are 0 of users that are not active or out of
            reach.
        power_w: of each station in W.
    """

    probability: Float[Tensor, "*batch user bs"]
    power_w: Float[Tensor, "*batch bs"]


def one_hot(
    station: Int[Tensor, "*batch user"], stations: int, *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*batch user bs"]:
    """Rows of zeros with a one at each user's station; all zeros where it is `UNSERVED`."""
    index = torch.arange(stations, device=station.device)
    return (station[..., None] == index).to(dtype)


def harden(relaxed: RelaxedAssociation) -> AssociationAction:
    """The likeliest station of each user, the first of equal ones; the powers stay."""
    best, station = relaxed.probability.max(dim=-1)
    station = torch.where(best > 0, station, torch.full_like(station, UNSERVED))
    return AssociationAction(station=station, power_w=relaxed.power_w)
