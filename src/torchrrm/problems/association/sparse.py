"""Large cellular networks: each user hears its strongest stations one by one, and all others as a sum."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.channels.pathloss import PathLoss
from torchrrm.channels.topology import Drop
from torchrrm.kernels.neighbours import nearest
from torchrrm.problems.association.instance import BANDWIDTH_HZ, NOISE_POWER_W
from torchrrm.problems.association.rates import relative_snr
from torchrrm.problems.association.records import UNSERVED, AssociationAction, CellInstance
from torchrrm.problems.base import Evaluation
from torchrrm.problems.links.sparse import at_neighbours, ground_m
from torchrrm.problems.links.weighted_sum_rate import power_violation
from torchrrm.problems.structure import require_action, require_record
from torchrrm.problems.validation import (
    filled,
    gain_ceiling,
    require_indices,
    require_numbers,
    require_values,
)
from torchrrm.records import tensor_record

__all__ = [
    "SparseAssociation",
    "SparseCellInstance",
    "listed",
    "require_stations",
    "sparse_cells",
    "sparsify_cells",
]

_BLOCK = 2**20  # pairs of which gains are known at a time


@tensor_record
class SparseCellInstance:
    """`CellInstance` by lists of the stations that each user hears strongest.

    Memory is linear in users and neighbours.

    Attributes:
        neighbour: stations of each user's list, none twice: it can be served by these alone. `UNSERVED` where a list
            has fewer.
        neighbour_gain: `|h|^2` from them, linear.
        residual_w: power in W that reaches each user from the active stations that are not in its list, when they are
            at their limits.
        noise_power_w: noise power at each user in W, over the whole band.
        max_power_w: power limit of each station in W.
        bandwidth_hz: of the band.
        active_user: users that are to be served.
        active_bs: stations that may transmit.
    """

    neighbour: Int[Tensor, "*batch user degree"]
    neighbour_gain: Float[Tensor, "*batch user degree"]
    residual_w: Float[Tensor, "*batch user"]
    noise_power_w: Float[Tensor, "*batch"]
    max_power_w: Float[Tensor, "*batch bs"]
    bandwidth_hz: Float[Tensor, "*batch"]
    active_user: Bool[Tensor, "*batch user"]
    active_bs: Bool[Tensor, "*batch bs"]

    index_of: ClassVar[dict[str, str]] = {"neighbour": "bs"}
    """Fields that hold indices of an axis, by which they are renumbered with it."""
    may_be_empty: ClassVar[tuple[str, ...]] = ("user",)
    holds: ClassVar[str] = "users with lists of stations"


@dataclass(frozen=True)
class SparseAssociation:
    """`SumRateAssociation` of users that know their strongest stations alone.

    What stations outside a user's list add to the interference is known at their limits only. They are taken to
    transmit at one share of them: at 1 no rate is overstated, so that the objective is a lower bound of the dense
    one for any powers within their limits; at 0 none is understated of users at listed stations. Both are the dense
    objective where all stations are listed.

    Attributes:
        unlisted_share: of the limits, 0 to 1.
    """

    unlisted_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.unlisted_share <= 1.0:
            raise ValueError(f"unlisted_share: must be 0 to 1, received {self.unlisted_share}")

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "sparse-association"

    def rate(self, instance: SparseCellInstance, action: AssociationAction) -> Float[Tensor, "*batch user"]:
        """Rate of each user in bit/s/Hz, `log2(1 + SINR) / N_j`; 0 of users without a station of their list."""
        power = torch.where(instance.active_bs, action.power_w, 0.0) / instance.noise_power_w[..., None]
        sent = at_neighbours(power, instance.neighbour.clamp_min(0))
        ceiling = gain_ceiling(
            torch.where(instance.active_bs, instance.max_power_w, 1.0), instance.noise_power_w
        )
        gain = torch.minimum(instance.neighbour_gain, at_neighbours(ceiling, instance.neighbour.clamp_min(0)))
        heard = torch.where(listed(instance), gain * sent, 0.0)
        own = self._own(instance, action)
        rest = self.unlisted_share * instance.residual_w / instance.noise_power_w[..., None]
        signal = torch.where(own, heard, 0.0).sum(-1)
        rate = torch.log1p(signal / (1 + rest + torch.where(own, 0.0, heard).sum(-1))) / math.log(2)
        stations = instance.max_power_w.shape[-1]
        index = action.station.clamp(0, stations - 1)
        chosen = instance.active_user & (action.station >= 0) & (action.station < stations)
        count = torch.zeros_like(power).scatter_add(-1, index, chosen.to(power.dtype))
        return torch.where(own.any(-1), rate / count.gather(-1, index).clamp_min(1.0), 0.0)

    def evaluate(self, instance: SparseCellInstance, action: AssociationAction) -> Evaluation:
        """Sum of rates in bit/s/Hz; `station` is violated by a user that has listed stations but is at none of them."""
        require_action(action, AssociationAction, instance, SparseCellInstance)
        rate = self.rate(instance, action)
        missing = listed(instance).any(-1) & ~self._own(instance, action).any(-1)
        powers = power_violation(action.power_w, instance.max_power_w, instance.active_bs)
        return Evaluation(rate.sum(-1), rate, {"station": missing.to(rate.dtype), **powers})

    def validate(self, instance: SparseCellInstance) -> SparseCellInstance:
        """The instance, if it is one.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        require_stations(instance)
        require_values("neighbour_gain", instance.neighbour_gain, positive=False, where=_both(instance))
        require_values("residual_w", instance.residual_w, positive=False, where=instance.active_user)
        require_values("max_power_w", instance.max_power_w, positive=True, where=instance.active_bs)
        for name in ("noise_power_w", "bandwidth_hz"):
            require_values(name, getattr(instance, name), positive=True)
        _require_distinct(instance)
        return instance

    def _own(
        self, instance: SparseCellInstance, action: AssociationAction
    ) -> Bool[Tensor, "*batch user degree"]:
        """The entry of each user's own station, if it is in the list."""
        return listed(instance) & (instance.neighbour == action.station[..., None])


