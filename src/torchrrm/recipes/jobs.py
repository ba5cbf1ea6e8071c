"""Independent pieces of a recipe's work, each kept on disk: a stopped recipe goes on where it was.

The result of a finished job is a file. The trainings of an unfinished one keep checkpoints, see `quiet_run`.
"""

import contextlib
import hashlib
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import wait
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

from torchrrm.kernels import set_threads
from torchrrm.learning import RunSettings
from torchrrm.policies.weights import WeightsError, read_tensors, write_tensors

__all__ = ["Job", "Start", "Workers", "quiet_run", "run_jobs"]


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


_checkpoints: ContextVar[Iterator[Path] | None] = ContextVar("checkpoints", default=None)


def quiet_run(**options: Any) -> RunSettings:
    """Return the settings of a training without a progress bar, which keeps a checkpoint if it is part of a job.

    A stopped job starts again, and its trainings continue from their checkpoints. A checkpoint belongs to the n-th
    training of a job, so a job must run its trainings in a fixed order.

    Args:
        options: of `RunSettings`, such as `history`.
    """
    checkpoints = _checkpoints.get()
    checkpoint = None if checkpoints is None else next(checkpoints)
    return RunSettings(progress=False, checkpoint=checkpoint, **options)


@contextlib.contextmanager
def _checkpoints_in(folder: Path) -> Iterator[None]:
    """Keep checkpoints of the trainings within the block; the folder is removed if it ends well."""
    folder.mkdir(exist_ok=True)
    token = _checkpoints.set(folder / f"{number}.safetensors" for number in itertools.count())
    try:
        yield
    finally:
        _checkpoints.reset(token)
    shutil.rmtree(folder)


def _begin_worker() -> None:
    """Work on one thread, leave interrupts to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_threads(1)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _kept(path: Path, job: Job) -> dict[str, Tensor] | None:
    """The result in a file, if it is one of this very job."""
    if not path.exists():
        return None
    try:
        tensors, header = read_tensors(path)
    except WeightsError:
        return None
    return tensors if header.get("job") == repr(job) else None


def _work(job: Job, path: Path) -> None:
    digest = hashlib.sha256(repr(job).encode()).hexdigest()[:16]
    with _checkpoints_in(path.with_suffix(f".{digest}.unfinished")):
        result = job()
        write_tensors(path, result, {"job": repr(job)})


def _finished(todo: Sequence[tuple[J, Path]], processes: int) -> Iterator[J]:
    """Jobs as they end."""
    if processes == 0:
        for job, path in todo:
            _work(job, path)
            yield job
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_begin_worker) as pool:
        with _interrupts_ignored():
            waiting = {pool.submit(_work, job, path): job for job, path in todo}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        except Exception:  # of a job: those that others work on are finished, and kept
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            _stop(pool)
            raise


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C while processes are started: they ignore it too, from their first instruction on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers at once; what they have not finished goes on from checkpoints the next time."""
    processes = list(pool._processes.values())  # Python 3.14 has a method for this
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


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
        for job in _finished(todo, workers.processes):
            # Read back, so that a recipe sees the same, in the same order, whether it was stopped or not.
            done[job] = read_tensors(paths[job])[0]
            progress.advance(bar)
    return {job: done[job] for job in jobs}
