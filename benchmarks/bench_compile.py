"""Compilation: of what the demo needs, and of all kernels, with an empty cache; about five minutes on an idle machine.

Seconds of the command with an empty folder for compiled code, less those with a full one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import suite
import torchrrm

_SOURCES = Path(torchrrm.__file__).parent
_LIMITS = {"demo": 60, "warm": 150}


def compilation() -> dict[str, Any]:
    """Seconds that compilation adds to the demo, and takes for all kernels on all processors."""
    found = {}
    for name, limit in _LIMITS.items():
        with tempfile.TemporaryDirectory() as folder:
            # Compiled code lies beside the sources: a copy has none.
            shutil.copytree(_SOURCES, f"{folder}/torchrrm", ignore=shutil.ignore_patterns("__pycache__"))
            line = [name, "--out", f"{folder}/demo"] if name == "demo" else [name]
            first, again = (_seconds(line, folder) for _ in range(2))
        found[name] = {"first_s": first, "again_s": again, "compilation_s": first - again}
        print(
            f"{name:5} {first:6.1f} s, again {again:5.1f} s: compilation {first - again:6.1f} s of at most {limit}"
        )
    return {"processors": len(os.sched_getaffinity(0)), **found}


def _seconds(line: list[str], sources: str) -> float:
    program = f"import sys; from torchrrm import cli; sys.exit(cli.run({line!r}))"
    begin = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": sources}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    suite.run("bench_compile", __doc__, {"compilation": compilation}, seed=0)
