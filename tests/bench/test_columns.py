import json
from pathlib import Path

import numpy as np
import pytest

from torchrrm.bench.columns import write_columns

COLUMNS = {
    "user": np.arange(3),
    "scheduled": np.array([True, False, True]),
    "rate_bps": np.array([0.1, 0.0, 2e7]),
}
ABOUT = {"command": "torchrrm allocate", "attribution": "somebody, somewhere"}


def test_csv_reads_back(tmp_path: Path) -> None:
    lines = write_columns(tmp_path / "a.csv", COLUMNS, ABOUT).read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["# command: torchrrm allocate", "# attribution: somebody, somewhere"]
    assert lines[2:] == ["user,scheduled,rate_bps", "0,True,0.1", "1,False,0.0", "2,True,20000000.0"]


def test_npz_reads_back_without_pickle(tmp_path: Path) -> None:
    with np.load(write_columns(tmp_path / "a.npz", COLUMNS, ABOUT), allow_pickle=False) as data:
        assert json.loads(data["about"].item()) == ABOUT
        for name, column in COLUMNS.items():
            assert np.array_equal(data[name], column)


def test_json_reads_back(tmp_path: Path) -> None:
    data = json.loads(write_columns(tmp_path / "a.json", COLUMNS, ABOUT).read_text(encoding="utf-8"))
    assert data == {"about": ABOUT, "columns": {name: column.tolist() for name, column in COLUMNS.items()}}


def test_json_knows_no_infinity(tmp_path: Path) -> None:
    columns = {"power_w": np.array([np.inf, 1.0, np.nan])}
    text = write_columns(tmp_path / "a.json", columns, ABOUT).read_text(encoding="utf-8")
    assert json.loads(text)["columns"] == {"power_w": [None, 1.0, None]}


def test_another_ending_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out: must end in .csv, .npz, .json, received"):
        write_columns(tmp_path / "a.xlsx", COLUMNS, ABOUT)
    assert not list(tmp_path.iterdir())
