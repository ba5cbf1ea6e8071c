"""Upper bound on what power control reaches over fading slots, by its dual, with a certificate."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import link_ascent, link_branch
from torchrrm.problems.links import ErgodicAction, ErgodicInstance, ErgodicPower
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.records import map_tensors, replace, to
from torchrrm.solvers.base import Solution
from torchrrm.solvers.branch_and_bound import BranchAndBound, ordered_links, require_few

__all__ = ["ErgodicBound", "ErgodicDualBound"]

_REFRESH = 8  # steps between searches from many starts; the others follow the last powers
_KEPT = 16  # last steps whose powers are mixed over the slots
_PASSES = 3  # over the slots
_NORMAL = 1.959964  # of the two-sided 95 % interval


@dataclass(frozen=True)
class ErgodicBound(Solution[ErgodicAction]):
    """Outcome of `ErgodicDualBound`.

    Attributes:
        interval: 95 % interval of the same bound for the expectation over slots that these are a sample of.
        multiplier: of each link's minimum, 0 where not active.
        slot_bound: certified largest weighted sum rate of each slot at the multipliers.
    """

    interval: Float[Tensor, "*batch 2"] = field(kw_only=True)
    multiplier: Float[Tensor, "*batch tx"] = field(kw_only=True)
    slot_bound: Float[Tensor, "*batch slot"] = field(kw_only=True)


@dataclass(frozen=True)
class ErgodicDualBound:
    """Certified bound on `ErgodicPower` over the given slots, and powers that come near it.

    With multipliers `mu >= 0` of the minima the dual function, in which rates and slacks are eliminated
    (`lambda = 1 + mu`, `s = mu / alpha`),

        D(mu) = mean_t max_p sum_k (1 + mu_k) f_k(H_t, p) - sum_k mu_k f_min,k + sum_k mu_k^2 / (2 alpha),

    bounds every choice of powers, whatever `mu`; the duality gap vanishes with many slots [Huang2024]. With
    `hard=True` the minima are not relaxed and the last term is absent: the bound holds for powers that keep all minima,
    and falls without limit in `steps` where none do.

    Multipliers: projected steps `mu <- ((1 - eta) mu + eta alpha (f_min - r))^+`, `eta = 2 / (i + 2)`, which are steps
    of Frank and Wolfe on the mean rates (hard: steps of `alpha / sqrt(i + 1)`); each slot's maximum is searched
    by coordinate ascent, from the last powers and at times from many starts. Of all multipliers and their mean the
    ones of the least `D` seen are certified: `BranchAndBound` bounds each slot's maximum.

    Powers: those of the last steps, mixed slot by slot such that the objective rises, from the best single step on.

    Attributes:
        problem: has the price `alpha` of relaxed minima.
        tolerance: of the certificate of a slot's maximum. An instance has converged where bound and objective
            differ by at most twice as much (and, if hard, no minimum is missed by more than `tolerance` of it).
        steps: of the multipliers.
        starts: random starts in a slot, beside some of their own.
        hard: bound powers that keep the minima, not those that may relax them.
        time_limit_s: of the certificate.

    The interval takes the multipliers as given; they were chosen on the same slots, which makes it somewhat low where
    slots are few.
    """

    problem: ErgodicPower = field(default_factory=ErgodicPower)
    tolerance: float = 0.01
    steps: int = 60
    starts: int = 8
    hard: bool = False
    time_limit_s: float | None = None

    kind = "solver"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: must be at least 1, received {self.steps}")
        self._certifier()

    def _certifier(self) -> BranchAndBound:
        return BranchAndBound(self.tolerance, self.time_limit_s, starts=self.starts)

    def __call__(self, instance: ErgodicInstance) -> ErgodicAction:
        exact = _exact(instance)
        return self._action(instance, exact, self._search(exact)[1])

    def solve(self, instance: ErgodicInstance) -> ErgodicBound:
        """Powers, certified bound in bit/s/Hz, its interval, and the multipliers."""
        exact = _exact(instance)
        multiplier, power_w = self._search(exact)
        bound, slot_bound = self.certify(exact, multiplier)
        slots = slot_bound.shape[-1]
        spread = slot_bound.std(-1) / math.sqrt(slots) if slots > 1 else torch.full_like(bound, torch.inf)
        interval = bound[..., None] + _NORMAL * spread[..., None] * torch.tensor(
            [-1.0, 1.0], dtype=bound.dtype
        )
        action = self._action(instance, exact, power_w)
        close = self._converged(exact, power_w, bound)
        like: dict[str, Any] = {"dtype": instance.gain.dtype, "device": instance.gain.device}
        rounding = 16 * torch.finfo(instance.gain.dtype).eps * bound.abs()
        return ErgodicBound(
            action=action,
            converged=close.to(like["device"]),
            iterations=torch.full(close.shape, self.steps, dtype=torch.int64, device=like["device"]),
            upper_bound=(bound + rounding).to(**like),
            interval=interval.to(**like),
            multiplier=multiplier.to(**like),
            slot_bound=slot_bound.to(**like),
        )

    def certify(
        self, instance: ErgodicInstance, multiplier: Float[Tensor, "*batch tx"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch slot"]]:
        """Certified bound at multipliers from anywhere, and the largest weighted sum rate of each slot; in float64."""
        exact = _exact(instance)
        price = multiplier.detach().to(device="cpu", dtype=torch.float64)
        if price.shape != exact.active.shape or not bool((price >= 0).all()):
            raise ValueError(
                f"multiplier: must have shape {list(exact.active.shape)} and no negative entry, received "
                f"{list(price.shape)} and {price.min().item() if price.numel() else 'none'}"
            )
        price = torch.where(exact.active, price, 0.0)
        weight = ((1 + price) * exact.active).unsqueeze(-2).expand(_links(exact))
        slot_bound = self._certifier().solve(replace(exact.slots(), weight=weight)).upper_bound
        if slot_bound is None:
            raise RuntimeError("slot_bound: must be given by the certifier, received None")
        return slot_bound.mean(-1) + self._price(exact, price), slot_bound

    def _action(self, instance: ErgodicInstance, exact: ErgodicInstance, power_w: Tensor) -> ErgodicAction:
        like: dict[str, Any] = {"dtype": instance.gain.dtype, "device": instance.gain.device}
        limit = exact.max_power_w.unsqueeze(-2).to(**like)  # rounding must not exceed it
        power = torch.minimum(power_w.to(**like), limit)
        with torch.no_grad():
            return self.problem.least_slack(instance, torch.where(instance.active.unsqueeze(-2), power, 0.0))

    def _converged(self, exact: ErgodicInstance, power_w: Tensor, bound: Tensor) -> Tensor:
        rate = self.problem.rate(exact, power_w)
        missing = torch.where(exact.active, exact.min_rate_bps_hz - rate, 0.0)
        value = torch.where(exact.active, rate, 0.0).sum(-1)
        if self.hard:
            kept = (missing <= self.tolerance * exact.min_rate_bps_hz).all(-1)
        else:
            value = value - self.problem.slack_penalty / 2 * torch.clamp(missing, min=0).square().sum(-1)
            kept = torch.ones_like(value, dtype=torch.bool)
        return kept & (bound - value <= 2 * self.tolerance * bound.abs())

    def _price(self, exact: ErgodicInstance, multiplier: Tensor) -> Tensor:
        """What `D` has beside the slots' maxima."""
        asked = (multiplier * torch.where(exact.active, exact.min_rate_bps_hz, 0.0)).sum(-1)
        if self.hard:
            return -asked
        return multiplier.square().sum(-1) / (2 * self.problem.slack_penalty) - asked

    def _search(self, exact: ErgodicInstance) -> tuple[Tensor, Tensor]:
        """Multipliers of the least dual value, and powers `[*batch slot tx]` in W."""
        slots, alpha = _Slots(exact, self.starts), self.problem.slack_penalty
        minimum = torch.where(exact.active, exact.min_rate_bps_hz, 0.0)
        multiplier = mean = torch.zeros_like(minimum)
        trials: list[Tensor] = []
        for i in range(self.steps):
            rate = slots.maximise(1 + multiplier, anew=i % _REFRESH == 0)
            trials.append(multiplier)
            mean = mean + (multiplier - mean) * (2 / (i + 2))
            missing = minimum - rate.mean(-2)
            if self.hard:
                multiplier = torch.clamp(multiplier + alpha / math.sqrt(i + 1) * missing, min=0)
            else:
                share = 2 / (i + 2)
                multiplier = torch.clamp((1 - share) * multiplier + share * alpha * missing, min=0)
        slots.maximise(1 + mean, anew=True)
        best = self._least(exact, slots, [*trials, mean])
        slots.maximise(1 + best, anew=True)
        return best, self._mix(minimum, *slots.last(_KEPT)) * exact.max_power_w.unsqueeze(-2)

    def _least(self, exact: ErgodicInstance, slots: "_Slots", trials: list[Tensor]) -> Tensor:
        """The multipliers of the least `D`, each slot's maximum taken over all powers seen."""
        best, least = trials[0], torch.full(trials[0].shape[:-1], torch.inf, dtype=trials[0].dtype)
        for trial in trials:
            dual = slots.largest(1 + trial).mean(-1) + self._price(exact, trial)
            best = torch.where((dual < least)[..., None], trial, best)
            least = torch.minimum(least, dual)
        return best

    def _worth(self, minimum: Tensor, rate: Tensor) -> Tensor:
        """Objective of mean rates; if hard, with a price at which missing a minimum does not pay."""
        penalty = 100 * self.problem.slack_penalty if self.hard else self.problem.slack_penalty
        return rate.sum(-1) - penalty / 2 * torch.clamp(minimum - rate, min=0).square().sum(-1)

    def _mix(self, minimum: Tensor, power: Tensor, rate: Tensor) -> Tensor:
        """Of candidates `[candidate *batch slot tx]` one for each slot, from the best single one on."""
        slots = rate.shape[-2]
        first = self._worth(minimum, rate.mean(-2)).argmax(0)  # [*batch]
        chosen = first[..., None].expand(rate.shape[1:-1]).clone()  # [*batch slot]
        mean = torch.take_along_dim(rate.mean(-2), first[None, ..., None], 0)[0]
        for _ in range(_PASSES):
            for t in range(slots):
                mine = torch.take_along_dim(rate[..., t, :], chosen[None, ..., t, None], 0)
                moved = mean + (rate[..., t, :] - mine) / slots  # [candidate *batch tx]
                value = self._worth(minimum, moved)
                now = torch.take_along_dim(value, chosen[None, ..., t], 0)[0]
                new = torch.where(value.amax(0) > now, value.argmax(0), chosen[..., t])
                chosen[..., t] = new
                mean = torch.take_along_dim(moved, new[None, ..., None], 0)[0]
        return torch.take_along_dim(power, chosen[None, ..., None], 0)[0]


