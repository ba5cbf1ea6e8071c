"""Where compiled code is kept, when it is stale, and what is said about it."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path

import pytest

from torchrrm.kernels import compiled
from torchrrm.kernels.progress import compilation_reported

CALLEE = """from torchrrm.kernels.compiled import kernel


@kernel
def double(x):
    return 2.0 * x
"""
CALLER = """from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.callee import double


@kernel
def twice(x):
    return double(x) + 1.0
"""
BOTH = ["caller.twice", "callee.double"]


class Package:
    """Two kernels of which one calls the other, and folders that may be written to or not."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.sources, self.home, self.temporary = (folder / name for name in ("kernels", "home", "temporary"))
        self.sources.mkdir()
        self.temporary.mkdir()
        (self.sources / "callee.py").write_text(CALLEE)
        (self.sources / "caller.py").write_text(CALLER)
        self._patch = monkeypatch
        monkeypatch.setattr(compiled, "_SOURCES", self.sources)
        monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(self.temporary))
        monkeypatch.setattr("numba.config.CACHE_DIR", "")
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def block(self, folder: Path) -> None:
        """Make a folder one that cannot be written to, for root too."""
        if folder.is_dir():
            folder.rmdir()
        folder.write_text("in the way")

    def call(self) -> tuple[float, list[str], list[str]]:
        """Call the kernel as a new process does: its value, what was compiled, and what was said."""
        for cached in (compiled._folders, compiled._sources_digest, compiled._imported, compiled._say):
            cached.cache_clear()
        names: list[str | None] = []
        with (
            self._patch.context() as patch,
            compilation_reported(names.append),
            warnings.catch_warnings(record=True) as said,
        ):
            warnings.simplefilter("always")
            for name in ("callee", "caller"):
                spec = importlib.util.spec_from_file_location(
                    f"torchrrm.kernels.{name}", self.sources / f"{name}.py"
                )
                assert spec is not None
                assert spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                patch.setitem(sys.modules, spec.name, module)
                spec.loader.exec_module(module)
            value = module.twice(3.0)
        return value, [name for name in names if name], [str(each.message) for each in said]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Package(tmp_path, monkeypatch)


def kept(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[1] for path in folder.rglob("*.kernel"))


def test_a_second_process_compiles_nothing(package: Package) -> None:
    assert package.call() == (7.0, BOTH, [])
    assert kept(package.sources) == ["double", "twice"]
    assert package.call() == (7.0, [], [])


@pytest.mark.parametrize(
    ("file", "old", "new", "value", "names"),
    [("callee", "2.0 * x", "5.0 * x", 16.0, BOTH), ("caller", "+ 1.0", "+ 2.0", 8.0, ["caller.twice"])],
)
def test_a_changed_callee_is_noticed(
    package: Package, file: str, old: str, new: str, value: float, names: list[str]
) -> None:
    package.call()
    path = package.sources / f"{file}.py"
    path.write_text(path.read_text().replace(old, new))
    assert package.call() == (value, names, [])
    assert kept(package.sources) == ["double", "twice"]  # those of the old sources are gone


def test_checked_code_is_told_from_unchecked(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    package.call()
    monkeypatch.setattr(compiled, "_CHECKED", not compiled._CHECKED)
    assert package.call()[1] == BOTH
    assert len(kept(package.sources)) == 4


@pytest.mark.parametrize("damage", [b"", b"hello", None])
def test_a_damaged_file_is_compiled_again(package: Package, damage: bytes | None) -> None:
    package.call()
    for path in package.sources.rglob("*.kernel"):
        path.write_bytes(path.read_bytes()[:500] if damage is None else damage)
    assert package.call() == (7.0, BOTH, [])
    assert package.call() == (7.0, [], [])


def test_where_the_sources_cannot_be_written_to_the_home_is_used(package: Package) -> None:
    package.block(package.sources / "__pycache__")
    _, names, said = package.call()
    assert (names, kept(package.home / ".cache/torchrrm")) == (BOTH, ["double", "twice"])
    (line,) = said
    assert line.startswith(f"kernels: compiled code is kept in {package.home}/.cache/torchrrm/")
    assert package.call() == (7.0, [], [])


def test_without_a_home_a_private_folder_for_temporary_files_is_used(package: Package) -> None:
    package.block(package.sources / "__pycache__")
    package.block(package.home)
    package.call()
    (folder,) = package.temporary.glob(f"torchrrm-{os.geteuid()}-kernels-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert package.call() == (7.0, [], [])
    folder.chmod(0o777)  # others could have put files there
    _, names, said = package.call()
    assert names == BOTH
    assert "others can write to it" in said[0]


def test_where_nothing_can_be_written_that_is_said_once(package: Package) -> None:
    for folder in (package.sources / "__pycache__", package.home, package.temporary):
        package.block(folder)
    for _ in range(2):
        value, names, said = package.call()
        assert (value, names) == (7.0, BOTH)
        (line,) = said
        assert line.startswith("kernels: compiled code cannot be kept, each process compiles again (")
        assert line.endswith("; set NUMBA_CACHE_DIR to a folder that can be written to")


def test_a_folder_may_be_named(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "named"))
    package.call()
    assert kept(tmp_path / "named") == ["double", "twice"]
    assert kept(package.sources) == []


def test_compilation_is_reported_from_its_begin_to_its_end(package: Package) -> None:
    names: list[str | None] = []
    with compilation_reported(names.append):
        package.call()
        package.call()
    assert names == [*BOTH, None]
