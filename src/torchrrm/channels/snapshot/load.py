"""One way in: recognise what a path holds and load it."""

import os
from importlib import resources
from pathlib import Path

from torchrrm.channels.snapshot.archive import SnapshotError, read_archive
from torchrrm.channels.snapshot.deepmimo import load_deepmimo
from torchrrm.channels.snapshot.munich import parse_munich, recognise_munich
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.channels.snapshot.schema import SCHEMA, load_snapshot, parse_schema
from torchrrm.channels.snapshot.table import load_table

__all__ = ["BUNDLED", "bundled_snapshot", "load"]

BUNDLED = (
    "munich_cell_uplink",
    "munich_d2d",
    "munich_hudn_200m",
    "munich_hudn_600m",
    "munich_miso64",
)
"""Names of the snapshots that ship with the package."""


def load(path: str | os.PathLike[str]) -> Snapshot:
    """The snapshot in a file or folder.

    Known are our own schema (`load_snapshot`), the raw arrays of the Munich sets, a `.csv` file of gains in dB
    (`load_table`) and a DeepMIMO scenario folder (`load_deepmimo`).

    Raises:
        SnapshotError: in one line, the file, the array, the rule and what was received.
    """
    path = Path(path)
    if path.is_dir():
        return load_deepmimo(path)
    if path.suffix == ".csv":
        return load_table(path)
    arrays = read_archive(path)
    try:
        if "schema" in arrays:
            return parse_schema(arrays)
        if recognise_munich(arrays):
            return parse_munich(arrays)
    except SnapshotError as error:
        raise SnapshotError(f"{path.name}: {error}") from None
    names = ", ".join(sorted(arrays)[:8]) + (", ..." if len(arrays) > 8 else "")
    rule = f"must have a schema ('{SCHEMA}') or be the raw arrays of a Munich set"
    raise SnapshotError(f"{path.name}: {rule}, received arrays {names}")


def bundled_snapshot(name: str = "munich_cell_uplink") -> Snapshot:
    """A snapshot that ships with the package.

    "munich_cell_uplink": 200 users, one station (receiver 0) and 50 eavesdroppers in the centre of Munich at
    3.5 GHz, with channels at 8 frequencies over 90 MHz. "munich_d2d": 50 drops of 20 pairs of devices there, 10
    to 50 m from each other, with channels at 6 frequencies over 10 MHz. "munich_hudn_200m" and "munich_hudn_600m":
    gains of 5 macro and 100 small base stations at 120 users there, 20 drops of users in 200 m and 10 in 600 m.
    "munich_miso64": 400 users, each of one antenna, of one station of 64 antennas there, with channels at 2
    frequencies. The `attribution` goes with every use.

    >>> tuple(bundled_snapshot().gain.shape)
    (51, 200)

    Raises:
        SnapshotError: if there is none of that name.
    """
    if name not in BUNDLED:
        raise SnapshotError(f"name: must be one of {', '.join(BUNDLED)}, received {name!r}")
    with resources.as_file(resources.files("torchrrm.channels").joinpath("data", f"{name}.npz")) as path:
        return load_snapshot(path)
