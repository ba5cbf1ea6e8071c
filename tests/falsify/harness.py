"""Search for counterexamples to certified bounds: outcomes of rounds, adversarial numbers, local search.

A round draws some instances from a generator, asks the package for its bounds, and searches for feasible points whose
objective is above them. Objectives and constraints are evaluated by code of these tests alone, in numpy.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from torchrrm.bench import metrics
from torchrrm.problems.base import Evaluation

__all__ = [
    "CLOSE",
    "DTYPES",
    "MOST_RATIO",
    "TOLERANCE",
    "Outcome",
    "Round",
    "about_limits",
    "climb",
    "generator_of",
    "link_rates",
    "log_uniform",
    "move_shares",
    "numbers",
    "share_starts",
    "solve",
    "tensors",
]

CLOSE = 1e-9
"""Relative excess of an objective over its bound that rounding of the evaluators explains."""
TOLERANCE = 1e-5
"""Relative violation up to which the package calls an action feasible."""
MOST_RATIO = 1e15
"""Largest ratio to the noise at full power that the problems of links and cells know: 150 dB."""
DTYPES = (torch.float32, torch.float64)


@dataclass
class Outcome:
    """What a round found.

    Attributes:
        tried: number of instances.
        worst: largest relative excess of a feasible objective over its bound.
        failures: a line for each claim that is wrong.
    """

    tried: int = 0
    worst: float = -np.inf
    failures: list[str] = field(default_factory=list)

    def below(self, objective: np.ndarray, bound: np.ndarray, what: str) -> None:
        """Check objectives of feasible points against the bounds of their instances, both `[instance]`."""
        objective, bound = np.asarray(objective, np.longdouble), np.asarray(bound, np.longdouble)
        known = objective > -np.inf  # no feasible point was found elsewhere
        scale = np.maximum(np.abs(objective), np.where(np.isfinite(bound), np.abs(bound), 0))
        scale = np.maximum(scale, np.finfo(np.float64).tiny)
        with np.errstate(invalid="ignore", over="ignore"):
            excess = np.where(known, (objective - bound) / scale, -np.inf)
        self.worst = max(self.worst, float(excess.max(initial=-np.inf)))
        for i in np.flatnonzero(~(excess <= CLOSE)):
            self.failures.append(
                f"{what}, instance {i}: feasible objective {float(objective[i])!r} is above the bound "
                f"{float(bound[i])!r} by {float(excess[i]):.3g}"
            )

    def holds(self, claim: ArrayLike, what: str) -> None:
        """Check a claim about each instance, `[instance]`."""
        for i in np.flatnonzero(~np.asarray(claim)):
            self.failures.append(f"{what}, instance {i}")

    def equals(
        self, objective: np.ndarray, evaluation: Evaluation, what: str, terms: np.ndarray | float = 0.0
    ) -> None:
        """Check that the package's evaluation of actions agrees with that of the tests, `[instance]`.

        `terms` are sizes of terms that cancel in an objective.
        """
        told = numbers(evaluation.objective)
        scale = np.maximum(np.maximum(np.abs(told), np.abs(objective)), terms)
        close = np.abs(told - objective) <= CLOSE * scale
        self.holds(close, f"{what}: the evaluation of an action differs")

    def judged(self, violation: np.ndarray, evaluation: Evaluation, what: str) -> None:
        """Check that the package calls actions feasible by their largest violations `[instance]`, and only then."""
        told = metrics.violated(evaluation).numpy()
        self.holds(
            told | (violation <= TOLERANCE * (1 + 1e-3)), f"{what}: a violating action is called feasible"
        )
        self.holds(
            ~told | (violation >= TOLERANCE * (1 - 1e-3)), f"{what}: a feasible action is called violating"
        )

    def merge(self, other: "Outcome") -> None:
        """Add what another round found."""
        self.tried += other.tried
        self.worst = max(self.worst, other.worst)
        self.failures += other.failures


Round = Callable[[np.random.Generator], Outcome]


def generator_of(name: str, seed: int) -> np.random.Generator:
    """Generator of one round of a bound."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed])


