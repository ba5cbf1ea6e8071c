"""The jobs that compare on the draws of a case: what is compiled or learned, HeBF, and the certified bound."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm import records
from torchrrm.bench import in_double
from torchrrm.policies.usrmnet import LiteralUSRMNet
from torchrrm.recipes.jobs import Job, Start, Workers, run_jobs
from torchrrm.recipes.usrmnet.allocators import HEBF, LITERAL, in_order, solvers
from torchrrm.recipes.usrmnet.cases import Case, draws_of
from torchrrm.recipes.usrmnet.learned import learned, strays
from torchrrm.recipes.usrmnet.scoring import Scores, judged, scored
from torchrrm.solvers.beam_bound import BeamformingBound
from torchrrm.solvers.he_bf import HeBF
from torchrrm.solvers.minimum_power_beamforming import feasible

__all__ = ["BOUND_TOLERANCE", "FEW_USERS", "MOST_BOUNDED", "Asked", "CaseResult", "judge"]

FEW_USERS, MOST_BOUNDED = 6, 8
"""Users up to which bounds are certified in milliseconds, and in seconds, a draw."""
BOUND_TOLERANCE = (1e-4, 1e-3)
"""Relative tolerance of the bounds of few users, and of more."""


@dataclass(frozen=True)
class Asked:
    """What is to be compared on a case.

    Attributes:
        draws: of all that is compiled or learned.
        hebf_draws, bound_draws: the first of them, for what takes longer; 0 leaves it out.
        starts: parameters of what is learned, by its name in tables.
        variants: compare other settings of solvers, too.
        listed: among the result rows, which tell latencies.
    """

    case: Case
    draws: int
    hebf_draws: int = 0
    bound_draws: int = 0
    starts: tuple[tuple[str, Start], ...] = ()
    variants: bool = False
    listed: bool = True


@dataclass(frozen=True)
class Compared:
    """All that is compiled or learned on the draws of a case; which of them are feasible."""

    case: Case
    draws: int
    starts: tuple[tuple[str, Start], ...]
    variants: bool

    @property
    def name(self) -> str:
        return f"compared-{self.case.name}"

    def __call__(self) -> dict[str, Tensor]:
        instance = draws_of(self.case, self.draws)
        allocators = solvers(variants=self.variants) | learned(self.starts, self.case.users)
        made = judged(instance, allocators) | {"feasible": feasible(instance)}
        literal = allocators.get(LITERAL)
        return made | {"strays": strays(literal, instance)} if isinstance(literal, LiteralUSRMNet) else made


@dataclass(frozen=True)
class Programs:
    """HeBF by convex programs on the first draws of a case, and the time that each took."""

    case: Case
    draws: int

    @property
    def name(self) -> str:
        return f"hebf-{self.case.name}"

    def __call__(self) -> dict[str, Tensor]:
        instance, solver = draws_of(self.case, self.draws), HeBF()
        solver(records.index(instance, 0))  # imports, and builds what is kept
        made, taken_s = [], []
        for i in range(self.draws):
            before = time.perf_counter()
            made.append(solver(records.index(instance, i)))
            taken_s.append(time.perf_counter() - before)
        scores = scored(instance, records.stack(made))
        return scores.tensors(HEBF) | {"hebf.seconds": torch.tensor(taken_s, dtype=torch.float64)}


@dataclass(frozen=True)
class Bounded:
    """Certified upper bounds on the first draws of a case, what was reached beside them, and the time."""

    case: Case
    draws: int

    @property
    def name(self) -> str:
        return f"bound-{self.case.name}"

    def __call__(self) -> dict[str, Tensor]:
        instance = draws_of(self.case, self.draws)
        solver = BeamformingBound(tolerance=BOUND_TOLERANCE[self.case.users > FEW_USERS])
        before = time.perf_counter()
        solution = solver.solve(in_double(instance))
        taken_s = time.perf_counter() - before
        if solution.upper_bound is None:
            raise ValueError("bound: must be certified, received none")
        return {"bound": solution.upper_bound, "bound.seconds": torch.tensor(taken_s / self.draws)}


@dataclass(frozen=True)
class CaseResult:
    """What all jobs of a case found."""

    made: Mapping[str, Tensor]

    @property
    def names(self) -> list[str]:
        """The allocators, in the order of tables."""
        return in_order(Scores.names(self.made))

    @property
    def feasible(self) -> Tensor:
        """Draws whose minimum rates can all be met, `[draw]`."""
        return self.made["feasible"]

    def scores(self, name: str) -> Scores:
        """Of an allocator, on the first draws."""
        return Scores.of(self.made, name)

    def on_feasible(self, name: str) -> Scores:
        """Of an allocator, on the feasible ones of the first draws."""
        scores = self.scores(name)
        return scores.on(self.feasible[: len(scores.objective)])

    @property
    def bound(self) -> Tensor | None:
        """Certified upper bounds of the first draws."""
        return self.made.get("bound")

    @property
    def hebf_us(self) -> Tensor:
        """Time of each of HeBF's draws in microseconds."""
        return 1e6 * self.made["hebf.seconds"]


def judge(title: str, asked: Sequence[Asked], workers: Workers) -> dict[Case, CaseResult]:
    """The jobs of all cases, the longest first, and what they found by case."""
    jobs: dict[Job, Case] = {}
    jobs |= {Bounded(one.case, one.bound_draws): one.case for one in asked if one.bound_draws}
    jobs |= {Programs(one.case, one.hebf_draws): one.case for one in asked if one.hebf_draws}
    jobs |= {Compared(one.case, one.draws, one.starts, one.variants): one.case for one in asked}
    found: dict[Case, dict[str, Tensor]] = {one.case: {} for one in asked}
    for job, made in run_jobs(title, list(jobs), workers).items():
        found[jobs[job]] |= made
    return {case: CaseResult(made) for case, made in found.items()}
