"""The runner: every allocator meets the same instances, and the problem alone judges it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm import records
from torchrrm.bench import metrics
from torchrrm.bench.metrics import Latency
from torchrrm.bench.results import Kind, Measure, Row
from torchrrm.problems.base import Allocator, Evaluation, Problem

__all__ = ["Bound", "best_known", "certified", "kind_of", "score"]


Measures = Callable[[Any, Any], Mapping[str, Measure]]
"""What an action on instances of one batch axis amounts to besides the objective, by name."""


@runtime_checkable
class TellsFeasible(Protocol):
    """A problem that can tell in which instances all demands can be met."""

    def feasible(self, instance: Any, /) -> Bool[Tensor, "*batch"]: ...


class Certifying(Protocol):
    """A solver whose solution may carry an upper bound."""

    def solve(self, instance: Any, /) -> Any: ...


@dataclass(frozen=True)
class Bound:
    """What objectives are held against, an instance each.

    Attributes:
        gap: largest relative distance, over the instances, to an objective that was reached; a certified
            bound with a small gap is the optimum.
    """

    value: Float[Tensor, " batch"]
    kind: Literal["certified", "best known"]
    gap: float


def certified(problem: Problem[Any, Any], instances: Any, solver: Certifying) -> Bound:
    """The solver's certified upper bounds.

    Raises:
        ValueError: if the solver certifies none for these instances.
    """
    with torch.no_grad():
        solution = solver.solve(instances)
        if solution.upper_bound is None:
            raise ValueError(f"bound: must be a solver that certifies, received {type(solver).__name__}")
        reached = problem.evaluate(instances, solution.action).objective.double()
    value = solution.upper_bound.double()
    gap = (value - reached) / value.abs().clamp_min(torch.finfo(torch.float64).tiny)
    return Bound(value, "certified", gap.max().item())


def best_known(
    problem: Problem[Any, Any],
    instances: Any,
    allocators: Mapping[str, Allocator[Any, Any]],
    *,
    priced: Collection[str] = (),
) -> Bound:
    """The best objective that any of the allocators reaches without a violation, an instance each.

    Args:
        problem: judges.
        instances: a record with one batch axis.
        allocators: compared.
        priced: constraints that may be violated, since the objective has a price for it.
    """
    with torch.no_grad():
        evaluations = [problem.evaluate(instances, allocator(instances)) for allocator in allocators.values()]
    value = torch.stack([_valid_objective(evaluation, priced) for evaluation in evaluations]).amax(dim=0)
    return Bound(value, "best known", 0.0)


def _valid_objective(evaluation: Evaluation, priced: Collection[str]) -> Float[Tensor, " batch"]:
    binding = {name: value for name, value in evaluation.violation.items() if name not in priced}
    valid = ~metrics.violated(replace(evaluation, violation=binding))
    return torch.where(valid, evaluation.objective.double(), -torch.inf)


def kind_of(allocator: Allocator[Any, Any]) -> Kind:
    """What the allocator says in `kind`; of the others, a module is a policy and the rest are solvers."""
    return getattr(allocator, "kind", "policy" if isinstance(allocator, torch.nn.Module) else "solver")


def score(
    problem: Problem[Any, Any],
    instances: Any,
    allocators: Mapping[str, Allocator[Any, Any]],
    *,
    setting: str,
    bound: Bound | Certifying | None = None,
    published: Mapping[str, float] | None = None,
    latency: Latency | None = None,
    measures: Measures | None = None,
) -> list[Row]:
    """A row for each allocator, all on the same instances.

    Objective, service and violations are the problem's own (`problem.evaluate`), of the actions that the
    allocator gives for the whole batch at once. Latency is that of single-instance calls, measured apart;
    only the allocator is timed. Of a problem that says `leaves_out_infeasible` the infeasible instances are counted
    and, unless all are, judged by nothing else.

    Args:
        problem: judges; its `name` and `feasible(instance)`, where it has them, fill the row's.
        instances: a record with one batch axis.
        allocators: by the name that the row shall carry.
        setting: what the instances have in common.
        bound: upper bounds, or the solver that certifies them.
        published: counterparts of `optimality` in print, by the allocator's name.
        latency: how single calls are timed.
        measures: what the rows tell besides the objective, of the instances and an action.

    Raises:
        ValueError: if the instances have no batch axis, or more than one, or if none is given.
    """
    shape = records.batch_shape(instances)
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(
            f"instances: must have one batch axis of at least one instance, received {tuple(shape)}"
        )
    if bound is not None and not isinstance(bound, Bound):
        bound = certified(problem, instances, bound)
    infeasible = ~problem.feasible(instances) if isinstance(problem, TellsFeasible) else None
    judged, left_out = instances, 0
    if infeasible is not None and getattr(problem, "leaves_out_infeasible", False) and not infeasible.all():
        judged, left_out = records.index(instances, ~infeasible), int(infeasible.sum())
        bound = bound and replace(bound, value=bound.value[~infeasible])
    common: dict[str, Any] = {
        "problem": getattr(problem, "name", type(problem).__name__),
        "setting": setting,
        "instances": shape[0],
        "infeasible": None if infeasible is None else int(infeasible.sum()),
        "left_out": left_out,
    }
    return [
        Row(
            **common,
            allocator=name,
            kind=kind_of(allocator),
            **_quality(problem, judged, allocator, bound, measures),
            **_latency(allocator, instances, latency or Latency()),
            published=(published or {}).get(name),
        )
        for name, allocator in allocators.items()
    ]


def _quality(
    problem: Problem[Any, Any],
    instances: Any,
    allocator: Allocator[Any, Any],
    bound: Bound | None,
    measures: Measures | None,
) -> dict[str, Any]:
    """The columns that depend on the actions."""
    with torch.no_grad():
        action = allocator(instances)
        evaluation = problem.evaluate(instances, action)
        told = {} if measures is None else measures(instances, action)
    objective, objective_ci95 = metrics.mean_interval(evaluation.objective)
    optimality, optimality_ci95 = (
        metrics.ratio_interval(evaluation.objective, bound.value) if bound else (None, None)
    )
    return {
        "objective": objective,
        "objective_ci95": objective_ci95,
        "bound": bound.value.mean().item() if bound else None,
        "bound_kind": bound.kind if bound else "none",
        "optimality": optimality,
        "optimality_ci95": optimality_ci95,
        "violation_max": metrics.worst_violation(evaluation),
        "violation_rate": metrics.violated(evaluation).double().mean().item(),
        "served_fraction": metrics.served_fraction(evaluation, records.user_mask(instances)),
        "measures": told,
    }


def _latency(allocator: Allocator[Any, Any], instances: Any, how: Latency) -> dict[str, Any]:
    """The columns that the clock gives."""
    count = min(records.batch_shape(instances)[0], how.calls)
    calls = [partial(allocator, records.index(instances, i)) for i in range(count)]
    with torch.no_grad():
        p50_us, p99_us = metrics.measure_latency(calls, how, records.user_mask(instances).device)
    return {"p50_us": p50_us, "p99_us": p99_us}
