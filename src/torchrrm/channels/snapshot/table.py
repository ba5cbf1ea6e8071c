"""Gains as a table of text, such as a planning tool or a spreadsheet writes."""

import csv
import os
from pathlib import Path

import numpy as np

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.record import SMALL_STATION, Snapshot
from torchrrm.channels.snapshot.schema import gain_from_db

__all__ = ["load_table"]

_KINDS = {"macro": 0, "small": SMALL_STATION}


def load_table(path: str | os.PathLike[str]) -> Snapshot:
    """A snapshot of one drop from a `.csv` file of gains in dB: a line a receiver, a column a transmitter.

    -200 dB and below, also -inf, is no path. Lines that begin with `#` are left out. A first line of the words
    `macro` and `small`, one a column, tells kinds of stations.

    Raises:
        SnapshotError: in one line, the file, the rule and what was received.
    """
    path = Path(path)
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        table = [
            [cell.strip() for cell in row]
            for row in csv.reader(line for line in lines if not line.startswith("#"))
        ]
        return _parse(table, path.stem)
    except UnicodeDecodeError:
        raise SnapshotError(f"{path.name}: must be text in UTF-8, received something else") from None
    except SnapshotError as error:
        raise SnapshotError(f"{path.name}: {error}") from None


def _parse(table: list[list[str]], name: str) -> Snapshot:
    kinds = None
    if table and set(table[0]) <= set(_KINDS):
        kinds = np.array([_KINDS[word] for word in table.pop(0)])
    if not table:
        raise SnapshotError("gain_db: must have a line of numbers for each receiver, received none")
    columns = len(table[0])
    gain_db = np.empty((len(table), columns))
    for i, row in enumerate(table):
        if len(row) != columns:
            raise SnapshotError(f"gain_db: must have {columns} columns, received {len(row)} for receiver {i}")
        for j, cell in enumerate(row):
            try:
                gain_db[i, j] = float(cell)
            except ValueError:
                rule = "must be numbers in dB, and before them at most a line of the words macro and small"
                raise SnapshotError(f"gain_db: {rule}, received {cell!r} at [{i}, {j}]") from None
    return Snapshot(
        gain=gain_from_db(gain_db),  # pyright: ignore[reportArgumentType]
        name=name,
        **({} if kinds is None else {"tx_kind": kinds}),  # pyright: ignore[reportArgumentType]
    )
