"""What the timing suites share: calls in turn, and sections that are printed and kept."""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

Section = Callable[[], dict[str, Any]]


def milliseconds(calls: list[Callable[[], Any]], budget_s: float = 1.5) -> np.ndarray:
    """Durations of the calls in turn, after one of each to warm up, until the budget is spent."""
    for call in calls:
        call()
    seen: list[float] = []
    end = time.perf_counter() + budget_s
    while time.perf_counter() < end or len(seen) < 5:
        begin = time.perf_counter()
        calls[len(seen) % len(calls)]()
        seen.append(1e3 * (time.perf_counter() - begin))
    return np.array(seen)


def growth_exponent(times: Mapping[int, float]) -> float:
    """Exponent of the times over their sizes, by least squares of the logarithms."""
    return float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])


def run(name: str, about: str | None, sections: Mapping[str, Section], seed: int) -> None:
    """Print the numbers of the sections that are asked for beside what is asked of them, on one thread."""
    from torchrrm.bench import source_commit  # here: `bench_commits.py` imports this file beside old packages
    from torchrrm.files import atomic_write_text, to_json
    from torchrrm.kernels import set_threads

    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the numbers")
    parser.add_argument("--only", nargs="+", choices=sections, default=list(sections), help="sections to run")
    options = parser.parse_args()
    set_threads(1)
    torch.set_num_threads(1)
    found = {title: sections[title]() for title in options.only}
    if options.json:
        result = {"schema": 1, "command": f"python benchmarks/{name}.py", "commit": source_commit()}
        result |= {"device": "cpu", "threads": 1, "seed": seed, **found}
        atomic_write_text(options.json, to_json(result, indent=1) + "\n")
