"""One way in: recognise what a path holds and load it."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchrrm.channels.ends import Direction
from torchrrm.channels.snapshot.archive import SnapshotError, read_archive
from torchrrm.channels.snapshot.blocks import Declared
from torchrrm.channels.snapshot.deepmimo import load_deepmimo
from torchrrm.channels.snapshot.munich import munich_bytes, parse_munich, recognise_munich
from torchrrm.channels.snapshot.quantity import Quantity
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.channels.snapshot.schema import SCHEMA, load_snapshot, parse_schema, schema_bytes
from torchrrm.channels.snapshot.sionna import parse_sionna, recognise_sionna, sionna_bytes
from torchrrm.channels.snapshot.table import load_table

__all__ = ["BUNDLED", "bundled_path", "bundled_snapshot", "load"]

BUNDLED = (
    "munich_cell_uplink",
    "munich_d2d",
    "munich_hudn_200m",
    "munich_hudn_600m",
    "munich_miso64",
)
"""Names of the snapshots that ship with the package."""


def load(
    path: str | os.PathLike[str],
    *,
    quantity: Quantity | None = None,
    reference_dbm: float | None = None,
    direction: Direction = "unknown",
) -> Snapshot:
    """Load the snapshot in a file or folder.

    Known are our own schema (`load_snapshot`), the raw arrays of the Munich sets, arrays of Sionna under their names
    (`parse_sionna`), a `.csv` file (`load_table`) and a DeepMIMO scenario folder (`load_deepmimo`).

    Args:
        path: the file or folder.
        quantity: what the numbers of a table are (see `load_table`); other files say it themselves.
        reference_dbm: power sent on one resource element, of a table of RSRP.
        direction: of the gains, for a file that does not say it.

    Raises:
        SnapshotError: in one line, the file, the array, the rule and what was received.
    """
    path = Path(path)
    if path.suffix == ".csv" and not path.is_dir():
        snapshot = load_table(path, quantity=quantity, reference_dbm=reference_dbm)
    else:
        if (quantity, reference_dbm) != (None, None):
            rule = "must go with a table (.csv); other files say what they hold"
            raise SnapshotError(f"quantity: {rule}, received {quantity} for {path.name}")
        snapshot = load_deepmimo(path) if path.is_dir() else _load_archive(path)
    try:
        return snapshot.with_direction(direction)
    except SnapshotError as error:
        raise SnapshotError(f"{path.name}: {error}") from None


class _Layout(NamedTuple):
    """Arrays that belong together: how they are recognised by their names, what parsing them takes, and the parser."""

    recognise: Callable[[Mapping[str, Any]], bool]
    parsed_bytes: Callable[[Mapping[str, Declared]], float]
    parse: Callable[[dict[str, np.ndarray], str], Snapshot]


_LAYOUTS = (
    _Layout(lambda arrays: "schema" in arrays, schema_bytes, lambda arrays, name: parse_schema(arrays)),
    _Layout(recognise_munich, munich_bytes, lambda arrays, name: parse_munich(arrays)),
    _Layout(recognise_sionna, sionna_bytes, lambda arrays, name: parse_sionna(arrays, name=name)),
)


def _load_archive(path: Path) -> Snapshot:
    def layout_of(arrays: Mapping[str, Any]) -> _Layout | None:
        return next((layout for layout in _LAYOUTS if layout.recognise(arrays)), None)

    def parsed_bytes(declared: Mapping[str, Declared]) -> float:
        layout = layout_of(declared)
        return 0.0 if layout is None else layout.parsed_bytes(declared)

    arrays = read_archive(path, parsed_bytes=parsed_bytes)
    layout = layout_of(arrays)
    if layout is not None:
        try:
            return layout.parse(arrays, path.stem)
        except SnapshotError as error:
            raise SnapshotError(f"{path.name}: {error}") from None
    names = ", ".join(sorted(arrays)[:8]) + (", ..." if len(arrays) > 8 else "")
    rule = f"must have a schema ('{SCHEMA}'), or be raw arrays of a Munich set or of Sionna (a and tau, h_freq, cfr)"
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
    with bundled_path(name) as path:
        return load_snapshot(path)


def bundled_path(name: str) -> AbstractContextManager[Path]:
    """Return the file of a snapshot that ships with the package, as a context.

    Raises:
        SnapshotError: if there is none of that name.
    """
    if name not in BUNDLED:
        raise SnapshotError(f"name: must be one of {', '.join(BUNDLED)}, received {name!r}")
    return resources.as_file(resources.files("torchrrm.channels").joinpath("data", f"{name}.npz"))
