"""The benchmark: every allocator on every problem that it serves, all on the same instances."""

from collections.abc import Sequence
from pathlib import Path

import torch

from torchrrm import bench
from torchrrm.bench import Results, Scene
from torchrrm.files import atomic_write_text, locked
from torchrrm.recipes.benchmark import board, plan
from torchrrm.recipes.benchmark.plan import Compared
from torchrrm.recipes.benchmark.settings import LATENCY, Scale, claim
from torchrrm.recipes.jobs import Workers
from torchrrm.setups import registry, workbench

__all__ = ["benchmark"]

_LEAD = (
    "Every allocator on every problem that it serves, all of a setting on the same instances. Maps show an instance "
    "of each setting of Munich."
)


def benchmark(
    *,
    problems: Sequence[str] = (),
    scale: Scale,
    out: Path,
    seed: int,
    command: str,
    processes: int = 2,
) -> Results:
    """Leaderboard of these problems, or of all, in `out`: `leaderboard.json`, `.md` and `.html`.

    A stopped run goes on where it was; finished jobs are not repeated.

    Args:
        problems: their names; none takes all.
        scale: how many instances, and how long calls are timed.
        out: holds the results of one scale, seed and commit.
        seed: of the instances.
        command: that is told to have made it.
        processes: that work at the same time, of one thread each; 0 works in this one.

    Raises:
        ValueError: if a name is unknown, if the folder holds results of another run, or if rows turn out incomplete.
    """
    if processes < 0:
        raise ValueError(f"processes: must be at least 0, received {processes}")
    cases = plan.chosen(problems)
    with locked(out):
        origin = claim(out, scale, seed)
        wanted = plan.compared(cases, scale, seed)
        rows = plan.rows_of(wanted, scale, Workers(out / "jobs", processes))
        results = Results(
            command=command,
            seed=seed,
            rows=rows,
            settings={
                "scale": scale,
                "version": origin.version,
                "latency": vars(LATENCY[scale]),
                "left out": {
                    f"{one.of.problem}, {one.of.setting}": dict(one.case.left_out) for one in wanted
                },
            },
            commit=origin.commit,
            threads=1 if processes else torch.get_num_threads(),
        )
        _write(out, results, wanted)
    if missing := bench.incomplete(rows):
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"rows: must be complete, received {missing[0]}{more}")
    return results


def _write(out: Path, results: Results, wanted: Sequence[Compared]) -> None:
    results.to_json(out / "leaderboard.json")
    atomic_write_text(out / "leaderboard.md", board.leaderboard(results, wanted))
    bench.html_report(
        out / "leaderboard.html",
        results,
        title="Leaderboard",
        lead=_LEAD,
        display=registry.displays(),
        scenes=[scene for one in wanted if (scene := _scene(one)) is not None],
    )


def _scene(one: Compared) -> Scene | None:
    """One instance of the case, if it has positions, as all its allocators see it."""
    setup = one.case.setup
    if one.case.given is None:
        return None
    allocators = {name: workbench.find_allocator(name, setup) for name in one.allocators}
    return workbench.scene_of(setup, one.case.given(), allocators)
