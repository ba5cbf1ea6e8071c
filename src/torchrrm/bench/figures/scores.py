"""Figures of result rows: optimality against latency."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchrrm.bench.figures.style import (
    MARKERS,
    PALETTE,
    QUIET,
    common_legend,
    panel_grid,
    second,
)
from torchrrm.bench.results import Row, case_names, on_front

__all__ = ["latency_front"]


def _percent(row: Row) -> float:
    return 100 * (row.optimality or 0.0)


def _cases(rows: Sequence[Row]) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows that are compared with a bound, by case, and the allocators' names."""
    cases: dict[str, list[Row]] = {}
    for name, row in zip(case_names(rows), rows, strict=True):
        if row.optimality is not None:
            cases.setdefault(name, []).append(row)
    if not cases:
        raise ValueError(f"rows: at least one must have a bound, received none in {len(rows)}")
    return cases, list(dict.fromkeys(row.allocator for case in cases.values() for row in case))


def _bound_word(rows: Sequence[Row]) -> str:
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


def latency_front(
    rows: Sequence[Row],
    *,
    title: str = "",
    names: Mapping[str, str] | None = None,
    least_missing: float | None = None,
) -> Figure:
    """Optimality against latency: a panel a case, a marker an allocator, a whisker from p50 to p99.

    The stepped line is the front: allocators that none beats in both. Rows without optimality, of allocators that
    violate a constraint on some instances, are not drawn. Hollow: violates a constraint that the objective has a price
    for; it is never on the front.

    Args:
        rows: of any cases.
        title: of the whole.
        names: titles of cases instead of their own.
        least_missing: draw what is missing to the bound on a logarithmic scale from this many per cent on, where all
            are close to it; by default the per cent that are reached.

    Raises:
        ValueError: if no row is compared with a bound.
    """
    cases, allocators = _cases(rows)
    figure, panels = panel_grid(len(cases), width=3.6, height=3.0, sharey=False)
    for axes, (case, mine) in zip(panels, cases.items(), strict=True):
        for row in mine:
            _draw_point(axes, row, allocators.index(row.allocator), least_missing)
        _draw_front(axes, mine, least_missing)
        axes.set(xscale="log", title=(names or {}).get(case, case))
        if least_missing is not None:
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.7 * least_missing)
            axes.invert_yaxis()
        axes.title.set_fontsize("medium" if names is None else "small")
        axes.grid(alpha=0.25)
    held = _bound_word(rows)
    figure.supxlabel("latency of a call, p50 to p99 / µs", fontsize="medium")
    figure.supylabel(
        f"objective / {held} / %" if least_missing is None else f"less than the {held} / %", fontsize="medium"
    )
    figure.suptitle(title)
    common_legend(figure, panels)
    return figure


def _height(row: Row, least_missing: float | None) -> tuple[float, float, float]:
    """Where a row is drawn, and how far its interval reaches below and above."""
    value, (below, above) = _percent(row), _half_widths(row)
    if least_missing is None:
        return value, below, above
    missing, low, high = (
        max(100 - reached, least_missing) for reached in (value, value + above, value - below)
    )
    return missing, missing - low, high - missing


def _draw_point(axes: Axes, row: Row, i: int, least_missing: float | None) -> None:
    height, below, above = _height(row, least_missing)
    colour, kept = PALETTE[i % len(PALETTE)], row.violation_rate == 0
    axes.errorbar(
        row.p50_us,
        height,
        xerr=[[0.0], [max(0.0, row.p99_us - row.p50_us)]],
        yerr=[[below], [above]],
        color=colour,
        marker=second(MARKERS, i),
        markerfacecolor=colour if kept else "white",
        markeredgecolor="#222222" if kept else colour,
        linestyle="none",
        elinewidth=1.0,
        label=row.allocator,
    )


def _draw_front(axes: Axes, rows: Sequence[Row], least_missing: float | None) -> None:
    front = sorted((row for row in rows if on_front(row, rows)), key=lambda row: row.p50_us)
    if front:
        steps = [(row.p50_us, _height(row, least_missing)[0]) for row in front]
        axes.step(*zip(*steps, strict=True), where="post", color=QUIET, linewidth=0.8, zorder=0)