def require_stations(instance: SparseCellInstance) -> SparseCellInstance:
    """Return the instance if it is a record of users with lists of stations that there are.

    Raises:
        ValueError: naming the field, the rule and what was received.
    """
    require_record(instance, SparseCellInstance)
    stations = instance.max_power_w.shape[-1]
    require_indices("neighbour", instance.neighbour, stations, "station", least=UNSERVED)
    return instance


def listed(instance: SparseCellInstance) -> Bool[Tensor, "*batch user degree"]:
    """Entries that are edges: of an active user and an active station with a path between them."""
    return _both(instance) & (instance.neighbour_gain > 0)


def _both(instance: SparseCellInstance) -> Bool[Tensor, "*batch user degree"]:
    """Entries that hold an active station, of active users."""
    station = at_neighbours(instance.active_bs, instance.neighbour.clamp_min(0))
    return instance.active_user[..., None] & station & (instance.neighbour >= 0)


def sparsify_cells(instance: CellInstance, neighbours: int) -> SparseCellInstance:
    """The stations that each user hears strongest when all active ones are at their limits."""
    _require_neighbours(neighbours, require_record(instance, CellInstance).gain.shape[-1])
    ratio = relative_snr(instance)
    neighbour = ratio.topk(neighbours, -1).indices
    rest = ratio.scatter(-1, neighbour, 0.0).sum(-1) * instance.noise_power_w[..., None]
    return SparseCellInstance(
        neighbour=neighbour,
        neighbour_gain=torch.where(ratio > 0, instance.gain, 0.0).gather(-1, neighbour),
        residual_w=rest,
        noise_power_w=instance.noise_power_w,
        max_power_w=instance.max_power_w,
        bandwidth_hz=instance.bandwidth_hz,
        active_user=instance.active_user,
        active_bs=instance.active_bs,
    )


