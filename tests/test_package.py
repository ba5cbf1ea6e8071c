"""What is shipped: a small wheel that holds all of the package and nothing else, and an import that costs little."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
LATE = {"matplotlib", "numba", "onnxruntime", "plotly", "rich", "torch", "tyro"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")))
    return zipfile.ZipFile(path)


def test_the_wheel_is_small(wheel: zipfile.ZipFile) -> None:
    assert Path(str(wheel.filename)).stat().st_size < 10e6


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "torchrrm").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    packed = set(wheel.namelist())
    assert {name for name in packed if ".dist-info/" not in name} == sources
    assert "torchrrm/py.typed" in packed
    assert {Path(name).name for name in packed if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_metadata(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_string(wheel.read(name).decode())
    classifiers = metadata.get_all("Classifier", [])
    assert metadata["Requires-Python"] == ">=3.11"
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in classifiers
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert "torch>=2.9" in metadata.get_all("Requires-Dist", [])


def test_import_loads_nothing_heavy() -> None:
    code = "import torchrrm, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not LATE & set(run.stdout.split())
