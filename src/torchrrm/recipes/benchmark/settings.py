"""Settings of the benchmark: its scales, and what a folder of results is of."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torchrrm
from torchrrm.bench import Latency, source_commit
from torchrrm.files import atomic_write_text, read_json, to_json

__all__ = ["LATENCY", "REPORT", "Origin", "Scale", "claim"]

Scale = Literal["smoke", "quick", "full"]

REPORT = 70_000_000
"""Stream of the instances: nothing is trained or chosen on those that begin here."""
VERSION = 1
"""Of the settings: a change of them that makes other numbers takes the next one."""

LATENCY: dict[Scale, Latency] = {
    "smoke": Latency(warmup=1, calls=30, budget_s=0.05),
    "quick": Latency(warmup=3, calls=200, budget_s=0.3),
    "full": Latency(warmup=3, calls=500, budget_s=1.0),
}
"""How single calls are timed."""

_FILE = "benchmark.json"


@dataclass(frozen=True)
class Origin:
    """What all results of a folder have in common."""

    scale: Scale
    seed: int
    commit: str
    release: str = torchrrm.__version__
    version: int = VERSION


def claim(out: Path, scale: Scale, seed: int) -> Origin:
    """The origin of results in a folder, which from now on takes no others.

    Raises:
        ValueError: if there are results of another scale, seed, commit, release or version of the settings, or of
            something else.
    """
    wanted = Origin(scale, seed, source_commit())
    place = out / _FILE
    if not place.exists():
        out.mkdir(parents=True, exist_ok=True)
        atomic_write_text(place, to_json(asdict(wanted), indent=2) + "\n")
        return wanted
    try:
        kept = read_json(place, name="out")
    except ValueError:
        kept = None
    if not isinstance(kept, dict):
        raise ValueError(
            f"out: must be a new folder or one of a benchmark, received {out} with a foreign {_FILE}"
        )
    other = [
        f"{name} {kept.get(name)}, not {value}"
        for name, value in asdict(wanted).items()
        if kept.get(name) != value
    ]
    if other:
        raise ValueError(
            f"out: must be a new folder or one of this very run, received {out} of {'; '.join(other)}"
        )
    return wanted
