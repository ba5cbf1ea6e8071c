"""The jobs of the benchmark: what is certified of a case, what an allocator does on it, and how long a call takes.

A case is found by its names in `torchrrm.setups.registry`; its instances come from them, the seed and their number
alone, so that all jobs of a case meet the same ones.
"""

import functools
import re
import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchrrm import bench
from torchrrm.bench import Judged, Latency
from torchrrm.problems import Allocator
from torchrrm.recipes.benchmark.kept import tensors_of, tensors_of_bound
from torchrrm.recipes.benchmark.settings import REPORT
from torchrrm.setups import workbench
from torchrrm.setups.registry import CASES
from torchrrm.setups.workbench import Case

__all__ = ["Assessed", "Held", "Of", "Timed", "find_case"]

_STREAMS = 1_000_000_000  # torch's generator takes no notice of more than 32 bits


@dataclass(frozen=True)
class Of:
    """Instances of a case.

    Attributes:
        problem: what tables call it.
        setting: of the case.
        instances: how many.
        seed: of the run.
    """

    problem: str
    setting: str
    instances: int
    seed: int

    @property
    def name(self) -> str:
        """In files."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.problem}-{self.setting}".lower()).strip("-")


def find_case(of: Of) -> Case[Any, Any]:
    """The case of these names."""
    named = {(bench.label_of(case.setup.problem), case.setting): case for case in CASES}
    return named[of.problem, of.setting]


@functools.lru_cache(maxsize=2)  # jobs of a case follow each other
def judged(of: Of) -> Judged:
    """The instances, the same whoever asks."""
    case = find_case(of)
    stream = zlib.crc32(f"{of.seed} {of.name}".encode()) % _STREAMS
    generator = torch.Generator().manual_seed(REPORT + stream)
    drawn = case.task().sample(of.instances, generator=generator)
    return bench.judged(case.setup.problem, case.setup.validate(drawn))


def _allocator(of: Of, name: str) -> Allocator[Any, Any]:
    return workbench.find_allocator(name, find_case(of).setup)


@dataclass(frozen=True)
class Held:
    """What objectives are held against, apart from those of the allocators that are compared.

    Attributes:
        references: of the setup, those that are not compared anyway.
    """

    of: Of
    references: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.of.name}--bound"

    def __call__(self) -> dict[str, Tensor]:
        setup, on = find_case(self.of).setup, judged(self.of)
        bound = setup.certify(on.instances)
        if bound is None and self.references:
            solvers = [setup.references()[name] for name in self.references]
            bound = bench.best_of(workbench.assess(setup, on, solver) for solver in solvers)
        known = on.infeasible is not None
        counted = {"infeasible": torch.tensor(on.infeasible)} if known else {}
        return {"kept": on.kept, **counted, **tensors_of_bound(bound)}


@dataclass(frozen=True)
class Assessed:
    """What an allocator does."""

    of: Of
    allocator: str

    @property
    def name(self) -> str:
        return f"{self.of.name}--{self.allocator}"

    def __call__(self) -> dict[str, Tensor]:
        setup = find_case(self.of).setup
        return tensors_of(workbench.assess(setup, judged(self.of), _allocator(self.of, self.allocator)))


@dataclass(frozen=True)
class Timed:
    """How long single calls of an allocator take."""

    of: Of
    allocator: str
    how: Latency

    @property
    def name(self) -> str:
        return f"{self.of.name}--{self.allocator}--latency"

    def __call__(self) -> dict[str, Tensor]:
        taken = bench.timed(_allocator(self.of, self.allocator), judged(self.of).drawn, self.how)
        return {"p50 and p99 in us": torch.tensor(taken, dtype=torch.float64)}
