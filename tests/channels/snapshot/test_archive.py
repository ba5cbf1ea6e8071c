import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.channels.snapshot import Snapshot, SnapshotError, load, save_snapshot
from torchrrm.channels.snapshot.archive import read_archive


def npy_bytes(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def npy_header(shape: tuple[int, ...], descr: str) -> bytes:
    """A header that declares an array without its data."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_2_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def whole(tmp_path) -> Path:
    snapshot = Snapshot(gain=np.full((2, 3), 1e-9), rx_position_m=np.ones((2, 3)))  # pyright: ignore
    return save_snapshot(tmp_path / "whole.npz", snapshot)


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert "received" in message
    return message


def test_reads_every_plain_kind(tmp_path):
    arrays = {
        "float": np.arange(6.0, dtype=np.float16).reshape(2, 3),
        "complex": np.array([1 + 2j], dtype=np.complex64),
        "integer": np.array(3),
        "truth": np.array([True, False]),
        "text": np.array("a name"),
        "empty": np.zeros((0, 3)),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    np.savez(tmp_path / "a.npz", allow_pickle=False, **arrays)
    read = read_archive(tmp_path / "a.npz")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(read[name], array)
        assert read[name].dtype == array.dtype


@pytest.mark.parametrize("name", ["missing.npz", "."], ids=["missing", "a folder"])
def test_no_file(tmp_path, name):
    with pytest.raises(SnapshotError, match=r"path: must be an existing \.npz file") as error:
        read_archive(tmp_path / name)
    one_line(error)


@pytest.mark.parametrize(
    "content", [b"", b"gain,1,2\n", b"\x93NUMPY", npy_bytes(np.ones(3)), b"PK\x03\x04" * 9]
)
def test_foreign_file(tmp_path, content):
    path = tmp_path / "foreign.npz"
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=r"^foreign\.npz: must be a whole \.npz archive") as error:
        load(path)
    one_line(error)


def test_never_unpickles(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    objects = np.array([Trap()], dtype=object)
    path = zip_of(tmp_path / "trap.npz", {"gain.npy": npy_bytes(objects, allow_pickle=True)})
    with pytest.raises(SnapshotError, match=r"gain: .*pickled objects, which are never loaded$"):
        load(path)
    assert not (tmp_path / "sprung").exists()


def test_structured_values(tmp_path):
    path = zip_of(tmp_path / "a.npz", {"gain.npy": npy_bytes(np.zeros(2, dtype=[("a", float), ("b", int)]))})
    with pytest.raises(SnapshotError, match="gain: must be a plain array of numbers or text"):
        load(path)


@pytest.mark.parametrize(
    ("shape", "descr"),
    [((2**40,), "<f8"), ((2**33, 2**33), "<f4"), ((5 * 10**9,), "|i1"), ((3 * 2**30,), "<U1")],
)
def test_declared_size_is_bounded_before_reading(tmp_path, shape, descr):
    path = zip_of(tmp_path / "bomb.npz", {"gain.npy": npy_header(shape, descr)})
    with pytest.raises(
        SnapshotError, match=r"^bomb\.npz: archive: takes .* GB of memory to read, the limit is 4 GB;"
    ):
        load(path)


def test_a_text_of_a_gigabyte(tmp_path):
    path = zip_of(tmp_path / "bomb.npz", {"name.npy": npy_header((), "<U500000000")})
    with pytest.raises(
        SnapshotError, match="name: must have texts of at most 1048576 bytes, received 2000000000"
    ):
        load(path)


def test_inflated_size_is_bounded_too(tmp_path, monkeypatch):
    """What the members unpack to counts as well as what their headers say."""
    path = zip_of(tmp_path / "a.npz", {"gain.npy": npy_bytes(np.zeros(1000)) + bytes(100_000)})
    monkeypatch.setenv("TORCHRRM_MAX_READ_GB", "5e-5")
    with pytest.raises(
        SnapshotError, match=r"archive: takes 0\.0001081 GB of memory to read, the limit is 5e-05 GB"
    ):
        read_archive(path)


def test_compression_that_unpacks_without_a_bound(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("gain.npy", npy_bytes(np.zeros(2)))
    with pytest.raises(SnapshotError, match=r"must be stored or deflated, received 'gain\.npy' by method 12"):
        load(tmp_path / "a.npz")


def test_a_directory_of_many_members_is_not_read(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(400):
            archive.writestr(f"{'a' * 12_000}{number}.npy", b"")
    with pytest.raises(SnapshotError, match="archive: must be read in parts of at most 4194304 bytes"):
        load(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("gain.npy", npy_bytes(np.zeros(2)))
    with pytest.raises(SnapshotError, match="must hold each array once"):
        load(tmp_path / "a.npz")


def test_number_of_members_is_bounded(tmp_path):
    path = zip_of(tmp_path / "a.npz", {f"a{i}.npy": npy_bytes(np.zeros(1)) for i in range(300)})
    with pytest.raises(SnapshotError, match="must hold 1 to 256 arrays, received 300"):
        read_archive(path)
    with pytest.raises(SnapshotError, match="must hold 1 to 256 arrays, received 0"):
        read_archive(zip_of(tmp_path / "b.npz", {}))


def test_huge_header_is_refused(tmp_path):
    magic = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31)
    path = zip_of(tmp_path / "a.npz", {"gain.npy": magic + b" " * 1000})
    with pytest.raises(SnapshotError, match="must be a whole"):
        read_archive(path)


def test_other_members(tmp_path):
    path = zip_of(tmp_path / "a.npz", {"gain.npy": npy_bytes(np.zeros(1)), "run.sh": b"exit"})
    with pytest.raises(SnapshotError, match=r"must hold \.npy members only, received 'run\.sh'"):
        read_archive(path)


def test_bytes_behind_an_array(tmp_path):
    path = zip_of(tmp_path / "a.npz", {"gain.npy": npy_bytes(np.zeros(2)) + b"more"})
    with pytest.raises(SnapshotError, match="must end with its array"):
        read_archive(path)


def test_truncated_anywhere(whole, tmp_path):
    data = whole.read_bytes()
    path = tmp_path / "cut.npz"
    for size in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(SnapshotError) as error:
            load(path)
        one_line(error)


def outcome(path: Path) -> tuple[int, ...] | str:
    try:
        return tuple(load(path).gain.shape)
    except SnapshotError as error:
        return "one line" if "\n" not in str(error) else "several lines"


@given(data=st.data())
def test_damaged_bytes_are_refused_or_harmless(data, tmp_path_factory):
    """A flipped byte gives one line or, where zip does not look at it, the same arrays."""
    folder = tmp_path_factory.mktemp("damage")
    path = save_snapshot(folder / "a.npz", Snapshot(gain=np.full((2, 3), 1e-9)))  # pyright: ignore
    intact = path.read_bytes()
    changed = bytearray(intact)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(intact) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(changed))
    assert outcome(path) in ((2, 3), "one line")


def test_encrypted_member(tmp_path, whole):
    """The flag of encryption makes zipfile raise a RuntimeError."""
    data = bytearray(whole.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 8] |= 1
    (tmp_path / "locked.npz").write_bytes(bytes(data))
    with pytest.raises(SnapshotError, match="must be a whole"):
        load(tmp_path / "locked.npz")
