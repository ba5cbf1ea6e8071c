"""Atomic file writes, folders of one run at a time, reads of bounded memory, and strict JSON.

Readers bound the memory that they take, not the bytes that a file has or declares: `require_memory` compares what a
reader will take, conversions included, with `read_limit`, before it is taken. The limit is 4 GB (1e9 bytes) and can be
changed by the environment variable `TORCHRRM_MAX_READ_GB`.

JSON has no NaN and no infinities. `to_json` writes null for them where other programs read the file, and the texts
"NaN", "Infinity" and "-Infinity" in headers of our own files, which `parse_header` turns back into numbers.

Locks are those of the operating system (`flock`), so that a killed process holds none. Over NFS they hold between
machines unless it is mounted with `nolock` or `local_lock`. On a file system that has none, such as some mounts of
Lustre, nothing is refused, and runs must be kept apart by who starts them.
"""

import contextlib
import csv
import errno
import fcntl
import json
import math
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "MemoryLimitError",
    "atomic_write_bytes",
    "atomic_write_text",
    "csv_rows",
    "differs",
    "json_values",
    "locked",
    "locked_file",
    "parse_header",
    "parse_json",
    "printable",
    "read_bytes",
    "read_json",
    "read_limit",
    "require_memory",
    "to_json",
]