def _exact(instance: ErgodicInstance) -> ErgodicInstance:
    """The instance on the CPU in float64, without gradients."""
    require_few(require_record(instance, ErgodicInstance).active)
    with torch.no_grad():
        return map_tensors(
            torch.Tensor.detach, to(require_numbers(instance), device="cpu", dtype=torch.float64)
        )


def _links(instance: ErgodicInstance) -> torch.Size:
    """`[*batch slot tx]`."""
    return instance.gain.shape[:-1]


class _Slots:
    """All slots of all instances, one a row, and what powers were tried in each."""

    def __init__(self, exact: ErgodicInstance, starts: int):
        self.shape, self.starts = _links(exact), starts
        self.gain, _, active, self.order = ordered_links(exact.slots())
        self.cross = self.gain * ~np.eye(self.gain.shape[-1], dtype=np.bool_)
        self.active = np.take_along_axis(active, self.order, -1)
        self.count = active.sum(-1)
        self.power: list[np.ndarray] = []  # each [row link], in the order of the rows
        self.rate: list[np.ndarray] = []

    def maximise(self, weight: Tensor, *, anew: bool) -> Tensor:
        """Rates in bit/s/Hz `[*batch slot tx]` of a large weighted sum: of the best powers tried, and on from there."""
        rows, value = self._rows(weight), None
        if self.power:
            tried = np.stack([(rows * rate).sum(-1) for rate in self.rate]).argmax(0)
            power = np.stack(self.power)[tried, np.arange(len(rows))]
            link_ascent.follow_batch(power, self.gain, rows, self.count)
            self._keep(power)
            value = (rows * self.rate[-1]).sum(-1)
        if anew or value is None:
            power, state = np.zeros(rows.shape), np.zeros((len(rows), 4))
            link_branch.plant_batch(self.gain, rows, self.count, self.starts, state, power)
            rate = self._rates(power)
            if value is not None:
                better = ((rows * rate).sum(-1) > value)[:, None]
                power = np.where(better, power, self.power.pop())
                rate = np.where(better, rate, self.rate.pop())
            self._keep(power)
        return self._tensor(self.rate[-1])

    def largest(self, weight: Tensor) -> Tensor:
        """Largest weighted sum rate of the powers tried, `[*batch slot]`."""
        rows = self._rows(weight)
        value = np.stack([(rows * rate).sum(-1) for rate in self.rate]).max(0)
        return torch.from_numpy(value).reshape(self.shape[:-1])

    def last(self, count: int) -> tuple[Tensor, Tensor]:
        """Power fractions and rates of the last calls, `[candidate *batch slot tx]`."""
        return (
            torch.stack([self._tensor(power) for power in self.power[-count:]]),
            torch.stack([self._tensor(rate) for rate in self.rate[-count:]]),
        )

    def _keep(self, power: np.ndarray) -> None:
        self.power.append(power)
        self.rate.append(self._rates(power))

    def _rows(self, weight: Tensor) -> np.ndarray:
        rows = weight.unsqueeze(-2).expand(self.shape).reshape(self.order.shape).numpy()
        return np.where(self.active, np.take_along_axis(rows, self.order, -1), 0.0)

    def _rates(self, power: np.ndarray) -> np.ndarray:
        signal = np.diagonal(self.gain, axis1=-2, axis2=-1) * power
        heard = np.einsum("bkj,bj->bk", self.cross, power)
        return np.log1p(signal / (1 + heard)) / math.log(2)

    def _tensor(self, rows: np.ndarray) -> Tensor:
        """In the links' own order."""
        values = np.zeros_like(rows)
        np.put_along_axis(values, self.order, rows, -1)
        return torch.from_numpy(values).reshape(self.shape)
