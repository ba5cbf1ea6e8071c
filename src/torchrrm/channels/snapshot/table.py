"""Tables of text, such as a planning tool or a spreadsheet writes."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.quantity import Quantity, check_quantity, gain_of
from torchrrm.channels.snapshot.record import Snapshot

__all__ = ["load_table"]

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
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        table = [
            [cell.strip() for cell in row]
            for row in csv.reader(line for line in lines if not line.startswith("#"))
        ]
        fields, values = _parse(table)
        gain, note = gain_of(values, quantity, reference_dbm)
        snapshot = Snapshot(gain=gain, name=path.stem, notes=(note,), **fields)  # pyright: ignore[reportArgumentType]
        return snapshot.with_direction("downlink") if quantity == "rsrp" else snapshot
    except UnicodeDecodeError:
        raise SnapshotError(f"{path.name}: must be text in UTF-8, received something else") from None
    except SnapshotError as error:
        raise SnapshotError(f"{path.name}: {error}") from None


def _parse(table: list[list[str]]) -> tuple[dict[str, Any], np.ndarray]:
    """Return roles and kinds by a line of words, and the numbers."""
    fields: dict[str, Any] = {}
    if table and not set(table[0]).isdisjoint(_HEADER):
        foreign = [word for word in table[0] if word not in _HEADER]
        if foreign:
            raise SnapshotError(f"header: must be of the words {', '.join(_HEADER)}, received {foreign[0]!r}")
        roles, kinds = zip(*(_HEADER[word] for word in table.pop(0)), strict=True)
        fields = {"tx_role": roles, "tx_kind": kinds}
    if not table:
        raise SnapshotError("gain_db: must have a line of numbers for each receiver, received none")
    columns = len(table[0])
    values = np.empty((len(table), columns))
    for i, row in enumerate(table):
        if len(row) != columns:
            raise SnapshotError(f"gain_db: must have {columns} columns, received {len(row)} for receiver {i}")
        for j, cell in enumerate(row):
            try:
                values[i, j] = float(cell.replace("_", "?"))  # Python would read 1_0 as 10
            except ValueError:
                words = ", ".join(_HEADER)
                rule = f"must be numbers in dB, and before them at most a line of the words {words}"
                raise SnapshotError(f"gain_db: {rule}, received {cell!r} at [{i}, {j}]") from None
    return fields, values
