"""Demands as people write them: windows in a word, or in a file, a window a row."""

from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from torchrrm.files import MemoryLimitError, csv_rows, read_json, require_memory
from torchrrm.policies.control import Window, require_schedule

__all__ = ["WINDOW_SLOTS", "read_schedule"]

WINDOW_SLOTS = 1000
"""Slots of a window where nobody says how many."""
_MOST_DEMANDS = 2**28  # users times slots: what is told of them is kept
_ROW_BYTES, _NUMBER_BYTES = 640, 64
"""Memory of a window, and of one of its demands, while they are read."""
_ENDINGS = (".csv", ".json")
_LENGTH = "slots"

Row = tuple[list[float], int | None]  # demands, and slots of the window if it says so


def read_schedule(demands: str, slots: int | None = None) -> tuple[Window, ...]:
    """Windows in the order of time.

    `0.5,1,2` is one window of three users, `0.5,1,2;2,1,0.5` are two of equal length. So are the rows of a `.csv`
    file, with or without a header, and the lists of a `.json` file. A first column of a `.csv` that its header calls
    `slots` gives the windows' lengths.

    Args:
        demands: mean rates in bit/s/Hz, or the file.
        slots: in all; by default 1000 a window, or what the file says. Of windows with lengths of their own those
            after it are left out.

    Raises:
        ValueError: if there is no such file, if it is not of this form, if a demand is negative, not finite or no
            number, or if the windows differ in their number of demands.
    """
    if slots is not None and slots < 1:
        raise ValueError(f"slots: must be at least 1, received {slots}")
    ending = Path(demands).suffix.lower()
    rows = _read(Path(demands), ending) if ending in _ENDINGS else _parse(demands)
    schedule = _lengths(rows, slots)
    total = len(schedule[0].demand_bps_hz) * sum(window.slots for window in schedule)
    if total > _MOST_DEMANDS:
        raise ValueError(f"slots: must be at most {_MOST_DEMANDS}, all users together, received {total}")
    require_schedule(schedule, len(schedule[0].demand_bps_hz))
    return schedule


def _parse(text: str) -> list[Row]:
    return [([_number(word) for word in window.split(",")], None) for window in text.split(";")]


def _read(path: Path, ending: str) -> list[Row]:
    try:
        rows = _of_csv(path) if ending == ".csv" else _of_json(path)
    except FileNotFoundError as error:
        raise ValueError(f"demands: must be an existing file, received {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"demands: must be a readable text file, received {path} ({error})") from error
    if not rows or not all(row for row, _ in rows):
        raise ValueError(f"demands: must hold a window a row, received none in {path}")
    return rows


def _of_csv(path: Path) -> list[Row]:
    lines = csv_rows(path, name="demands", row_bytes=_ROW_BYTES, cell_bytes=_NUMBER_BYTES)
    first = next(lines, None)
    if first is None:
        return []
    timed = first[0].lower() == _LENGTH
    rows: list[Row] = []
    for line in lines if not _is_number(first[0]) else chain((first,), lines):
        words, length = (line[1:], _count(line[0])) if timed else (line, None)
        rows.append(([_number(word) for word in words], length))
    return rows


def _of_json(path: Path) -> list[Row]:
    try:
        data = read_json(path, name="demands")
    except (MemoryLimitError, UnicodeDecodeError):
        raise
    except ValueError as error:
        raise ValueError(f"demands: must be JSON, received {path} ({error})") from error
    if not isinstance(data, list) or not data:
        raise ValueError(f"demands: must be a list of lists, received {data!r:.40} in {path}")
    windows: list[Any] = data if isinstance(data[0], list) else [data]
    if not all(isinstance(window, list) for window in windows):
        raise ValueError(f"demands: must be a list of lists, received {data!r:.40} in {path}")
    require_memory("demands", _ROW_BYTES * len(windows) + _NUMBER_BYTES * sum(map(len, windows)))
    return [([_number(value) for value in window], None) for window in windows]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        rule = "must be numbers in bit/s/Hz, or a .csv or .json file"
        raise ValueError(f"demands: {rule}, received {value!r:.40}") from error


def _count(word: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"slots: must be a number of at least 1, received {word!r:.40}")
    return int(word)


def _lengths(rows: Sequence[Row], slots: int | None) -> tuple[Window, ...]:
    """Windows of these demands: equal shares of the slots, or their own lengths up to there."""
    if rows[0][1] is None:
        total = len(rows) * WINDOW_SLOTS if slots is None else slots
        if total < len(rows):
            raise ValueError(f"slots: must be at least {len(rows)}, one a window, received {total}")
        edges = [total * i // len(rows) for i in range(len(rows) + 1)]
        own = [last - first for first, last in pairwise(edges)]
    else:
        own = [length or 0 for _, length in rows]
    windows = [Window(tuple(demand), length) for (demand, _), length in zip(rows, own, strict=True)]
    total = sum(own)
    if slots is not None and slots > total:
        raise ValueError(f"slots: must be at most the {total} of the demands' windows, received {slots}")
    return _cut(windows, total if slots is None else slots)


def _cut(windows: Sequence[Window], slots: int) -> tuple[Window, ...]:
    """The windows up to so many slots."""
    kept: list[Window] = []
    for window in windows:
        if slots > 0:
            kept.append(Window(window.demand_bps_hz, min(window.slots, slots)))
        slots -= window.slots
    return tuple(kept)
