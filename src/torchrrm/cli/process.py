"""The process around a command: signals that stop it, and what it says while kernels are compiled."""

import _thread
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from torchrrm.files import printable
from torchrrm.kernels.progress import compilation_reported

__all__ = ["Stop", "compilation_shown", "stop_in", "stoppable"]

_AGAIN_S = 0.05
_COMPILING = "compiling kernels, once after an installation (`torchrrm warm` does it ahead)"


class Stop(KeyboardInterrupt):
    """A signal that stops a command as Ctrl-C does.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def stop_in(error: BaseException | None) -> int | None:
    """Return the number of the signal that an error is or came of, if any.

    Compiled code may turn an interrupt into another error.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error.number if isinstance(error, Stop) else signal.SIGINT
        error = error.__cause__
    return None


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Raise `Stop` on SIGTERM, and neither lose nor report twice a signal that meets compiled code.

    A callback of compiled code would report and forget an interrupt: it comes again soon after. Handlers must set the
    event; afterwards, what an interrupt left half made may complain when it is collected, which is not passed on.
    """
    before, stopped, timers = sys.unraisablehook, threading.Event(), []

    def hook(unraisable: Any) -> None:
        if stopped.is_set():
            return
        number = stop_in(unraisable.exc_value)
        if number is None and issubclass(unraisable.exc_type, KeyboardInterrupt):
            number = signal.SIGINT
        if number is None:
            before(unraisable)
            return
        timers.append(threading.Timer(_AGAIN_S, _thread.interrupt_main, (number,)))
        timers[-1].start()

    sys.unraisablehook = hook
    try:
        with _terminations_raised():
            yield stopped
    finally:
        for timer in timers:
            timer.cancel()
        sys.unraisablehook = before


@contextmanager
def _terminations_raised() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stop(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def compilation_shown(screen: TextIO) -> Iterator[None]:
    """Show the progress of compilation on one line that is erased at the end; write a single line if not a terminal.

    Warnings about the cache of compiled code take one line each.
    """
    line = _Line(screen)
    with compilation_reported(line), warnings.catch_warnings():
        show = warnings.showwarning

        def show_in_one_line(
            message: Warning | str, category: type[Warning], *where: Any, **more: Any
        ) -> None:
            if category.__name__ == "CacheWarning":
                screen.write(f"note: {printable(str(message))}\n")
            else:
                show(message, category, *where, **more)

        warnings.showwarning = show_in_one_line
        yield


class _Line:
    """Progress of compilation on a screen."""

    def __init__(self, screen: TextIO):
        self._screen, self._moving = screen, screen.isatty()
        self._kernels, self._began = 0, 0.0

    def __call__(self, kernel: str | None) -> None:
        if self._kernels == 0:
            self._began = time.perf_counter()
            self._screen.write(_COMPILING + "\n")
        self._kernels += kernel is not None
        if self._moving:
            seconds = time.perf_counter() - self._began
            text = "" if kernel is None else f"{self._kernels} in {seconds:.0f} s: {kernel}"
            self._screen.write(f"\r\x1b[K{text[:79]}")
        self._screen.flush()
