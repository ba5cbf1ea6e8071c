"""The main job on a real city's channels: slices of a ray-traced Munich cell, allocated by every method."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import Progress

from torchrrm import bench
from torchrrm.bench import Results, Row, Scene, figures
from torchrrm.channels import Snapshot, bundled_snapshot
from torchrrm.learning import FineTuneSettings
from torchrrm.policies import SliceGNN, load_pretrained
from torchrrm.problems import KINDS, Allocator, SliceAction, SliceBandwidth, SliceInstance
from torchrrm.setups import workbench
from torchrrm.setups.places import some_of
from torchrrm.setups.slicing import (
    SliceSetup,
    SliceSource,
    SliceTerms,
    cell_slice,
    given_cell,
    positions,
    slice_task,
)

__all__ = ["DemoSettings", "run"]

POLICY = "slice-gnn-marginal"
_ADAPT, _REPORT = 2_000_000, 3_000_000  # streams of random numbers: adaptation never sees a reported slice


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does.

    Attributes:
        out: folder of the figures and the report.
        seed: of the random users of each slice.
        command: that started it, for the record.
        instances: slices of the table.
        users: of each of these.
        epochs: of adaptation, 32 slices each.
        learning_rate: of the adaptation's Adam, chosen on other seeds.
    """

    out: Path
    seed: int = 0
    command: str = "torchrrm demo"
    instances: int = 100
    users: int = 50
    epochs: int = 10
    learning_rate: float = 3e-4


def run(settings: DemoSettings) -> Results:
    """Print one table and write `munich_slice.png`, `report.html` and `results.json`."""
    settings.out.mkdir(parents=True, exist_ok=True)
    snapshot, policy = bundled_snapshot("munich_cell_uplink"), load_pretrained(POLICY)
    if not isinstance(policy, SliceGNN):
        raise ValueError(f"policy: must allocate slices, received {type(policy).__name__}")
    console, rows, scenes = bench.console(), [], []
    console.print(
        f"{snapshot.name}: {settings.instances} slices of {settings.users} random users, 100 MHz, "
        "at least 10 Mbit/s each.\n"
        f"{snapshot.attribution}",
        highlight=False,
    )
    with Progress(transient=True, disable=not console.is_terminal) as progress:
        for problem in progress.track(list(KINDS.values()), description="six kinds of service"):
            found, scene = _score(problem, policy, snapshot, settings)
            rows += found
            scenes += [scene] if scene else []
    results = Results(command=settings.command, seed=settings.seed, rows=rows, settings=asdict(settings))
    console.print(bench.terminal_table(results, SliceSetup.display))
    results.to_json(settings.out / "results.json")
    _draw(snapshot, policy, settings)
    bench.html_report(
        settings.out / "report.html",
        results,
        title="A slice of a Munich cell",
        lead=f"Slices of 100 MHz for {settings.users} random users of a cell, at least 10 Mbit/s for whoever is "
        f"served: one to look at for each kind of service, and {settings.instances} to judge by.",
        display=SliceSetup.display,
        scenes=scenes,
    )
    console.print(f"wrote munich_slice.png, report.html and results.json in {settings.out}", highlight=False)
    return results


def _score(
    problem: SliceBandwidth,
    policy: SliceGNN,
    snapshot: Snapshot,
    settings: DemoSettings,
) -> tuple[list[Row], Scene | None]:
    """Rows of one kind of service, and a slice to look at: the policy zero-shot and adapted, and every solver."""
    task = slice_task(problem, SliceSource(snapshot, settings.users, SliceTerms()))
    how = FineTuneSettings(steps=settings.epochs, learning_rate=settings.learning_rate)
    setup = SliceSetup(problem)
    adapted = workbench.adapted(
        setup, policy, task, how, torch.Generator().manual_seed(_ADAPT + settings.seed)
    )
    allocators: dict[str, Allocator[SliceInstance, SliceAction]] = {
        "policy, zero-shot": policy.serving(problem),
        f"policy, {settings.epochs} epochs": adapted,
    }
    allocators |= {name: make() for name, make in setup.solvers.items()}
    drawn = task.sample(settings.instances, generator=torch.Generator().manual_seed(_REPORT + settings.seed))
    setting, latency = f"Munich, {settings.users} users", bench.Latency(budget_s=0.3)
    rows = workbench.judge(setup, drawn, allocators, setting, latency=latency)
    some = torch.Generator().manual_seed(_REPORT + settings.seed)  # the same users for each kind
    cell = some_of(given_cell(snapshot, SliceTerms()), settings.users, "user", generator=some)
    return rows, workbench.scene_of(setup, cell, allocators)


def _draw(snapshot: Snapshot, policy: SliceGNN, settings: DemoSettings) -> None:
    """The map of the whole cell as a figure, a panel for each kind of service."""
    cell, users, sites = cell_slice(snapshot, SliceTerms()), positions(snapshot, 0), snapshot.rx_position_m
    if users is None or sites is None:
        return
    with torch.no_grad():
        amounts = {name: policy.serving(problem)(cell).bandwidth_hz / 1e6 for name, problem in KINDS.items()}
    city = figures.city_map(
        users,
        sites.reshape(-1, sites.shape[-2], 3)[0, 0],
        amounts,
        title="One slice of 100 MHz, 200 users, at least 10 Mbit/s each: bandwidth by the shipped policy",
        attribution=snapshot.attribution,
    )
    figures.save(city, settings.out / "munich_slice.png")
