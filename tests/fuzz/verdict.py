"""What may come of an input: success, or an error of one line; all else is a fault."""

import contextlib
import io
import os
import resource
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torchrrm import cli

LIMIT_S = 60.0
"""Longest that an input of these sizes may take, on a machine that others use too."""

READ_LIMIT_GB = "0.1"
"""Limit of what reading a file may take, for readers of inputs."""
LIMIT_BYTES, COMMAND_LIMIT_BYTES = 250e6, 1.5e9
"""Most resident memory that an input may take: twice what reading may, and libraries at their first use."""


class FaultError(AssertionError):
    """What an input must never do."""


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What the call returns, or its error if it is a ValueError of one line.

    Raises:
        FaultError: if it warns, takes long or much memory, or raises an error of many lines; other errors pass.
    """
    with _watched(LIMIT_BYTES):
        try:
            return call(*arguments, **named)
        except ValueError as error:
            message = str(error)
            if len(message.splitlines()) != 1:
                raise FaultError(f"message of {len(message.splitlines())} lines: {message!r:.200}") from error
            return error


def commanded(arguments: Sequence[str], folder: Path) -> int:
    """Exit code of a command in this process; `folder` is where it was told to write.

    Raises:
        FaultError: for another exit code than 0 or 2, more than a line of error, a traceback, a warning, a stray file,
            or much time or memory.
    """
    out, heard = _terminal(), _terminal()
    with _watched(COMMAND_LIMIT_BYTES), contextlib.redirect_stdout(out), contextlib.redirect_stderr(heard):
        usage = False
        try:
            code = cli.run(arguments)
        except SystemExit as stop:
            code, usage = stop.code, True  # the parser's own, with a box that tells the options
    told = _text(heard)
    if code not in (0, 2) or "Traceback" in told:
        raise FaultError(f"exit code {code}: {told:.300}")
    if code == 2 and not usage and len(told.splitlines()) != 1:
        raise FaultError(f"error of {len(told.splitlines())} lines: {told!r:.300}")
    stray = [path.name for path in folder.rglob(".*")]
    if stray:
        raise FaultError(f"stray files: {stray}")
    return int(code)


def kind_of(error: BaseException) -> str:
    """What tells one fault from another: its class, and where it was raised."""
    cause = error.__cause__ if isinstance(error, FaultError) and error.__cause__ is not None else error
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if "torchrrm" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
    what = f"{error!s:.40}" if isinstance(error, FaultError) else ""
    return f"{type(error).__name__} {place} {what}".strip()


@contextlib.contextmanager
def _watched(limit_bytes: float) -> Iterator[None]:
    begin, before = time.perf_counter(), _resident_bytes()
    _reset_peak()
    with warnings.catch_warnings(record=True) as heard, _read_limit(READ_LIMIT_GB):
        warnings.simplefilter("always")
        yield
    taken = _peak_bytes() - before
    if heard:
        where = f"{Path(heard[0].filename).name}:{heard[0].lineno}"
        raise FaultError(f"warned at {where}: {heard[0].message!s:.200}")
    if time.perf_counter() - begin > LIMIT_S:
        raise FaultError(f"took {time.perf_counter() - begin:.0f} s")
    if taken > limit_bytes:
        raise FaultError(f"took {taken / 1e6:.0f} MB of memory")


@contextlib.contextmanager
def _read_limit(limit_gb: str) -> Iterator[None]:
    before = os.environ.get("TORCHRRM_MAX_READ_GB")
    os.environ["TORCHRRM_MAX_READ_GB"] = limit_gb
    try:
        yield
    finally:
        if before is None:
            del os.environ["TORCHRRM_MAX_READ_GB"]
        else:
            os.environ["TORCHRRM_MAX_READ_GB"] = before


def _resident_bytes() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * resource.getpagesize())


def _reset_peak() -> None:
    """Let the peak of the resident memory begin now; where that cannot be, only higher peaks are seen."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_bytes() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return 1024.0 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def _terminal() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8", "replace")  # pyright: ignore[reportAttributeAccessIssue]
