"""Figures: made without pyplot's global state, and readable without colour.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; hatches, markers and line styles
say the same.
"""

import io
import math
import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from torchrrm.bench.metrics import t_975
from torchrrm.bench.results import Row, case_names
from torchrrm.files import atomic_write_bytes

__all__ = [
    "bars_against_bound",
    "bound_word",
    "city_map",
    "curve_panels",
    "curves",
    "latency_front",
    "rate_cdf",
    "render",
    "save",
]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
QUIET = "#5a5a5a"


def _second(marks: Sequence[str], i: int) -> str:
    """The i-th hatch or marker: shifted whenever the colours begin anew, so that no pair comes twice."""
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


def city_map(
    users_m: ArrayLike,
    site_m: ArrayLike,
    amounts: Mapping[str, ArrayLike],
    *,
    amount_label: str = "bandwidth / MHz",
    title: str = "",
    attribution: str = "",
) -> Figure:
    """Who gets what, where: a panel for each entry of `amounts`, all on one scale.

    A user's marker has an area in proportion to its amount; one who gets nothing is a grey cross.

    Args:
        users_m: positions `[user, 2 or 3]`; height is not drawn.
        site_m: the base station's position.
        amounts: `[user]` values by the panel's title.
        amount_label: of the legend, with the unit.
        title: of the figure.
        attribution: the data's licence line, at the foot.
    """
    users, site = np.asarray(users_m, float), np.asarray(site_m, float).reshape(-1)
    values = {name: np.asarray(amount, float) for name, amount in amounts.items()}
    top = max((amount.max(initial=0.0) for amount in values.values()), default=0.0) or 1.0
    figure, panels = _panels(len(values), width=3.4, height=3.4, sharey=True)
    for axes, (name, amount) in zip(panels, values.items(), strict=True):
        _draw_users(axes, users, amount, top)
        axes.plot(*site[:2], marker="^", color="#000000", markersize=10, linestyle="none")
        axes.set(
            title=f"{name}: {np.count_nonzero(amount > 0)} of {len(amount)} users served", aspect="equal"
        )
        axes.title.set_fontsize("medium")
        axes.grid(alpha=0.25)
    figure.supxlabel(f"x / m\n{attribution}".rstrip(), fontsize="medium")
    figure.supylabel("y / m", fontsize="medium")
    figure.suptitle(title)
    _map_legend(figure, panels[0], top, amount_label)
    return figure


