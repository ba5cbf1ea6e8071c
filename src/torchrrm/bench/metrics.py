"""Numbers of a result row, for any problem: means with intervals, violations, service, latency."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.base import FEASIBLE_TO, Evaluation

__all__ = [
    "VIOLATION_TOLERANCE",
    "Latency",
    "mean_interval",
    "measure_latency",
    "optimality",
    "quantile_interval",
    "quantiles",
    "ratio_interval",
    "served_fraction",
    "violated",
    "worst_violation",
]

VIOLATION_TOLERANCE = FEASIBLE_TO
"""A constraint counts as violated above this."""

_T_975_FEW = (12.7062, 4.3027, 3.1824)


def t_975(degrees: int) -> float:
    """The 97.5 % quantile of Student's distribution.

    A table up to 3 degrees of freedom; then the expansion around the normal quantile z, Eq. 26.7.5 of
    [Abramowitz1964], which is right to 0.1 % there.

    >>> round(t_975(4), 2), round(t_975(100), 3)
    (2.78, 1.984)
    """
    if degrees <= len(_T_975_FEW):
        return _T_975_FEW[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def mean_interval(values: Float[Tensor, " sample"]) -> tuple[float, tuple[float, float] | None]:
    """Mean and its 95 % interval, `mean +- t s / sqrt(n)`; no interval for a single sample."""
    values = values.double()
    mean, count = values.mean().item(), values.numel()
    if count < 2:
        return mean, None
    half = t_975(count - 1) * values.std().item() / math.sqrt(count)
    return mean, (mean - half, mean + half)


def quantile_interval(
    values: Float[Tensor, "sample item"], share: float
) -> tuple[float, tuple[float, float] | None]:
    """Quantile of all items and its 95 % interval, the samples being independent, the items of one not.

    Of [Woodruff1952]: with `p_i` the part of sample i at or below the quantile, the interval is the quantiles of
    `share +- t std(p_i) / sqrt(n)`. Items that are not a number do not count.
    """
    values = values.double()
    known = values[~values.isnan()]
    if not known.numel():
        return math.nan, None
    quantile = known.quantile(share).item()
    if len(values) < 2:
        return quantile, None
    below = torch.where(values.isnan(), torch.nan, (values <= quantile).double()).nanmean(dim=-1)
    half = t_975(len(values) - 1) * below.std().item() / math.sqrt(len(values))
    low, high = (known.quantile(min(1.0, max(0.0, share + side * half))).item() for side in (-1, 1))
    return quantile, (low, high)


QUANTILES = 41
"""Levels i / 40 of a distribution that rows keep."""


def quantiles(values: Float[Tensor, " item"]) -> tuple[float, ...]:
    """The quantiles of levels 0, 1 / 40, ..., 1 of all values, to six digits; none of no value."""
    known = values.detach().double().cpu()
    if not known.numel():
        return ()
    order, last = known.sort().values, known.numel() - 1  # `torch.quantile` takes no more than 16 million
    place = torch.linspace(0, last, QUANTILES, dtype=torch.float64)
    below, above = order[place.floor().long()], order[place.ceil().long()]
    found = torch.where(below == above, below, below.lerp(above, place.frac()))
    return tuple(float(f"{value:.6g}") for value in found.tolist())


def ratio_interval(
    numerator: Float[Tensor, " sample"], denominator: Float[Tensor, " sample"]
) -> tuple[float | None, tuple[float, float] | None]:
    """Ratio of means r and its 95 % interval, samples being paired.

    The interval is that of the linearised ratio (delta method): `r +- t std(a - r b) / (sqrt(n) mean(b))`.
    No ratio if the denominator's mean is not positive.
    """
    numerator, denominator = numerator.double(), denominator.double()
    base = denominator.mean().item()
    if not base > 0:
        return None, None
    ratio = numerator.mean().item() / base
    _, interval = mean_interval((numerator - ratio * denominator) / base)
    return ratio, interval and (ratio + interval[0], ratio + interval[1])


def optimality(
    objective: Float[Tensor, " sample"],
    bound: Float[Tensor, " sample"],
    valid: Bool[Tensor, " sample"],
) -> tuple[float | None, tuple[float, float] | None]:
    """Mean objective over mean bound with its 95 % interval, see `ratio_interval`; none unless all actions are valid.

    An action that violates a constraint may exceed the bound of those that do not, and leaving out the instances where
    it does would compare allocators on different instances.
    """
    return ratio_interval(objective, bound) if bool(valid.all()) else (None, None)


def _violations(evaluation: Evaluation) -> Float[Tensor, "batch rest"]:
    """Every violation of an instance in its row."""
    batch = evaluation.objective.numel()
    parts = [violation.reshape(batch, -1) for violation in evaluation.violation.values()]
    return torch.cat(parts, dim=-1) if parts else evaluation.objective.new_zeros(batch, 1)


def worst_violation(evaluation: Evaluation) -> float:
    """Largest violation of any constraint in any instance: 0 if all are met, infinite if one is NaN."""
    return _violations(evaluation).nan_to_num(nan=math.inf, posinf=math.inf).max().clamp_min(0.0).item()


def violated(evaluation: Evaluation, tolerance: float = VIOLATION_TOLERANCE) -> Bool[Tensor, " batch"]:
    """Whether an instance has a constraint violated by more than `tolerance`, or by what is not a number."""
    return ~(_violations(evaluation) <= tolerance).all(dim=-1)


def served_fraction(
    evaluation: Evaluation, active: Bool[Tensor, "*batch user"], tolerance: float = VIOLATION_TOLERANCE
) -> float | None:
    """Fraction of the active users with a positive utility and no violated constraint of their own.

    A constraint is a user's own if its violation has the shape of the utility. None if nobody is active.
    """
    served = active & (evaluation.utility > 0)
    for violation in evaluation.violation.values():
        if violation.shape == evaluation.utility.shape:
            served = served & (violation <= tolerance)
    count = active.sum().item()
    return served.sum().item() / count if count else None


@dataclass(frozen=True)
class Latency:
    """How single calls are timed: `warmup` calls, then at most `calls`, none begun after `budget_s`.

    The budget is for the slow ones: of few calls the 99th percentile is close to the slowest.
    """

    warmup: int = 3
    calls: int = 500
    budget_s: float = 1.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.calls < 1 or not self.budget_s > 0:
            raise ValueError(f"latency: warmup >= 0, calls >= 1 and budget_s > 0 are needed, received {self}")


def measure_latency(
    calls: Sequence[Callable[[], object]], how: Latency, device: torch.device
) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds, of the calls, taken in turn."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for i in range(how.warmup):
        calls[i % len(calls)]()
    synchronize()
    taken_s: list[float] = []
    deadline = time.perf_counter() + how.budget_s
    while len(taken_s) < how.calls and (not taken_s or time.perf_counter() < deadline):
        call = calls[len(taken_s) % len(calls)]
        start = time.perf_counter()
        call()
        synchronize()
        taken_s.append(time.perf_counter() - start)
    taken_us = 1e6 * torch.tensor(taken_s, dtype=torch.float64)
    return taken_us.quantile(0.5).item(), taken_us.quantile(0.99).item()
