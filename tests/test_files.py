import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from torchrrm.files import (
    MemoryLimitError,
    atomic_write_bytes,
    atomic_write_text,
    csv_rows,
    locked,
    locked_file,
    printable,
    require_memory,
)


def test_replaces_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    assert atomic_write_text(path, "neu µ") == path
    assert path.read_text(encoding="utf-8") == "neu µ"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_permissions_are_the_users_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(atomic_write_bytes(tmp_path / "a", b"").stat().st_mode) == usual


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    atomic_write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write_bytes(tmp_path / "none" / "a", b"")


def test_a_failure_names_the_file_and_not_its_draft(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        atomic_write_bytes(tmp_path / "none" / "a", b"")
    assert raised.value.filename == str(tmp_path / "none" / "a")


def test_text_that_is_none_is_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    assert atomic_write_text(tmp_path / "a", name).read_text(encoding="utf-8") == "caf\\udce9"


def test_a_folder_is_of_one_run_at_a_time(tmp_path: Path) -> None:
    message = rf"^out: must .* used by process {os.getpid()}$"
    with locked(tmp_path / "new" / "out"), locked(tmp_path), pytest.raises(ValueError, match=message):
        locked(tmp_path / "new" / "out").__enter__()
    with locked(tmp_path / "new" / "out"):
        pass
    assert not list((tmp_path / "new" / "out").iterdir())


def test_a_file_is_of_one_run_at_a_time(tmp_path: Path) -> None:
    here, beside = (locked_file(tmp_path / name, argument="state") for name in "ab")
    with (
        here,
        beside,
        pytest.raises(ValueError, match=r"^state: must be used by one run at a time, received"),
    ):
        locked_file(tmp_path / "a", argument="state").__enter__()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path), locked(tmp_path):
        atomic_write_bytes(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from torchrrm import files
how, folder = sys.argv[1], Path(sys.argv[2])
def die(*arguments): os.kill(os.getpid(), signal.SIGKILL)
if how == "write":
    setattr(os, sys.argv[3], die)
    files.atomic_write_bytes(folder / "a", b"new" * 100_000)
with files.locked(folder), files.locked_file(folder / "a", argument="state"):
    die()
"""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_killed_while_writing(tmp_path: Path, moment: str) -> None:
    (tmp_path / "a").write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, "write", str(tmp_path), moment])
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2  # its draft
    atomic_write_bytes(tmp_path / "b", b"other")
    assert len(list(tmp_path.iterdir())) == 3  # the draft of another file is not touched
    atomic_write_bytes(tmp_path / "a", b"newer")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_killed_while_holding(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, "hold", str(tmp_path)])
    assert len(list(tmp_path.iterdir())) == 2
    with locked(tmp_path), locked_file(tmp_path / "a", argument="state"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_draft_of_a_living_process_stays(tmp_path: Path) -> None:
    draft = tmp_path / f".a.{os.getppid()}.0123abcd"
    draft.touch()
    atomic_write_bytes(tmp_path / "a", b"")
    assert draft.exists()


def test_the_draft_that_another_machine_holds_stays(tmp_path: Path) -> None:
    draft = tmp_path / ".a.99999999.0123abcd"
    with draft.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        atomic_write_bytes(tmp_path / "a", b"")
        assert draft.exists()
    atomic_write_bytes(tmp_path / "a", b"")
    assert not draft.exists()


def test_interrupted_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def interrupt(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write_bytes(tmp_path / "a", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("value", ["", "x", "0", "-1", "nan"])
def test_limits_that_are_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TORCHRRM_MAX_READ_GB", value)
    with pytest.raises(
        ValueError, match=r"^TORCHRRM_MAX_READ_GB: expected a positive number of 1e9 bytes, got"
    ):
        require_memory("a", 1)


def test_the_limit_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    require_memory("a", 4e9)
    with pytest.raises(MemoryLimitError) as raised:
        require_memory("gains.npz", 4.5e9)
    way_out = "split the file, or set TORCHRRM_MAX_READ_GB=5"
    assert str(raised.value) == f"gains.npz: takes 4.5 GB of memory to read, the limit is 4 GB; {way_out}"
    monkeypatch.setenv("TORCHRRM_MAX_READ_GB", "5")
    require_memory("gains.npz", 4.5e9)
    monkeypatch.setenv("TORCHRRM_MAX_READ_GB", "inf")
    require_memory("gains.npz", 1e30)


def rows(path: Path) -> list[list[str]]:
    return list(csv_rows(path, name="table", row_bytes=100, cell_bytes=50))


def test_rows_of_cells(tmp_path: Path) -> None:
    text = '\ufeffa, "b,c" ,\r\n# left out\n\n  \n1,2\u20283'
    (tmp_path / "a").write_text(text, encoding="utf-8")
    assert rows(tmp_path / "a") == [["a", '"b', 'c"', ""], ["1", "2\u20283"]]


@pytest.mark.parametrize(
    ("content", "limit_gb", "fits"),
    [
        ("1" * 1000, "6.5e-5", True),  # 64 bytes a character
        ("1" * 1000, "6.3e-5", False),
        ("1,2\n" * 400, "8.1e-5", True),  # 100 bytes a row, 50 a cell
        ("1,2\n" * 400, "7.9e-5", False),
    ],
)
def test_rows_take_no_more_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, limit_gb: str, fits: bool
) -> None:
    (tmp_path / "a").write_text(content, encoding="utf-8")
    monkeypatch.setenv("TORCHRRM_MAX_READ_GB", limit_gb)
    if fits:
        assert rows(tmp_path / "a")
        return
    with pytest.raises(MemoryLimitError, match=r"^table: takes .* GB of memory to read"):
        rows(tmp_path / "a")


def test_a_cell_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1," + "2" * 140_000, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"^table: expected lines of comma-separated cells, got field larger"
    ):
        rows(tmp_path / "a")


def test_a_long_message_is_cut() -> None:
    assert printable("a" * 1000) == "a" * 1000
    assert printable("a" * 10**6) == "a" * 1000 + "..."