def _panels(count: int, *, width: float, height: float, sharey: bool) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels with one x axis, at most three a line, and room for a legend beside."""
    columns = count if count < 4 else 2 if count == 4 else 3
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(1.6 + width * columns, 0.8 + height * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return figure, grid[:count]


LARGEST_AREA = 400.0  # of a marker, in square points


def _draw_users(axes: Axes, users: np.ndarray, amount: np.ndarray, top: float) -> None:
    served = amount > 0
    axes.scatter(
        *users[served, :2].T,
        s=LARGEST_AREA * amount[served] / top,
        color=PALETTE[0],
        alpha=0.55,
        edgecolor="#003a5c",
        linewidth=0.8,
    )
    axes.scatter(*users[~served, :2].T, s=22, marker="x", color=QUIET, linewidth=1.0)


def _map_legend(figure: Figure, axes: Axes, top: float, label: str) -> None:
    """Outside of the panels: three amounts to read areas by, the site and the unserved."""
    steps = [float(f"{top * share:.1g}") for share in (0.1, 0.4, 1.0)]
    handles: list[Any] = [
        axes.scatter([], [], s=LARGEST_AREA * step / top, color=PALETTE[0], alpha=0.55, edgecolor="#003a5c")
        for step in steps
    ]
    handles.append(axes.scatter([], [], s=22, marker="x", color=QUIET))
    handles.append(axes.scatter([], [], s=80, marker="^", color="#000000"))
    figure.legend(
        handles,
        [*(f"{step:g}" for step in steps), "not served", "base station"],
        loc="outside right upper",
        title=label,
        labelspacing=1.2,
        frameon=False,
    )


def bars_against_bound(rows: Sequence[Row], *, title: str = "") -> Figure:
    """Mean objective in per cent of the mean bound, with 95 % intervals: a group of bars a case.

    Raises:
        ValueError: if no row has a bound.
    """
    cases, names = _cases(rows)
    figure = Figure(figsize=(2.0 + 0.32 * len(cases) * (len(names) + 1), 4.2), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(names):
        offset = (i - (len(names) - 1) / 2) * 0.8 / len(names)
        places = [(at + offset, row) for at, case in enumerate(cases.values()) for row in case]
        _draw_bars(axes, {at: row for at, row in places if row.allocator == name}, 0.8 / len(names), i)
    axes.axhline(100, color="#222222", linewidth=1.0)
    axes.set_xticks(range(len(cases)), list(cases), rotation=20 if len(cases) > 2 else 0)
    axes.set(ylabel=f"objective / {bound_word(rows)} / %", ylim=(0, 122), title=title)
    axes.set_yticks(range(0, 101, 20))
    figure.legend(loc="outside lower center", ncols=min(4, len(names)), frameon=False)
    return figure


def _draw_bars(axes: Axes, rows: Mapping[float, Row], width: float, i: int) -> None:
    """The bars of the i-th allocator by position."""
    height = [_percent(row) for row in rows.values()]
    spread = np.array([_half_widths(row) for row in rows.values()])
    axes.bar(
        list(rows),
        height,
        width=width,
        yerr=spread.T,
        label=next(iter(rows.values())).allocator,
        color=PALETTE[i % len(PALETTE)],
        hatch=_second(HATCHES, i),
        edgecolor="#222222",
        linewidth=0.6,
        error_kw={"elinewidth": 1.0, "capsize": 2.0},
    )
    for x, y, above in zip(rows, height, spread[:, 1], strict=True):
        axes.text(x, y + above + 1, f"{y:.2f}", rotation=90, ha="center", va="bottom", fontsize="x-small")


def _percent(row: Row) -> float:
    return 100 * (row.optimality or 0.0)


def _cases(rows: Sequence[Row]) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows that have a bound, by case, and the allocators' names."""
    cases: dict[str, list[Row]] = {}
    for name, row in zip(case_names(rows), rows, strict=True):
        if row.optimality is not None:
            cases.setdefault(name, []).append(row)
    if not cases:
        raise ValueError(f"rows: at least one must have a bound, received none in {len(rows)}")
    return cases, list(dict.fromkeys(row.allocator for case in cases.values() for row in case))


def bound_word(rows: Sequence[Row]) -> str:
    """What the rows are held against, as axes and captions call it."""
    kinds = {row.bound_kind for row in rows if row.optimality is not None}
    if len(kinds) > 1:
        return "bound or best known value"
    return "certified bound" if kinds == {"certified"} else "best known value"


def _half_widths(row: Row) -> tuple[float, float]:
    """Lengths of the interval below and above the value, in per cent."""
    if row.optimality is None or row.optimality_ci95 is None:
        return 0.0, 0.0
    low, high = row.optimality_ci95
    return 100 * (row.optimality - low), 100 * (high - row.optimality)


def latency_front(rows: Sequence[Row], *, title: str = "") -> Figure:
    """Optimality against latency: a panel a case, a marker an allocator, a whisker from p50 to p99.

    The stepped line is the front: allocators that none beats in both.

    Raises:
        ValueError: if no row has a bound.
    """
    cases, names = _cases(rows)
    figure, panels = _panels(len(cases), width=3.4, height=2.9, sharey=False)
    for axes, (case, mine) in zip(panels, cases.items(), strict=True):
        for row in mine:
            _draw_point(axes, row, names.index(row.allocator))
        _draw_front(axes, mine)
        axes.set(xscale="log", title=case)
        axes.title.set_fontsize("medium")
        axes.grid(alpha=0.25)
    figure.supxlabel("latency of a call, p50 to p99 / µs", fontsize="medium")
    figure.supylabel(f"objective / {bound_word(rows)} / %", fontsize="medium")
    figure.suptitle(title)
    _common_legend(figure, panels)
    return figure


