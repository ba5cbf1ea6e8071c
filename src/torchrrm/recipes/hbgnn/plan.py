"""What is trained, which networks are compared on what, and the rows of all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchrrm.bench import Row
from torchrrm.recipes.hbgnn.allocators import solvers
from torchrrm.recipes.hbgnn.cases import PAPER, Case, munich_cases
from torchrrm.recipes.hbgnn.convergence import Converging, convergence_jobs
from torchrrm.recipes.hbgnn.front import case_rows, latencies
from torchrrm.recipes.hbgnn.judging import Asked, CaseResult
from torchrrm.recipes.hbgnn.labels import label_set
from torchrrm.recipes.hbgnn.learned import learned
from torchrrm.recipes.hbgnn.settings import HbgnnSettings
from torchrrm.recipes.hbgnn.tables import Latencies
from torchrrm.recipes.hbgnn.training import GrlTraining
from torchrrm.recipes.jobs import Job, Start, Workers, run_jobs

__all__ = ["Trained", "asked", "rows", "station_cases", "timings", "train", "user_cases"]

Found = Mapping[Case, CaseResult]


@dataclass(frozen=True)
class Trained:
    """What training gave: parameters of the network, and how all networks learned."""

    start: Start
    converging: Mapping[Converging, Mapping[str, Tensor]]


def train(settings: HbgnnSettings, workers: Workers, seed: int) -> Trained:
    """Everything that learns, the longest first."""
    network = GrlTraining(seed, settings.training)
    labels = workers.folder / "labels"
    label_set(settings.convergence.labels, replace(workers, folder=labels))
    converging = convergence_jobs(settings, seed, labels)
    jobs: list[Job] = [network, *converging]
    results = run_jobs("training", jobs, workers)
    start = Start(network.name, results[network])
    return Trained(start, {job: results[job] for job in converging})


def user_cases(settings: HbgnnSettings) -> list[Case]:
    """Of Fig. 11: other numbers of users."""
    return [Case(users=users) for users in settings.users]


def station_cases(settings: HbgnnSettings) -> list[Case]:
    """Of Fig. 12: other numbers of stations."""
    return [Case(stations=stations) for stations in settings.stations]


def asked(settings: HbgnnSettings, start: Start) -> list[Asked]:
    """All kinds of networks, each once, those of the tables first."""
    common = {"start": start, "specialise": settings.specialise}
    wanted = [Asked(PAPER, settings.drops, longest_s=settings.longest_s, **common)]
    wanted += [
        Asked(case, settings.munich_drops, longest_s=settings.longest_s, **common) for case in munich_cases()
    ]
    named = {one.case for one in wanted}
    densities = dict.fromkeys([*user_cases(settings), *station_cases(settings)])
    return wanted + [
        Asked(case, settings.density_drops, classical=False, longest_s=settings.density_s, **common)
        for case in densities
        if case not in named
    ]


def timings(found: Found, settings: HbgnnSettings, start: Start) -> dict[Case, Latencies]:
    """Latencies of single calls on the networks of the tables; those of long searches are of their jobs."""
    timed = {}
    for case in (PAPER, *munich_cases()):
        result = found[case]
        own = latencies(result.instance, solvers() | learned(start), settings)
        own |= {name: _of_jobs(result, name) for name in result.names if f"seconds.{name}" in result.made}
        timed[case] = {name: own[name] for name in result.names}
    return timed


def _of_jobs(result: CaseResult, name: str) -> tuple[float, float]:
    taken_us = 1e6 * result.seconds(name)
    quantiles = taken_us.quantile(torch.tensor([0.5, 0.99], dtype=taken_us.dtype))
    return quantiles[0].item(), quantiles[1].item()


def rows(found: Found, timed: Mapping[Case, Latencies]) -> list[Row]:
    """Result rows of the paper's square and of Munich."""
    return [row for case, latency in timed.items() for row in case_rows(case, found[case], latency)]
