"""What allocators reach on the drops of a case: actions, and all that follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from torchrrm.bench import Row, metrics
from torchrrm.bench.results import Measure
from torchrrm.problems import (
    AssociationAction,
    CellInstance,
    ProportionalFairAssociation,
    SumRateAssociation,
)
from torchrrm.problems.association import in_reach, jain_index, low_rate, served_users
from torchrrm.recipes.hbgnn.allocators import kind_of_name

__all__ = ["PROBLEM", "Judged", "judged", "kept", "row"]

PROBLEM = SumRateAssociation()
_FAIR = ProportionalFairAssociation()


@dataclass(frozen=True)
class Judged:
    """An allocator's actions on the drops of a case."""

    instance: CellInstance
    action: AssociationAction

    @cached_property
    def rate(self) -> Tensor:
        """Of each user in bit/s/Hz, `[drop user]`."""
        return PROBLEM.rate(self.instance, self.action)

    @cached_property
    def objective(self) -> Tensor:
        """Sum of rates in bit/s/Hz, `[drop]`."""
        return self.rate.sum(-1)

    @cached_property
    def violation(self) -> Tensor:
        """Largest of any constraint, `[drop]`; 0 is none."""
        told = PROBLEM.evaluate(self.instance, self.action).violation.values()
        return torch.stack([value.amax(-1) for value in told]).amax(0).clamp_min(0.0).abs()  # of -0, too

    @cached_property
    def measures(self) -> dict[str, Tensor]:
        """What a sum hides, `[drop]` each."""
        users = self.instance.active_user
        return {
            "served users": served_users(self.rate, users),
            "5th percentile / (bit/s/Hz)": low_rate(self.rate, users),
            "Jain's index": jain_index(self.rate, users),
            "geometric mean / (bit/s/Hz)": _FAIR.evaluate(self.instance, self.action).objective,
        }

    @property
    def served_fraction(self) -> float:
        """Of the users in reach."""
        reached = in_reach(self.instance)
        return (((self.rate > 0) & reached).sum() / reached.sum().clamp_min(1)).item()


def kept(name: str, action: AssociationAction) -> dict[str, Tensor]:
    """An allocator's actions as a job keeps them."""
    return {f"station.{name}": action.station.to(torch.int32), f"power.{name}": action.power_w.double()}


def judged(instance: CellInstance, made: Mapping[str, Tensor]) -> dict[str, Judged]:
    """What jobs kept, by allocator, on the first drops in double precision."""
    prefix = "station."
    names = [name.removeprefix(prefix) for name in made if name.startswith(prefix)]
    found = {}
    for name in names:
        action = AssociationAction(station=made[prefix + name].long(), power_w=made[f"power.{name}"])
        found[name] = Judged(instance, action)
    return found


def row(
    setting: str,
    name: str,
    mine: Judged,
    best: Tensor,
    timed_us: tuple[float, float],
    published: float | None,
) -> Row:
    """The row of an allocator, held against the best known values."""
    objective, interval = metrics.mean_interval(mine.objective)
    valid = mine.violation <= metrics.VIOLATION_TOLERANCE
    optimality, optimality_interval = metrics.optimality(mine.objective, best, valid)
    return Row(
        problem=PROBLEM.name,
        setting=setting,
        allocator=name,
        kind=kind_of_name(name),
        objective=objective,
        objective_ci95=interval,
        bound=best.mean().item(),
        bound_kind="best known",
        optimality=optimality,
        optimality_ci95=optimality_interval,
        violation_max=mine.violation.max().item(),
        violation_rate=(~valid).double().mean().item(),
        served_fraction=mine.served_fraction,
        p50_us=timed_us[0],
        p99_us=timed_us[1],
        instances=len(mine.objective),
        infeasible=None,
        published=published,
        measures={what: Measure(*metrics.mean_interval(value)) for what, value in mine.measures.items()},
    )