def _common_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend of all that the panels show."""
    handles: dict[str, Any] = {}
    for axes in panels:
        marks, labels = axes.get_legend_handles_labels()
        handles |= {label: mark for label, mark in zip(labels, marks, strict=True) if label not in handles}
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False)


def _draw_point(axes: Axes, row: Row, i: int) -> None:
    axes.errorbar(
        row.p50_us,
        _percent(row),
        xerr=[[0.0], [max(0.0, row.p99_us - row.p50_us)]],
        yerr=np.array(_half_widths(row)).reshape(2, 1),
        color=PALETTE[i % len(PALETTE)],
        marker=_second(MARKERS, i),
        markeredgecolor="#222222",
        linestyle="none",
        elinewidth=1.0,
        label=row.allocator,
    )


def _draw_front(axes: Axes, rows: Sequence[Row]) -> None:
    front: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row.p50_us, -_percent(row))):
        if not front or _percent(row) > front[-1][1]:
            front.append((row.p50_us, _percent(row)))
    axes.step(*zip(*front, strict=True), where="post", color=QUIET, linewidth=0.8, zorder=0)


def rate_cdf(
    samples: Mapping[str, ArrayLike], *, label: str = "rate / (Mbit/s)", title: str = "", log: bool = False
) -> Figure:
    """Empirical distribution functions: the fraction of values at or below x, a curve an entry."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    for (name, values), (colour, line) in zip(samples.items(), _styles(), strict=False):
        axes.ecdf(np.asarray(values, float).reshape(-1), label=name, color=colour, linestyle=line)
    axes.set(xlabel=label, ylabel="fraction of users", ylim=(0, 1), title=title)
    if log:
        axes.set_xscale("log")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _styles() -> Any:
    return cycle(zip(PALETTE, LINES, strict=True))


def curves(
    series: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    x_label: str = "epoch",
    y_label: str = "objective",
    reference: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Curves with 95 % bands: the mean over runs and its Student's t interval, a curve an entry.

    Args:
        series: `[run, point]` values by name; of a single run the curve is drawn without a band.
        x: `[point]` positions; 0, 1, ... if not given.
        x_label: with the unit.
        y_label: with the unit.
        reference: horizontal lines by name, such as a published value.
        title: of the figure.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    _draw_curves(axes, series, x)
    for (name, value), line in zip((reference or {}).items(), cycle(LINES[::-1]), strict=False):
        axes.axhline(value, label=name, color=QUIET, linewidth=1.0, linestyle=line)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def curve_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    x_label: str = "epoch",
    y_label: str = "objective",
    title: str = "",
) -> Figure:
    """`curves` of several cases, a panel each; names have the same colour and line in all, and one legend."""
    figure, grid = _panels(len(panels), width=3.0, height=2.6, sharey=False)
    for axes, (case, series) in zip(grid, panels.items(), strict=True):
        _draw_curves(axes, series, None)
        axes.set_title(case, fontsize="medium")
    figure.supxlabel(x_label, fontsize="medium")
    figure.supylabel(y_label, fontsize="medium")
    figure.suptitle(title)
    _common_legend(figure, grid)
    return figure


def _draw_curves(axes: Axes, series: Mapping[str, ArrayLike], x: ArrayLike | None) -> None:
    """Mean over runs and its band, a curve an entry."""
    for (name, values), (colour, line) in zip(series.items(), _styles(), strict=False):
        runs = np.atleast_2d(np.asarray(values, float))
        at = np.arange(runs.shape[1]) if x is None else np.asarray(x, float)
        mean = runs.mean(axis=0)
        axes.plot(at, mean, label=name, color=colour, linestyle=line)
        if len(runs) > 1:
            half = t_975(len(runs) - 1) * runs.std(axis=0, ddof=1) / math.sqrt(len(runs))
            axes.fill_between(at, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
    axes.grid(alpha=0.25)
