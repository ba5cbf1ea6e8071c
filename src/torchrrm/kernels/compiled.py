"""How kernels are compiled, and where compiled code is kept.

Compiled code is kept in files: beside the sources, or, if these cannot be written to, in the user's cache, or in a
private folder for temporary files. The name of a file holds a digest of the kernel's module *and of all that it
imports*, so a changed callee in another file is noticed, which Numba's own index does not do. Files of the same kernel
with another digest are removed. There is no index: processes may compile side by side.
"""

import contextlib
import errno
import functools
import hashlib
import os
import pickle
import re
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import registry
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from torchrrm.files import atomic_write_bytes
from torchrrm.kernels.progress import report_begin, report_end

__all__ = ["CacheWarning", "kernel"]

_OPTIONS = {"error_model": "numpy", "nogil": True}
_AROUND = {"compiled", "progress", "rows"}  # modules that no compiled code depends on
_SOURCES = Path(__file__).resolve().parent
_IMPORT = re.compile(r"^from torchrrm\.kernels(?:\.(\w+))? import (\([^)]*\)|.*)$", re.MULTILINE)


class CacheWarning(RuntimeWarning):
    """Compiled code is not kept beside the sources, or not at all."""


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function of arrays when it is first called; calls release the interpreter's lock.

    Args:
        function: to compile.
        options: of `numba.njit`, such as `fastmath`.
    """
    if function is None:
        return functools.partial(kernel, **options)
    compiled = numba.njit(**_OPTIONS, **options)(function)
    # A function that is inlined always is compiled as a part of others only.
    if isinstance(compiled, registry.CPUDispatcher) and options.get("inline") != "always":
        compiled._cache = _Cache(function)  # pyright: ignore[reportAttributeAccessIssue]
    return compiled


class _Cache(NullCache):
    """Files of one kernel, one for each signature, processor and version of its sources."""

    def __init__(self, function: Callable[..., Any]):
        self._module = function.__module__.rpartition(".")[2]
        self._name = f"{self._module}.{function.__qualname__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or `None` if there is no sound file of it."""
        target_context.refresh()
        name = self._file(sig, target_context.codegen())
        for folder in _folders():
            # A file that cannot be read, or was cut off, is one that is not there: the kernel is compiled again.
            with contextlib.suppress(Exception):
                if _is_safe(folder):
                    return CompileResult._rebuild(target_context, *pickle.loads((folder / name).read_bytes()))
        report_begin(self._name)
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep the compiled function in the first folder that can be written to."""
        report_end(self._name)
        name, content = self._file(sig, cres.codegen), dumps(cres._reduce())
        reasons = []
        for folder in _folders():
            try:
                folder.mkdir(0o700, parents=True, exist_ok=True)
                if not _is_safe(folder):
                    raise PermissionError(errno.EPERM, "others can write to it")
                atomic_write_bytes(folder / name, content)
                self._remove_outdated(folder, name)
            except OSError as error:
                reasons.append(f"{folder}: {error.strerror}")
                continue
            if reasons:
                _say(f"compiled code is kept in {folder} ({'; '.join(reasons)})")
            return
        _say(
            f"compiled code cannot be kept, each process compiles again ({'; '.join(reasons)}); "
            "set NUMBA_CACHE_DIR to a folder that can be written to"
        )

    def _file(self, signature: Any, codegen: Any) -> str:
        """Return the file's name: kernel, digest of what was compiled for whom, digest of the sources."""
        versions = numba.__version__, sys.version_info[:2]
        what = repr((signature, _OPTIONS, codegen.magic_tuple(), versions, _CHECKED))
        return f"{self._name}.{_digest(what.encode())}.{_sources_digest(self._module)}.kernel"

    def _remove_outdated(self, folder: Path, name: str) -> None:
        """Remove files of the same function, signature and processor whose sources were others."""
        common = name.rsplit(".", 2)[0]
        for file in folder.glob(f"{common}.*.kernel"):
            if file.name != name:
                file.unlink(missing_ok=True)


_CHECKED = bool(numba.config.BOUNDSCHECK)  # pyright: ignore


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


@functools.cache
def _sources_digest(module: str) -> str:
    """Return a digest of a module of this folder and of all others that it imports, directly or not."""
    modules, todo = set[str](), [module]
    while todo:
        modules.add(name := todo.pop())
        todo.extend(_imported(name) - modules)
    return _digest(b"".join((_SOURCES / f"{name}.py").read_bytes() for name in sorted(modules)))


@functools.cache
def _imported(module: str) -> set[str]:
    """Return the modules of this folder that a module imports."""
    found = set[str]()
    for source, names in _IMPORT.findall((_SOURCES / f"{module}.py").read_text()):
        found.update([source] if source else re.findall(r"\w+", names))
    return {name for name in found - _AROUND if (_SOURCES / f"{name}.py").is_file()}


@functools.cache
def _folders() -> tuple[Path, ...]:
    """Return where compiled code is looked for and kept, best first: only `NUMBA_CACHE_DIR` if that is set."""
    if numba.config.CACHE_DIR:  # pyright: ignore
        return (Path(numba.config.CACHE_DIR),)  # pyright: ignore
    folders = [_SOURCES / "__pycache__"]
    name = f"kernels-{_digest(bytes(_SOURCES))}"
    with contextlib.suppress(RuntimeError):  # there is no home
        folders.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "torchrrm", name))
    with contextlib.suppress(OSError):  # there is no folder for temporary files
        folders.append(Path(tempfile.gettempdir(), f"torchrrm-{os.geteuid()}-{name}"))
    return tuple(folders)


def _is_safe(folder: Path) -> bool:
    """Return whether only this user can write to a folder; to load a file is to run its content.

    The sources and the home directory are as safe as the program itself. A folder for temporary files must belong to
    this user and be closed to others.
    """
    if folder.parent != Path(tempfile.gettempdir()):
        return True
    status = os.lstat(folder)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


@functools.cache
def _say(message: str) -> None:
    """Warn once of each message."""
    warnings.warn(f"kernels: {message}", CacheWarning, stacklevel=2)
