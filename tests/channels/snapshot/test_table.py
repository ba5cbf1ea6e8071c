"""Gains in a `.csv` file."""

from pathlib import Path

import pytest

from torchrrm.channels import SnapshotError
from torchrrm.channels.snapshot import load


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_line_is_a_receiver_and_a_column_a_transmitter(tmp_path: Path) -> None:
    text = "# of a planning tool\nmacro, small,small\n-60,-80,-inf\n\n-100,-70,-250\n"
    snapshot = load(written(tmp_path / "plan.csv", text))
    assert snapshot.gain.flatten().tolist() == pytest.approx([1e-6, 1e-8, 0, 1e-10, 1e-7, 0])
    assert (snapshot.name, snapshot.tx_kind.tolist()) == ("plan", [0, 1, 1])
    bare = load(written(tmp_path / "bare.csv", "-60,-80,-inf\n-100,-70,-250\n"))
    assert bare.gain.equal(snapshot.gain)
    assert bare.tx_kind.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "gain_db: must have a line of numbers for each receiver, received none"),
        ("macro,small\n", "gain_db: must have a line of numbers for each receiver, received none"),
        ("-60,-70\n-60\n", "gain_db: must have 2 columns, received 1 for receiver 1"),
        ("a,b\n-60,-70\n", r"gain_db: must be numbers in dB, and .*, received 'a' at \[0, 0\]"),
        ("macro\n-60,-70\n", r"tx_kind: must have shape \(2,\), received \(1,\)"),
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
