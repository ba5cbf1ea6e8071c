"""Gains, RSRP and path losses in a `.csv` file."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from torchrrm.channels import Snapshot, SnapshotError
from torchrrm.channels.snapshot import load, save_snapshot


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_line_is_a_receiver_and_a_column_a_transmitter(tmp_path: Path) -> None:
    text = "# of a planning tool\nmacro, small,small\n-60,-80,-inf\n\n-100,-70,-250\n"
    snapshot = load(written(tmp_path / "plan.csv", text))
    assert snapshot.gain.flatten().tolist() == pytest.approx(
        [1e-6, 1e-8, 0, 1e-10, 1e-7, 0], rel=1e-6, abs=0.0
    )
    assert (snapshot.name, snapshot.tx_kind) == ("plan", ("macro", "small", "small"))
    assert snapshot.direction == "downlink"
    bare = load(written(tmp_path / "bare.csv", "-60,-80,-inf\n-100,-70,-250\n"))
    assert bare.gain.equal(snapshot.gain)
    assert (bare.tx_kind, bare.direction) == (("unknown",) * 3, "unknown")
    assert bare.notes == ("read as gain in dB (no --quantity given)",)


@pytest.mark.parametrize(
    ("word", "direction"),
    [("station", "downlink"), ("macro", "downlink"), ("user", "uplink"), ("device", "device-to-device")],
)
def test_a_line_of_words_tells_the_direction(word: str, direction: str, tmp_path: Path) -> None:
    snapshot = load(written(tmp_path / "plan.csv", f"{word},{word}\n-60,-80\n"))
    assert snapshot.direction == direction
    assert snapshot.tx_kind == ("macro" if word == "macro" else "unknown",) * 2


class TestQuantities:
    GAIN_DB = "-60,-80,-inf\n-100,-70,-250\n"
    RSRP = "-42,-62,-inf\n-82,-52,-240\n"
    LOSS = "60,80,inf\n100,70,250\n"

    @pytest.mark.parametrize(
        ("text", "reading", "note"),
        [
            (GAIN_DB, {"quantity": "gain"}, "read as gain in dB"),
            (
                RSRP,
                {"quantity": "rsrp", "reference_dbm": 18.0},
                "read as RSRP of a reference signal of 18 dBm",
            ),
            (LOSS, {"quantity": "pathloss"}, "read as path loss in dB"),
        ],
    )
    def test_hold_the_same_gains(self, text: str, reading: dict[str, Any], note: str, tmp_path: Path) -> None:
        snapshot = load(written(tmp_path / "plan.csv", text), **reading)
        assert snapshot.gain.flatten().tolist() == pytest.approx(
            [1e-6, 1e-8, 0, 1e-10, 1e-7, 0], rel=1e-6, abs=0.0
        )
        assert snapshot.notes == (note,)

    @pytest.mark.parametrize(
        ("text", "reading", "message"),
        [
            (LOSS, {}, r"gain_db: must be at most 0 dB, received 60 .*--quantity pathloss, RSRP .*rsrp"),
            (
                GAIN_DB,
                {"quantity": "pathloss"},
                r"pathloss: must be at least 0 dB, received -60 at .*--quantity gain",
            ),
            (
                RSRP,
                {"quantity": "rsrp", "reference_dbm": -50.0},
                r"RSRP minus reference_dbm: .*\(--reference-dbm\)",
            ),
            (
                RSRP,
                {"quantity": "rsrp"},
                r"reference_dbm: must be given with quantity rsrp.*\(--reference-dbm\)",
            ),
            (
                GAIN_DB,
                {"reference_dbm": 18.0},
                "reference_dbm: must be given with quantity rsrp, and only with it",
            ),
            (
                RSRP,
                {"quantity": "rsrp", "reference_dbm": math.nan},
                "reference_dbm: must be finite, received nan",
            ),
            (
                GAIN_DB,
                {"quantity": "power"},
                "quantity: must be one of gain, rsrp, pathloss, received 'power'",
            ),
        ],
    )
    def test_contradictions(self, text: str, reading: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(SnapshotError, match=rf"^plan\.csv: {message}"):
            load(written(tmp_path / "plan.csv", text), **reading)

    def test_go_with_tables_only(self, tmp_path: Path) -> None:
        path = save_snapshot(tmp_path / "a.npz", Snapshot(gain=torch.full((1, 2), 1e-9)))
        with pytest.raises(
            SnapshotError, match=r"^quantity: must go with a table .*, received gain for a\.npz$"
        ):
            load(path, quantity="gain")


def test_a_stated_direction(tmp_path: Path) -> None:
    path = written(tmp_path / "plan.csv", "-60,-80\n")
    assert load(path, direction="uplink").tx_role == ("user", "user")
    written(path, "user,user\n-60,-80\n")
    with pytest.raises(
        SnapshotError, match=r"^plan\.csv: direction: must be uplink, as the data say, received down"
    ):
        load(path, direction="downlink")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "gain_db: must have a line of numbers for each receiver, received none"),
        ("macro,small\n", "gain_db: must have a line of numbers for each receiver, received none"),
        ("-60,-70\n-60\n", "gain_db: must have 2 columns, received 1 for receiver 1"),
        ("a,b\n-60,-70\n", r"gain_db: must be numbers in dB, and .*, received 'a' at \[0, 0\]"),
        ("macro\n-60,-70\n", r"tx_kind: must have shape \(2,\) or be one word, received \(1,\)"),
        ("-60,nan\n", r"gain_db: must be no NaN .*, received nan at \[0, 1\]"),
        ("-60,3\n", r"gain_db: must be at most 0 dB, received 3 at \[0, 1\]"),
    ],
)
def test_bad_tables(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=rf"^plan\.csv: {message}"):
        load(written(tmp_path / "plan.csv", text))


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "plan.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SnapshotError, match=r"plan\.csv: must be text in UTF-8"):
        load(tmp_path / "plan.csv")
