import dataclasses

from rich.console import Console
from tests.bench.samples import RESULTS, ROW

from torchrrm.bench import Display, Measure, markdown_table, terminal_table
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


def test_objectives_of_several_units_have_them_in_their_cells() -> None:
    other = dataclasses.replace(ROW, problem="other", objective=2.0)
    results = dataclasses.replace(RESULTS, rows=[ROW, other])
    shown = {ROW.problem: SHOWN, "other": Display("power", "W", 2.0)}
    heading, _, first, second = markdown_table(results, shown).splitlines()[:4]
    assert "| objective |" in heading
    assert "Mbit/s |" in first
    assert "W |" in second


def test_measures_have_their_columns_and_the_best_known_value_its_heading() -> None:
    row = dataclasses.replace(ROW, measures={"least / W": Measure(0.5, (0.4, 0.6))}, bound_kind="best known")
    results = dataclasses.replace(RESULTS, rows=[row])
    heading, _, line = markdown_table(results).splitlines()[:3]
    assert "| % of best known | least / W |" in heading
    assert "(best known)" not in line
    assert "0.5 ± 0.1" in line
    table = terminal_table(results)
    assert [column.header for column in table.columns][3] == "least /\nW"
