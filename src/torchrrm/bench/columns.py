"""Columns of equal length, such as an allocation's, as a file for other programs: CSV, `.npz` or JSON."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torchrrm.files import atomic_write_bytes, atomic_write_text, to_json

__all__ = ["COLUMN_FORMATS", "check_format", "write_columns"]

COLUMN_FORMATS = (".csv", ".npz", ".json")


def check_format(path: str | os.PathLike[str]) -> str:
    """The path's ending, if a table can be written in that format.

    Raises:
        ValueError: if not.
    """
    ending = Path(path).suffix
    if ending not in COLUMN_FORMATS:
        raise ValueError(f"out: must end in {', '.join(COLUMN_FORMATS)}, received {os.fspath(path)!r}")
    return ending


def write_columns(
    path: str | os.PathLike[str], columns: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> Path:
    """Write columns at once, in the format that the path's ending names.

    A CSV has a heading and a line a row; what they are about stands before it in lines that begin with `#`.
    In a `.npz` each column is an array, `about` a JSON text. JSON: `{"about": {}, "columns": {name: [...]}}`,
    with null for what is not finite.

    Raises:
        ValueError: if the ending is another.
        OSError: if the file cannot be written; an existing one is then untouched.
    """
    ending = check_format(path)
    if ending == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **columns, about=to_json(about))
        return atomic_write_bytes(path, buffer.getvalue())
    lists = {name: column.tolist() for name, column in columns.items()}
    if ending == ".json":
        return atomic_write_text(path, to_json({"about": about, "columns": lists}, indent=2) + "\n")
    out = io.StringIO()
    out.writelines(f"# {name}: {value}\n" for name, value in about.items())
    table = csv.writer(out, lineterminator="\n")
    table.writerow(lists)
    table.writerows(zip(*lists.values(), strict=True))
    return atomic_write_text(path, out.getvalue())
