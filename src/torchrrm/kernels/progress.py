"""Reports of compilation: which kernel is compiled now.

Imports no Numba, so that a program can listen before it is loaded.
"""

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["Listener", "compilation_reported", "report_begin", "report_end"]

Listener = Callable[[str | None], None]
"""Called with the name of a kernel when its compilation begins, and with `None` when nothing is compiled any more."""

_listeners: list[Listener] = []
_open: list[str] = []  # a kernel's compilation begins that of those which it calls


@contextlib.contextmanager
def compilation_reported(listener: Listener) -> Iterator[None]:
    """Report compilation in this process to `listener` within a `with` block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def report_begin(kernel: str) -> None:
    """Report that the compilation of a kernel begins."""
    _open.append(kernel)
    for listener in _listeners:
        listener(kernel)


def report_end(kernel: str) -> None:
    """Report that a kernel is compiled, or could not be, with all that it calls."""
    if kernel in _open:
        del _open[_open.index(kernel) :]
    if not _open:
        for listener in _listeners:
            listener(None)
