"""The jobs that compare on the drops of a case: all at once, with a time limit, and specialised drop by drop."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm import records
from torchrrm.learning.specialisation import SpecialiseSettings
from torchrrm.problems import CellInstance
from torchrrm.recipes.hbgnn.allocators import LONGEST, CellAllocator, in_order, solvers
from torchrrm.recipes.hbgnn.cases import Case, drops_of
from torchrrm.recipes.hbgnn.learned import learned, specialised
from torchrrm.recipes.hbgnn.scoring import Judged, judged, kept
from torchrrm.recipes.jobs import Job, Start, Workers, run_jobs
from torchrrm.solvers import HungarianWMMSE

__all__ = ["Asked", "CaseResult", "judge"]

_CHUNK = 5  # drops of a job that takes seconds for each


@dataclass(frozen=True)
class Asked:
    """What is to be compared on a case.

    Attributes:
        drops: of all.
        start: parameters of the network.
        classical: run the paper's baselines.
        longest_s: time limit of the search that others are held against; 0 leaves it out.
        specialise: how; None leaves it out.
    """

    case: Case
    drops: int
    start: Start
    classical: bool = True
    longest_s: float = 20.0
    specialise: SpecialiseSettings | None = None


@dataclass(frozen=True)
class Compared:
    """All that takes little time, on the drops of a case."""

    case: Case
    drops: int
    start: Start
    classical: bool

    @property
    def name(self) -> str:
        return f"compared-{self.case.name}"

    def __call__(self) -> dict[str, Tensor]:
        instance = drops_of(self.case, self.drops)
        allocators = (solvers() if self.classical else {}) | learned(self.start)
        made: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, allocator in allocators.items():
                made |= kept(name, allocator(instance))
        return made


@dataclass(frozen=True)
class Part:
    """Some of the drops of a case."""

    case: Case
    first: int
    count: int

    @property
    def label(self) -> str:
        return f"{self.case.name}-{self.first}"

    def drops(self) -> list[CellInstance]:
        """One by one."""
        drawn = drops_of(self.case, self.first + self.count)
        return [records.index(drawn, i) for i in range(self.first, self.first + self.count)]


@dataclass(frozen=True)
class Searched:
    """`HungarianWMMSE` with a time limit a drop."""

    part: Part
    limit_s: float

    @property
    def name(self) -> str:
        return f"searched-{self.part.label}"

    def __call__(self) -> dict[str, Tensor]:
        return _one_by_one(LONGEST, HungarianWMMSE(time_limit_s=self.limit_s), self.part)


@dataclass(frozen=True)
class Specialised:
    """SRL on each drop, from the same weights."""

    part: Part
    start: Start
    how: SpecialiseSettings

    @property
    def name(self) -> str:
        return f"specialised-{self.part.label}"

    def __call__(self) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        for name, allocator in specialised(self.start, self.how).items():
            made |= _one_by_one(name, allocator, self.part)
        return made


def _one_by_one(name: str, allocator: CellAllocator, part: Part) -> dict[str, Tensor]:
    """Actions on the drops of a part, and what each took."""
    actions, taken_s = [], []
    for drop in part.drops():
        before = time.perf_counter()
        actions.append(allocator(drop))
        taken_s.append(time.perf_counter() - before)
    seconds = torch.tensor(taken_s, dtype=torch.float64)
    return kept(name, records.stack(actions)) | {f"seconds.{name}": seconds}


@dataclass(frozen=True)
class CaseResult:
    """What all jobs of a case found."""

    instance: CellInstance
    made: Mapping[str, Tensor]
    judged: Mapping[str, Judged]

    @property
    def names(self) -> list[str]:
        """The allocators, in the order of tables."""
        return in_order(self.judged)

    @property
    def best(self) -> Tensor:
        """The best known objective of each drop."""
        return torch.stack([one.objective for one in self.judged.values()]).amax(0)

    def seconds(self, name: str) -> Tensor:
        """What each drop took, of those that were run one by one."""
        return self.made[f"seconds.{name}"]


def _parts(one: Asked) -> list[Part]:
    return [Part(one.case, first, min(_CHUNK, one.drops - first)) for first in range(0, one.drops, _CHUNK)]


def _jobs(one: Asked) -> list[Job]:
    jobs: list[Job] = [Compared(one.case, one.drops, one.start, one.classical)]
    jobs += [Searched(part, one.longest_s) for part in _parts(one) if one.longest_s > 0]
    if one.specialise is not None:
        jobs += [Specialised(part, one.start, one.specialise) for part in _parts(one)]
    return jobs


def judge(title: str, asked: Sequence[Asked], workers: Workers) -> dict[Case, CaseResult]:
    """The jobs of all cases, and what they found by case."""
    jobs = {job: one.case for one in asked for job in _jobs(one)}
    found: dict[Case, dict[str, Tensor]] = {one.case: {} for one in asked}
    for job, made in run_jobs(title, list(jobs), workers).items():
        mine = found[jobs[job]]
        for name, value in made.items():  # the parts of a case come in order
            mine[name] = torch.cat([mine[name], value]) if name in mine else value
    results = {}
    for one in asked:
        instance = drops_of(one.case, one.drops)
        results[one.case] = CaseResult(
            instance, found[one.case], judged(records.to(instance, dtype=torch.float64), found[one.case])
        )
    return results
