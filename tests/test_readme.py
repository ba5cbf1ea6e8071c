"""The commands of the README run as they stand there, only smaller."""

import shlex
import shutil
from pathlib import Path

import pytest

from torchrrm import cli

ROOT = Path(__file__).parents[1]
SMALLER = {
    "evaluate": ["--instances", "2", "--users", "5"],
    "train": ["--steps", "2", "--users", "5"],
    "adapt": ["--epochs", "1", "--users", "5"],
    "reproduce": ["--scale", "smoke"],
}


def commands() -> list[str]:
    """Lines of the README that call the command line."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("torchrrm ") and "COMMAND" not in line]


def test_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "src/torchrrm/channels/data/munich_cell_uplink.npz", tmp_path / "cell.npz")
    monkeypatch.chdir(tmp_path)
    assert len(commands()) >= 6
    for line in commands():
        arguments = shlex.split(line)[1:]
        if arguments[0] == "reproduce":
            arguments = [word for word in arguments if word not in ("--scale", "quick")]
        if "--instances" in arguments:
            at = arguments.index("--instances")
            del arguments[at : at + 2]
        if "--users" in arguments:
            at = arguments.index("--users")
            del arguments[at : at + 2]
        assert cli.run([*arguments, *SMALLER.get(arguments[0], [])]) == 0, line
    assert {"allocation.csv", "results.json", "policy.safetensors", "adapted.safetensors", "policy.onnx"} <= {
        path.name for path in tmp_path.iterdir()
    }
