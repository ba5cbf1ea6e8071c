"""The leaderboard: its tables, and the one of the README that is made of its JSON."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from torchrrm import bench
from torchrrm.bench import Results, Row
from torchrrm.bench.report import NOTE, columns
from torchrrm.files import atomic_write_text
from torchrrm.recipes.benchmark.plan import Compared
from torchrrm.setups import registry
from torchrrm.setups.registry import CASES

__all__ = [
    "BEGIN",
    "END",
    "cases_of",
    "leaderboard",
    "summary",
    "terminal_summary",
    "with_summary",
    "write_summary",
]

BEGIN, END = "<!-- leaderboard -->", "<!-- end of leaderboard -->"
"""Between these lines of the README stands what `summary` makes."""
_NONE = "–"


def cases_of(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by problem and setting."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.problem, row.setting), []).append(row)
    return found


def leaderboard(results: Results, wanted: Sequence[Compared]) -> str:
    """A section a problem and a table a setting, in Markdown."""
    lines = [
        "# Leaderboard",
        "",
        f"Made by `{results.command}` at commit `{results.commit}`, seed {results.seed}, one thread, {results.device}.",
        "",
        f"All allocators of a table meet the same instances. {NOTE} A worst violation is that of the action itself. "
        "`trivial` are rules that anybody would write; `front`: violates nothing, and none that violates nothing is "
        "better and no slower. Policies are as they ship: none was trained on these instances, some on other channels.",
        "",
    ]
    tables, heading = cases_of(results.rows), ""
    for one in wanted:
        title = _title(one)
        if title != heading:
            lines += [f"## {title}", ""]
        heading = title
        lines += _section(one, tables[one.of.problem, one.of.setting])
    return "\n".join(lines)


def _title(one: Compared) -> str:
    family, problem = one.case.setup.name, one.of.problem
    return problem if family == problem else f"{family}: {problem}"


def _section(one: Compared, rows: Sequence[Row]) -> list[str]:
    found = columns(rows, registry.displays())
    header = [heading for heading, _ in found]
    place = header.index("kind") + 1
    cells = [[cell(row).text for _, cell in found] for row in rows]
    for row, line in zip(rows, cells, strict=True):
        line.insert(place, "yes" if bench.on_front(row, rows) else "")
    table = bench.markdown_rows([*header[:place], "front", *header[place:]], cells)
    left_out = [f"`{name}`: {why}." for name, why in one.case.left_out.items()]
    notes = [_instances(rows[0]), *(["Left out: " + " ".join(left_out)] if left_out else [])]
    return [f"### {one.of.setting} ({one.case.regime})", "", table, "", " ".join(notes), ""]


def _instances(row: Row) -> str:
    told = f"{row.instances} instances"
    if row.infeasible is not None:
        told += f", {row.infeasible} infeasible"
        told += ", which all but the latency leave out" if row.left_out else ""
    return f"{told}; held against {_held(row)}."


def _held(row: Row) -> str:
    return {"certified": "the certified bound", "best known": "the best known value"}.get(
        row.bound_kind, "nothing"
    )


def summary(results: Results) -> tuple[list[str], list[list[str]]]:
    """Headings and a row a problem and setting: the best allocator, trivial rule and policy that keep the rules.

    Constraints that the objective has a price for may be missed.
    """
    priced = {bench.label_of(case.setup.problem) for case in CASES if case.setup.priced}
    header = ["problem", "setting", "best allocator", "%", "of", "p50 / µs", "best trivial rule", "%"]
    lines = []
    for (problem, setting), rows in cases_of(results.rows).items():
        kept = [row for row in rows if row.violation_rate == 0 or problem in priced]
        best = _best(kept)
        trivial = _best([row for row in kept if row.kind == "trivial"])
        policy = _best([row for row in kept if row.kind == "policy"])
        lines.append(
            [
                problem,
                setting,
                *_name_and_percent(best),
                rows[0].bound_kind,
                _microseconds(best),
                *_name_and_percent(trivial),
                *_name_and_percent(policy),
                _microseconds(policy),
            ]
        )
    return [*header, "best policy", "%", "p50 / µs"], lines


def terminal_summary(results: Results) -> Table:
    """The same without the names of the best trivial rule and policy: a section a problem."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True, max_width=44)
    table.add_column("best allocator", no_wrap=True, max_width=24)
    for heading in ("%", "of", "p50 / µs", "trivial %", "policy %"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=max(6, len(heading)))
    last = None
    for problem, setting, best, percent, held, p50, _, trivial, _, policy, _ in summary(results)[1]:
        if problem != last:
            last = problem
            table.add_section()
            table.add_row(Text(problem, style="bold"))
        table.add_row(setting, best.strip("`"), percent, held, p50, trivial, policy)
    return table


def _best(rows: Sequence[Row]) -> Row | None:
    """The best; of equal ones the fastest."""
    known = [row for row in rows if row.optimality is not None]
    return max(known, key=lambda row: (round(row.optimality or 0.0, 4), -row.p50_us), default=None)


def _name_and_percent(row: Row | None) -> tuple[str, str]:
    return (_NONE, _NONE) if row is None else (f"`{row.allocator}`", f"{100 * (row.optimality or 0.0):.2f}")


def _microseconds(row: Row | None) -> str:
    return _NONE if row is None else f"{row.p50_us:.3g}" if row.p50_us < 1000 else f"{row.p50_us:.0f}"


def with_summary(text: str, results: Results) -> str:
    """The text with the table between `BEGIN` and `END`.

    Raises:
        ValueError: unless both stand in it once, in this order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"README: must have {BEGIN} and {END} once each, in this order, received others")
    return f"{before}{BEGIN}\n\n{bench.markdown_rows(*summary(results))}\n\n{END}{after}"


def write_summary(readme: Path, leaderboard_json: Path) -> None:
    """Put the table of a leaderboard into a README."""
    text = readme.read_text(encoding="utf-8")
    atomic_write_text(readme, with_summary(text, Results.from_json(leaderboard_json)))