def tensors(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Numbers in the precision of the instance."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)


def numbers(tensor: Tensor | None) -> np.ndarray:
    """Numbers of a tensor in float64."""
    if tensor is None:
        raise TypeError("a bound must be given")
    array = tensor.detach().cpu()
    return array.to(torch.complex128 if array.is_complex() else torch.float64).numpy()


def log_uniform(rng: np.random.Generator, low: float, high: float, shape: Sequence[int]) -> np.ndarray:
    """Numbers whose logarithms are uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def link_rates(ratio: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rates in bit/s/Hz of links `[... link]` at shares of full power.

    `ratio[..., k, j]` is the power of transmitter `j` at receiver `k` over the noise at full power, saturated.
    """
    own = np.eye(ratio.shape[-1], dtype=bool)
    heard = np.einsum("...kj,...j->...k", np.where(own, 0.0, ratio), share)
    return np.log1p(np.einsum("...kk->...k", ratio) * share / (1 + heard)) / np.log(2)


def climb(
    rng: np.random.Generator,
    start: np.ndarray,
    value: Callable[[np.ndarray], np.ndarray],
    move: Callable[[np.random.Generator, np.ndarray, float], np.ndarray],
    *,
    steps: int = 60,
    candidates: int = 24,
) -> tuple[np.ndarray, np.ndarray]:
    """Best points `[instance variable]` and their values by random moves that shrink.

    Args:
        rng: of the moves.
        start: `[candidate instance variable]`.
        value: objective `[candidate instance]`, minus infinity of infeasible points.
        move: new points around points `[candidate instance variable]`, of a size in (0, 1].
        steps: of all sizes together.
        candidates: moves at a time.
    """
    score = value(start)
    first = score.argmax(0)
    point = np.take_along_axis(start, first[None, :, None], 0)[0]
    best = score.max(0)
    for step in range(steps):
        size = 10 ** (-8.0 * step / steps)
        trial = move(rng, np.repeat(point[None], candidates, 0), size)
        score = value(trial)
        first = score.argmax(0)
        found = np.take_along_axis(trial, first[None, :, None], 0)[0]
        better = score.max(0) > best
        point = np.where(better[:, None], found, point)
        best = np.maximum(best, score.max(0))
    return point, best


def move_shares(rng: np.random.Generator, share: np.ndarray, size: float) -> np.ndarray:
    """Shares in [0, 1] moved linearly and by factors; a few are put to the ends."""
    moved = share + size * rng.normal(size=share.shape) * (rng.random(share.shape) < 0.6)
    moved = np.where(
        rng.random(share.shape) < 0.5, moved, share * np.exp(3 * size * rng.normal(size=share.shape))
    )
    moved = np.where(rng.random(share.shape) < 0.1 * np.sqrt(size), rng.integers(0, 2, share.shape), moved)
    return np.clip(moved, 0.0, 1.0)


def share_starts(rng: np.random.Generator, count: int, instances: int, links: int) -> np.ndarray:
    """Shares `[candidate instance link]` to start from: corners, a grid of two levels, random ones of all scales."""
    corners = (np.arange(2**links)[:, None] >> np.arange(links)) & 1
    levels = np.concatenate([corners, 0.5 * corners, corners * log_uniform(rng, 1e-6, 1, (2**links, 1))])
    some = np.where(
        rng.random((count, instances, links)) < 0.5,
        rng.random((count, instances, links)),
        log_uniform(rng, 1e-12, 1, (count, instances, links)),
    )
    fixed = np.repeat(levels[:, None].astype(float), instances, 1)
    return np.concatenate([fixed, some])


def about_limits(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Shares of limits: inside, at the limit, and about the tolerance of violations on either side."""
    share = np.where(rng.random(shape) < 0.5, rng.random(shape), 1.0)
    beyond = TOLERANCE * rng.choice([0.0, 0.5, 0.99, 1.01, 2.0, 1e3], [shape[0]] + [1] * (len(shape) - 1))
    low = rng.random(shape) < 0.2
    return np.where(rng.random(shape) < 0.3, np.where(low, -beyond, 1 + beyond), share)


def solve(matrix: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Solve systems `[... row column]` in extended precision, without pivoting.

    Made for positive definite and for M-matrices, of which all pivots are positive; the solution of a system that is no
    nonsingular M-matrix then has a negative entry or is not a number.
    """
    kind = np.clongdouble if np.iscomplexobj(matrix) or np.iscomplexobj(side) else np.longdouble
    matrix, side = np.array(matrix, kind), np.array(side, kind)
    size, lost = side.shape[-1], np.zeros(side.shape[:-1], bool)
    with np.errstate(all="ignore"):
        for k in range(size):
            lost |= ~(np.real(matrix[..., k, k]) > 0)
            for i in range(k + 1, size):
                factor = matrix[..., i, k] / matrix[..., k, k]
                matrix[..., i, :] -= factor[..., None] * matrix[..., k, :]
                side[..., i] -= factor * side[..., k]
        for k in range(size - 1, -1, -1):
            for j in range(k + 1, size):
                side[..., k] -= matrix[..., k, j] * side[..., j]
            side[..., k] /= matrix[..., k, k]
    return np.where(lost[..., None], np.nan, side)
