"""What commands and recipes put together by name: parts to find, policies to make, tables to fill."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from torchrrm import bench, learning
from torchrrm.bench import Display, Results, Row, figures
from torchrrm.channels import SCENARIOS, Scenario
from torchrrm.channels.snapshot import BUNDLED, Snapshot, bundled_snapshot, load
from torchrrm.policies import SliceGNN, list_pretrained, load_policy, load_pretrained
from torchrrm.problems import KINDS, Allocator, SliceAction, SliceBandwidth, SliceInstance, Task
from torchrrm.solvers import SOLVERS, ExactSlicing

__all__ = [
    "DISPLAY",
    "adapted",
    "find",
    "find_allocator",
    "find_kind",
    "find_kinds",
    "find_policy",
    "find_scenario",
    "find_snapshot",
    "judge",
    "judge_on",
    "names",
    "new_policy",
    "plates",
    "policy_loss",
    "provenance",
    "with_trivial",
    "write_report",
]

DISPLAY = Display("sum rate", "(Mbit/s)", 1e6)
"""How results of slices are shown."""

SliceAllocator = Allocator[SliceInstance, SliceAction]
SliceTask = Task[SliceInstance, SliceAction]
Part = TypeVar("Part")


def find(what: str, name: str, known: Mapping[str, Part]) -> Part:
    """The part that goes by a name.

    Raises:
        ValueError: if there is none; it tells the names.
    """
    if name not in known:
        raise ValueError(f"{what}: must be one of {', '.join(known)}, received {name!r}")
    return known[name]


def find_kind(name: str) -> SliceBandwidth:
    """The problem of a kind of service."""
    return find("kind", name, KINDS)


def find_kinds(names: str) -> list[SliceBandwidth]:
    """The problems of the kinds whose names are separated by commas, or of all."""
    return list(KINDS.values()) if names == "all" else [find_kind(name) for name in names.split(",")]


def find_scenario(name: str) -> Scenario:
    """A scenario by its name."""
    return find("scenario", name, SCENARIOS)()


def find_snapshot(name: str) -> Snapshot:
    """A snapshot from a file or folder, or one that ships with the package by its name."""
    return bundled_snapshot(name) if name in BUNDLED and not Path(name).exists() else load(name)


def find_policy(name: str) -> SliceGNN:
    """A policy from a file of weights, or one that ships with the package by its name.

    Raises:
        ValueError: if there is none, or if it does not allocate slices.
    """
    shipped = name in list_pretrained() and not Path(name).exists()
    policy = load_pretrained(name) if shipped else load_policy(name)
    if not isinstance(policy, SliceGNN):
        raise ValueError(f"policy: must allocate slices, received a {type(policy).__name__} in {name}")
    return policy


def find_allocator(name: str, problem: SliceBandwidth) -> SliceAllocator:
    """A solver or policy by its name, or the policy of a file of weights, for a kind of service.

    Raises:
        ValueError: if the name is neither known nor a file, or if the file holds no policy.
    """
    if name in SOLVERS["slicing"]:
        return SOLVERS["slicing"][name](problem)
    if name not in list_pretrained() and not Path(name).exists():
        known = ", ".join([*SOLVERS["slicing"], *list_pretrained()])
        raise ValueError(f"allocator: must be a file of weights or one of {known}, received {name!r}")
    return find_policy(name).serving(problem)


def with_trivial(allocators: Sequence[str]) -> list[str]:
    """The names and, where they are missing, those of the trivial rules, which stand in every table."""
    trivial = [name for name, solver in SOLVERS["slicing"].items() if bench.kind_of(solver) == "trivial"]
    return list(dict.fromkeys([*allocators, *trivial]))


def names() -> dict[str, list[str]]:
    """All that goes by a name."""
    from torchrrm.recipes import RECIPES  # recipes import this module

    return {
        "problems": ["slicing"],
        "kinds of slicing": list(KINDS),
        "scenarios": list(SCENARIOS),
        "snapshots": list(BUNDLED),
        "solvers": list(SOLVERS["slicing"]),
        "policies": list_pretrained(),
        "recipes": list(RECIPES),
    }


def new_policy(problem: SliceBandwidth, features: str, *, seed: int) -> SliceGNN:
    """A policy with random parameters."""
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator: for once seed it
        torch.manual_seed(seed)
        return SliceGNN(problem, features)


def policy_loss(policy: SliceGNN) -> learning.PolicyLoss:
    """The unsupervised loss of a policy in bit/s/Hz, whichever kind a task is of."""
    return learning.PolicyLoss(policy, learning.Unsupervised(learning.slice_bandwidth), bind=SliceGNN.serving)


def adapted(
    policy: SliceGNN, task: SliceTask, settings: learning.FineTuneSettings, generator: torch.Generator
) -> SliceGNN:
    """A copy of the policy, fine-tuned to the task."""
    tuned = copy.deepcopy(policy).serving(_slice_problem(task))
    start = learning.parameters_of(tuned)
    found = learning.fine_tune(policy_loss(tuned), start, task, settings, generator=generator)
    learning.adopt(tuned, found.parameters)
    return tuned


def _slice_problem(task: SliceTask) -> SliceBandwidth:
    if not isinstance(task.problem, SliceBandwidth):
        raise ValueError(f"task: must be of slicing, received {type(task.problem).__name__}")
    return task.problem


def provenance(command: str, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Where weights come from, for their header."""
    return {
        "commit": bench.source_commit(),
        "command": command,
        "seed": seed,
        "settings": bench.plain(settings),
    }


def judge(
    problem: SliceBandwidth,
    drawn: SliceInstance,
    allocators: Mapping[str, SliceAllocator],
    setting: str,
    *,
    published: Mapping[str, float] | None = None,
    latency: bench.Latency | None = None,
) -> list[Row]:
    """Rows of the allocators, against the certified bound of the exact solver."""
    how = {"setting": setting, "published": published, "latency": latency}
    return bench.score(problem, drawn, allocators, bound=ExactSlicing(problem), **how)


def judge_on(
    tasks: Sequence[SliceTask],
    policies: Mapping[str, SliceGNN],
    setting: str,
    generator: torch.Generator,
    instances: int = 100,
) -> list[Row]:
    """Rows of policies and trivial rules on new instances of tasks."""
    rows: list[Row] = []
    for task in tasks:
        problem = _slice_problem(task)
        allocators: dict[str, SliceAllocator] = {
            name: policy.serving(problem) for name, policy in policies.items()
        }
        allocators |= {name: find_allocator(name, problem) for name in with_trivial([])}
        rows += judge(problem, task.sample(instances, generator=generator), allocators, setting)
    return rows


def plates(results: Results) -> list[bench.Plate]:
    """The figures that every report of slices has: bars against the bound, and the front of quality against latency."""
    return [
        bench.Plate(
            figures.bars_against_bound(results.rows),
            "Sum rate in per cent of the certified bound, with 95 % intervals.",
            "Bars of each allocator's sum rate relative to the bound; the table below has the numbers.",
        ),
        bench.Plate(
            figures.latency_front(results.rows),
            "Sum rate against latency; the stepped line joins those that none beats in both.",
            "Optimality against latency of each allocator; the table below has the numbers.",
        ),
    ]


def write_report(path: str | os.PathLike[str], results: Results) -> None:
    """A report of slices that stands alone."""
    shown = plates(results)
    bench.html_report(path, results, title="Allocation of slices", plates=shown, display=DISPLAY)
