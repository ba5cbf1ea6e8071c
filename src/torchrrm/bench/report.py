"""Tables of results for a terminal and for Markdown."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchrrm.bench.results import Interval, Results, Row, case_names

__all__ = [
    "NOTE",
    "Cell",
    "Display",
    "Shown",
    "circumstances",
    "columns",
    "console",
    "counts_of",
    "display_for",
    "markdown_rows",
    "markdown_table",
    "origin",
    "terminal_table",
]


@dataclass(frozen=True)
class Display:
    """How the objective is shown: its name, its unit and how many of the problem's units make one of these.

    `Display("sum rate", "Mbit/s", 1e6)` shows bit/s in Mbit/s.

    Attributes:
        utility: heading, with its unit, of what each user has of it.
        utility_scale: how many of the problem's units make one of these.
    """

    objective: str = "objective"
    unit: str = ""
    scale: float = 1.0
    utility: str = "utility"
    utility_scale: float = 1.0

    @property
    def heading(self) -> str:
        """`sum rate / Mbit/s`; the name alone where there is no unit."""
        return f"{self.objective} / {self.unit}" if self.unit else self.objective


class Cell(NamedTuple):
    """What a table says in a place."""

    text: str
    value: float | str  # what a sorted table goes by


def _number(value: float | None, digits: int = 4) -> Cell:
    if value is None or math.isnan(value):
        return Cell("–", -math.inf)
    text = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return Cell(text, value)


def _with_interval(value: float | None, interval: Interval, scale: float, digits: int | None = None) -> Cell:
    if value is None:
        return _number(None)
    half = (interval[1] - interval[0]) / 2 / scale if interval is not None else math.nan
    if digits is None:
        text, spread = _number(value / scale).text, f" ± {_number(half, 2).text}"
    else:
        text, spread = f"{value / scale:.{digits}f}", f" ± {half:.{digits}f}"
    return Cell(text + (spread if interval is not None else ""), value)


def _bound(row: Row, marked: bool) -> Cell:
    optimality = _with_interval(row.optimality, row.optimality_ci95, 0.01, 2)
    mark = " (best known)" if marked and row.bound_kind == "best known" else ""
    return Cell(optimality.text + mark, optimality.value)


def _percent(value: float | None) -> Cell:
    return Cell("–", -math.inf) if value is None else Cell(f"{100 * value:.1f}", value)


def _violation(row: Row) -> Cell:
    return Cell("0" if row.violation_max == 0 else f"{row.violation_max:.1e}", row.violation_max)


def _measure(row: Row, name: str, interval: bool) -> Cell:
    measure = row.measures.get(name)
    if measure is None:
        return _number(None)
    return _with_interval(measure.value, measure.ci95 if interval else None, 1.0)


Column = tuple[str, Callable[[Row], Cell]]


Shown = Display | Mapping[str, Display]
"""How all objectives are shown, or those of each problem by its label."""


def display_for(row: Row, display: Shown | None) -> Display:
    """How the row's objective is shown; without a word about it as it is."""
    if isinstance(display, Display):
        return display
    return (display or {}).get(row.problem, Display())


def _objective(row: Row, display: Shown | None, mixed: bool) -> Cell:
    shown = display_for(row, display)
    cell = _with_interval(row.objective, row.objective_ci95, shown.scale)
    return Cell(f"{cell.text} {shown.unit}".rstrip(), cell.value) if mixed else cell


