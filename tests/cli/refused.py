"""What every command does with bad input."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from torchrrm import cli


def check_refused(
    bad: Mapping[str, tuple[Sequence[str], str]], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command line gets exit code 2 and one line that matches its pattern, and leaves the file as it was."""
    for name, (line, message) in bad.items():
        out.write_text("old", encoding="utf-8")
        assert cli.run(line) == 2, name
        error = capsys.readouterr().err
        assert error.count("\n") == 1, (name, error)
        assert error.startswith("error: "), (name, error)
        assert re.search(message, error), (name, error)
        assert out.read_text(encoding="utf-8") == "old", name
