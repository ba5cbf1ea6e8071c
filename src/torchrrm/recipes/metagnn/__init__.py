"""Meta-learned graph networks for ergodic power control: Figs. 6 to 10 of [Huang2024], and what goes beyond."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from torchrrm import bench
from torchrrm.bench import Results, Row
from torchrrm.policies import MetaGNN
from torchrrm.policies.weights import save_weights
from torchrrm.recipes.exhibits import Told, write_reproduction
from torchrrm.recipes.jobs import Start, Workers
from torchrrm.recipes.metagnn import studies
from torchrrm.recipes.metagnn.comparison import allocators, augmented_policy
from torchrrm.recipes.metagnn.drops import CITY, SQUARE, report_set
from torchrrm.recipes.metagnn.front import front_exhibit, front_rows
from torchrrm.recipes.metagnn.settings import SCALES, MetaSettings
from torchrrm.setups import registry, workbench
from torchrrm.setups.links import ErgodicSetup

__all__ = ["MetaSettings", "reproduce"]

_TOLD = Told(
    "MetaGNN",
    "MetaGNN: ergodic power control of interference links",
    """Made by `{command}` at commit `{commit}`, seed {seed}, {threads} thread(s) a worker.

Rates are in bit/s/Hz, of slots that no method was trained, adapted or chosen on, rolled out in the order of time. The
minimum asked for is 1 bit/s/Hz: rule (34) of [Huang2024] gives its threshold in every configuration drawn. Minima that
are missed are missed in truth: slacks are those that the rates need, not those of a network.
""",
)
_SETTINGS_OF_ROWS = (8, 16)


def reproduce(*, scale: Literal["smoke", "quick", "full"], out: Path, seed: int, command: str) -> Results:
    """Figures, tables and weights of the recipe in `out`; a stopped run goes on where it was.

    Writes `README.md`, `exhibits.json`, `results.json`, a PNG a figure, `report.html` and `weights/`.
    """
    settings = SCALES[scale]
    workers = Workers(out / "jobs", settings.processes)
    trained, *found = studies.starts(settings, workers, seed)
    both: tuple[Start, Start] = found[0], found[1]
    square = studies.comparisons(SQUARE, settings.sizes, both, settings, workers)
    city = studies.comparisons(CITY, settings.city_sizes, both, settings, workers)
    exhibits = [
        studies.meta_training(trained, settings),
        studies.adaptation(square, settings),
        studies.unseen(SQUARE, square, settings),
        studies.distribution(square),
        *studies.few_samples(both[0], settings, workers),
        studies.unseen(CITY, city, settings),
        studies.certificates(both, settings, workers),
    ]
    policies = _policies(both)
    _save_weights(out / "weights", policies, workbench.provenance(command, seed, asdict(settings)))
    front = front_rows(policies["state-augmented"].power, settings)
    exhibits.append(front_exhibit(front, settings.front_instances, settings.loop_slots))
    rows = [*front, *_ergodic_rows(both[1], policies, settings)]
    results = Results(command=command, seed=seed, rows=rows, settings=asdict(settings) | {"scale": scale})
    ergodic = replace(
        results, rows=[row for row in rows if row.problem == bench.label_of(ErgodicSetup().problem)]
    )
    named = allocators(both[1]) | {"MetaGNN, zero-shot": policies["metagnn"]}
    write_reproduction(
        out,
        _TOLD,
        results,
        exhibits,
        table=("Without adaptation, zero-shot (latency a slot)", ergodic),
        scenes=[registry.munich_scene("ergodic-power", named)],
    )
    return results


def _policies(starts: tuple[Start, Start]) -> dict[str, Any]:
    """The recipe's policies by the names that they ship under."""
    meta = MetaGNN()
    meta.load_state_dict(starts[0].parameters)
    augmented = augmented_policy(starts[1])
    return {"metagnn": meta.eval(), "state-augmented": augmented, "power-gnn": augmented.power}


def _save_weights(folder: Path, policies: dict[str, nn.Module], provenance: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, policy in policies.items():
        save_weights(folder / f"{name}.safetensors", policy, provenance | {"recipe": "metagnn"})


def _ergodic_rows(augmented: Start, policies: dict[str, Any], settings: MetaSettings) -> list[Row]:
    """What needs no adaptation, on unseen configurations; latencies are those of one slot."""
    rows: list[Row] = []
    setup, named = ErgodicSetup(), allocators(augmented) | {"MetaGNN, zero-shot": policies["metagnn"]}
    for links in _SETTINGS_OF_ROWS:
        slots = settings.train_slots, settings.test_slots
        _, test = report_set(SQUARE, links, settings.configurations, slots)
        with torch.no_grad():
            found = workbench.judge(
                setup,
                test,
                named,
                f"{links} links, {settings.test_slots} slots",
                latency=bench.Latency(warmup=1, calls=settings.latency_calls),
            )
        each = settings.test_slots
        rows += [replace(row, p50_us=row.p50_us / each, p99_us=row.p99_us / each) for row in found]
    return rows
