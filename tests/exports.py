"""Exported files of the bundled policies, each made once for all tests and workers."""

import contextlib
import hashlib
import io
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

import torchrrm
from torchrrm import cli

__all__ = ["Exports", "digest"]

_ROOT = Path(torchrrm.__file__).parent


def digest() -> str:
    """Return a digest of what exported files depend on: sources, weights and exporters."""
    result = hashlib.sha256()
    for name in ("torch", "onnx", "onnxscript", "onnxruntime"):
        result.update(f"{name} {version(name)}".encode())
    for path in sorted(_ROOT.rglob("*")):
        if path.suffix in (".py", ".safetensors"):
            result.update(path.relative_to(_ROOT).as_posix().encode() + path.read_bytes())
    return result.hexdigest()[:16]


@dataclass(frozen=True)
class Exports:
    """A folder of bundled policies, exported by the command."""

    folder: Path

    def __call__(self, policy: str, problem: str) -> Path:
        """Return the file of a policy; the exported network is the same for all of its problems."""
        path = self.folder / f"{policy}.onnx"
        with FileLock(path.with_suffix(".lock")):  # another worker may be writing it
            if not path.exists():
                line = ["export", policy, "--problem", problem, "--out", str(path)]
                errors = io.StringIO()
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
                    code = cli.run(line)
                assert code == 0, errors.getvalue()
        return path
