"""The commands of the README run as they stand there, only smaller; those of recipes in `recipes/test_smoke.py`."""

import shutil
from pathlib import Path

import pytest
from tests.readme import ROOT, commands, smaller

from torchrrm import cli

EXPORT = "torchrrm export usrmnet --problem urllc --out usrmnet.onnx"
"""A slow line, which `matrix` runs with another path."""


@pytest.mark.slow
def test_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "src/torchrrm/channels/data/munich_cell_uplink.npz", tmp_path / "cell.npz")
    monkeypatch.chdir(tmp_path)
    lines = [line for line in commands() if not line.startswith("torchrrm reproduce ")]
    lines.remove(EXPORT)
    assert len(lines) >= 6
    for line in lines:
        assert cli.run(smaller(line)) == 0, line
    assert {"allocation.csv", "results.json", "policy.safetensors", "adapted.safetensors", "policy.onnx"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert (tmp_path / "powers.csv").exists()
