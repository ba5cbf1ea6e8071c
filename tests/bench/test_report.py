import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console
from tests.bench.test_results import RESULTS, ROW

from torchrrm.bench import Display, Measure, Plate, figures, html_report, markdown_table, terminal_table
from torchrrm.bench.report import circumstances

SHOWN = Display("sum rate", "Mbit/s", 1.0)
TWO = dataclasses.replace(
    RESULTS,
    rows=[
        ROW,
        dataclasses.replace(ROW, allocator="winner", kind="trivial", published=0.9, violation_max=1.0),
        dataclasses.replace(ROW, setting="else", bound=None, bound_kind="none", optimality=None),
        dataclasses.replace(ROW, setting="else", allocator="<b>|&", bound_kind="best known"),
    ],
)


def test_circumstances_tell_what_is_left_out() -> None:
    found = dataclasses.replace(RESULTS, rows=[dataclasses.replace(ROW, infeasible=2, left_out=2)])
    told = circumstances(found)
    assert told.endswith(f"{ROW.instances} instances, 2 infeasible, which all but the latency leave out")


def test_markdown_has_a_row_each_and_the_circumstances() -> None:
    text = markdown_table(TWO, SHOWN)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(TWO.rows)
    assert "sum rate / Mbit/s" in lines[0]
    assert "(best known)" in lines[-1]
    assert all(line.count("|") - line.count("\\|") == lines[0].count("|") for line in lines)
    assert "seed 3" in text
    assert "feasibility not told" in text


def test_a_column_that_tells_nothing_is_left_out() -> None:
    text = markdown_table(RESULTS)
    assert "published" not in text.splitlines()[0]
    assert "setting" not in text.splitlines()[0]


def test_terminal_table_is_whole_in_100_columns() -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(TWO, SHOWN, title="Sharing"))
    text = console.export_text()
    for part in ("three users", "winner", "19.5 ± 18", "87.00", "12.5", "20", "0", "1.0e+00"):
        assert part in text


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_report_stands_alone_and_is_accessible(tmp_path: Path) -> None:
    plate = Plate(figures.bars_against_bound([ROW]), caption="Bars & bound", alt='all of "it"')
    path = html_report(
        tmp_path / "r.html", TWO, title="A <title>", lead="x < y", plates=[plate], display=SHOWN
    )
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == ['all of "it"']
    assert all((image["src"] or "").startswith("data:") for image in images)
    outside = [a for tag, a in page.tags if tag in ("link", "iframe") or (tag == "script" and "src" in a)]
    assert not outside
    assert not re.search(r"https?://", text)
    assert [tag for tag, _ in page.tags].count("button") == [tag for tag, _ in page.tags].count("th")
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert "A &lt;title&gt;" in text
    assert "&lt;b&gt;|&amp;" in text
    assert "<!-- " not in text


def test_a_failed_report_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("old", encoding="utf-8")
    unfit = Plate(figures.rate_cdf({"x": [1.0]}), caption="", alt=None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AttributeError):
        html_report(path, RESULTS, title="t", plates=[unfit])
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_measures_have_their_columns_and_the_best_known_value_its_heading() -> None:
    row = dataclasses.replace(ROW, measures={"least / W": Measure(0.5, (0.4, 0.6))}, bound_kind="best known")
    results = dataclasses.replace(RESULTS, rows=[row])
    heading, _, line = markdown_table(results).splitlines()[:3]
    assert "| % of best known | least / W |" in heading
    assert "(best known)" not in line
    assert "0.5 ± 0.1" in line
    table = terminal_table(results)
    assert [column.header for column in table.columns][3] == "least /\nW"
