"""What every command does with bad input."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from torchrrm import cli

BadLines = Mapping[str, tuple[Sequence[str], str]]
"""Command lines, with `{name}` in place of the path of a file, and patterns of their errors, by what is wrong."""


def each(bad: BadLines) -> Any:
    """Parametrise a test over bad lines, as `line` and `message`."""
    return pytest.mark.parametrize(("line", "message"), bad.values(), ids=bad.keys())


def check_refused(
    line: Sequence[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    *,
    files: Mapping[str, object] | None = None,
    kept: Path | None = None,
) -> None:
    """A command line gets exit code 2 and one line that matches the pattern, and leaves a file as it was.

    Args:
        line: the command line; `{name}` stands for the path of a file.
        message: pattern of the error.
        capsys: reads the error.
        files: paths by name.
        kept: the file.
    """
    if kept is not None:
        kept.write_text("old", encoding="utf-8")
    capsys.readouterr()
    assert cli.run([part.format_map(files or {}) for part in line]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("error: "), error
    assert re.search(message, error), error
    if kept is not None:
        assert kept.read_text(encoding="utf-8") == "old"
