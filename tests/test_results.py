"""What `docs/results/README.md` promises: each line has a number and a command, and the commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from torchrrm.recipes import RECIPES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/results/README.md"
REFERS = ("the same", "Table", "Tables", "tables", "front", "hard regimes", "one set of weights", "ALCOR and")
"""How a line names the command of an earlier one, or the part of the section's own recipe."""


def promises() -> list[tuple[str, str, str]]:
    """What is asked, what was reached and by which command, line by line of the tables."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    rows = [re.split(r"(?<!\\)\s\|\s", line.strip("| ")) for line in lines if line.startswith("| ")]
    return [(row[0], row[1], row[-1]) for row in rows if len(row) == 3 and row[0] not in ("asked", "---")]


def commands() -> list[str]:
    """All that stands in backquotes in the last column."""
    return sorted({command for *_, told in promises() for command in re.findall(r"`([^`]+)`", told)})


@pytest.mark.parametrize(("asked", "reached", "told"), promises())
def test_each_promise_has_a_number_and_a_command(asked: str, reached: str, told: str) -> None:
    assert asked.strip()
    assert reached.strip()
    assert "`" in told or told.startswith(REFERS), told


@pytest.mark.parametrize("command", commands())
def test_commands_exist(command: str) -> None:
    words = [word for word in shlex.split(command) if word != "time"]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    if words[0] == "make":
        assert words[1] in targets
    elif words[0] == "pytest":
        paths = [word for word in words[1:] if "/" in word]
        assert paths
        assert all((ROOT / path.split("::")[0]).exists() for path in paths), command
    elif words[0] == "python":
        assert (ROOT / words[1]).exists() or words[1] == "-m"
    else:
        assert words[0] == "torchrrm"
        assert words[1] != "reproduce" or words[2] in RECIPES
