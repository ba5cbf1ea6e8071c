"""Hybrid-task meta-learning for slices: Figs. 3 to 10 of [Hao2024], and what goes beyond."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from torch import Tensor

from torchrrm import bench
from torchrrm.bench import Results, Row
from torchrrm.policies import SliceGNN
from torchrrm.policies.weights import save_weights
from torchrrm.problems import KINDS, Allocator, SliceAction, SliceBandwidth, SliceInstance
from torchrrm.recipes.exhibits import Told, write_reproduction
from torchrrm.recipes.hml import studies
from torchrrm.recipes.hml.published import PUBLISHED
from torchrrm.recipes.hml.settings import SCALES, HmlSettings
from torchrrm.recipes.hml.tasksets import TrainingSet, meta_test_source
from torchrrm.recipes.hml.training import METHODS, report_stream
from torchrrm.recipes.jobs import Workers
from torchrrm.setups import registry, workbench
from torchrrm.setups.slicing import SliceSetup
from torchrrm.solvers import SOLVERS

__all__ = ["HmlSettings", "reproduce"]

SliceAllocator = Allocator[SliceInstance, SliceAction]

_TOLD = Told(
    "HML",
    "HML: slice bandwidth allocation by hybrid-task meta-learning",
    """Made by `{command}` at commit `{commit}`, seed {seed}, {threads} thread(s) a worker.

Every number is the sum rate over the certified bound of `ExactSlicing` on the same slices, unless a table says
otherwise. Published numbers are those of the text of [Hao2024]; its "optimal" is Algorithm 1. Rates of learning
were chosen on other drops than those of the tables.
""",
)


def reproduce(*, scale: Literal["smoke", "quick", "full"], out: Path, seed: int, command: str) -> Results:
    """Figures, tables and weights of the recipe in `out`; a stopped run goes on where it was.

    Writes `README.md`, `exhibits.json`, `results.json`, a PNG a figure, `report.html` and `weights/`.
    """
    settings = SCALES[scale]
    workers = Workers(out / "jobs", settings.processes)
    found = {
        features: studies.starts(TrainingSet(KINDS["secrecy"], features), "base", METHODS, settings, workers)
        for features in settings.features
    }
    first = found[settings.features[0]]
    exhibits = [
        studies.convergence(first, settings, workers),
        studies.quality_of_service(first, settings, workers),
    ]
    exhibits += [studies.adaptation(features, found[features], settings, workers) for features in found]
    exhibits += studies.sweeps(settings.features[0], first, settings, workers)
    beyond, every, without = studies.left_out(settings, workers)
    exhibits.append(beyond)
    hml = {features: found[features]["hml", 0].parameters for features in settings.features}
    provenance = workbench.provenance(command, seed, asdict(settings))
    policies = _save_weights(out / "weights", hml, every, provenance)
    rows = _rows(settings, policies, without)
    results = Results(command=command, seed=seed, rows=rows, settings=asdict(settings) | {"scale": scale})
    table = "All allocators on the meta-test cell, zero-shot", results
    scenes = [registry.munich_scene(kind, _allocators(problem, policies)) for kind, problem in KINDS.items()]
    write_reproduction(out, _TOLD, results, exhibits, table=table, scenes=scenes)
    return results


def _save_weights(
    folder: Path, hml: dict[str, dict[str, Tensor]], every: dict[str, Tensor], provenance: dict
) -> dict[str, SliceGNN]:
    """The recipe's policies by the names that they ship under, also written as weight files."""
    folder.mkdir(parents=True, exist_ok=True)
    policies = {}
    for name, features, parameters in [
        *((f"slice-gnn-hml-{features}", features, parameters) for features, parameters in hml.items()),
        ("slice-gnn-marginal", "marginal", every),
    ]:
        policies[name] = SliceGNN(KINDS["secrecy"], features)
        policies[name].load_state_dict(parameters)
        save_weights(folder / f"{name}.safetensors", policies[name], provenance | {"recipe": "hml"})
    return policies


def _rows(
    settings: HmlSettings, policies: dict[str, SliceGNN], without: dict[str, dict[str, Tensor]]
) -> list[Row]:
    """All allocators on the meta-test cell, zero-shot, kind by kind."""
    rows: list[Row] = []
    for kind, problem in KINDS.items():
        instances = report_stream(kind, meta_test_source(), settings.evaluation)
        left_out = SliceGNN(problem, "marginal")
        left_out.load_state_dict(without[kind])
        allocators = _allocators(problem, policies) | {"marginal, kind left out": left_out}
        rows += workbench.judge(
            SliceSetup(problem),
            instances,
            allocators,
            "Table III, meta-test, zero-shot",
            published=_published(kind),
            latency=bench.Latency(calls=settings.latency_calls),
        )
    return rows


def _allocators(problem: SliceBandwidth, policies: dict[str, SliceGNN]) -> dict[str, SliceAllocator]:
    """The policies and all solvers, for one kind of service."""
    found: dict[str, SliceAllocator] = {name: policy.serving(problem) for name, policy in policies.items()}
    return found | {name: solver(problem) for name, solver in SOLVERS["slicing"].items()}


def _published(kind: str) -> dict[str, float]:
    zero_shot = PUBLISHED[kind].zero_shot
    return {} if zero_shot is None else {"slice-gnn-hml-raw": zero_shot / 100}
