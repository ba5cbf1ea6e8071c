"""Demands that change: Tables I to IV and Figs. 1 to 4 of [Behmandpoor2024], and what goes beyond."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from torch import nn

from torchrrm import bench
from torchrrm.bench import Results
from torchrrm.policies.control import Controller
from torchrrm.policies.weights import save_weights
from torchrrm.recipes.alcor import studies, tables
from torchrrm.recipes.alcor.adaptation import figure1
from torchrrm.recipes.alcor.allocators import make_allocator
from torchrrm.recipes.alcor.cases import FIG2, TABLE2, TABLE3
from torchrrm.recipes.alcor.front import front_exhibit, front_rows
from torchrrm.recipes.alcor.loops import make_loop
from torchrrm.recipes.alcor.plan import ALCOR, DUAL
from torchrrm.recipes.alcor.settings import SCALES, AlcorSettings
from torchrrm.recipes.alcor.traces import FIG4, infeasible, windows
from torchrrm.recipes.alcor.training import network_rates, step_training, train_all
from torchrrm.recipes.exhibits import Exhibit, Told, write_reproduction
from torchrrm.recipes.jobs import Start, Workers
from torchrrm.setups import registry, workbench
from torchrrm.solvers import SOLVERS

__all__ = ["AlcorSettings", "reproduce"]

_TOLD = Told(
    "ALCOR",
    "ALCOR: demands that change",
    """Made by `{command}` at commit `{commit}`, seed {seed}, {threads} thread(s) a worker.

Rates are in bit/s/Hz, on channels that nothing was trained or chosen on: CN(0, 1) at 15 dB unless it says otherwise.
The violation is that of Eq. (12) of [Behmandpoor2024], of the rates that were given. `ALCOR` is `TimeSharing` with its
simple update, `gamma = 5`, `alpha = 0.9` and batches of 25 slots; `OnlineDual` moves the weights of the sum rate by
0.02 times each slot's shortfall. None of them is trained for demands.
""",
)


def reproduce(*, scale: Literal["smoke", "quick", "full"], out: Path, seed: int, command: str) -> Results:
    """Figures, tables and weights of the recipe in `out`; a stopped run goes on where it was.

    Writes `README.md`, `exhibits.json`, `results.json`, a PNG a figure, `report.html` and `weights/`.
    """
    settings = SCALES[scale]
    workers = Workers(out / "jobs", settings.processes)
    weights = train_all(settings, workers, seed)
    _save_weights(out / "weights", weights, workbench.provenance(command, seed, asdict(settings)))
    others = network_rates(settings, weights, workers, seed)
    rates, any_size = studies.unconstrained(settings, weights, workers)
    loops = studies.loops(settings, weights, workers)
    programs, bounds = studies.programs(settings, workers), studies.certificates(settings, workers)
    latency = studies.latencies(settings, weights)  # with no worker beside it
    front = front_rows(weights, settings.front_sizes, settings.front_draws)
    exhibits = [
        tables.table1(rates, settings.draws),
        *tables.demand_tables(loops, others, studies.program_notes(programs), settings.sizes),
        *_figures(settings, weights, seed),
        tables.beyond(loops, latency, bounds),
        studies.distributed(loops),
        studies.local(weights, settings, workers),
        tables.updates(loops),
        studies.program_exhibit(programs),
        studies.any_size_exhibit(any_size, settings),
        front_exhibit(front, settings.front_draws),
    ]
    rows = [*front, *studies.rows(loops, latency, bounds)]
    results = Results(command=command, seed=seed, rows=rows, settings=asdict(settings) | {"scale": scale})
    write_reproduction(out, _TOLD, results, exhibits, scenes=[_scene(weights)])
    return results


def _figures(settings: AlcorSettings, weights: Mapping[str, Start], seed: int) -> list[Exhibit]:
    """Figs. 1 to 4."""

    def both(links: int) -> dict[str, Controller[Any]]:
        central = make_allocator("central", weights[f"central-{links}"], links)
        return {
            "ALCOR, central": make_loop(ALCOR, central),
            "OnlineDual, WMMSE, 4 starts": make_loop(DUAL, make_allocator("WMMSE, 4 starts", None, links)),
        }

    slots = settings.window_slots
    found = [figure1(step_training(settings, seed), weights["step"], both(5))]
    found += windows("fig02", "Fig. 2: five users", both(5), FIG2, slots)
    if 20 in settings.sizes:
        changing = [TABLE2[20], TABLE3[20], TABLE2[20]]
        found += windows("fig03", "Fig. 3: twenty users", both(20), changing, slots)
    links = FIG4.links
    strained = {
        "ALCOR, WMMSE": make_loop(ALCOR, make_allocator("WMMSE", None, links)),
        "OnlineDual, WMMSE, 4 starts": make_loop(DUAL, make_allocator("WMMSE, 4 starts", None, links)),
    }
    return found + infeasible(strained, settings.infeasible_slots)


def shipped(weights: Mapping[str, Start]) -> dict[str, nn.Module]:
    """The policies whose weights ship with the package, by the names that they ship under."""
    augmented: Any = make_allocator("GNN", weights["augmented"], 0)
    named: dict[str, Any] = {
        "central-power-5": make_allocator("central", weights["central-5"], 5),
        "central-power-20": make_allocator("central", weights["central-20"], 20),
        "local-power": make_allocator("local", weights["local"], 0),
        "local-power-weighted": make_allocator("local, weights", weights["local-weighted"], 0),
        "unfolded-power": make_allocator("unfolded", weights["unfolded"], 0),
        "power-gnn-rayleigh": augmented,
        "state-augmented-rayleigh": studies.augmented_policy(weights["augmented"]),
    }
    return named


def _scene(weights: Mapping[str, Start]) -> bench.Scene | None:
    """Links of Munich in one slot, by policies for any number of links and what they are compared with."""
    policies = shipped(weights)
    allocators: dict[str, Any] = {name: policies[name] for name in ("unfolded-power", "local-power")}
    allocators |= {name: SOLVERS["sum-rate"][name]() for name in ("wmmse", "greedy-links", "one-winner")}
    return registry.munich_scene("sum-rate", allocators)


def _save_weights(folder: Path, weights: Mapping[str, Start], provenance: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, policy in shipped(weights).items():
        save_weights(folder / f"{name}.safetensors", policy, provenance | {"recipe": "alcor"})
