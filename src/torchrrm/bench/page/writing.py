"""The page as a file: template, styles, scripts, plotly, data, figures and table in one."""

import base64
import html
import io
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from matplotlib.figure import Figure

from torchrrm.bench.figures import render
from torchrrm.bench.page.data import page_data
from torchrrm.bench.report import NOTE, Cell, Shown, circumstances, columns, counts_of, origin
from torchrrm.bench.results import Results
from torchrrm.bench.scene import Scene
from torchrrm.files import atomic_write_text, to_json

__all__ = ["Plate", "html_report"]

_SCRIPTS = ("marks.js", "scene.js", "cases.js", "table.js", "page.js")
_FEW_CASES = 6


@dataclass(frozen=True)
class Plate:
    """A figure in a report: what it shows, and what it says to somebody who does not see it."""

    figure: Figure
    caption: str
    alt: str


def html_report(
    path: str | os.PathLike[str],
    results: Results,
    *,
    title: str,
    lead: str = "",
    plates: Sequence[Plate] = (),
    display: Shown | None = None,
    scenes: Sequence[Scene] = (),
) -> Path:
    """Write one page that needs nothing else: figures, scripts and styles are inside, and it loads nothing.

    It shows the scenes with a switch between their allocators; for each problem and setting of the results bars against
    the bound, optimality against latency and the distribution of utilities; the plates; and a table of all rows.

    Args:
        path: of the `.html` file, replaced at once.
        results: the rows of its table, which sorts by any column.
        title: the page's heading.
        lead: a paragraph below it; plain text.
        plates: figures with captions.
        display: how objectives are shown, all alike or by the label of the problem.
        scenes: instances to look at.
    """
    filled = {
        "title": html.escape(title),
        "lead": f"<p>{html.escape(lead)}</p>" if lead else "",
        "figures": _figures(plates),
        "table": _table(results, display),
        "note": html.escape(NOTE),
        "circumstances": _circumstances(results),
        "command": html.escape(results.command),
        "style": _own("page.css"),
        "data": _json(page_data(results, display, scenes)),
        "plotly": _script(
            resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")
        ),
        "scripts": _script("\n".join(map(_own, _SCRIPTS))),
    }
    page = re.sub(r"<!-- (\w+) -->", lambda match: filled[match[1]], _own("page.html"))
    return atomic_write_text(path, page)


def _own(name: str) -> str:
    return resources.files("torchrrm.bench.page").joinpath(name).read_text("utf-8")


def _script(text: str) -> str:
    """A script that does not end before its end, wherever it speaks of scripts."""
    return re.sub(r"</(script)", r"<\\/\1", text, flags=re.IGNORECASE).replace("<!--", r"<\!--")


def _json(data: object) -> str:
    """JSON that HTML reads as text whatever strings are in it."""
    text = to_json(data, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _circumstances(results: Results) -> str:
    """A paragraph, the numbers of instances behind a fold if there are many cases."""
    counts = counts_of(results)
    if len(counts) <= _FEW_CASES:
        return f'<p class="note">{html.escape(circumstances(results))}.</p>'
    cases = "".join(f"<li>{html.escape(count)}</li>" for count in counts)
    fold = f"<details><summary>Instances of the {len(counts)} cases</summary><ul>{cases}</ul></details>"
    return f'<p class="note">{html.escape(origin(results))}.</p>\n{fold}'


def _figures(plates: Sequence[Plate]) -> str:
    if not plates:
        return ""
    shown = "\n".join(map(_plate, plates))
    return f'<section aria-labelledby="figures">\n<h2 id="figures">Figures</h2>\n{shown}\n</section>'


def _plate(plate: Plate) -> str:
    data = base64.b64encode(render(plate.figure, "svg")).decode("ascii")
    return (
        f'<figure class="plate"><img src="data:image/svg+xml;base64,{data}" alt="{html.escape(plate.alt)}">'
        f"<figcaption>{html.escape(plate.caption)}</figcaption></figure>"
    )


def _table(results: Results, display: Shown | None) -> str:
    found = columns(results.rows, display)
    out = io.StringIO()
    out.write('<table id="results"><thead><tr>')
    for heading, _ in found:
        button = f'<button type="button">{html.escape(heading)}</button>'
        out.write(f'<th scope="col" aria-sort="none">{button}</th>')
    out.write("</tr></thead>\n<tbody>\n")
    for row in results.rows:
        case = f'data-problem="{html.escape(row.problem)}" data-setting="{html.escape(row.setting)}"'
        out.write(f"<tr {case}>" + "".join(_cell(cell(row)) for _, cell in found) + "</tr>\n")
    out.write("</tbody></table>")
    return out.getvalue()


def _cell(cell: Cell) -> str:
    if isinstance(cell.value, str):
        return f"<td>{html.escape(cell.text)}</td>"
    # As the page's script reads them.
    value = repr(cell.value) if math.isfinite(cell.value) else {math.inf: "Infinity"}.get(cell.value, "")
    return f'<td class="number" data-value="{value}">{html.escape(cell.text)}</td>'
