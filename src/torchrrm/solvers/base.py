"""What a solver is: an allocator that is an algorithm and says how far it came."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.problems.base import FEASIBLE_TO, Problem, largest_violation
from torchrrm.records import axis_names

__all__ = ["IterativeSolver", "Solution", "best_action", "is_finite", "rounded_up", "select"]

I = TypeVar("I")  # noqa: E741
A = TypeVar("A")
S = TypeVar("S")


@dataclass(frozen=True)
class Solution(Generic[A]):
    """Outcome of a solver.

    Attributes:
        action: the allocation.
        converged: whether the residual of each instance fell below the tolerance.
        iterations: steps that each instance took.
        upper_bound: certified upper bound on the objective of each instance, or `None` if the method gives
            none.
    """

    action: A
    converged: Bool[Tensor, "*batch"]
    iterations: Int[Tensor, "*batch"]
    upper_bound: Float[Tensor, "*batch"] | None = None


def rounded_up(bound: Float[Tensor, "*batch"], dtype: torch.dtype) -> Float[Tensor, "*batch"]:
    """The bound in another precision, nowhere below: one that is rounded to the nearest would bound nothing."""
    if bound.dtype == dtype:
        return bound
    exact = bound.detach().cpu().numpy()
    with np.errstate(over="ignore"):  # infinity is a bound, too
        nearest = exact.astype(np.float32 if dtype == torch.float32 else np.float64)
    above = np.nextafter(nearest, np.inf, dtype=nearest.dtype)
    return torch.from_numpy(np.where(nearest < exact, above, nearest)).to(bound.device)


def select(condition: Tensor, new: S, old: S) -> S:
    """The record `new` where the batch mask holds, else `old`."""
    merged = {}
    for name, value in vars(new).items():
        mask = condition.reshape(condition.shape + (1,) * (value.ndim - condition.ndim))
        merged[name] = torch.where(mask, value, getattr(old, name))
    return type(new)(**merged)


def best_action(
    problem: Problem[I, A],
    instance: I,
    actions: Sequence[A],
    *,
    priced: Collection[str] = (),
    tolerance: float = FEASIBLE_TO,
) -> tuple[A, Int[Tensor, "*batch"]]:
    """Return the best action of each instance and its index: the least violation, then the highest objective.

    Actions that are not finite come last; of equal actions the first is taken.

    Args:
        problem: evaluates the actions.
        instance: of any batch shape.
        actions: one or more.
        priced: constraints that an action may violate because the objective has a price for them.
        tolerance: violations up to this count as none.
    """
    excess, objective = [], []
    with torch.no_grad():
        for action in actions:
            score, broken = problem.evaluate(instance, action), ~is_finite(action)
            binding = {name: value for name, value in score.violation.items() if name not in priced}
            worst = largest_violation(replace_fields(score, violation=binding))
            excess.append(torch.clamp(worst - tolerance, min=0).masked_fill(broken, torch.inf))
            objective.append(score.objective.nan_to_num(nan=-torch.inf))
    over = torch.stack(excess)  # [action *batch]
    value = torch.stack(objective).masked_fill(over > over.amin(0), -torch.inf)
    chosen = value.argmax(0)
    best = actions[0]
    for number, action in enumerate(actions[1:], start=1):
        best = select(chosen == number, action, best)
    return best, chosen


def is_finite(action: Any) -> Bool[Tensor, "*batch"]:
    """Return whether every number of an action is finite."""
    fits = []
    for name, axes in axis_names(type(action)).items():
        value: Tensor = torch.isfinite(getattr(action, name))
        fits.append(value.flatten(-len(axes)).all(-1) if axes else value)
    return torch.stack(fits).all(0)


class IterativeSolver(ABC, Generic[I, A, S]):
    """A solver by steps: `init`, then `step` until `residual` is below the tolerance, then `action`.

    A differentiable step can be unrolled and trained. Instances of a batch stop one by one: a converged one
    keeps its state. Without a tolerance every step is taken, and nothing counts as converged.
    """

    max_steps: int
    tolerance: float | None

    @abstractmethod
    def init(self, instance: I) -> S:
        """State that the first step starts from."""

    @abstractmethod
    def step(self, instance: I, state: S) -> S:
        """The next state."""

    @abstractmethod
    def residual(self, instance: I, old: S, new: S) -> Float[Tensor, "*batch"]:
        """How far the last step was from a fixed point."""

    @abstractmethod
    def action(self, instance: I, state: S) -> A:
        """The allocation that a state stands for."""

    def iterate(self, instance: I) -> tuple[S, Bool[Tensor, "*batch"], Int[Tensor, "*batch"]]:
        """Final state, which instances converged, and the steps of each."""
        if self.max_steps < 1:
            raise ValueError(f"max_steps: must be at least 1, received {self.max_steps}")
        first = self.init(instance)
        state = self.step(instance, first)
        if self.tolerance is None:
            return self._finish(instance, state)
        running = self.residual(instance, first, state) > self.tolerance
        iterations = torch.ones_like(running, dtype=torch.int64)
        for _ in range(self.max_steps - 1):
            if not running.any():
                break
            new = self.step(instance, state)
            far = self.residual(instance, state, new) > self.tolerance
            state, iterations = select(running, new, state), iterations + running
            running = running & far
        return state, ~running, iterations

    def _finish(self, instance: I, state: S) -> tuple[S, Bool[Tensor, "*batch"], Int[Tensor, "*batch"]]:
        """All steps after the first."""
        old = state
        for _ in range(self.max_steps - 1):
            old, state = state, self.step(instance, state)
        steps = torch.full_like(self.residual(instance, old, state), self.max_steps, dtype=torch.int64)
        return state, torch.zeros_like(steps, dtype=torch.bool), steps

    def solve(self, instance: I) -> Solution[A]:
        """Run to convergence."""
        state, converged, iterations = self.iterate(instance)
        return Solution(self.action(instance, state), converged, iterations)

    def __call__(self, instance: I) -> A:
        return self.solve(instance).action