_LIMIT_VARIABLE, _LIMIT_GB = "TORCHRRM_MAX_READ_GB", 4.0
JSON_BYTES = 56
"""Most memory per byte of a JSON text: its characters, and lists in lists, which are two bytes each."""
LINE_BYTES = 64
"""Most memory per character of a line of a table: the line, its cells, and its cells without blanks."""
_CHUNK = 2**20
_LONGEST_MESSAGE = 1000
_LEVELS = 100
_TOO_DEEP = f"lists and objects are nested more than {_LEVELS} levels deep"
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FOLDER_LOCK = ".torchrrm.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` at once: to a draft beside it, flushed to the disk, that then takes its name.

    Drafts of `path` that killed processes left behind are removed.

    Raises:
        OSError: naming `path`, if the folder does not exist or cannot be written to, or if the disk is full; `path` is
            then untouched.
    """
    target = Path(path).resolve()  # a link keeps pointing to where it did
    draft = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _write_through(draft, target, data)
        _sync_folder(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
    _remove_stale(target)
    return Path(path)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    """`atomic_write_bytes` of a text in UTF-8; what is no text, as in a file's name of another encoding, is escaped."""
    return atomic_write_bytes(path, text.encode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    r"""Return the text on one line without control characters, which are escaped, cut to 1000 characters.

    For messages that quote what a file holds.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    cut = text[:_LONGEST_MESSAGE]
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut)
    return line if len(text) <= _LONGEST_MESSAGE else line + "..."


class MemoryLimitError(ValueError):
    """A file whose reading would take more memory than the limit; the message is one line."""


def read_limit() -> float:
    """Return the most memory in bytes that reading one file or folder may take: 4e9, or as the environment says.

    Raises:
        ValueError: if `TORCHRRM_MAX_READ_GB` is no positive number.
    """
    text = os.environ.get(_LIMIT_VARIABLE, str(_LIMIT_GB))
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = math.nan
    if not limit_gb > 0.0:
        raise ValueError(f"{_LIMIT_VARIABLE}: expected a positive number of 1e9 bytes, got {text!r:.40}")
    return limit_gb * 1e9


def require_memory(name: str, taken: float) -> None:
    """Refuse to read what takes more than the limit.

    Args:
        name: argument or file, for the message.
        taken: bytes that reading takes at its peak, conversions included.

    Raises:
        MemoryLimitError: in one line, the name, the memory, the limit, and how to raise it.
    """
    limit = read_limit()
    if taken > limit:
        way_out = f"split the file, or set {_LIMIT_VARIABLE}={-int(-taken // 10**9)}"
        raise MemoryLimitError(
            f"{name}: takes {taken / 1e9:.4g} GB of memory to read, the limit is {limit / 1e9:.4g} GB; {way_out}"
        )


def read_bytes(path: str | os.PathLike[str], *, name: str, bytes_per_byte: int) -> bytes:
    """Return the content of a file whose reader takes so many bytes of memory for each of its bytes.

    Raises:
        MemoryLimitError: if the reader would take more than the limit.
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        require_memory(name, os.fstat(file.fileno()).st_size * bytes_per_byte)
        parts, size = [], 0
        while part := file.read(_CHUNK):  # what is no regular file has no size
            parts.append(part)
            size += len(part)
            require_memory(name, size * bytes_per_byte)
    return b"".join(parts)


def csv_rows(
    path: str | os.PathLike[str], *, name: str, row_bytes: int, cell_bytes: int
) -> Iterator[list[str]]:
    """Yield the cells, without blanks around them, of each line that is neither empty nor begins with `#`.

    One line is in memory at a time, and it takes at most `LINE_BYTES` for each of its characters.

    Args:
        path: a text in UTF-8, with or without a byte order mark.
        name: argument or file, for messages.
        row_bytes: memory that the reader takes for each row.
        cell_bytes: memory that it takes for each cell besides.

    Raises:
        MemoryLimitError: if rows and the longest line take more memory than the limit.
        ValueError: if a cell is longer than 131072 characters, or if the file is no text in UTF-8.
        OSError: if the file cannot be read.
    """
    limit, kept, longest = read_limit(), 0, 0
    with open(path, encoding="utf-8-sig") as file:
        while line := file.readline(int(min(limit / LINE_BYTES, 2**40)) + 1):
            longest = max(longest, len(line))
            if kept + LINE_BYTES * longest > limit:
                break
            if line.isspace() or line.startswith("#"):
                continue
            try:
                row = next(csv.reader((line,)))
            except csv.Error as error:
                raise ValueError(f"{name}: expected lines of comma-separated cells, got {error}") from error
            kept += row_bytes + cell_bytes * len(row)
            yield [cell.strip() for cell in row]
    require_memory(name, kept + LINE_BYTES * longest)


def json_values(value: Any) -> Any:
    """Return the value with what JSON has: numbers that are not finite become null, unknown objects their text."""
    return _mapped(value, lambda number: None, str)


def to_json(
    value: Any, *, header: bool = False, indent: int | None = None, separators: tuple[str, str] | None = None
) -> str:
    """Return strict JSON of a value, without bare NaN or Infinity; no other code writes JSON.

    Args:
        value: numbers, texts, truth values, None, and lists and mappings of these. Numbers that are not finite become
            null, unknown objects their text (see `json_values`).
        header: for a header of our own files: numbers that are not finite become the texts "NaN", "Infinity" and
            "-Infinity", which `parse_header` reads back; keys are sorted; unknown objects are refused.
        indent: as in `json.dumps`.
        separators: as in `json.dumps`.

    Raises:
        TypeError: for an object that JSON cannot hold, of a header.
    """
    plain = _mapped(value, _name_of, _refuse_object) if header else json_values(value)
    return json.dumps(plain, allow_nan=False, indent=indent, separators=separators, sort_keys=header)


def parse_json(text: str, *, name: str) -> Any:
    """Return the value of a strict JSON text.

    Raises:
        MemoryLimitError: if its value takes more memory than the limit.
        ValueError: if the text is no JSON, is nested more than 100 levels deep, or holds a bare NaN or Infinity.
    """
    return _parsed(text, name, _refuse_token)


def parse_header(text: str, *, name: str) -> Any:
    """Return the value of a header that `to_json` wrote: texts of numbers that are not finite become these numbers.

    Headers of older files, which hold bare NaN and Infinity, are read as well.

    Raises:
        MemoryLimitError: if its value takes more memory than the limit.
        ValueError: if the text is no JSON or is nested more than 100 levels deep.
    """
    return _restored(_parsed(text, name, _NON_FINITE.__getitem__))


def read_json(path: str | os.PathLike[str], *, name: str) -> Any:
    """Return the value of a JSON file; see `parse_json`.

    Raises:
        MemoryLimitError: if reading takes more memory than the limit.
        ValueError: if the file is no text in UTF-8 or no strict JSON.
        OSError: if it cannot be read.
    """
    return parse_json(read_bytes(path, name=name, bytes_per_byte=JSON_BYTES).decode("utf-8"), name=name)


def differs(value: Any, other: Any) -> bool:
    """Return whether two values of headers differ; a NaN does not differ from another."""
    return value != other and to_json(value, header=True) != to_json(other, header=True)


def _parsed(text: str, name: str, constant: Callable[[str], Any]) -> Any:
    require_memory(name, JSON_BYTES * len(text))
    try:
        value = json.loads(text, parse_constant=constant)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    _require_depth(value, _LEVELS)
    return value


def _require_depth(value: Any, levels: int) -> None:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if items is None:
        return
    if not levels:
        raise ValueError(_TOO_DEEP)
    for item in items:
        _require_depth(item, levels - 1)


def _refuse_token(token: str) -> Any:
    raise ValueError(f"{token} is no JSON number")


def _name_of(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _refuse_object(value: Any) -> Any:
    raise TypeError(f"header: expected JSON values, got a {type(value).__name__}")


def _mapped(value: Any, non_finite: Callable[[float], Any], other: Callable[[Any], Any]) -> Any:
    """Return the value with what JSON has, by a function each for what it has not."""
    if isinstance(value, Mapping):
        return {str(key): _mapped(item, non_finite, other) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(item, non_finite, other) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else non_finite(value)
    return value if value is None or isinstance(value, (bool, int, str)) else other(value)


def _restored(value: Any) -> Any:
    """Put numbers in place of the texts of those that are not finite, in lists and objects as they are."""
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:  # values alone change, so the items may be walked
        value[key] = _restored(item)
    return value


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], *, argument: str = "out") -> Iterator[None]:
    """Hold a folder, made if there is none, for the one run that writes into it.

    Args:
        folder: where the run writes.
        argument: what the message calls it.

    Raises:
        ValueError: if another run holds it.
        OSError: if it cannot be made or written to.
    """
    os.makedirs(folder, exist_ok=True)
    with _held(Path(folder, _FOLDER_LOCK), argument, folder):
        yield


@contextlib.contextmanager
def locked_file(path: str | os.PathLike[str], *, argument: str) -> Iterator[None]:
    """Hold a file, which need not exist, for the one run that writes it again and again; see `locked`."""
    target = Path(path).resolve()
    with _held(target.with_name(f".{target.name}.lock"), argument, path):
        yield


@contextlib.contextmanager
def _held(lock: Path, argument: str, what: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a lock file, and remove it in the end. One that a killed process left behind is taken over."""
    try:
        descriptor = _take(lock)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(what)) from error
    if descriptor is None:
        holder = _holder(lock)
        raise ValueError(f"{argument}: must be used by one run at a time, received {what}, used by {holder}")
    try:
        with contextlib.suppress(OSError):  # who holds it is told for convenience
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        # Removed while it is held: whoever has opened it in between finds that it has no name any more.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _take(lock: Path) -> int | None:
    """Descriptor of the lock file that bears this name, held; `None` if another run holds it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _flock(descriptor):
                return None
            here, there = os.fstat(descriptor), os.stat(lock)
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                taken, descriptor = descriptor, None
                return taken
        except FileNotFoundError:  # its last holder has just removed it
            pass
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _flock(descriptor: int) -> bool:
    """Hold an open file, unless another process does, or another part of this one; whether it is held now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _holder(lock: Path) -> str:
    try:
        number = lock.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        number = ""
    return f"process {number}" if number.isdecimal() else "another process"


def _write_through(draft: Path, target: Path, data: bytes) -> None:
    try:
        # Not `tempfile`: its files are private, and the written one shall have the user's usual permissions.
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "wb") as file:
            _flock(file.fileno())  # tells that it is no stale one
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _remove_stale(target: Path) -> None:
    """Remove drafts of `target` whose processes are no more; what cannot be removed may stay."""
    form = re.compile(rf"\.{re.escape(target.name)}\.(\d+)\.[0-9a-f]{{8}}")
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            match = form.fullmatch(entry.name)
            if match and not _is_alive(int(match[1])):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    # A process of another machine or container, whose number means nothing here, holds its draft.
                    if _flock(file.fileno()):
                        os.unlink(entry.path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
