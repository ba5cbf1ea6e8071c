"""The runner: every allocator meets the same instances, and the problem alone judges it."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from jaxtyping import Bool
from torch import Tensor

from torchrrm import records
from torchrrm.bench import metrics
from torchrrm.bench.assessment import (
    Assessment,
    Bound,
    Eases,
    Judged,
    Measures,
    assess,
    best_of,
    binding,
    comparable,
    in_double,
    judged,
)
from torchrrm.bench.metrics import Latency
from torchrrm.bench.results import Row
from torchrrm.problems.base import Allocator, Problem, largest_violation

__all__ = ["best_known", "certified", "label_of", "rows_of", "score"]


class Certifying(Protocol):
    """A solver whose solution may carry an upper bound."""

    def solve(self, instance: Any, /) -> Any: ...


def certified(
    problem: Problem[Any, Any], instances: Any, solver: Certifying, *, priced: Collection[str] = ()
) -> Bound:
    """The solver's certified upper bounds, computed in float64 whatever the precision of the instances.

    Args:
        problem: evaluates the solver's own action.
        instances: a record with one batch axis.
        solver: certifies.
        priced: constraints that an action may violate and be feasible, since the objective has a price for it.

    Raises:
        ValueError: if the solver certifies none for these instances, or if its own action is feasible and above its
            bound (see `comparable`).
    """
    name = type(solver).__name__
    with torch.no_grad():
        exact = in_double(instances)
        solution = solver.solve(exact)
        if solution.upper_bound is None:
            raise ValueError(f"bound: must be a solver that certifies, received {name}")
        evaluation = problem.evaluate(exact, solution.action)
    value, reached = solution.upper_bound.cpu(), evaluation.objective.cpu()
    gap = (value - reached) / value.abs().clamp_min(torch.finfo(torch.float64).tiny)
    widest = torch.where(value.isneginf(), 0.0, gap).max().item()
    eased = partial(_eased, problem, exact, solver) if isinstance(problem, Eases) else None
    bound = Bound(value, "certified", widest, eased)
    violation = largest_violation(binding(evaluation, priced)).cpu()
    comparable(bound, reached, violation, f"{label_of(problem)}, the action of {name}")
    return bound


def _eased(problem: Eases, exact: Any, solver: Certifying, violation: Tensor) -> Tensor:
    """Bounds for actions with these violations."""
    return solver.solve(problem.eased(exact, violation)).upper_bound.cpu()


def best_known(
    problem: Problem[Any, Any],
    instances: Any,
    allocators: Mapping[str, Allocator[Any, Any]],
    *,
    priced: Collection[str] = (),
) -> Bound | None:
    """The best objective that any of the allocators reaches without a violation, an instance each.

    Args:
        problem: judges.
        instances: a record with one batch axis.
        allocators: compared.
        priced: constraints that may be violated, since the objective has a price for it.
    """
    everything = Judged(instances, torch.ones(records.batch_shape(instances), dtype=torch.bool), None)
    return best_of(assess(problem, everything, allocator, priced=priced) for allocator in allocators.values())


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
    priced: Collection[str] = (),
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
        priced: constraints that an action may violate and be feasible, since the objective has a price for it.

    Raises:
        ValueError: if the instances have no batch axis, or more than one, or if none is given; if a feasible objective
            is above its certified bound.
    """
    on = judged(problem, instances)
    if bound is not None and not isinstance(bound, Bound):
        bound = certified(problem, on.instances, bound, priced=priced)
    elif bound is not None:
        bound = Bound(bound.value[on.kept], bound.kind, bound.gap)
    how = latency or Latency()
    assessments = {
        name: assess(problem, on, allocator, priced=priced, measures=measures, latency=how)
        for name, allocator in allocators.items()
    }
    return rows_of(label_of(problem), setting, on, assessments, bound=bound, published=published)


def label_of(problem: Problem[Any, Any]) -> str:
    """What rows call the problem: its `name`, or that of its class."""
    return getattr(problem, "name", type(problem).__name__)


def rows_of(
    problem: str,
    setting: str,
    on: Judged,
    assessments: Mapping[str, Assessment],
    *,
    bound: Bound | None,
    published: Mapping[str, float] | None = None,
) -> list[Row]:
    """Rows of what allocators did on the same instances.

    Args:
        problem: the name that the rows shall carry.
        setting: what the instances have in common.
        on: the instances.
        assessments: by the name of the allocator.
        bound: of the instances that count.
        published: counterparts of `optimality` in print, by the allocator's name.

    Raises:
        ValueError: if a feasible objective is above its certified bound, see `comparable`.
    """
    number = on.kept.nonzero()[:, 0]
    valid = {
        name: comparable(bound, one.objective, one.violation, f"{problem}, {setting}, {name}", number)
        for name, one in assessments.items()
    }
    common: dict[str, Any] = {
        "problem": problem,
        "setting": setting,
        "instances": len(on.kept),
        "infeasible": on.infeasible,
        "left_out": on.left_out,
    }
    return [
        Row(
            **common,
            allocator=name,
            **_columns(one, bound, valid[name]),
            published=(published or {}).get(name),
        )
        for name, one in assessments.items()
    ]


def _columns(one: Assessment, bound: Bound | None, valid: Bool[Tensor, " batch"]) -> dict[str, Any]:
    """The columns of an allocator."""
    objective, objective_ci95 = metrics.mean_interval(one.objective)
    optimality, optimality_ci95 = (
        metrics.optimality(one.objective, bound.value, valid) if bound else (None, None)
    )
    kept = ("kind", "violation_max", "violation_rate", "served_fraction", "utility_quantiles", "measures")
    return {name: getattr(one, name) for name in (*kept, "p50_us", "p99_us")} | {
        "objective": objective,
        "objective_ci95": objective_ci95,
        "bound": bound.value.mean().item() if bound else None,
        "bound_kind": bound.kind if bound else "none",
        "optimality": optimality,
        "optimality_ci95": optimality_ci95,
    }
