"""Batches over threads: a kernel that releases the interpreter's lock works on ranges of rows.

The threads are those of a pool which each process makes when it first needs one. A forked child makes its own, so
kernels can be called before and after a `fork`, in workers of a `DataLoader`, and from many threads at once. Rows are
independent of each other: results do not depend on the number of threads.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from time import perf_counter
from typing import Any

__all__ = ["get_threads", "max_threads", "over_rows", "require_threads", "set_threads", "use_threads"]

_CHUNKS_PER_THREAD = 8  # rows differ in cost: small enough to even them out, large enough to amortise a call
_WORTHWHILE_S = 1e-4  # a batch of less work than this is done before a second thread has woken up


def max_threads() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _initial_threads() -> int:
    """Return `OMP_NUM_THREADS`, which torch and BLAS read too, or else the number of processors."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(first), max_threads()) if first.isdecimal() and int(first) > 0 else max_threads()


class _Pool:
    """State of this process: its number of threads, its executor, and the cost of each kernel's rows so far."""

    def __init__(self, threads: int):
        self.threads = threads
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None
        self.seconds_per_row: dict[Any, float] = {}  # decides who does the work, never what comes out

    def submit(self, work: Callable[[], None]) -> Future[None]:
        with self.lock:
            if self.executor is None:
                self.executor = ThreadPoolExecutor(max_threads(), "torchrrm-rows")
        return self.executor.submit(work)


_pool = _Pool(_initial_threads())
_threads: ContextVar[int | None] = ContextVar("torchrrm_threads", default=None)


def _forget_pool() -> None:
    """Start a forked child without the threads of its parent, which it does not have."""
    global _pool
    _pool = _Pool(_pool.threads)


os.register_at_fork(after_in_child=_forget_pool)


def require_threads(threads: int) -> int:
    """Return a number of threads that this machine has.

    Raises:
        ValueError: if it is below 1 or above the number of processors.
    """
    if not 1 <= threads <= max_threads():
        raise ValueError(f"threads: must be 1 to {max_threads()} on this machine, received {threads}")
    return threads


def get_threads() -> int:
    """Return the number of threads that a batch is split over here."""
    local = _threads.get()
    return _pool.threads if local is None else local


def set_threads(threads: int) -> None:
    """Split the batches of this process over so many threads; torch's own number is left alone.

    Raises:
        ValueError: see `require_threads`.
    """
    _pool.threads = require_threads(threads)


@contextlib.contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Split batches over so many threads within a `with` block of this thread or task.

    Raises:
        ValueError: see `require_threads`.
    """
    token = _threads.set(require_threads(threads))
    try:
        yield
    finally:
        _threads.reset(token)


def over_rows(kernel: Any, rows: int, *arguments: Any) -> None:
    """Call `kernel(first, last, *arguments)` for ranges that cover `rows`, from up to `get_threads()` threads.

    Args:
        kernel: compiled, releases the lock, and writes its results into arrays among its arguments, each row by itself.
        rows: their number; 0 is none to do.
        arguments: of the kernel, after the range.
    """
    threads = min(get_threads(), rows)
    if threads > 1 and _pool.seconds_per_row.get(kernel, 1.0) * rows > _WORTHWHILE_S:
        begin = perf_counter()
        _share(kernel, rows, threads, arguments)
        _pool.seconds_per_row[kernel] = (perf_counter() - begin) * threads / rows
    elif rows > 0:
        begin = perf_counter()
        kernel(0, rows, *arguments)
        _pool.seconds_per_row[kernel] = (perf_counter() - begin) / rows


def _share(kernel: Any, rows: int, threads: int, arguments: tuple[Any, ...]) -> None:
    """Let this thread and others take ranges until none is left."""
    size = max(1, rows // (threads * _CHUNKS_PER_THREAD))
    starts = iter(range(0, rows, size))  # `next` holds the interpreter's lock: no range is taken twice

    def work() -> None:
        for first in starts:
            kernel(first, min(first + size, rows), *arguments)

    helpers: list[Future[None]] = []
    try:
        # No thread to be had, because of a limit or at the interpreter's end: this one does the work alone.
        with contextlib.suppress(RuntimeError):
            helpers.extend(_pool.submit(work) for _ in range(threads - 1))
        work()
    finally:
        for _ in starts:  # after an error or Ctrl-C nothing more is begun
            pass
        for helper in helpers:
            if not helper.cancel():
                helper.result()
