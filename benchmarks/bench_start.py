"""Cost of a start: processor time of `import torchrrm` and `torchrrm --help`, as ratios to importing NumPy."""

import subprocess
import sys
from typing import Any

import numpy as np

import suite

_ROUNDS = 15
_PROGRAMS = {
    "import numpy": "import numpy",
    "import torchrrm": "import torchrrm",
    "torchrrm --help": "from torchrrm import cli\ntry: cli.run(['--help'])\nexcept SystemExit: pass",
    "torchrrm list": "from torchrrm import cli\ncli.run(['list'])",
}


def start() -> dict[str, Any]:
    """Processor time of each program in turn, without that of the interpreter."""
    seconds = {name: [] for name in ("nothing", *_PROGRAMS)}
    for _ in range(_ROUNDS):
        for name, program in {"nothing": "", **_PROGRAMS}.items():
            seconds[name].append(_processor_seconds(program))
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    own = {name: medians[name] - medians["nothing"] for name in _PROGRAMS}
    for name, value in own.items():
        print(f"{name:18} {1e3 * value:7.0f} ms {value / own['import numpy']:6.2f} times import numpy")
    return {"seconds": own}


def _processor_seconds(program: str) -> float:
    code = f"{program}\nimport os, sys; t = os.times(); sys.stderr.write(f'{{t.user + t.system}}')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stderr)


if __name__ == "__main__":
    suite.run("bench_start", __doc__, {"start": start}, seed=0)
