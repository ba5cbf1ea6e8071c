"""Beamforming for short packets: Figs. 5 to 7 and Tables I to III of [He2022USRMNet], and what goes beyond."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from torchrrm import bench
from torchrrm.bench import Results
from torchrrm.policies.weights import save_weights
from torchrrm.recipes.exhibits import Told, write_reproduction
from torchrrm.recipes.jobs import Workers
from torchrrm.recipes.usrmnet import layers, plan, regimes, tables
from torchrrm.recipes.usrmnet.cases import hard_cases
from torchrrm.recipes.usrmnet.front import front_exhibit
from torchrrm.recipes.usrmnet.judging import judge
from torchrrm.recipes.usrmnet.operations import table3
from torchrrm.recipes.usrmnet.settings import SCALES, UsrmnetSettings
from torchrrm.setups import registry, workbench
from torchrrm.solvers import SOLVERS

__all__ = ["UsrmnetSettings", "reproduce"]

_TOLD = Told(
    "USRMNet",
    "USRMNet: beamforming for short packets",
    """Made by `{command}` at commit `{commit}`, seed {seed}, {threads} thread(s) a worker.

Weighted sum rates are in nats a channel use, users of weight 1/K, of draws that nothing was trained or chosen on.
`USRMNet` is the equivariant default, one set of weights for all tables, whose last step restores minimum rates;
`USRMNet, literal` is the network as printed, trained for one cell. `GramAscent` is a local ascent over K powers and no
optimum by itself; bounds are certified where it says so. In `results.json` `published` is the printed ratio to HeBF.
Equal power beside every number: in the paper's cell it is within a few tenths of a per cent of everything else.
""",
)


def reproduce(*, scale: Literal["smoke", "quick", "full"], out: Path, seed: int, command: str) -> Results:
    """Figures, tables and weights of the recipe in `out`; a stopped run goes on where it was.

    Writes `README.md`, `exhibits.json`, `results.json`, a PNG a figure, `report.html` and `weights/`.
    """
    settings = SCALES[scale]
    workers = Workers(out / "jobs", settings.processes)
    trained = plan.train(settings, workers, seed)
    _save_weights(out / "weights", trained, workbench.provenance(command, seed, asdict(settings)))
    found = judge("cases", plan.asked(settings, trained), workers)
    timed = plan.timings(found, settings, trained)  # with no worker beside it
    hard = hard_cases(settings.wide_users, settings.munich_users)
    exhibits = [
        *layers.figures5and6(trained.histories, settings),
        layers.figure7(trained.literal, settings),
        *tables.table1(found, settings),
        tables.table2(found, settings),
        table3(plan.table3_medians(timed, settings)),
        regimes.hard(found, hard, settings),
        regimes.one_set_of_weights(found, settings),
        front_exhibit(plan.front_rows(found, timed, settings), plan.front_cases(settings), settings),
    ]
    rows = plan.rows(found, timed)
    results = Results(command=command, seed=seed, rows=rows, settings=asdict(settings) | {"scale": scale})
    write_reproduction(out, _TOLD, results, exhibits, scenes=[_scene(trained)])
    return results


def _scene(trained: plan.Trained) -> bench.Scene | None:
    """Users of Munich, by the default network and what it is compared with."""
    allocators: dict[str, Any] = {"USRMNet": plan.policies(trained)["usrmnet"]}
    allocators |= {name: SOLVERS["urllc"][name]() for name in ("gram-ascent", "equal-power", "zero-forcing")}
    return registry.munich_scene("urllc", allocators)


def _save_weights(folder: Path, trained: plan.Trained, provenance: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, policy in plan.policies(trained).items():
        save_weights(folder / f"{name}.safetensors", policy, provenance | {"recipe": "usrmnet"})
