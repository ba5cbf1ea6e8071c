"""Allocators made of allocators: one refined by a solver, the best of several, one behind a guard."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from torchrrm.policies.control import reads_of
from torchrrm.policies.power_gnn import PowerGNN
from torchrrm.problems.base import FEASIBLE_TO, Allocator, Problem, Reads, largest_violation
from torchrrm.problems.links import LinkInstance, PowerAction, WeightedSumRate
from torchrrm.solvers.base import best_action, is_finite, select

__all__ = ["BestOf", "Guarded", "Refined", "Refiner"]

I = TypeVar("I")  # noqa: E741
A = TypeVar("A")
I_contra = TypeVar("I_contra", contravariant=True)


class Refiner(Protocol[I_contra, A]):
    """A solver that can start from an action, such as `torchrrm.solvers.WMMSE`."""

    def refine(self, instance: I_contra, action: A, steps: int, /) -> A: ...


class Refined(nn.Module, Generic[I, A]):
    """A policy's action after a few steps of a solver that starts from it.

    As differentiable as its parts: with gradients the steps are unrolled, so that the policy learns what the
    steps make of its actions; without, a solver's kernel takes them. A `PowerGNN` with a solver of links can be
    exported as one graph (see `torchrrm.deploy`), the steps unrolled.

    Args:
        policy: gives the first action; a solver will do.
        solver: refines it.
        steps: of the solver.
    """

    def __init__(self, policy: Allocator[I, A], solver: Refiner[I, A], steps: int):
        super().__init__()
        if not callable(getattr(solver, "refine", None)):
            raise ValueError(f"solver: must have `refine`, received {type(solver).__name__}")
        if steps < 0:
            raise ValueError(f"steps: must not be negative, received {steps}")
        self.policy, self.solver, self.steps = policy, solver, steps
        self.kind = _kind(policy)

    def forward(self, instance: I, priority: Tensor | None = None) -> A:
        """The action; `priority` is passed on to a policy that takes it."""
        return self.solver.refine(instance, _decide(self.policy, instance, priority), self.steps)

    @property
    def reads(self) -> Reads:
        """Return what the policy reads; the solver reads weights in any case."""
        reads = reads_of(self.policy)
        return "weight" if reads == "nothing" else reads

    @property
    def core(self) -> Callable[..., PowerAction]:
        """As `PowerGNN.core`; the weights of the rates are a further input where the condition is not they."""
        net = self._exportable("core")
        return self._weighted_core if net.condition == "weight" else self._fair_core

    def _weighted_core(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        condition: Float[Tensor, "*batch tx"],
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> PowerAction:
        return self._fair_core(relative_gain, condition, max_power_w, active, condition)

    def _fair_core(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        condition: Float[Tensor, "*batch tx"],
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
        weight: Float[Tensor, "*batch tx"],
    ) -> PowerAction:
        """Both parts in relative units, where limits and noise are 1; the powers in W."""
        limit = torch.ones_like(max_power_w)
        first = self._exportable("core").core(relative_gain, condition, limit, active)
        links = LinkInstance(
            gain=relative_gain, noise_power_w=limit[..., 0], max_power_w=limit, weight=weight, active=active
        )
        refined = cast(Any, self.solver).refine(links, first, self.steps)
        return PowerAction(power_w=refined.power_w * max_power_w)

    @property
    def core_sizes(self) -> Mapping[str, Any]:
        """As that of the policy."""
        return self._exportable("core_sizes").core_sizes

    @property
    def deployment(self) -> dict[str, Any]:
        """As that of the policy."""
        return self._exportable("deployment").deployment

    @property
    def problem(self) -> Any:
        """What the steps raise."""
        return getattr(self.policy, "problem", WeightedSumRate())

    @property
    def arguments(self) -> dict[str, Any]:
        """What it is made of, as JSON; its parts are made by hand."""
        net = self._exportable("arguments")
        policy = {"class": type(net).__name__, **net.arguments}
        return {"policy": policy, "solver": type(self.solver).__name__, "steps": self.steps}

    def _exportable(self, name: str) -> PowerGNN:
        if not isinstance(self.policy, PowerGNN):
            raise AttributeError(f"Refined of {type(self.policy).__name__} has no {name}")
        return self.policy


class BestOf(nn.Module, Generic[I, A]):
    """Of each instance the action that violates least and, among those, has the highest objective.

    Violations up to the tolerance count as none. Of equal actions that of the first allocator is taken.

    Args:
        allocators: all are run.
        problem: judges their actions.
        tolerance: largest violation that is none.
        priced: constraints that an action may violate because the objective has a price for them.
    """

    def __init__(
        self,
        allocators: Sequence[Allocator[I, A]],
        problem: Problem[I, A],
        *,
        tolerance: float = FEASIBLE_TO,
        priced: Collection[str] = (),
    ):
        super().__init__()
        if not allocators:
            raise ValueError("allocators: must be one or more, received none")
        self.allocators, self.problem, self.tolerance = list(allocators), problem, tolerance
        self.priced = tuple(priced)
        self.parts = nn.ModuleList(part for part in allocators if isinstance(part, nn.Module))
        self.kind = "policy" if "policy" in map(_kind, allocators) else "solver"

    def forward(self, instance: I, priority: Tensor | None = None) -> A:
        """The action; `priority` is passed on to those who take it."""
        return self.decide(instance, priority)[0]

    @property
    def reads(self) -> Reads:
        """Return what the allocators read: priorities if one of them does."""
        return _reads(self.allocators)

    def decide(self, instance: I, priority: Tensor | None = None) -> tuple[A, Int[Tensor, "*batch"]]:
        """The action and whose it is, an index into `allocators`."""
        actions = [_decide(allocator, instance, priority) for allocator in self.allocators]
        return best_action(self.problem, instance, actions, priced=self.priced, tolerance=self.tolerance)


class Guarded(nn.Module, Generic[I, A]):
    """An allocator whose action is replaced by a fallback's wherever it is not finite or violates a constraint.

    The fallback's action is taken as it is: where nothing is feasible it violates too.

    Args:
        policy: decides.
        fallback: decides where the policy fails; run only if it does.
        problem: tells what is violated.
        tolerance: largest violation that is none.

    Attributes:
        calls: instances decided since it was made.
        replaced: instances among them that the fallback decided.
    """

    def __init__(
        self,
        policy: Allocator[I, A],
        fallback: Allocator[I, A],
        problem: Problem[I, A],
        *,
        tolerance: float = FEASIBLE_TO,
    ):
        super().__init__()
        self.policy, self.fallback, self.problem, self.tolerance = policy, fallback, problem, tolerance
        self.calls, self.replaced = 0, 0
        self.kind = _kind(policy)

    def forward(self, instance: I, priority: Tensor | None = None) -> A:
        """The action; see `decide`."""
        return self.decide(instance, priority)[0]

    @property
    def reads(self) -> Reads:
        """Return what policy and fallback read: priorities if one of them does."""
        return _reads([self.policy, self.fallback])

    def decide(self, instance: I, priority: Tensor | None = None) -> tuple[A, Bool[Tensor, "*batch"]]:
        """The action, and where it is the fallback's; `priority` is passed on to those who take it."""
        action = _decide(self.policy, instance, priority)
        with torch.no_grad():
            worst = largest_violation(self.problem.evaluate(instance, action))
            failed = ~(is_finite(action) & (worst <= self.tolerance))
        count = int(failed.sum())
        self.calls += failed.numel()
        self.replaced += count
        if count:
            action = select(failed, _decide(self.fallback, instance, priority), action)
        return action, failed


def _kind(allocator: Any) -> str:
    return getattr(allocator, "kind", "policy" if isinstance(allocator, nn.Module) else "solver")


def _reads(parts: Sequence[Any]) -> Reads:
    read: set[Reads] = {reads_of(part) for part in parts}
    order: tuple[Reads, ...] = ("demands", "priority", "weight", "nothing")
    return next(one for one in order if one in read)


def _decide(allocator: Any, instance: Any, priority: Tensor | None) -> Any:
    if priority is None:
        return allocator(instance)
    return (
        allocator(instance, priority=priority) if reads_of(allocator) == "priority" else allocator(instance)
    )
