"""Speed of two commits, in interleaved runs: what a change costs.

python benchmarks/bench_commits.py OLD [--new COMMIT] [--runs 9] [--only NAME ...] [--json FILE]

Both commits are checked out below `out/commits`, where compiled kernels are kept; without `--new` the working tree
takes the place of the second. Then processes of the two take turns, each of which measures every case with the same
code, that of this file, on one thread. The ratio of a case is the median over the runs of new / old, run by run, so
that slow phases of the machine cancel. A case is over its limit if that median is above 1.05, or 1.15 where the
kernels have gained `log1p` or a check of their input.

A case is a function that returns calls; add one to `CASES`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import torch

from suite import milliseconds

SEED = 5_300_000
INSTANCES = 20
BUDGET_S = 0.3
LIMIT, CHECKED_LIMIT = 1.05, 1.15
ROOT = Path(__file__).resolve().parents[1]
Calls = list[Callable[[], Any]]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def _each(instances: Any, call: Callable[[Any], Any]) -> Calls:
    """Calls on the single instances of a batch."""
    from torchrrm.records import index

    singles = [index(instances, i) for i in range(INSTANCES)]
    return [lambda one=one: call(one) for one in singles]


def _links(number: int) -> Any:
    """Independent Rayleigh channels at 15 dB, single precision."""
    from torchrrm.problems import link_instance

    gain = torch.empty(INSTANCES, number, number).exponential_(generator=_generator())
    return link_instance(gain, noise_power_w=10**-1.5, max_power_w=1.0)


def _slices(users: int) -> Any:
    """Slices of the channels of [Hao2024]."""
    from torchrrm.channels import hml_scenario
    from torchrrm.problems import slice_instance

    draw = hml_scenario().sample(INSTANCES, transmitters=users, receivers=2, generator=_generator())
    return slice_instance(*draw.gain.unbind(dim=-2))


def _cells() -> Any:
    """Drops of 120 users and 105 stations."""
    from torchrrm.channels import hudn_scenario
    from torchrrm.setups.association import CellSource, draw_cells

    return draw_cells(CellSource(hudn_scenario()), INSTANCES, generator=_generator())


def _beams(users: int) -> Any:
    """Users of one station of 64 antennas in a ring."""
    from torchrrm.setups.beamforming.sources import BeamSource, draw_beams
    from torchrrm.setups.registry import SETUPS

    scenario = next(iter(SETUPS["urllc"].scenarios.values()))()
    return draw_beams(BeamSource(scenario, users), INSTANCES, generator=_generator())


def _link_solver(name: str, number: int, *, batch: bool = False, **arguments: Any) -> Callable[[], Calls]:
    def make() -> Calls:
        from torchrrm import solvers

        solver, instances = getattr(solvers, name)(**arguments), _links(number)
        return [lambda: solver(instances)] if batch else _each(instances, solver)

    return make


def _slice_solver(kind: str, users: int = 50) -> Callable[[], Calls]:
    def make() -> Calls:
        from torchrrm.problems import KINDS
        from torchrrm.solvers import ExactSlicing

        return _each(_slices(users), ExactSlicing(KINDS[kind]))

    return make


def _policy(name: str, instances: Callable[[], Any], kind: str | None = None) -> Callable[[], Calls]:
    def make() -> Calls:
        from torchrrm.policies import load_pretrained
        from torchrrm.problems import KINDS

        policy: Any = load_pretrained(name)
        return _each(instances(), policy if kind is None else policy.serving(KINDS[kind]))

    return make


def _cell_solver(name: str) -> Callable[[], Calls]:
    def make() -> Calls:
        from torchrrm.solvers import SOLVERS

        return _each(_cells(), SOLVERS["association"][name]())

    return make


def _beam_solver(name: str) -> Callable[[], Calls]:
    def make() -> Calls:
        from torchrrm.solvers import SOLVERS

        return _each(_beams(6), SOLVERS["urllc"][name]())

    return make


def _evaluation() -> Calls:
    from torchrrm.problems import WeightedSumRate
    from torchrrm.solvers import MaxPower

    instances, problem = _links(20), WeightedSumRate()
    action = MaxPower()(instances)
    return [lambda: problem.evaluate(instances, action)]


CASES: dict[str, tuple[Callable[[], Calls], float]] = {
    "wmmse, 20 links": (_link_solver("WMMSE", 20), CHECKED_LIMIT),
    "wmmse, 16 starts, 20 links": (_link_solver("WMMSE", 20, starts=16), CHECKED_LIMIT),
    "wmmse, 20 links, batch": (_link_solver("WMMSE", 20, batch=True), CHECKED_LIMIT),
    "greedy-links, 20 links": (_link_solver("GreedyLinks", 20), CHECKED_LIMIT),
    "itlinq, 20 links": (_link_solver("ITLinQ", 20), CHECKED_LIMIT),
    "fractional-programming, 20 links, batch": (
        _link_solver("FractionalProgramming", 20, batch=True),
        LIMIT,
    ),
    "fplinq, 20 links, batch": (_link_solver("FPLinQ", 20, batch=True), LIMIT),
    "branch-and-bound, 5 links": (_link_solver("BranchAndBound", 5), CHECKED_LIMIT),
    "branch-and-bound, 10 links": (_link_solver("BranchAndBound", 10), CHECKED_LIMIT),
    "minimum-power, 20 links": (_link_solver("MinimumPower", 20, min_rate_bps_hz=0.1), CHECKED_LIMIT),
    "qos-wmmse, 5 links, batch": (
        _link_solver("QosWMMSE", 5, batch=True, min_rate_bps_hz=0.1),
        LIMIT,
    ),
    "unfolded-power, 20 links": (_policy("unfolded-power", lambda: _links(20)), CHECKED_LIMIT),
    "power-gnn, 20 links": (_policy("power-gnn", lambda: _links(20)), LIMIT),
    "evaluate sum-rate, 20 links": (_evaluation, LIMIT),
    **{
        f"exact, {kind}, 50 users": (_slice_solver(kind), CHECKED_LIMIT)
        for kind in (
            "data-rate",
            "data-rate-short",
            "effective-capacity",
            "effective-capacity-short",
            "secrecy",
            "secrecy-short",
        )
    },
    **{
        f"{name}, 120 x 105": (_cell_solver(name), CHECKED_LIMIT)
        for name in ("hungarian-wmmse", "max-sum-utility-power", "effective-rate-power")
    },
    **{
        f"{name}, 6 users": (_beam_solver(name), CHECKED_LIMIT)
        for name in ("gram-ascent", "equal-power", "beamforming-bound")
    },
    "slice-gnn-marginal, data-rate, 50 users": (
        _policy("slice-gnn-marginal", lambda: _slices(50), "data-rate"),
        CHECKED_LIMIT,
    ),
    "usrmnet, 6 users": (_policy("usrmnet", lambda: _beams(6)), CHECKED_LIMIT),
    "hbgnn, 120 x 105": (_policy("hbgnn", _cells), LIMIT),
}


@torch.no_grad()
def measure(only: Sequence[str]) -> dict[str, float]:
    """Median microseconds of a call of each case, with the package that Python finds."""
    _use_one_thread()
    return {name: 1e3 * float(statistics.median(milliseconds(CASES[name][0](), BUDGET_S))) for name in only}


def _use_one_thread() -> None:
    """One thread for everything, also in commits whose batches are split by numba."""
    from torchrrm import kernels

    numba.set_num_threads(1)
    torch.set_num_threads(1)
    if hasattr(kernels, "set_threads"):
        kernels.set_threads(1)


def checkout(commit: str) -> Path:
    """A folder with the commit."""
    found = subprocess.run(
        ["git", "rev-parse", "--short=12", commit], cwd=ROOT, check=True, capture_output=True, text=True
    )
    folder = ROOT / "out" / "commits" / found.stdout.strip()
    if not folder.exists():
        subprocess.run(
            ["git", "worktree", "add", "--detach", str(folder), commit], cwd=ROOT, check=True, stdout=2
        )
    return folder


def run_in(folder: Path, *arguments: str) -> str:
    """Output of Python with the package of a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def compare(old: Path, new: Path, only: Sequence[str], runs: int) -> list[dict[str, Any]]:
    """A row a case: medians of both and of their ratio."""
    seen: dict[Path, list[dict[str, float]]] = {old: [], new: []}
    for number in range(runs):
        turn = (old, new) if number % 2 == 0 else (new, old)
        for folder in turn:
            printed = run_in(folder, __file__, "--measure", json.dumps(list(only)))
            seen[folder].append(json.loads(printed.splitlines()[-1]))
        print(f"run {number + 1} of {runs}", file=sys.stderr, flush=True)
    return [
        {
            "case": name,
            "old_us": statistics.median(row[name] for row in seen[old]),
            "new_us": statistics.median(row[name] for row in seen[new]),
            "ratio": statistics.median(b[name] / a[name] for a, b in zip(seen[old], seen[new], strict=True)),
            "limit": CASES[name][1],
        }
        for name in only
    ]


