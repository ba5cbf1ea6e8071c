"""What one allocator does on instances, kept so that rows can be made of it later and nothing is run twice."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm import records
from torchrrm.bench import metrics
from torchrrm.bench.metrics import Latency
from torchrrm.bench.results import Kind, Measure
from torchrrm.problems.base import Allocator, Evaluation, Problem, largest_violation

__all__ = [
    "Assessment",
    "Bound",
    "Eases",
    "Judged",
    "assess",
    "best_of",
    "binding",
    "comparable",
    "in_double",
    "judged",
    "kind_of",
    "timed",
]

_EXCESS = 1e-6
"""Relative excess over a certified bound that rounding of single-precision actions explains."""

R = TypeVar("R")

Measures = Callable[[Any, Any], Mapping[str, Measure]]
"""What an action on instances of one batch axis amounts to besides the objective, by name."""


@runtime_checkable
class TellsFeasible(Protocol):
    """A problem that can tell in which instances all demands can be met."""

    def feasible(self, instance: Any, /) -> Bool[Tensor, "*batch"]: ...


@runtime_checkable
class Timed(Protocol):
    """Instances in which an allocator decides slot by slot, whose latency is that of a slot."""

    def timed(self) -> tuple[Any, int]:
        """What a timed call serves, and how many slots that is."""
        ...


@runtime_checkable
class Eases(Protocol):
    """A problem in which a small violation may be worth much, and that tells the instance of which it is none."""

    def eased(self, instance: Any, violation: Float[Tensor, "*batch"], /) -> Any: ...


@dataclass(frozen=True)
class Bound:
    """What objectives are held against, an instance each.

    Attributes:
        gap: largest relative distance, over the instances, to an objective that was reached; a certified
            bound with a small gap is the optimum. Instances whose bound is minus infinity, certified to be
            infeasible, do not count.
        eased: certified bounds for actions with these violations; None if a violation is worth about itself.
    """

    value: Float[Tensor, " batch"]
    kind: Literal["certified", "best known"]
    gap: float
    eased: Callable[[Float[Tensor, " batch"]], Float[Tensor, " batch"]] | None = None


@dataclass(frozen=True)
class Judged:
    """Instances, and those of them that allocators are judged by.

    Attributes:
        drawn: all, of one batch axis.
        kept: which of them count.
        infeasible: in how many not all demands can be met; None if the problem cannot tell.
    """

    drawn: Any
    kept: Bool[Tensor, " batch"]
    infeasible: int | None

    @property
    def instances(self) -> Any:
        """Those that count."""
        return self.drawn if self.kept.all() else records.index(self.drawn, self.kept)

    @property
    def left_out(self) -> int:
        """How many do not count."""
        return int((~self.kept).sum())


def judged(problem: Problem[Any, Any], instances: Any) -> Judged:
    """What allocators are judged by.

    Of a problem that says `leaves_out_infeasible` the infeasible instances are counted and, unless all are, left out.

    Raises:
        ValueError: if the instances have no batch axis, or more than one, or if there is none.
    """
    shape = records.batch_shape(instances)
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(
            f"instances: must have one batch axis of at least one instance, received {tuple(shape)}"
        )
    kept = torch.ones(shape, dtype=torch.bool)
    if not isinstance(problem, TellsFeasible):
        return Judged(instances, kept, None)
    feasible = problem.feasible(in_double(instances)).cpu()
    if getattr(problem, "leaves_out_infeasible", False) and feasible.any():
        kept = feasible
    return Judged(instances, kept, int((~feasible).sum()))


@dataclass(frozen=True)
class Assessment:
    """What an allocator does on instances.

    Attributes:
        objective: of each instance that counts, evaluated in float64.
        violation: largest violation of a constraint that the objective has no price for; 0 is none.
        violation_max: largest violation of any constraint, priced or not; `violation_rate` the fraction of instances
            with one.
        served_fraction: of the active users; None if nobody is active.
        utility_quantiles: of all active users of all instances.
        p50_us: median latency of single calls; `p99_us` their 99th percentile; not a number if they are not timed.
    """

    kind: Kind
    objective: Float[Tensor, " batch"]
    violation: Float[Tensor, " batch"]
    violation_max: float
    violation_rate: float
    served_fraction: float | None
    utility_quantiles: tuple[float, ...]
    measures: Mapping[str, Measure]
    p50_us: float = torch.nan
    p99_us: float = torch.nan

    @property
    def valid(self) -> Bool[Tensor, " batch"]:
        """Whether an action violates nothing but what the objective has a price for."""
        return self.violation <= metrics.VIOLATION_TOLERANCE


def in_double(record: R) -> R:
    """Return the record in float64, in which instances and actions are evaluated whatever their precision."""
    return records.to(record, dtype=torch.float64)


def assess(
    problem: Problem[Any, Any],
    on: Judged,
    allocator: Allocator[Any, Any],
    *,
    priced: Collection[str] = (),
    measures: Measures | None = None,
    latency: Latency | None = None,
) -> Assessment:
    """What the allocator does on the instances that count, each at once; single calls are timed on all.

    The allocator runs in the precision of the instances; its actions are evaluated in float64.

    Args:
        problem: judges; objective, service and violations are its own, of the actions themselves.
        on: instances.
        allocator: is run once on all, and again to be timed.
        priced: constraints that an action may violate and be valid, since the objective has a price for it.
        measures: what the assessment tells besides.
        latency: how single calls are timed; None leaves it out.
    """
    instances = on.instances
    with torch.no_grad():
        action = in_double(allocator(instances))
        instances = in_double(instances)
        evaluation = problem.evaluate(instances, action)
        told = {} if measures is None else measures(instances, action)
    active = records.user_mask(instances)
    assessment = Assessment(
        kind=kind_of(allocator),
        objective=evaluation.objective.cpu(),
        violation=largest_violation(binding(evaluation, priced)).cpu(),
        violation_max=metrics.worst_violation(evaluation),
        violation_rate=metrics.violated(evaluation).double().mean().item(),
        served_fraction=metrics.served_fraction(evaluation, active),
        utility_quantiles=metrics.quantiles(evaluation.utility[active.expand_as(evaluation.utility)]),
        measures=told,
    )
    if latency is None:
        return assessment
    p50_us, p99_us = timed(allocator, on.drawn, latency)
    return replace(assessment, p50_us=p50_us, p99_us=p99_us)


def best_of(assessments: Iterable[Assessment]) -> Bound | None:
    """The best valid objective of each instance; None if no action is valid on any."""
    reached = [torch.where(one.valid, one.objective, -torch.inf) for one in assessments]
    value = torch.stack(reached).amax(dim=0)
    return Bound(value, "best known", 0.0) if bool((value > -torch.inf).any()) else None


def kind_of(allocator: Allocator[Any, Any]) -> Kind:
    """What the allocator says in `kind`; of the others, a module is a policy and the rest are solvers."""
    return getattr(allocator, "kind", "policy" if isinstance(allocator, torch.nn.Module) else "solver")


def binding(evaluation: Evaluation, priced: Collection[str]) -> Evaluation:
    """The evaluation without the constraints that the objective has a price for."""
    binding = {name: value for name, value in evaluation.violation.items() if name not in priced}
    return replace(evaluation, violation=binding)


def comparable(
    bound: Bound | None,
    objective: Float[Tensor, " batch"],
    violation: Float[Tensor, " batch"],
    where: str,
    number: Int[Tensor, " batch"] | None = None,
) -> Bool[Tensor, " batch"]:
    """Whether each action may be held against its bound: it violates nothing and is not above a certified bound.

    A certified bound holds for actions that keep every constraint. An action that misses some by a part `v`, up to the
    tolerance, may exceed it by as much: rates of interference links, and concave functions of the powers or bandwidths,
    grow by no larger part. An objective above the bound by more than `1e-6 + v`, relative to the larger of both,
    proves the certificate wrong. Where minimum rates take nearly all there is, `v` may be worth more, even where it is
    rounding: problems that say so (`Eases`) are asked for the bound of the eased instance. An action that is above the
    bound, and not above that, is feasible and has no percentage.

    Args:
        bound: what objectives are compared with; nothing is required of best known values, or without a bound.
        objective: of each instance.
        violation: largest violation of each action; infeasible actions, above the tolerance, may have any objective.
        where: problem, setting and allocator, for the message.
        number: index of each instance among those drawn; counted by default.

    Raises:
        ValueError: naming the first instance whose certificate is wrong.
    """
    feasible = violation <= metrics.VIOLATION_TOLERANCE
    if bound is None or bound.kind != "certified":
        return feasible
    value = bound.value.double().cpu()
    scale = torch.maximum(objective.abs(), torch.where(value.isfinite(), value.abs(), 0.0))
    above = feasible & (objective - value > (_EXCESS + violation) * scale)
    wrong = above
    if bound.eased is not None and above.any():
        wrong = above & (objective > (1 + _EXCESS) * bound.eased(torch.where(above, violation, 0.0)))
    if wrong.any():
        i = int(wrong.nonzero()[0, 0])
        instance = i if number is None else int(number[i])
        raise ValueError(
            f"bound: {where}, instance {instance}: must be at least the feasible objective "
            f"{objective[i].item():.12g}, received {value[i].item():.12g}; the certificate is wrong"
        )
    return feasible & ~above


def timed(allocator: Allocator[Any, Any], drawn: Any, how: Latency) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds, of single calls on instances in turn.

    Of instances that are `Timed` those of a slot: of a call's time the part of each.
    """
    served, slots = drawn.timed() if isinstance(drawn, Timed) else (drawn, 1)
    count = min(records.batch_shape(served)[0], how.calls)
    calls = [partial(allocator, records.index(served, i)) for i in range(count)]
    with torch.no_grad():
        p50_us, p99_us = metrics.measure_latency(calls, how, records.user_mask(served).device)
    return p50_us / slots, p99_us / slots