def sparse_cells(
    drop: Drop,
    path_loss: PathLoss,
    max_power_w: float | Float[Tensor, "#bs"],
    neighbours: int,
    *,
    residual: bool = True,
    noise_power_w: float | Float[Tensor, ""] = NOISE_POWER_W,
    bandwidth_hz: float | Float[Tensor, ""] = BANDWIDTH_HZ,
) -> SparseCellInstance:
    """The strongest stations of the users of one drop, everybody active; no matrix of all pairs is ever built.

    Of stations of one limit and height the nearest are the strongest, which are found by cells of the ground. Time and
    memory of the lists grow linearly with the users; the residual is added up over all pairs, a block of users at
    a time.

    Args:
        drop: receivers are users and transmitters stations, without batch axes.
        path_loss: mean gain, which falls with the distance.
        max_power_w: limits of the stations in W, or one for all; there should be few kinds of limits and heights.
        neighbours: length of the lists.
        residual: whether to add up what reaches users from other stations; 0 if not.
        noise_power_w: at each user, over the band.
        bandwidth_hz: of the band.
    """
    user, station = drop.rx_position_m, drop.tx_position_m
    if user.ndim != 2 or station.ndim != 2:
        received = f"{list(user.shape)} and {list(station.shape)}"
        raise ValueError(f"drop: must be one drop, positions [node, 3], received {received}")
    max_power_w = filled("max_power_w", max_power_w, (len(station),), user)
    require_values("max_power_w", max_power_w, positive=False)
    _require_neighbours(neighbours, len(station))
    neighbour, gain = _strongest(user, station, path_loss, max_power_w, neighbours)
    rest = user.new_zeros(len(user))
    if residual:
        rest = _residual(user, station, path_loss, max_power_w, neighbour)
    instance = SparseCellInstance(
        neighbour=neighbour,
        neighbour_gain=gain,
        residual_w=rest,
        noise_power_w=filled("noise_power_w", noise_power_w, (), user),
        max_power_w=max_power_w,
        bandwidth_hz=filled("bandwidth_hz", bandwidth_hz, (), user),
        active_user=torch.ones(len(user), dtype=torch.bool, device=user.device),
        active_bs=torch.ones(len(station), dtype=torch.bool, device=user.device),
    )
    return require_numbers(
        require_stations(instance), positive=("noise_power_w", "bandwidth_hz", "max_power_w")
    )


def _strongest(
    user: Tensor, station: Tensor, path_loss: PathLoss, max_power_w: Tensor, neighbours: int
) -> tuple[Int[Tensor, "user degree"], Float[Tensor, "user degree"]]:
    """Stations and their gains, the strongest first: the nearest of each kind compete."""
    kinds = torch.stack([max_power_w, station[:, 2].to(max_power_w)], -1)
    kind = torch.unique(kinds, dim=0, return_inverse=True)[1]
    index, gains, ground = [], [], ground_m("drop.rx_position_m", user)
    for number in range(int(kind.max()) + 1):
        member = (kind == number).nonzero()[:, 0]
        place, away = nearest(
            ground, ground_m("drop.tx_position_m", station[member]), min(neighbours, len(member)), False
        )
        index.append(member[torch.from_numpy(place).to(user.device)])
        gains.append(_gain(path_loss, torch.from_numpy(away).to(user), user, station[index[-1]]))
    neighbour, gain = torch.cat(index, -1), torch.cat(gains, -1)
    best = (gain * max_power_w[neighbour]).topk(neighbours, -1).indices
    return neighbour.gather(-1, best), gain.gather(-1, best)


def _residual(
    user: Tensor, station: Tensor, path_loss: PathLoss, max_power_w: Tensor, neighbour: Tensor
) -> Float[Tensor, "user"]:
    """Power in W of the stations that are not listed, at their limits."""
    rows, parts = max(1, _BLOCK // len(station)), []
    for begin in range(0, len(user), rows):
        here = user[begin : begin + rows]
        away = torch.cdist(here[:, :2], station[:, :2], compute_mode="donot_use_mm_for_euclid_dist")
        power = _gain(path_loss, away, here, station) * max_power_w
        parts.append(power.scatter(-1, neighbour[begin : begin + rows], 0.0).sum(-1))
    return torch.cat(parts) if parts else user.new_zeros(0)


def _gain(path_loss: PathLoss, away: Tensor, user: Tensor, station: Tensor) -> Tensor:
    """Gains over horizontal distances `[user station]` or `[user degree]`."""
    station_height_m, user_height_m = station[..., 2].expand_as(away), user[:, 2:3].expand_as(away)
    return path_loss.gain(away, station_height_m=station_height_m, user_height_m=user_height_m)


def _require_neighbours(neighbours: int, stations: int) -> None:
    if not 1 <= neighbours <= stations:
        raise ValueError(f"neighbours: must be in 1 to {stations}, the stations, received {neighbours}")


def _require_distinct(instance: SparseCellInstance) -> None:
    """No station twice in a list."""
    spare = UNSERVED - torch.arange(instance.neighbour.shape[-1], device=instance.neighbour.device)
    ordered = torch.where(listed(instance), instance.neighbour, spare).sort(-1).values
    twice = ordered[..., 1:] == ordered[..., :-1]
    if twice.any():
        received = ordered[..., 1:][twice][0].item()
        raise ValueError(f"neighbour: must list no station twice, received {received} again")