def main() -> None:
    """Print the ratios beside their limits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", nargs="?", help="commit to compare with")
    parser.add_argument("--new", help="commit in place of the working tree")
    parser.add_argument("--runs", type=int, default=9, help="runs of each")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="cases to measure")
    parser.add_argument("--json", help="write the numbers")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(json.loads(options.measure))))
        return
    if options.old is None:
        parser.error("old: name a commit to compare with")
    old, new = checkout(options.old), checkout(options.new) if options.new else ROOT
    rows = compare(old, new, options.only, options.runs)
    print(
        f"{'us a call, median of ' + str(options.runs) + ' runs':44}{'old':>12}{'new':>12}{'ratio':>8}{'limit':>8}"
    )
    for row in rows:
        late = " over" if row["ratio"] > row["limit"] else ""
        print(
            f"{row['case']:44}{row['old_us']:12.1f}{row['new_us']:12.1f}{row['ratio']:8.3f}{row['limit']:8.2f}{late}"
        )
    if options.json:
        from torchrrm.bench import source_commit
        from torchrrm.files import atomic_write_text, to_json

        result = {"schema": 1, "command": f"python benchmarks/bench_commits.py {options.old}"}
        result |= {
            "old": old.name,
            "commit": source_commit(),
            "device": "cpu",
            "threads": 1,
            "seed": SEED,
            "runs": options.runs,
        }
        atomic_write_text(options.json, to_json({**result, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
