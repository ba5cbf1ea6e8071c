"""Every writer on a full disk, and commands there: the old file or the whole new one, and one line of error."""

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from torchrrm import bench, cli
from torchrrm.bench import Results, figures
from torchrrm.bench.columns import write_columns
from torchrrm.channels.snapshot import bundled_snapshot, save_snapshot
from torchrrm.files import atomic_write_text, locked, locked_file
from torchrrm.learning.checkpoint import Checkpoint, CheckpointError, held_checkpoint, save_checkpoint
from torchrrm.policies import SliceGNN
from torchrrm.policies.weights import save_weights
from torchrrm.recipes import RECIPES

RESULTS = Results("torchrrm list", 0, [], commit="a", threads=1)
COLUMNS = {"power_w": np.ones(3)}
DISPLAY = bench.Display(objective="rate", unit="bit/s/Hz")
WRITERS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: atomic_write_text(path, "new"),
    "results": RESULTS.to_json,
    "columns.csv": lambda path: write_columns(path, COLUMNS, {}),
    "columns.npz": lambda path: write_columns(path, COLUMNS, {}),
    "columns.json": lambda path: write_columns(path, COLUMNS, {}),
    "figure.png": lambda path: figures.save(Figure(), path),
    "weights": lambda path: save_weights(path, SliceGNN("data-rate", "raw"), {}),
    "snapshot.npz": lambda path: save_snapshot(path, bundled_snapshot("munich_hudn_600m")),
    "checkpoint": lambda path: save_checkpoint(path, Checkpoint({}, 0, {"a": {"b": torch.zeros(1)}})),
    "page.html": lambda path: bench.html_report(path, RESULTS, title="a", plates=[], display=DISPLAY),
}


def _full(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    _full(monkeypatch)
    with pytest.raises((OSError, CheckpointError), match="No space left on device") as raised:
        WRITERS[name](path)
    assert name in str(raised.value)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    "line",
    [
        ["list", "--json"],
        [
            "evaluate",
            "--scenario",
            "hml",
            "--users",
            "3",
            "--instances",
            "2",
            "--allocators",
            "equal-surplus",
            "--html",
        ],
        [
            "run",
            "--demands",
            "0.1,0.1",
            "--slots",
            "5",
            "--allocator",
            "max-power",
            "--control",
            "time-sharing",
            "--state",
        ],
    ],
    ids=lambda line: line[0],
)
def test_commands_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    _full(monkeypatch)
    assert cli.run([*line, str(tmp_path / "a")]) == 2
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_file_that_becomes_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, limits = tmp_path / "a.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_text("old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        assert cli.run(["list", "--json", str(path)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = capsys.readouterr().err
    assert "File too large" in told
    assert len(told.splitlines()) == 1
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    "line",
    [
        ["reproduce", "hml", "--scale", "smoke", "--out", "{}"],
        ["demo", "--out", "{}"],
        ["run", "--demands", "0.1,0.1", "--slots", "5", "--allocator", "max-power", "--state", "{}/a"],
        [
            "train",
            "--scenario",
            "hml",
            "--kind",
            "data-rate",
            "--steps",
            "1",
            "--out",
            "{}/b",
            "--checkpoint",
            "{}/a",
        ],
    ],
    ids=lambda line: line[0],
)
def test_the_second_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    with locked(tmp_path), locked_file(tmp_path / "a", argument="state"):
        assert cli.run([word.format(tmp_path) for word in line]) == 2
    told = capsys.readouterr().err
    assert f"used by process {os.getpid()}" in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_recipes_and_learners_are_refused_too(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ValueError, match="one run at a time"):
        RECIPES["usrmnet"](scale="smoke", out=tmp_path, seed=0, command="test")
    with held_checkpoint(tmp_path / "a"), pytest.raises(CheckpointError, match="one run at a time"):
        held_checkpoint(tmp_path / "a").__enter__()
    with held_checkpoint(None), held_checkpoint(None):
        pass


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--instances", "9" * 30, "instances: must be at most"),
        ("--instances", "99999999", "sizes: must be of at most"),
        ("--min-rate-bps", "nan", "min_rate_bps: must be finite"),
        ("--power-dbm", "1e309", "power_dbm: must be finite"),
        ("--power-dbm", "1e308", "power_w: must be positive and finite"),
        ("--seed", "-" + "9" * 30, "seed: must be at most"),
        ("--json", "/nowhere/a.json", "json: must lie in an existing folder"),
        ("--html", "/tmp", "html: must be a file"),
    ],
)
def test_the_absurd_is_refused_before_work_begins(
    capsys: pytest.CaptureFixture[str], option: str, value: str, told: str
) -> None:
    assert cli.run(["evaluate", "--scenario", "hml", "--users", "50", f"{option}={value}"]) == 2
    found = capsys.readouterr().err
    assert told in found
    assert len(found.splitlines()) == 1
