"""Independent pieces of a recipe's work, each kept on disk: a stopped recipe goes on where it was."""

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from torchrrm.policies.weights import WeightsError, read_tensors, write_tensors

__all__ = ["Job", "Start", "Workers", "run_jobs"]


class Job(Protocol):
    """A piece of work: a picklable value whose `name` tells it from the others and whose `repr` says what it is."""

    @property
    def name(self) -> str: ...
    def __call__(self) -> dict[str, Tensor]: ...


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Workers:
    """Who does the work and where results are kept.

    Attributes:
        folder: one safetensors file a finished job; a file of another job of that name is done anew.
        processes: worker processes, each of one thread; 0 works in this one.
        progress: show a progress bar, if standard error is a terminal.
    """

    folder: Path
    processes: int = 2
    progress: bool = True


@dataclass(frozen=True)
class Start:
    """Parameters by value, so that they travel to a worker; told apart by the job that made them."""

    origin: str
    parameters: dict[str, Tensor]

    def __repr__(self) -> str:
        return f"Start({self.origin})"

    def __hash__(self) -> int:
        return hash(self.origin)


def _one_thread() -> None:
    import numba

    numba.set_num_threads(1)
    torch.set_num_threads(1)


def _kept(path: Path, job: Job) -> dict[str, Tensor] | None:
    """The result in a file, if it is one of this very job."""
    if not path.exists():
        return None
    try:
        tensors, header = read_tensors(path)
    except WeightsError:
        return None
    return tensors if header.get("job") == repr(job) else None


def _work(job: Job, path: Path) -> dict[str, Tensor]:
    result = job()
    write_tensors(path, result, {"job": repr(job)})
    return result


def _results(todo: Sequence[tuple[J, Path]], processes: int) -> Iterator[tuple[J, dict[str, Tensor]]]:
    """Jobs and results as they end."""
    if processes == 0:
        for job, path in todo:
            yield job, _work(job, path)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_one_thread) as pool:
        waiting = {pool.submit(_work, job, path): job for job, path in todo}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_jobs(title: str, jobs: Sequence[J], workers: Workers) -> dict[J, dict[str, Tensor]]:
    """Result of each job, from its file if it was finished before.

    Args:
        title: of the progress bar.
        jobs: of different names.
        workers: who works, and where results are kept.
    """
    workers.folder.mkdir(parents=True, exist_ok=True)
    paths = {job: workers.folder / f"{job.name}.safetensors" for job in jobs}
    done = {job: kept for job in jobs if (kept := _kept(paths[job], job)) is not None}
    todo = [(job, paths[job]) for job in jobs if job not in done]
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    hidden = not workers.progress or not sys.stderr.isatty()
    with Progress(*columns, transient=True, disable=hidden) as progress:
        bar = progress.add_task(title, total=len(jobs), completed=len(done))
        for job, result in _results(todo, workers.processes):
            done[job] = result
            progress.advance(bar)
    return {job: done[job] for job in jobs}
