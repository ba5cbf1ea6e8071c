"""What is compared, the jobs of it, and the rows of their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchrrm import bench
from torchrrm.bench import Bound, Judged, Row
from torchrrm.recipes.benchmark.kept import assessment_of, bound_of
from torchrrm.recipes.benchmark.settings import LATENCY, Scale
from torchrrm.recipes.benchmark.work import Assessed, Held, Of, Timed
from torchrrm.recipes.jobs import Job, Workers, run_jobs
from torchrrm.setups import workbench
from torchrrm.setups.registry import CASES
from torchrrm.setups.workbench import Case

__all__ = ["Compared", "allocators_of", "chosen", "compared", "rows_of"]


@dataclass(frozen=True)
class Compared:
    """A case and who is compared on it."""

    of: Of
    case: Case[Any, Any]
    allocators: tuple[str, ...]

    @property
    def held(self) -> Held:
        """The job that finds what they are held against."""
        references = self.case.setup.references()
        return Held(self.of, tuple(name for name in references if name not in self.allocators))


def chosen(problems: Sequence[str]) -> list[Case[Any, Any]]:
    """The cases of these problems, or of all if none is named.

    Raises:
        ValueError: if there is no problem of such a name.
    """
    known = list(dict.fromkeys(case.setup.name for case in CASES))
    for name in problems:
        workbench.find("problems", name, dict.fromkeys(known))
    return [case for case in CASES if case.setup.name in (problems or known)]


def allocators_of(case: Case[Any, Any]) -> tuple[str, ...]:
    """Names of all solvers, and of all policies that ship, but for those that the case leaves out."""
    names = [*case.setup.solvers, *workbench.serving_policies(case.setup)]
    return tuple(name for name in names if name not in case.left_out)


def compared(cases: Sequence[Case[Any, Any]], scale: Scale, seed: int) -> list[Compared]:
    """What is compared on so many instances as the scale takes."""
    found = []
    for case in cases:
        of = Of(bench.label_of(case.setup.problem), case.setting, case.instances[scale], seed)
        found.append(Compared(of, case, allocators_of(case)))
    return found


def rows_of(wanted: Sequence[Compared], scale: Scale, workers: Workers) -> list[Row]:
    """All rows, the best of each case first.

    Calls are timed in one process with no other beside it, when all else is done.
    """
    jobs: list[Job] = []
    for one in wanted:
        jobs += [one.held, *(Assessed(one.of, name) for name in one.allocators)]
    found: dict[Job, dict[str, Tensor]] = dict(run_jobs("comparing", jobs, workers))
    calls = [Timed(one.of, name, LATENCY[scale]) for one in wanted for name in one.allocators]
    alone = Workers(workers.folder, min(workers.processes, 1), workers.progress)
    found |= run_jobs("timing", calls, alone)
    return [row for one in wanted for row in _rows(one, found, scale)]


def _rows(one: Compared, found: Mapping[Job, Mapping[str, Tensor]], scale: Scale) -> list[Row]:
    held = found[one.held]
    infeasible = int(held["infeasible"]) if "infeasible" in held else None
    assessments = {}
    for name in one.allocators:
        taken_us = found[Timed(one.of, name, LATENCY[scale])]["p50 and p99 in us"].tolist()
        assessments[name] = assessment_of(found[Assessed(one.of, name)], *taken_us)
    bound = bound_of(held)
    if bound is None or bound.kind == "best known":
        bound = _better(bound, bench.best_of(assessments.values()))
    on = Judged(None, held["kept"], infeasible)
    case = one.case
    rows = bench.rows_of(one.of.problem, case.setting, on, assessments, bound=bound, published=case.published)
    return sorted(
        rows, key=lambda row: -torch.inf if row.optimality is None else row.optimality, reverse=True
    )


def _better(reference: Bound | None, reached: Bound | None) -> Bound | None:
    """The larger of two best known values in each instance."""
    if reference is None or reached is None:
        return reference or reached
    return Bound(torch.maximum(reference.value, reached.value), "best known", 0.0)
