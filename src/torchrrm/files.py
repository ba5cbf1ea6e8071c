"""Files that are the old ones or the whole new ones whenever a process is stopped, and folders of one run at a time.

Locks are those of the operating system (`flock`), so that a killed process holds none. Over NFS they hold between
machines unless it is mounted with `nolock` or `local_lock`. On a file system that has none, such as some mounts of
Lustre, nothing is refused, and runs must be kept apart by who starts them.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_write_bytes", "atomic_write_text", "locked", "locked_file", "printable"]

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
    r"""The text on one line, without what would move a terminal's cursor: such characters are escaped.

    For messages that quote what a file holds.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


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
