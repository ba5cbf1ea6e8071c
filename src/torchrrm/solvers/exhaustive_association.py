"""Optimal association and powers of small networks, with a certificate."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.kernels.association_branch import search_batch
from torchrrm.problems.association import (
    UNSERVED,
    AssociationAction,
    CellInstance,
    in_reach,
    reachable,
    relative_snr,
)
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.records import batch_shape, to
from torchrrm.solvers.base import Solution

__all__ = ["ExhaustiveAssociation", "associations"]

_MARGIN = 1e-3  # of the tolerance, kept for the rounding of the result
_MOST = 200_000


@dataclass(frozen=True)
class ExhaustiveAssociation:
    """Sum of rates to within a certified tolerance: every association that may be optimal, each over all powers.

    At any powers, a station's part of the sum rate is the mean over its users, which its best user bounds. So the
    optimum is a matching of users with stations, one user each, that leaves a station silent to park the others at;
    or, where users outnumber the stations and all of these transmit, an association in which some are shared. All of
    them are enumerated, and the powers of each searched by the bounds of `BranchAndBound`, against the best that any
    has reached; see `torchrrm.kernels.association_branch`. Users that a matching leaves over are parked at their
    strongest silent station.

    The time grows with the number of associations: meant for some 6 users and 4 stations. Runs on the CPU, in parallel
    over instances, whatever the device of the instance, and has no gradient.

    Attributes:
        tolerance: relative gap at which an instance has converged, `upper_bound <= (1 + tolerance) objective`.
        max_boxes: limit on the boxes of powers of each instance; the bound reached by then is certified as well.
    """

    tolerance: float = 1e-3
    max_boxes: int = 100_000_000

    kind = "solver"

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance: must be positive and finite, received {self.tolerance}")
        if self.max_boxes < 1:
            raise ValueError(f"max_boxes: must be at least 1, received {self.max_boxes}")

    def solve(self, instance: CellInstance) -> Solution[AssociationAction]:
        """Best action found, with `objective <= optimum <= upper_bound` in bit/s/Hz; `iterations` counts boxes.

        Raises:
            ValueError: if users and stations in reach of each other allow more than 200 000 associations.
        """
        require_numbers(require_record(instance, CellInstance))
        batch, (users, stations) = batch_shape(instance), instance.gain.shape[-2:]
        with torch.no_grad():
            exact = to(instance, device="cpu", dtype=torch.float64)
            _require_few(exact)
            both = exact.active_user[..., :, None] & exact.active_bs[..., None, :]
            received = torch.where(both, relative_snr(exact), -1.0).reshape(-1, users, stations).numpy()
            rows = len(received)
            station, share = np.empty((rows, users), np.int64), np.empty((rows, stations))
            state = np.zeros((rows, 3))
            law = self.tolerance * (1 - _MARGIN), self.max_boxes
            search_batch(np.ascontiguousarray(received), *law, station, share, state)
        like: dict[str, Any] = {"dtype": instance.gain.dtype, "device": instance.gain.device}
        power = torch.from_numpy(share).reshape(*batch, stations).to(**like)
        chosen = torch.from_numpy(station).reshape(*batch, users).to(like["device"])
        chosen = _parked(instance, chosen, power)
        limit = torch.where(instance.active_bs, instance.max_power_w.detach(), 0.0)
        converged = torch.from_numpy(state[:, 1] <= state[:, 0] * (1 + self.tolerance)).reshape(batch)
        rounding = (1 + 8 * torch.finfo(instance.gain.dtype).eps) / math.log(2)
        return Solution(
            AssociationAction(station=chosen, power_w=power * limit),
            converged.to(like["device"]),
            torch.from_numpy(state[:, 2].astype(np.int64)).reshape(batch).to(like["device"]),
            torch.from_numpy(state[:, 1] * rounding).reshape(batch).to(**like),
        )

    def __call__(self, instance: CellInstance) -> AssociationAction:
        return self.solve(instance).action


def _parked(
    instance: CellInstance, station: Int[Tensor, "*batch user"], power: Float[Tensor, "*batch bs"]
) -> Int[Tensor, "*batch user"]:
    """Users in reach whose station is silent, or who have none, at their strongest silent station."""
    silent = instance.active_bs & (power == 0)
    quiet = silent.gather(-1, station.clamp_min(0)) | (station < 0)
    gain = torch.where(silent[..., None, :], instance.gain.detach(), -1.0)
    parked = torch.where(quiet & in_reach(instance), gain.argmax(-1), station)
    return torch.where(in_reach(instance), parked, UNSERVED)


def _require_few(instance: CellInstance) -> None:
    heard: Bool[Tensor, "*batch user bs"] = reachable(instance)
    users, stations = heard.any(-1).sum(-1).flatten().tolist(), heard.any(-2).sum(-1).flatten().tolist()
    for n, m in set(zip(users, stations, strict=True)):
        if associations(n, m) > _MOST:
            raise ValueError(
                f"instance: must allow at most {_MOST} associations, such as 8 users and 4 stations, "
                f"received {n} users and {m} stations in reach"
            )


def associations(users: int, stations: int) -> int:
    """How many are enumerated: matchings, and surjections where users outnumber the stations."""
    if users <= stations:
        return math.perm(stations, users)
    covers = sum((-1) ** (stations - j) * math.comb(stations, j) * j**users for j in range(stations + 1))
    links = max(stations - 1, 0)
    return math.comb(stations, links) * math.perm(users, links) + covers