def columns(
    rows: Sequence[Row], display: Shown | None = None, *, intervals_of_measures: bool = True
) -> list[Column]:
    """Headings and cells; a column that tells nothing in these rows is left out.

    Objectives that are shown in different ways have their units in the cells.
    """
    headings = dict.fromkeys(display_for(row, display).heading for row in rows)
    mixed = len(headings) > 1
    heading = "objective" if mixed else next(iter(headings), Display().heading)
    measures = dict.fromkeys(name for row in rows for name in row.measures)
    known = {row.bound_kind for row in rows} == {"best known"}
    found: list[Column] = [
        ("problem", lambda row: Cell(row.problem, row.problem)),
        ("setting", lambda row: Cell(row.setting, row.setting)),
        ("allocator", lambda row: Cell(row.allocator, row.allocator)),
        ("kind", lambda row: Cell(row.kind, row.kind)),
        (heading, partial(_objective, display=display, mixed=mixed)),
        ("% of best known" if known else "% of bound", partial(_bound, marked=not known)),
        *((name, partial(_measure, name=name, interval=intervals_of_measures)) for name in measures),
        ("published %", lambda row: _percent(row.published)),
        ("worst violation", _violation),
        ("violated %", lambda row: _percent(row.violation_rate)),
        ("served %", lambda row: _percent(row.served_fraction)),
        ("p50 / µs", lambda row: _number(row.p50_us, 3)),
        ("p99 / µs", lambda row: _number(row.p99_us, 3)),
    ]
    silent = {
        "problem": len({row.problem for row in rows}) == 1,
        "setting": len({row.setting for row in rows}) == 1,
        "published %": all(row.published is None for row in rows),
    }
    return [column for column in found if not silent.get(column[0])]


def circumstances(results: Results) -> str:
    """One line: commit, device, threads, seed, instances, and how many of them were infeasible."""
    return "; ".join([origin(results), *counts_of(results)])


def origin(results: Results) -> str:
    """Commit, device, threads and seed."""
    return f"commit {results.commit}; {results.device}; threads {results.threads}; seed {results.seed}"


def counts_of(results: Results) -> list[str]:
    """Instances of each case, and how many of them were infeasible; once where all are alike."""
    parts: list[str] = []
    cases = zip(case_names(results.rows), results.rows, strict=True)
    counts = {case: (row.instances, row.infeasible, row.left_out) for case, row in cases}
    if len(counts) > 1 and len(set(counts.values())) == 1:
        counts = {"each": next(iter(counts.values()))}
    for case, (instances, infeasible, left_out) in counts.items():
        told = "feasibility not told" if infeasible is None else f"{infeasible} infeasible"
        told += ", which all but the latency leave out" if left_out else ""
        parts.append(f"{case}: {instances} instances, {told}")
    return parts


TABLE_WIDTH = 120
"""Columns of text that the widest tables need."""

NOTE = (
    "± is the 95 % interval of the mean over the instances (Student's t; of the ratio to the bound by the "
    "delta method). The bound is certified unless marked; allocators that violate a constraint on some instances are "
    "not compared with it. Latency is that of single-instance calls."
)


def markdown_table(results: Results, display: Shown | None = None) -> str:
    """A Markdown table of the rows, the circumstances below it."""
    found = columns(results.rows, display)
    cells = [[cell(row).text for _, cell in found] for row in results.rows]
    table = markdown_rows([heading for heading, _ in found], cells)
    return f"{table}\n\n{circumstances(results)}. {NOTE}\n"


def markdown_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Headings and texts of cells as a Markdown table, without a line break in the end."""
    lines = [header, ["---"] * len(header), *([text.replace("|", "\\|") for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def console() -> Console:
    """A console for tables: as wide as they need where it is no terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=TABLE_WIDTH)


def terminal_table(results: Results, display: Shown | None = None, title: str | None = None) -> Table:
    """A table for `rich.console.Console.print`: a section a case; files have more columns and intervals."""
    elsewhere = {"problem", "setting", "kind", "violated %"}  # the case heads its rows
    found = columns(results.rows, display, intervals_of_measures=False)
    shown = [column for column in found if column[0] not in elsewhere]
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading, _ in shown:
        *words, unit = heading.rsplit(" ", 1)
        short = "\n".join([*textwrap.wrap(" ".join(words), 11), unit])
        name = heading == "allocator"
        table.add_column(short, justify="left" if name else "right", no_wrap=name, overflow="fold")
    last = None
    for case, row in zip(case_names(results.rows), results.rows, strict=True):
        if case != last:
            last = case
            table.add_section()
            table.add_row(Text(case, style="bold"))
        table.add_row(*(cell(row).text for _, cell in shown))
    return table
