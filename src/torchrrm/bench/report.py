"""Tables of results for a terminal, for Markdown and for a page that stands alone."""

import base64
import html
import io
import math
import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchrrm.bench.figures import render
from torchrrm.bench.results import Interval, Results, Row, case_names
from torchrrm.files import atomic_write_text

__all__ = [
    "NOTE",
    "Display",
    "Plate",
    "circumstances",
    "console",
    "html_report",
    "markdown_table",
    "terminal_table",
]


@dataclass(frozen=True)
class Display:
    """How the objective is shown: its name, its unit and how many of the problem's units make one of these.

    `Display("sum rate", "Mbit/s", 1e6)` shows bit/s in Mbit/s.
    """

    objective: str = "objective"
    unit: str = ""
    scale: float = 1.0

    @property
    def heading(self) -> str:
        """`sum rate / Mbit/s`; the name alone where there is no unit."""
        return f"{self.objective} / {self.unit}" if self.unit else self.objective


@dataclass(frozen=True)
class Plate:
    """A figure in a report: what it shows, and what it says to somebody who does not see it."""

    figure: Figure
    caption: str
    alt: str


class _Cell(NamedTuple):
    text: str
    value: float | str  # what a sorted table goes by


def _number(value: float | None, digits: int = 4) -> _Cell:
    if value is None or math.isnan(value):
        return _Cell("–", -math.inf)
    text = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return _Cell(text, value)


def _with_interval(value: float | None, interval: Interval, scale: float, digits: int | None = None) -> _Cell:
    if value is None:
        return _number(None)
    half = (interval[1] - interval[0]) / 2 / scale if interval is not None else math.nan
    if digits is None:
        text, spread = _number(value / scale).text, f" ± {_number(half, 2).text}"
    else:
        text, spread = f"{value / scale:.{digits}f}", f" ± {half:.{digits}f}"
    return _Cell(text + (spread if interval is not None else ""), value)


def _bound(row: Row, marked: bool) -> _Cell:
    optimality = _with_interval(row.optimality, row.optimality_ci95, 0.01, 2)
    mark = " (best known)" if marked and row.bound_kind == "best known" else ""
    return _Cell(optimality.text + mark, optimality.value)


def _percent(value: float | None) -> _Cell:
    return _Cell("–", -math.inf) if value is None else _Cell(f"{100 * value:.1f}", value)


def _violation(row: Row) -> _Cell:
    return _Cell("0" if row.violation_max == 0 else f"{row.violation_max:.1e}", row.violation_max)


def _measure(row: Row, name: str, interval: bool) -> _Cell:
    measure = row.measures.get(name)
    if measure is None:
        return _number(None)
    return _with_interval(measure.value, measure.ci95 if interval else None, 1.0)


Column = tuple[str, Callable[[Row], _Cell]]


