"""The bounded campaign of `make falsify`: rounds of all falsifiers in turn, from fixed seeds, for some minutes.

`campaign.py [--minutes M] [--seed S] [BOUND ...]` prints a line for each bound and, if all were run for at least the
default time, writes `docs/results/falsify.txt`. Its exit code is 1 if a claim failed; the line that reproduces it is
printed: `campaign.py --rounds 1 --seed S BOUND`.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from tests.falsify.bounds import BOUNDS  # noqa: E402
from tests.falsify.harness import Outcome, generator_of  # noqa: E402

from torchrrm.bench import source_commit  # noqa: E402
from torchrrm.files import atomic_write_text  # noqa: E402

_RESULT = ROOT / "docs" / "results" / "falsify.txt"
_MINUTES = 10.0
_FIRST = 1_000  # the tests of the suite take the seeds before
_SHOWN = 3  # failures of a round


def campaign(names: list[str], minutes: float, first: int, rounds: int | None) -> dict[str, Outcome]:
    """Outcomes by bound: each gets the same time, however long its rounds take.

    Args:
        names: of the bounds.
        minutes: of the whole.
        first: seed of the first round of each bound.
        rounds: of each bound, in place of the time.
    """
    found = {name: Outcome() for name in names}
    taken, seeds = dict.fromkeys(names, 0.0), dict.fromkeys(names, first)
    end = time.perf_counter() + 60 * minutes
    while True:
        if rounds is None:
            done, name = time.perf_counter() >= end, min(taken, key=lambda each: taken[each])
        else:
            done, name = min(seeds.values()) >= first + rounds, min(seeds, key=lambda each: seeds[each])
        if done:
            return found
        begin = time.perf_counter()
        outcome = BOUNDS[name](generator_of(name, seeds[name]))
        taken[name] += time.perf_counter() - begin
        for failure in outcome.failures[:_SHOWN]:
            print(f"{name}: {failure}\n    campaign.py --rounds 1 --seed {seeds[name]} '{name}'", flush=True)
        found[name].merge(outcome)
        seeds[name] += 1


def lines(found: dict[str, Outcome]) -> list[str]:
    """A table of outcomes."""
    head = f"{'bound':32} {'instances':>10} {'worst - 1':>12} {'failures':>9}"
    rows = [
        f"{name:32} {one.tried:10} {_excess(one.worst):>12} {len(one.failures):9}"
        for name, one in found.items()
    ]
    total = sum(one.tried for one in found.values()), sum(len(one.failures) for one in found.values())
    return [head, *rows, f"{'all':32} {total[0]:10} {'':12} {total[1]:9}"]


def _excess(worst: float) -> str:
    """The largest objective over its bound, less 1; none where claims are all that is checked."""
    return f"{worst:.1e}" if np.isfinite(worst) else "-" if worst < 0 else "inf"


def main() -> int:
    """Run the campaign of the command line."""
    parser = argparse.ArgumentParser(description="Search for counterexamples to certified bounds.")
    parser.add_argument("bounds", nargs="*", metavar="BOUND", help=f"of {', '.join(BOUNDS)}; all by default")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="of the whole")
    parser.add_argument("--rounds", type=int, help="of each bound, in place of the time")
    parser.add_argument("--seed", type=int, default=_FIRST, help="of the first round")
    options = parser.parse_args()
    unknown = [name for name in options.bounds if name not in BOUNDS]
    if unknown:
        parser.error(f"bounds: must be of {', '.join(BOUNDS)}, received {unknown[0]!r}")
    found = campaign(options.bounds or list(BOUNDS), options.minutes, options.seed, options.rounds)
    table = lines(found)
    print("\n".join(table))
    if not options.bounds and options.rounds is None and options.minutes >= _MINUTES:
        note = (
            f"make falsify, {options.minutes:g} minutes, seeds from {options.seed}, commit {source_commit()}"
        )
        atomic_write_text(_RESULT, "\n".join([note, "", *table]) + "\n")
    return 1 if any(one.failures for one in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
