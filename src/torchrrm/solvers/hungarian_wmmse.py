"""Association by linear assignment and powers by WMMSE in turn."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import association
from torchrrm.kernels import hungarian_wmmse as kernels
from torchrrm.problems.association import UNSERVED, AssociationAction, CellInstance, relative_snr
from torchrrm.problems.structure import require_action, require_record
from torchrrm.problems.validation import require_indices, require_shape, require_signs
from torchrrm.records import map_tensors
from torchrrm.solvers.base import Solution

__all__ = ["HungarianWMMSE", "matched_association"]


class HungarianWMMSE:
    """A matching of stations with users and steps of WMMSE in turn: a local optimum of `SumRateAssociation`.

    *Association.* A station is worth the mean of its users' rates over the whole band, so at most that of its best
    user: at fixed powers no association is worth more than the matching of transmitting stations with users of their
    own whose rates have the largest sum. The other users are parked: each is given to the silent station of the
    largest gain to it, which costs nothing, and then the association is the best one for these powers. Where every
    station transmits they are put where they cost least, by a greedy rule.

    *Powers.* `steps` steps of WMMSE on the matched links, see `WMMSE`; stations without a user fall silent. Neither
    part lowers the sum. Where users could not be parked, powers are moved once more with all users counted, and
    stations are silenced for them one by one while that pays.

    *Starts.* A station that is silenced stays silent, so that much is decided by the first rounds. All stations start
    equally loud, at a power of `start_w` or their limit, and the best of these starts counts. None is the best of them
    everywhere: in the square of [Zhang2022HBGNN] 0.01 W is, in streets that stations see along 1 W, and with few
    stations full power.

    *Search.* A restart sets one station and a tenth, three tenths or all of the others, at random, back to a part of
    the start, to nothing or to the limit, and keeps what becomes better. With a fixed number of restarts the same
    instance gets the same action, however it is numbered and padded; with a time limit it depends on the machine.

    It is a strong local search that proves nothing, and a compiled kernel only: it computes in float64 on the CPU,
    wherever the instance is, and carries no gradients. `iterations` are the rounds from the best start, `converged`
    says whether they ended by `tol`.

    Args:
        rounds: of association and powers.
        steps: of WMMSE in each round.
        start_w: powers in W that stations start from; infinity is their limit.
        restarts: how many follow the starts.
        time_limit_s: restart further until so many seconds of the call have passed, which a batch shares.
        tol: rise of the sum, relative to it, below which rounds end.
        seed: of the restarts.
    """

    def __init__(
        self,
        rounds: int = 60,
        steps: int = 100,
        start_w: Sequence[float] = (0.01, 1.0, math.inf),
        *,
        restarts: int = 0,
        time_limit_s: float | None = None,
        tol: float = 1e-4,
        seed: int = 0,
    ):
        for name, value, least in (("rounds", rounds, 1), ("steps", steps, 1), ("restarts", restarts, 0)):
            if value < least:
                raise ValueError(f"{name}: must be at least {least}, received {value}")
        if not start_w or not all(power > 0 for power in start_w):
            raise ValueError(f"start_w: must hold positive powers, received {start_w}")
        if time_limit_s is not None and not time_limit_s >= 0:
            raise ValueError(f"time_limit_s: must not be negative, received {time_limit_s}")
        if not tol >= 0:
            raise ValueError(f"tol: must not be negative, received {tol}")
        self.rounds, self.steps, self.start_w, self.tol = rounds, steps, tuple(start_w), tol
        self.restarts, self.time_limit_s, self.seed = restarts, time_limit_s, seed

    def __call__(self, instance: CellInstance) -> AssociationAction:
        return self.solve(instance).action

    def solve(self, instance: CellInstance) -> Solution[AssociationAction]:
        """The best action found; no bound."""
        begin = time.perf_counter()
        snr, limit = _arrays(instance)
        station = np.empty((len(snr), snr.shape[-1]), np.int64)
        plan, start = (self.rounds, self.steps, self.tol), self._starts(snr, limit)
        share, value, taken, converged = kernels.solve_batch(snr, limit, start, plan, station)
        self._search(begin, (snr, limit, start, plan), (share, station, value))
        batch, device = instance.gain.shape[:-2], instance.gain.device
        return Solution(
            _action(instance, station, torch.from_numpy(share * limit)),
            torch.from_numpy(converged).reshape(batch).to(device),
            torch.from_numpy(taken).reshape(batch).to(device),
        )

    def refine(
        self, instance: CellInstance, action: AssociationAction, steps: int | None = None
    ) -> AssociationAction:
        """`steps` rounds (by default `rounds`) from an action's powers, or the action where they are not better.

        A warm start: from the last slot's action or a policy's. Powers outside the limits are clipped first; stations
        that the action silences stay silent, but for the restarts that a solver with `restarts` adds around the result.
        """
        steps = self.rounds if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps: must not be negative, received {steps}")
        snr, limit = _arrays(instance)
        _require_station_action(instance, action)
        power = _rows(action.power_w.double(), limit.shape[-1])
        first = np.where(snr.any(-1), np.clip(power / _divisor(limit), 0.0, 1.0), 0.0)
        share, station = first.copy(), _rows(action.station.long(), snr.shape[-1]).copy()
        if steps:
            plan = (steps, self.steps, self.tol)
            value = kernels.refine_batch(snr, limit, share, plan, station)
            if self.restarts:
                given = snr, limit, self._starts(snr, limit), plan
                kernels.search_batch(*given, (0, self.restarts), self.seed, (share, station, value))
        kept = np.where(share == first, np.clip(power, 0.0, limit), share * limit)
        return _action(instance, station, torch.from_numpy(kept))

    def _starts(self, snr: np.ndarray, limit: np.ndarray) -> np.ndarray:
        """Shares `[batch start bs]`; none of stations that nobody hears."""
        level = np.array(self.start_w)[:, None]
        share = np.minimum(1.0, level / _divisor(limit)[:, None])
        heard: np.ndarray = np.any(snr, axis=-1)
        return np.where(heard[:, None], share, 0.0)

    def _search(self, begin: float, given: tuple[Any, Any, Any, Any], state: tuple[Any, Any, Any]) -> None:
        """All restarts, and more while there is time: in chunks that grow to a fiftieth of it."""
        share, station, value = state
        if self.restarts:
            value = kernels.search_batch(*given, (0, self.restarts), self.seed, state)
        done, chunk = self.restarts, 1
        while self.time_limit_s is not None:
            left = self.time_limit_s - (time.perf_counter() - begin)
            if left <= 0:
                return
            before = time.perf_counter()
            span = done, done + chunk
            value = kernels.search_batch(*given, span, self.seed, (share, station, value))
            done, spent = done + chunk, time.perf_counter() - before
            chunk = 2 * chunk if spent < 0.02 * self.time_limit_s and 4 * spent < left else max(1, chunk // 2)


def matched_association(instance: CellInstance, power_w: Float[Tensor, "*batch bs"]) -> AssociationAction:
    """The association step of `HungarianWMMSE` at powers that are given, which stay as they are.

    Its sum of rates is the largest at these powers, unless every station transmits and users outnumber them.
    """
    snr, limit = _arrays(instance)
    require_shape("power_w", power_w, list(instance.max_power_w.shape))
    share = np.where(snr.any(-1), _rows(power_w.double(), limit.shape[-1]) / _divisor(limit), 0.0)
    station = np.empty((len(snr), snr.shape[-1]), np.int64)
    association.associate_batch(snr, limit, share, station)
    power = torch.where(instance.active_bs, power_w, torch.zeros_like(power_w))
    return AssociationAction(
        station=torch.from_numpy(station).reshape(instance.active_user.shape).to(power.device), power_w=power
    )


def _arrays(instance: CellInstance) -> tuple[np.ndarray, np.ndarray]:
    """Relative SNR `[batch bs user]` and limits in W `[batch bs]`, 0 of stations that are not active, in float64.

    Raises:
        ValueError: naming the field, the rule and what was received.
    """
    require_signs(require_record(instance, CellInstance))
    plain = map_tensors(lambda t: t.detach().double() if t.is_floating_point() else t.detach(), instance)
    limit = torch.where(plain.active_bs, plain.max_power_w, 0.0)
    users, stations = plain.gain.shape[-2:]
    return _rows(relative_snr(plain).mT, stations, users), _rows(limit, stations)


def _require_station_action(instance: CellInstance, action: AssociationAction) -> None:
    """An action of these users and stations, whose stations there are."""
    require_action(action, AssociationAction, instance, CellInstance)
    require_shape("power_w", action.power_w, list(instance.max_power_w.shape))
    require_indices("station", action.station, instance.gain.shape[-1], "station", least=UNSERVED)


def _divisor(limit: np.ndarray) -> np.ndarray:
    return np.where(limit > 0.0, limit, 1.0)


def _rows(tensor: Tensor, *size: int) -> np.ndarray:
    return np.ascontiguousarray(
        tensor.detach().cpu().reshape(math.prod(tensor.shape[: -len(size)]), *size).numpy()
    )


def _action(instance: CellInstance, station: np.ndarray, power: Tensor) -> AssociationAction:
    limit = instance.max_power_w
    index = torch.from_numpy(station).reshape(instance.active_user.shape)
    return AssociationAction(
        station=index.to(limit.device), power_w=power.reshape(limit.shape).to(limit.device, limit.dtype)
    )
