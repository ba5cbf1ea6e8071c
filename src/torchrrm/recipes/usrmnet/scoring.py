"""What allocators reach on the draws of a case: objectives and true violations, draw by draw, and rows of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.bench import Bound, Row, comparable, in_double, metrics
from torchrrm.bench.results import BoundKind, Kind
from torchrrm.problems import Allocator, BeamAction, MisoInstance, UrllcBeamforming

__all__ = ["PROBLEM", "Reference", "Scores", "judged", "on_same_draws", "row", "scored"]

PROBLEM = UrllcBeamforming()


@dataclass(frozen=True)
class Scores:
    """An allocator on the first draws of a case.

    Attributes:
        objective: `[draw]`, in nats a channel use.
        violation: the largest of any constraint, `[draw]`; 0 is none.
        served: users that have their least rate, `[draw]`, as a fraction.
    """

    objective: Tensor
    violation: Tensor
    served: Tensor

    @property
    def met(self) -> Tensor:
        """Draws without a violation, `[draw]`."""
        return self.violation <= metrics.VIOLATION_TOLERANCE

    def on(self, draws: Tensor) -> "Scores":
        """Of some of the draws."""
        return Scores(self.objective[draws], self.violation[draws], self.served[draws])

    def first(self, count: int) -> "Scores":
        """Of the first draws."""
        return Scores(self.objective[:count], self.violation[:count], self.served[:count])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """As a job's result keeps them."""
        parts = {"objective": self.objective, "violation": self.violation, "served": self.served}
        return {f"{part}.{name}": value for part, value in parts.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], name: str) -> "Scores":
        """What `tensors` made."""
        return cls(*(tensors[f"{part}.{name}"] for part in ("objective", "violation", "served")))

    @staticmethod
    def names(tensors: Mapping[str, Tensor]) -> list[str]:
        """The allocators in a job's result."""
        prefix = "objective."
        return [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]


def scored(instance: MisoInstance, action: BeamAction) -> Scores:
    """What the problem says of an action; a rate below the least of the paper is a violation of the truth."""
    instance, action = in_double(instance), in_double(action)
    told = PROBLEM.evaluate(instance, action)
    batch = told.objective.shape[0]
    parts = [violation.reshape(batch, -1).amax(-1) for violation in told.violation.values()]
    worst = torch.stack(parts).amax(0).nan_to_num(nan=math.inf).clamp_min(0.0)
    lost = told.violation["min_rate"] > metrics.VIOLATION_TOLERANCE
    served = (instance.active & ~lost).sum(-1) / instance.active.sum(-1)
    return Scores(told.objective, worst, served.double())


def judged(
    instance: MisoInstance, allocators: Mapping[str, Allocator[MisoInstance, BeamAction]]
) -> dict[str, Tensor]:
    """All allocators on the same draws, as a job keeps them."""
    made: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, allocator in allocators.items():
            made |= scored(instance, allocator(instance)).tensors(name)
    return made


def on_same_draws(ours: Scores, base: Scores) -> tuple[float | None, tuple[float, float] | None]:
    """Ratio of the mean objectives with its 95 % interval, on draws where neither violates anything."""
    count = min(len(ours.objective), len(base.objective))
    ours, base = ours.first(count), base.first(count)
    both = ours.met & base.met
    if not bool(both.any()):
        return None, None
    return metrics.ratio_interval(ours.objective[both], base.objective[both])


@dataclass(frozen=True)
class Reference:
    """What the draws of a row are held against.

    Attributes:
        value: upper bounds or the best known objectives, `[draw]`.
        kind: which of them.
        feasible: draws whose minimum rates can all be met, `[draw]`.
    """

    value: Tensor
    kind: BoundKind
    feasible: Tensor


def row(
    setting: str,
    name: str,
    kind: Kind,
    scores: Scores,
    against: Reference,
    timed_us: tuple[float, float],
    published: float | None = None,
) -> Row:
    """A row of the feasible draws; those that are not are counted.

    Raises:
        ValueError: if a feasible objective is above its certified bound.
    """
    count = len(scores.objective)
    feasible = against.feasible[:count]
    kept, value = scores.on(feasible), against.value[:count][feasible].double()
    where, number = f"{PROBLEM.name}, {setting}, {name}", feasible.nonzero()[:, 0]
    bound = Bound(value, against.kind, 0.0) if against.kind != "none" else None
    valid = kept.met & comparable(bound, kept.objective, kept.violation, where, number)
    objective, interval = metrics.mean_interval(kept.objective)
    optimality, optimality_interval = metrics.optimality(kept.objective, value, valid)
    return Row(
        problem=PROBLEM.name,
        setting=setting,
        allocator=name,
        kind=kind,
        objective=objective,
        objective_ci95=interval,
        bound=value.mean().item(),
        bound_kind=against.kind,
        optimality=optimality,
        optimality_ci95=optimality_interval,
        violation_max=kept.violation.max().item(),
        violation_rate=(~kept.met).double().mean().item(),
        served_fraction=kept.served.mean().item(),
        p50_us=timed_us[0],
        p99_us=timed_us[1],
        instances=count,
        infeasible=int((~feasible).sum()),
        left_out=int((~feasible).sum()),
        published=published,
    )
