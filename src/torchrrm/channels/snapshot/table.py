"""Tables of text, such as a planning tool or a spreadsheet writes."""

import os
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.blocks import NODE_BYTES
from torchrrm.channels.snapshot.quantity import Quantity, check_quantity, gain_of
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.files import csv_rows

__all__ = ["load_table"]

_CELL_BYTES = 36
"""Memory of a number while it is read and converted: in double precision up to three times."""
_HEADER: dict[str, tuple[str, str]] = {
    "macro": ("station", "macro"),
    "small": ("station", "small"),
    "station": ("station", "unknown"),
    "user": ("user", "unknown"),
    "device": ("device", "unknown"),
}
"""Role and kind of a transmitter by the word of its column."""


def load_table(
    path: str | os.PathLike[str], *, quantity: Quantity | None = None, reference_dbm: float | None = None
) -> Snapshot:
    """Read a snapshot of one drop from a `.csv` file: a line a receiver, a column a transmitter.

    Numbers are gains in dB if no other quantity is given (see `gain_of`); -200 dB and below, also -inf, is no path.
    Lines that begin with `#` are left out. A first line of words, one a column, tells what transmits: `macro`,
    `small` or `station` (receivers are users then), `user` (receivers are stations) or `device`. Without it the
    roles are unknown, but of RSRP, which users measure of stations.

    Args:
        path: the file.
        quantity: what the numbers are.
        reference_dbm: power sent on one resource element, of RSRP.

    Raises:
        SnapshotError: in one line, the file, the rule and what was received.
    """
    path = Path(path)
    try:
        check_quantity(quantity, reference_dbm)
        fields, values = _parse(csv_rows(path, name="table", row_bytes=NODE_BYTES, cell_bytes=_CELL_BYTES))
        gain, note = gain_of(values, quantity, reference_dbm)
        snapshot = Snapshot(gain=gain, name=path.stem, notes=(note,), **fields)  # pyright: ignore[reportArgumentType]
        return snapshot.with_direction("downlink") if quantity == "rsrp" else snapshot
    except UnicodeDecodeError:
        raise SnapshotError(f"{path.name}: must be text in UTF-8, received something else") from None
    except ValueError as error:
        raise SnapshotError(f"{path.name}: {error}") from None


def _parse(rows: Iterator[list[str]]) -> tuple[dict[str, Any], np.ndarray]:
    """Return roles and kinds by a line of words, and the numbers."""
    fields: dict[str, Any] = {}
    first = next(rows, None)
    if first is not None and not set(first).isdisjoint(_HEADER):
        foreign = [word for word in first if word not in _HEADER]
        if foreign:
            raise SnapshotError(f"header: must be of the words {', '.join(_HEADER)}, received {foreign[0]!r}")
        roles, kinds = zip(*(_HEADER[word] for word in first), strict=True)
        fields = {"tx_role": roles, "tx_kind": kinds}
        first = next(rows, None)
    if first is None:
        raise SnapshotError("gain_db: must have a line of numbers for each receiver, received none")
    columns, count, values = len(first), 0, array("d")
    for i, row in enumerate(chain((first,), rows)):
        if len(row) != columns:
            raise SnapshotError(f"gain_db: must have {columns} columns, received {len(row)} for receiver {i}")
        values.extend(_number(cell, i, j) for j, cell in enumerate(row))
        count = i + 1
    return fields, np.frombuffer(values).reshape(count, columns)


def _number(cell: str, i: int, j: int) -> float:
    try:
        return float(cell.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        words = ", ".join(_HEADER)
        rule = f"must be numbers in dB, and before them at most a line of the words {words}"
        raise SnapshotError(f"gain_db: {rule}, received {cell!r} at [{i}, {j}]") from None
