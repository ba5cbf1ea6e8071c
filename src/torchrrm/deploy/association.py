"""What surrounds the network of an association policy in a control loop: ratios to noise, the choice, a safe rule."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from torchrrm.deploy.arrays import Array, check, mask, numbers, reals
from torchrrm.kernels import hungarian_wmmse
from torchrrm.kernels.links import MOST_RATIO

__all__ = ["AssociationService", "PreparedCells"]

_UNSERVED = -1  # as `torchrrm.problems.association.UNSERVED`
_STEPS, _TOL = 100, 1e-4  # as of `torchrrm.solvers.HungarianWMMSE`
# Compiled functions, which pyright takes for the plain ones that they are made from.
_refine: Callable[..., Any] = hungarian_wmmse.refine_batch
_TOLERANCE = {"station": 0.0, "power": 1e-6, "sign": 0.0, "inactive": 0.0}


@dataclass(frozen=True)
class PreparedCells:
    """Cells of one batch axis in double precision.

    Attributes:
        relative_snr: `g_ij p_max,j / n`, 0 where an end is not active, `[batch user bs]`.
        max_power_w: limit of each active station, 0 of the others, `[batch bs]`.
        active_user: users that are to be served, `[batch user]`.
        active_bs: stations that may transmit, `[batch bs]`.
        in_reach: users to whom at least one active station has a path, who are served, `[batch user]`.
        refine: rounds of `HungarianWMMSE` after the network.
    """

    relative_snr: Array
    max_power_w: Array
    active_user: Array
    active_bs: Array
    in_reach: Array
    refine: int

    def refined(self, station: Array, power_w: Array, rows: Array) -> None:
        """Better these rows of an action in place, see `torchrrm.solvers.HungarianWMMSE.refine`."""
        limit, chosen = self.max_power_w[rows], station[rows]
        ratio = np.ascontiguousarray(self.relative_snr[rows].swapaxes(-1, -2))
        share = np.clip(power_w[rows] / np.where(limit > 0, limit, 1.0), 0.0, 1.0)
        share = np.where(ratio.any(-1), share, 0.0)
        _refine(ratio, limit, share, (self.refine, _STEPS, _TOL), chosen)
        station[rows], power_w[rows] = chosen, share * limit


class AssociationService:
    """Serves `SumRateAssociation` and `ProportionalFairAssociation` without torch.

    A user out of every active station's reach violates nothing: its station is -1, and a note says so.

    Args:
        deployment: of an association policy: `kind`, the name of its problem; `users` and `stations`, how many it is
            made for, if not for any number.
    """

    def __init__(self, deployment: Mapping[str, Any]):
        self.kind: str = deployment["kind"]
        self.users: int | None = deployment.get("users")
        self.stations: int | None = deployment.get("stations")
        self.tolerance = _TOLERANCE

    def prepare(
        self,
        *,
        gain: ArrayLike,
        noise_power_w: ArrayLike,
        max_power_w: ArrayLike,
        bandwidth_hz: ArrayLike = 1.0,
        active_user: ArrayLike = True,
        active_bs: ArrayLike = True,
        refine: int = 0,
    ) -> tuple[tuple[int, ...], PreparedCells]:
        """Check the instance, by the rules of `SumRateAssociation.validate`, and relate gains to noise and limits.

        Args:
            gain: linear power gains, `[*batch user bs]`; 0 where there is no path.
            noise_power_w: at each user in W, over the band, `[*batch]` or one for all.
            max_power_w: limit of each station in W, `[*batch bs]` or one for all.
            bandwidth_hz: of the band, `[*batch]` or one for all; decides nothing.
            active_user: users that are to be served, `[*batch user]`.
            active_bs: stations that may transmit, `[*batch bs]`.
            refine: rounds of `HungarianWMMSE` by which the network's action is bettered, for the sum of rates only.
        """
        if refine < 0 or (refine and self.kind != "association"):
            rule = "must not be negative" if refine < 0 else f"must be 0 of a policy for {self.kind}"
            raise ValueError(f"refine: {rule}, received {refine}")
        gains = numbers("gain", gain)
        if gains.ndim < 2 or not gains.shape[-1]:
            rule = "must have shape [*batch, user, bs] with a station"
            raise ValueError(f"gain: {rule}, received {list(gains.shape)}")
        batch, users, stations = gains.shape[:-2], gains.shape[:-1], (*gains.shape[:-2], gains.shape[-1])
        for name, wanted, size in (("users", self.users, users), ("stations", self.stations, stations)):
            if wanted not in (None, size[-1]):
                raise ValueError(f"gain: must be that of {wanted} {name}, received {size[-1]}")
        user, station = mask("active_user", active_user, users), mask("active_bs", active_bs, stations)
        both = user[..., :, None] & station[..., None, :]
        check("gain", gains, positive=False, where=both)
        noise = reals("noise_power_w", noise_power_w, batch, positive=True)
        limit = reals("max_power_w", max_power_w, stations, positive=True, where=station)
        reals("bandwidth_hz", bandwidth_hz, batch, positive=True)
        limit = np.where(station, limit, 0.0)
        with np.errstate(over="ignore"):  # of what overflows the network makes nothing that is accepted
            ratio = np.minimum(
                np.where(both, gains, 0.0) * (limit / noise[..., None])[..., None, :], MOST_RATIO
            )
        rows = math.prod(batch)  # there may be no users
        ratio = ratio.reshape(rows, *gains.shape[-2:])
        return batch, PreparedCells(
            relative_snr=ratio,
            max_power_w=limit.reshape(rows, stations[-1]),
            active_user=user.reshape(rows, users[-1]),
            active_bs=station.reshape(rows, stations[-1]),
            in_reach=np.asarray((ratio > 0).any(-1)),
            refine=refine,
        )

    def inputs(self, prepared: PreparedCells) -> dict[str, Array]:
        """Inputs of `core`; one user who is not active where there is none, since runtimes want nothing empty."""
        found = {
            "relative_snr": prepared.relative_snr,
            "active_user": prepared.active_user,
            "active_bs": prepared.active_bs,
        }
        if not prepared.active_user.shape[-1]:
            found["relative_snr"] = np.zeros_like(prepared.max_power_w)[:, None]
            found["active_user"] = np.zeros((len(prepared.max_power_w), 1), np.bool_)
        return found

    def action(self, prepared: PreparedCells, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The station of the largest score among those in reach, and the network's share of each limit in W."""
        reach = prepared.relative_snr > 0
        score = outputs["score"][:, : reach.shape[-2]].astype(np.float64)
        share = outputs["share"].astype(np.float64)
        whole = np.logical_and(np.isfinite(score).all((-2, -1)), np.isfinite(share).all(-1))
        best = np.where(reach, score, -np.inf).argmax(-1)
        station = np.where(prepared.in_reach & whole[:, None], best, _UNSERVED)
        power = np.where(whole[:, None], share * prepared.max_power_w, np.nan)
        if prepared.refine:
            prepared.refined(station, power, np.flatnonzero(whole))
        return {"station": station, "power_w": power}

    def scheduled(self, prepared: PreparedCells) -> Array:
        """Users that are served, `[batch user]`."""
        return prepared.in_reach

    def violation(self, prepared: PreparedCells, action: Mapping[str, Array]) -> dict[str, Array]:
        """Largest violation in each instance, `[batch]`; `inf` where the action is not finite.

        Those of `SumRateAssociation.evaluate`, and `inactive`: the largest power of a station that is not active, in
        parts of the largest limit.
        """
        power, active = action["power_w"], prepared.active_bs
        whole = np.asarray(np.isfinite(power).all(-1, keepdims=True))
        share = np.where(active & whole, power, 0.0) / np.where(active, prepared.max_power_w, 1.0)
        most = prepared.max_power_w.max(-1)
        stray = np.where(active | ~whole, 0.0, np.abs(power)).max(-1) / np.where(most > 0, most, 1.0)
        chosen = action["station"]
        exists = np.take_along_axis(active, np.maximum(chosen, 0), -1) & (chosen >= 0)
        missing = prepared.in_reach & ~exists
        found = {
            "station": missing.any(-1).astype(np.float64),
            "power": np.where(active, share - 1.0, -1.0).max(-1),
            "sign": (-share).max(-1),
            "inactive": stray,
        }
        return {name: np.where(whole[:, 0], value, np.inf) for name, value in found.items()}

    def safe(self, prepared: PreparedCells) -> dict[str, Array]:
        """Each user at the station that it hears strongest, and all stations at their limits."""
        strongest = prepared.relative_snr.argmax(-1)
        return {
            "station": np.where(prepared.in_reach, strongest, _UNSERVED),
            "power_w": prepared.max_power_w,
        }

    def notes(self, prepared: PreparedCells, feasible: Array) -> dict[str, Array]:
        """Active users whom no active station reaches, `[batch user]`: they are not served."""
        return {"out_of_reach": prepared.active_user & ~prepared.in_reach}

    def example(self) -> dict[str, Any]:
        """Two stations near a user each, or as many of both as the policy is made for."""
        gain = np.full((self.users or 2, self.stations or 2), 1e-11)
        np.fill_diagonal(gain, 1e-9)
        refine = 1 if self.kind == "association" else 0
        return {"gain": gain, "noise_power_w": 1e-13, "max_power_w": 0.1, "refine": refine}

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return random users and half as many stations over 50 dB, a third without a path, some not active."""
        users, stations = (batch, self.users or size), (batch, self.stations or (size + 1) // 2)
        shape = (*users, stations[-1])
        return {
            "gain": 10 ** (-13 + 5 * rng.random(shape)) * (rng.random(shape) < 0.7),
            "noise_power_w": 1e-13 * (1 + rng.random(batch)),
            "max_power_w": 0.1 * (1 + 9 * rng.random(stations)),
            "bandwidth_hz": np.ones(batch),
            "active_user": rng.random(users) > 0.2,
            "active_bs": rng.random(stations) > 0.2,
        }
