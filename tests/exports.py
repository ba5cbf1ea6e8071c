"""Exported files of the policies that ship: each is made once, for all tests and workers."""

import contextlib
import fcntl
import hashlib
import io
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torchrrm
from torchrrm import cli

__all__ = ["Exports", "digest"]

_ROOT = Path(torchrrm.__file__).parent


def digest() -> str:
    """Return what exported files depend on, in a few letters: sources, weights and exporters."""
    found = hashlib.sha256()
    for name in ("torch", "onnx", "onnxscript", "onnxruntime"):
        found.update(f"{name} {version(name)}".encode())
    for path in sorted(_ROOT.rglob("*")):
        if path.suffix in (".py", ".safetensors"):
            found.update(path.relative_to(_ROOT).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class Exports:
    """A folder of exported policies, made by the command, of the weights that ship."""

    folder: Path

    def __call__(self, policy: str, problem: str) -> Path:
        """Return the file of a policy; what a session runs of it is the same for all problems."""
        path = self.folder / f"{policy}.onnx"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be making it
            if not path.exists():
                line = ["export", policy, "--problem", problem, "--out", str(path)]
                errors = io.StringIO()
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
                    code = cli.run(line)
                assert code == 0, errors.getvalue()
        return path
