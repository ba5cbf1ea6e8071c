"""Reading `.npz` archives of strangers: never unpickled, bounded before they are read, whole or refused."""

import io
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from torchrrm.channels.snapshot.blocks import Declared
from torchrrm.files import MemoryLimitError, printable, require_memory

__all__ = ["SnapshotError", "declared_arrays", "read_archive"]

_MAX_MEMBERS = 256
_MAX_READ_BYTES = 4 * 2**20  # that zipfile reads at once: a part of a member, or all names of members
_MAX_TEXT_BYTES = 2**20
_PLAIN_KINDS = "biufcUS"  # numbers, truth values and text
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack without a bound


T = TypeVar("T")


class SnapshotError(ValueError):
    """A snapshot that cannot be used; the message is one line: what, the rule, what was received."""

    def __init__(self, message: str):
        super().__init__(printable(message))


class _Source(io.FileIO):
    """A file that refuses to be read into memory in large parts."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = size if size is not None and size >= 0 else _MAX_READ_BYTES + 1
        data = super().read(min(most, _MAX_READ_BYTES + 1)) or b""
        if len(data) > _MAX_READ_BYTES:
            rule = f"must be read in parts of at most {_MAX_READ_BYTES} bytes"
            raise SnapshotError(f"archive: {rule}, received a directory of more")
        return data


def read_archive(
    path: str | os.PathLike[str], *, parsed_bytes: Callable[[Mapping[str, Declared]], float] | None = None
) -> dict[str, np.ndarray]:
    """All arrays of a `.npz` file.

    Args:
        path: the file.
        parsed_bytes: by the headers of all arrays, the memory that is taken besides them when they are parsed.

    Raises:
        SnapshotError: if the file is missing, no archive, truncated or damaged, if it holds something else than
            plain arrays (pickled objects are never loaded), or if reading and parsing it takes more memory than the
            limit (see `torchrrm.files`).
    """
    return _opened(path, lambda archive: _read_members(archive, parsed_bytes or (lambda declared: 0.0)))


def declared_arrays(path: str | os.PathLike[str]) -> dict[str, Declared]:
    """Shape and type of each array of a `.npz` file, by the headers.

    Raises:
        SnapshotError: as `read_archive`, but for damaged data.
    """
    return _opened(path, _declared)


def _opened(path: str | os.PathLike[str], read: Callable[[zipfile.ZipFile], T]) -> T:
    path = Path(path)
    if not path.is_file():
        raise SnapshotError(f"path: must be an existing .npz file, received '{path}'")
    try:
        with warnings.catch_warnings(), _Source(path) as file, zipfile.ZipFile(file) as archive:
            warnings.simplefilter("ignore")  # of strange headers, which are refused or read all the same
            return read(archive)
    except (SnapshotError, MemoryLimitError) as error:
        raise SnapshotError(f"{path.name}: {error}") from None
    # zipfile, zlib and numpy raise a dozen kinds of errors on damaged bytes, and one message covers them all.
    except Exception as error:
        size = path.stat().st_size
        reason = f"a truncated, damaged or foreign file of {size} bytes ({type(error).__name__})"
        raise SnapshotError(f"{path.name}: must be a whole .npz archive, received {reason}") from None


def _read_members(
    archive: zipfile.ZipFile, parsed_bytes: Callable[[Mapping[str, Declared]], float]
) -> dict[str, np.ndarray]:
    declared = _declared(archive)
    own = sum(array.size * array.dtype.itemsize for array in declared.values())
    # What unpacks to more than it declares is cut at its declared size, so both sums bound the memory.
    unpacked = sum(member.file_size for member in archive.infolist())
    require_memory("archive", max(own, unpacked) + parsed_bytes(declared))
    return {_name_of(member): _read_member(archive, member) for member in archive.infolist()}


def _declared(archive: zipfile.ZipFile) -> dict[str, Declared]:
    members = archive.infolist()
    if not 1 <= len(members) <= _MAX_MEMBERS:
        raise SnapshotError(f"archive: must hold 1 to {_MAX_MEMBERS} arrays, received {len(members)}")
    if len({member.filename for member in members}) < len(members):
        raise SnapshotError("archive: must hold each array once, received two of a name")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise SnapshotError(f"archive: must hold .npy members only, received {member.filename!r}")
        if member.compress_type not in _COMPRESSIONS:
            raise SnapshotError(
                f"archive: must be stored or deflated, received {member.filename!r} by method {member.compress_type}"
            )
    return {_name_of(member): _declared_array(archive, member) for member in members}


def _name_of(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _declared_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Declared:
    """Shape and type that the member's header declares; refuses what is no plain array."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_old, read_new = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = (read_old if version == (1, 0) else read_new)(stream)
    name = _name_of(member)
    if dtype.kind not in _PLAIN_KINDS:
        what = "pickled objects, which are never loaded" if dtype.hasobject else f"values of type {dtype}"
        raise SnapshotError(f"{name}: must be a plain array of numbers or text, received {what}")
    if dtype.itemsize > _MAX_TEXT_BYTES:
        raise SnapshotError(
            f"{name}: must have texts of at most {_MAX_TEXT_BYTES} bytes, received {dtype.itemsize}"
        )
    return Declared(tuple(shape), dtype, by_columns)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        # Reading on to the end makes zipfile compare the checksum.
        if stream.read(1):
            raise SnapshotError(f"{member.filename}: must end with its array, received bytes behind it")
    return array
