"""The commands of the README run as they stand there, only smaller; those of recipes in `recipes/test_smoke.py`."""

import shutil
from pathlib import Path

import pytest
from tests.readme import ROOT, commands, smaller

from torchrrm import cli

ELSEWHERE = ("torchrrm reproduce ", "torchrrm export usrmnet --problem urllc ")
"""Lines that `recipes/test_smoke.py` and `matrix` run."""


@pytest.mark.slow
def test_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "src/torchrrm/channels/data/munich_cell_uplink.npz", tmp_path / "cell.npz")
    monkeypatch.chdir(tmp_path)
    lines = [line for line in commands() if not line.startswith(ELSEWHERE)]
    assert len(lines) >= 6
    for line in lines:
        assert cli.run(smaller(line)) == 0, line
    assert {"allocation.csv", "results.json", "policy.safetensors", "adapted.safetensors", "policy.onnx"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert (tmp_path / "powers.csv").exists()
