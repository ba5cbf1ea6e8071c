"""Figures of result rows: objectives against the bound, and against latency."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchrrm.bench.figures.style import (
    HATCHES,
    MARKERS,
    PALETTE,
    QUIET,
    common_legend,
    panel_grid,
    second,
)
from torchrrm.bench.results import Row, case_names

__all__ = ["bars_against_bound", "bound_word", "latency_front"]


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
        hatch=second(HATCHES, i),
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
    figure, panels = panel_grid(len(cases), width=3.4, height=2.9, sharey=False)
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
    common_legend(figure, panels)
    return figure


def _draw_point(axes: Axes, row: Row, i: int) -> None:
    axes.errorbar(
        row.p50_us,
        _percent(row),
        xerr=[[0.0], [max(0.0, row.p99_us - row.p50_us)]],
        yerr=np.array(_half_widths(row)).reshape(2, 1),
        color=PALETTE[i % len(PALETTE)],
        marker=second(MARKERS, i),
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