def _columns(rows: Sequence[Row], display: Display, *, intervals_of_measures: bool = True) -> list[Column]:
    """Headings and cells; a column that tells nothing in these rows is left out."""
    measures = dict.fromkeys(name for row in rows for name in row.measures)
    known = {row.bound_kind for row in rows} == {"best known"}
    columns: list[Column] = [
        ("problem", lambda row: _Cell(row.problem, row.problem)),
        ("setting", lambda row: _Cell(row.setting, row.setting)),
        ("allocator", lambda row: _Cell(row.allocator, row.allocator)),
        ("kind", lambda row: _Cell(row.kind, row.kind)),
        (display.heading, lambda row: _with_interval(row.objective, row.objective_ci95, display.scale)),
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
    return [column for column in columns if not silent.get(column[0])]


def circumstances(results: Results) -> str:
    """One line: commit, device, threads, seed, instances, and how many of them were infeasible."""
    parts = [f"commit {results.commit}", results.device, f"threads {results.threads}", f"seed {results.seed}"]
    cases = zip(case_names(results.rows), results.rows, strict=True)
    counts = {case: (row.instances, row.infeasible, row.left_out) for case, row in cases}
    if len(counts) > 1 and len(set(counts.values())) == 1:
        counts = {"each": next(iter(counts.values()))}
    for case, (instances, infeasible, left_out) in counts.items():
        told = "feasibility not told" if infeasible is None else f"{infeasible} infeasible"
        told += ", which all but the latency leave out" if left_out else ""
        parts.append(f"{case}: {instances} instances, {told}")
    return "; ".join(parts)


TABLE_WIDTH = 120
"""Columns of text that the widest tables need."""

NOTE = (
    "± is the 95 % interval of the mean over the instances (Student's t; of the ratio to the bound by the "
    "delta method). The bound is certified unless marked. Latency is that of single-instance calls."
)


def markdown_table(results: Results, display: Display | None = None) -> str:
    """A Markdown table of the rows, the circumstances below it."""
    columns = _columns(results.rows, display or Display())
    lines = [[heading for heading, _ in columns], ["---"] * len(columns)]
    lines += [[cell(row).text.replace("|", "\\|") for _, cell in columns] for row in results.rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{circumstances(results)}. {NOTE}\n"


def console() -> Console:
    """A console for tables: as wide as they need where it is no terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=TABLE_WIDTH)


def terminal_table(results: Results, display: Display | None = None, title: str | None = None) -> Table:
    """A table for `rich.console.Console.print`: a section a case; files have more columns and intervals."""
    elsewhere = {"problem", "setting", "kind", "violated %"}  # the case heads its rows
    found = _columns(results.rows, display or Display(), intervals_of_measures=False)
    columns = [column for column in found if column[0] not in elsewhere]
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading, _ in columns:
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
        table.add_row(*(cell(row).text for _, cell in columns))
    return table


def html_report(
    path: str | os.PathLike[str],
    results: Results,
    *,
    title: str,
    lead: str = "",
    plates: Sequence[Plate] = (),
    display: Display | None = None,
) -> Path:
    """Write one page that needs nothing else: figures and styles are inside, and it loads nothing.

    Args:
        path: of the `.html` file, replaced at once.
        results: the rows of its table, which sorts by any column.
        title: the page's heading.
        lead: a paragraph below it; plain text.
        plates: figures with captions.
        display: how the objective is shown.
    """
    template = resources.files("torchrrm.bench").joinpath("report.html").read_text(encoding="utf-8")
    filled = {
        "title": html.escape(title),
        "lead": html.escape(lead),
        "plates": "\n".join(map(_plate, plates)),
        "table": _html_table(results, display or Display()),
        "circumstances": html.escape(f"{circumstances(results)}. {NOTE}"),
        "command": html.escape(results.command),
    }
    for name, text in filled.items():
        template = template.replace(f"<!-- {name} -->", text)
    return atomic_write_text(path, template)


def _plate(plate: Plate) -> str:
    data = base64.b64encode(render(plate.figure, "svg")).decode("ascii")
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{html.escape(plate.alt)}">'
        f"<figcaption>{html.escape(plate.caption)}</figcaption></figure>"
    )


def _html_table(results: Results, display: Display) -> str:
    columns = _columns(results.rows, display)
    out = io.StringIO()
    out.write("<table><thead><tr>")
    for heading, _ in columns:
        button = f'<button type="button">{html.escape(heading)}</button>'
        out.write(f'<th scope="col" aria-sort="none">{button}</th>')
    out.write("</tr></thead>\n<tbody>\n")
    for row in results.rows:
        cells = (cell(row) for _, cell in columns)
        out.write("<tr>" + "".join(map(_html_cell, cells)) + "</tr>\n")
    out.write("</tbody></table>")
    return out.getvalue()


def _html_cell(cell: _Cell) -> str:
    if isinstance(cell.value, str):
        return f"<td>{html.escape(cell.text)}</td>"
    # As the page's script reads them.
    value = repr(cell.value) if math.isfinite(cell.value) else {math.inf: "Infinity"}.get(cell.value, "")
    return f'<td class="number" data-value="{value}">{html.escape(cell.text)}</td>'
