"""Reading `.npz` archives of strangers: never unpickled, bounded before they are read, whole or refused."""

import math
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np

from torchrrm.files import printable

__all__ = ["MAX_ARCHIVE_BYTES", "SnapshotError", "read_archive"]

MAX_ARCHIVE_BYTES = 4 * 2**30
"""Largest sum of the sizes that an archive's arrays may declare."""

_MAX_MEMBERS = 256
_PLAIN_KINDS = "biufcUS"  # numbers, truth values and text


class SnapshotError(ValueError):
    """A snapshot that cannot be used; the message is one line: what, the rule, what was received."""

    def __init__(self, message: str):
        super().__init__(printable(message))


def read_archive(
    path: str | os.PathLike[str], *, max_bytes: int = MAX_ARCHIVE_BYTES
) -> dict[str, np.ndarray]:
    """All arrays of a `.npz` file.

    Raises:
        SnapshotError: if the file is missing, no archive, truncated or damaged, holds something else than
            plain arrays (pickled objects are never loaded), or declares more than `max_bytes` in all.
    """
    path = Path(path)
    if not path.is_file():
        raise SnapshotError(f"path: must be an existing .npz file, received '{path}'")
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
            warnings.simplefilter("ignore")  # of strange headers, which are refused or read all the same
            return _read_members(archive, max_bytes)
    except SnapshotError as error:
        raise SnapshotError(f"{path.name}: {error}") from None
    # zipfile, zlib and numpy raise a dozen kinds of errors on damaged bytes, and one message covers them all.
    except Exception as error:
        size = path.stat().st_size
        reason = f"a truncated, damaged or foreign file of {size} bytes ({type(error).__name__})"
        raise SnapshotError(f"{path.name}: must be a whole .npz archive, received {reason}") from None


def _read_members(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, np.ndarray]:
    members = archive.infolist()
    if not 1 <= len(members) <= _MAX_MEMBERS:
        raise SnapshotError(f"archive: must hold 1 to {_MAX_MEMBERS} arrays, received {len(members)}")
    strange = [member.filename for member in members if not member.filename.endswith(".npy")]
    if strange:
        raise SnapshotError(f"archive: must hold .npy members only, received {strange[0]!r}")
    # What unpacks to more than it declares is cut at its declared size, so both sums bound the memory.
    _check_size(sum(member.file_size for member in members), max_bytes)
    _check_size(sum(_declared_bytes(archive, member) for member in members), max_bytes)
    return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}


def _check_size(declared: int, max_bytes: int) -> None:
    if declared > max_bytes:
        raise SnapshotError(f"archive: must declare at most {max_bytes} bytes of arrays, received {declared}")


def _declared_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes of the array that the member's header declares; refuses what is no plain array."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_old, read_new = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        shape, _, dtype = (read_old if version == (1, 0) else read_new)(stream)
    if dtype.kind not in _PLAIN_KINDS:
        name = member.filename.removesuffix(".npy")
        what = "pickled objects, which are never loaded" if dtype.hasobject else f"values of type {dtype}"
        raise SnapshotError(f"{name}: must be a plain array of numbers or text, received {what}")
    return math.prod(shape) * dtype.itemsize


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        # Reading on to the end makes zipfile compare the checksum.
        if stream.read(1):
            raise SnapshotError(f"{member.filename}: must end with its array, received bytes behind it")
    return array
