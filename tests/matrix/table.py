"""The matrix as a table, written by `make matrix` to `docs/results/matrix.md`: the checks are those of the tests.

`table.py [FILE]` writes the file and exits with 1 if a use failed, which the table then says.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.exports import Exports  # noqa: E402
from tests.matrix.checks import CONTROLLERS, USES, under  # noqa: E402
from tests.matrix.subjects import Files, allocators, subjects  # noqa: E402

from torchrrm.bench import source_commit  # noqa: E402
from torchrrm.files import atomic_write_text, printable  # noqa: E402

RESULT = ROOT / "docs" / "results" / "matrix.md"
FAILED = "**failed**"
HEAD = """# The matrix: what ships, in every use

Written by `make matrix` at commit {commit}; `pytest tests/matrix` makes the same checks. A cell is `yes`, with a \
number where there is one, or `no` with the reason that the refusal tells.

"""
POLICIES = """## Policies

Of the weights that ship, on every problem that they serve. The number of *session* and *batch* is the largest \
difference of an action in parts of its limit (from torch; of many instances from one by one), that of *float64* the \
largest relative difference of an objective from single precision, that of *other sizes* (2, 3 and 40 links or users) \
the largest violation, that of *allocate* and *evaluate* the part of the bound or of the best known.

"""
LOOPS = """
## Controllers

Over four slots of three links, around solvers of every problem and policies of links. The number is the largest \
difference of a power from the run alone, in parts of the limit.

"""


def cell(check: Callable[..., str], *on: Any) -> str:
    """Return what a check returns, or how it failed."""
    try:
        return check(*on)
    except Exception as error:  # a table shows whatever fails
        return f"{FAILED}: {printable(' '.join(f'{type(error).__name__} {error}'.split()))[:200]}"


def table(columns: list[str], rows: Mapping[tuple[str, str], list[str]]) -> str:
    """Return rows of cells as Markdown, problem and name first."""
    lines = [["problem", "name", *columns], ["---"] * (2 + len(columns))]
    lines += [[*key, *(text.replace("|", "/") for text in cells)] for key, cells in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def matrix(folder: Path) -> str:
    """Return the page."""
    files = Files(folder, Exports(folder))
    policies = {(on.problem, on.name): [cell(use, on) for use in USES.values()] for on in subjects(files)}
    loops = {pair: [cell(under, *pair, name) for name in CONTROLLERS] for pair in allocators()}
    return "".join(
        [
            HEAD.format(commit=source_commit()),
            POLICIES + table(list(USES), policies),
            LOOPS + table(list(CONTROLLERS), loops),
        ]
    )


def main() -> int:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        page = matrix(Path(folder))
    atomic_write_text(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT, page)
    return int(FAILED in page)


if __name__ == "__main__":
    sys.exit(main())
