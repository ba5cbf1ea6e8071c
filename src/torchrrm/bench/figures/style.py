"""What all figures share: colours, marks, panels, legends, files."""

import io
import math
import os
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchrrm.files import atomic_write_bytes

__all__ = [
    "LINES",
    "MARKERS",
    "PALETTE",
    "QUIET",
    "Format",
    "common_legend",
    "panel_grid",
    "render",
    "save",
    "second",
    "styles",
]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
QUIET = "#5a5a5a"


def second(marks: Sequence[str], i: int) -> str:
    """The i-th marker: shifted whenever the colours begin anew, so that no pair comes twice."""
    return marks[(i + i // len(PALETTE)) % len(marks)]


Format: TypeAlias = Literal["png", "svg", "pdf"]
_UNDATED: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def render(figure: Figure, form: Format) -> bytes:
    """The figure as a file's bytes; the same figure gives the same bytes."""
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "torchrrm"}):
        figure.savefig(out, format=form, dpi=160, bbox_inches="tight", metadata=_UNDATED[form])
    return out.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write the figure at once, in the format that the path's ending names.

    Raises:
        ValueError: if the ending is not `.png`, `.svg` or `.pdf`.
    """
    form = Path(path).suffix.removeprefix(".")
    if form not in ("png", "svg", "pdf"):
        raise ValueError(f"path: must end in .png, .svg or .pdf, received {os.fspath(path)!r}")
    return atomic_write_bytes(path, render(figure, form))


def panel_grid(
    count: int, *, width: float, height: float, sharey: bool, sharex: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most three a line, and room for a legend beside."""
    columns = count if count < 4 else 2 if count == 4 else 3
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(1.6 + width * columns, 0.8 + height * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return figure, grid[:count]


def common_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend of all that the panels show."""
    handles: dict[str, Any] = {}
    for axes in panels:
        marks, labels = axes.get_legend_handles_labels()
        handles |= {label: mark for label, mark in zip(labels, marks, strict=True) if label not in handles}
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False)


def styles() -> Any:
    return cycle(zip(PALETTE, LINES, strict=True))
