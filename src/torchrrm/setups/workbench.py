"""What commands and recipes put together by name, whatever the problem: parts to find, tables to fill.

What they need of one problem is its `Setup`; `torchrrm.setups.registry` lists them.
"""

import copy
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from torchrrm import bench, learning, records
from torchrrm.bench import Measure, Results, Row, Scene, metrics
from torchrrm.channels import Scenario
from torchrrm.channels.snapshot import BUNDLED, Snapshot, bundled_path, load
from torchrrm.deploy.contract import export_obstacle
from torchrrm.policies import list_pretrained, load_policy, load_pretrained
from torchrrm.problems import Allocator, Task
from torchrrm.setups.protocols import Case, Given, Known, Regime, Selective, Setup, Trainable

__all__ = [
    "Case",
    "Given",
    "Known",
    "Regime",
    "Setup",
    "Trainable",
    "adapted",
    "assess",
    "better_rule",
    "bound_of",
    "export_obstacles",
    "find",
    "find_allocator",
    "find_allocators",
    "find_channels",
    "find_exported",
    "find_policy",
    "find_snapshot",
    "judge",
    "judge_on",
    "provenance",
    "rate_measures",
    "scene_of",
    "seeded",
    "serving_policies",
    "told",
    "trainable",
    "unsuited_policies",
    "with_trivial",
    "write_report",
]

_MORE = 1e-6  # relative: what is less is rounding

I = TypeVar("I")  # noqa: E741
A = TypeVar("A")
M = TypeVar("M", bound=nn.Module)
Part = TypeVar("Part")


def find(what: str, name: str, known: Mapping[str, Part]) -> Part:
    """The part that goes by a name.

    Raises:
        ValueError: if there is none; it tells the names.
    """
    if name not in known:
        raise ValueError(f"{what}: must be one of {', '.join(known)}, received {name!r}")
    return known[name]


def find_snapshot(name: str, **reading: Any) -> Snapshot:
    """Return a snapshot from a file or folder, or one that ships with the package by its name.

    Args:
        name: path or name.
        reading: what the file does not say itself (see `torchrrm.channels.snapshot.load`).
    """
    if name in BUNDLED and not Path(name).exists():
        with bundled_path(name) as path:
            return load(path, **reading)
    return load(name, **reading)


def find_channels(
    snapshot: str | None,
    scenario: str | None,
    scenarios: Mapping[str, Callable[[], Scenario]],
    **reading: Any,
) -> Snapshot | Scenario:
    """Return the snapshot or the scenario of that name, whichever is given.

    Raises:
        ValueError: unless exactly one is given, and known, or if a scenario comes with how to read a file.
    """
    if snapshot is not None and scenario is None:
        return find_snapshot(snapshot, **reading)
    if scenario is not None and snapshot is None:
        for option, value in reading.items():
            raise ValueError(f"{option}: must go with a snapshot, received {value}")
        return find("scenario", scenario, scenarios)()
    given = "neither" if snapshot is None else "both"
    raise ValueError(f"snapshot, scenario: exactly one must be given, received {given}")


def find_policy(name: str, setup: Known[Any, Any]) -> Any:
    """The policy of a file of weights, or one that ships with the package by its name, for the problem.

    Raises:
        ValueError: if there is none, or if it does not serve the problem.
    """
    return setup.serving(_load(name, setup))


def find_exported(name: str, setup: Setup[Any, Any]) -> nn.Module:
    """What an inference runtime runs of the policy of that name.

    Raises:
        ValueError: if there is none, or if it does not serve the problem.
    """
    return setup.exported(_load(name, setup))


def export_obstacles(setup: Setup[Any, Any]) -> dict[str, str]:
    """Return the policies that ship, serve the problem and cannot be exported, with the reason of each."""
    found = {name: export_obstacle(setup.exported(_shipped()[name])) for name in serving_policies(setup)}
    return {name: reason for name, reason in found.items() if reason is not None}


def _load(name: str, setup: Known[Any, Any]) -> nn.Module:
    shipped = name in list_pretrained() and not Path(name).exists()
    policy = load_pretrained(name) if shipped else load_policy(name)
    if not isinstance(policy, setup.policies):
        raise ValueError(f"policy: must serve {setup.name}, received a {type(policy).__name__} in {name}")
    reason = _unsuited(policy, setup)
    if reason is not None:
        raise ValueError(f"policy: must be trained for {setup.name}, received {name}, {reason}")
    return policy


def _unsuited(policy: nn.Module, setup: Known[Any, Any]) -> str | None:
    return setup.unsuited(policy) if isinstance(setup, Selective) else None


def find_allocator(name: str, setup: Known[I, A]) -> Allocator[I, A]:
    """A solver or policy by its name, or the policy of a file of weights, for the problem.

    Raises:
        ValueError: if the name is neither known nor a file, or if the file holds no policy of the problem.
    """
    if name in setup.solvers:
        return setup.solvers[name]()
    if name not in list_pretrained() and not Path(name).exists():
        known = ", ".join([*setup.solvers, *list_pretrained()])
        raise ValueError(f"allocator: must be a file of weights or one of {known}, received {name!r}")
    return find_policy(name, setup)


def serving_policies(setup: Known[Any, Any]) -> list[str]:
    """Names of the policies that ship with the package and serve the problem."""
    return [name for name, reason in _of_classes(setup).items() if reason is None]


def unsuited_policies(setup: Known[Any, Any]) -> dict[str, str]:
    """Return the policies that ship, are of the problem's classes and do not serve it, with the reason of each."""
    return {name: reason for name, reason in _of_classes(setup).items() if reason is not None}


def _of_classes(setup: Known[Any, Any]) -> dict[str, str | None]:
    """Return the policies that ship and are of the problem's classes, with the reason why they do not serve it."""
    policies = _shipped().items()
    return {name: _unsuited(policy, setup) for name, policy in policies if isinstance(policy, setup.policies)}


@functools.cache
def _shipped() -> dict[str, nn.Module]:
    return {name: load_pretrained(name) for name in list_pretrained()}


def with_trivial(allocators: Sequence[str], setup: Setup[Any, Any]) -> list[str]:
    """The names and, where they are missing, those of the trivial rules, which stand in every table."""
    trivial = [name for name, make in setup.solvers.items() if bench.kind_of(make()) == "trivial"]
    return list(dict.fromkeys([*allocators, *trivial]))


def find_allocators(names: Sequence[str], setup: Setup[I, A]) -> dict[str, Allocator[I, A]]:
    """The allocators of these names (see `find_allocator`), and the trivial rules."""
    return {name: find_allocator(name, setup) for name in with_trivial(names, setup)}


def seeded(make: Callable[[], M], seed: int) -> M:
    """What `make` makes, its random parameters drawn from a seed."""
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator: for once seed it
        torch.manual_seed(seed)
        return make()


def trainable(setup: Setup[I, A]) -> Trainable[I, A]:
    """The setup, if its policies can be trained.

    Raises:
        ValueError: if not.
    """
    if not isinstance(setup, Trainable):
        raise ValueError(f"problem: must be one that policies are trained for, received {setup.name}")
    return setup


def adapted(
    setup: Trainable[I, A],
    policy: M,
    task: Task[I, A],
    settings: learning.FineTuneSettings,
    generator: torch.Generator,
) -> M:
    """A copy of the policy, fine-tuned to the task."""
    tuned = setup.serving(copy.deepcopy(policy))
    loss = setup.loss(tuned)
    start = learning.parameters_of(loss.policy)
    found = learning.fine_tune(loss, start, task, settings, generator=generator)
    learning.adopt(loss.policy, found.parameters)
    return tuned


def provenance(command: str, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Where weights come from, for their header."""
    return {
        "commit": bench.source_commit(),
        "command": command,
        "seed": seed,
        "settings": bench.plain(settings),
    }


def judge(
    setup: Setup[I, A],
    drawn: I,
    allocators: Mapping[str, Allocator[I, A]],
    setting: str,
    *,
    published: Mapping[str, float] | None = None,
    latency: bench.Latency | None = None,
) -> list[Row]:
    """Rows of the allocators, against the bound of the setup."""
    on, how = bench.judged(setup.problem, drawn), latency or bench.Latency()
    found = {name: assess(setup, on, allocator, latency=how) for name, allocator in allocators.items()}
    bound = bound_of(setup, on, found)
    label = bench.label_of(setup.problem)
    return bench.rows_of(label, setting, on, found, bound=bound, published=published)


def assess(
    setup: Setup[I, A],
    on: bench.Judged,
    allocator: Allocator[I, A],
    *,
    latency: bench.Latency | None = None,
) -> bench.Assessment:
    """What the allocator does on instances, judged by the setup."""
    return bench.assess(
        setup.problem, on, allocator, priced=setup.priced, measures=setup.measures, latency=latency
    )


def bound_of(
    setup: Setup[I, A], on: bench.Judged, found: Mapping[str, bench.Assessment]
) -> bench.Bound | None:
    """The certified bound, or the best of all that was found and of the references that were not tried.

    None if there is nothing to compare.
    """
    certificate = setup.certify(on.instances)
    if certificate is not None:
        return certificate
    others = {name: solver for name, solver in setup.references().items() if name not in found}
    every = [*found.values(), *(assess(setup, on, solver) for solver in others.values())]
    return bench.best_of(every) if len(every) > 1 else None


def judge_on(
    tasks: Sequence[tuple[Setup[I, A], Task[I, A]]],
    policies: Mapping[str, Any],
    setting: str,
    generator: torch.Generator,
    instances: int = 100,
) -> list[Row]:
    """Rows of policies and trivial rules on new instances of tasks."""
    rows: list[Row] = []
    for setup, task in tasks:
        allocators = {name: setup.serving(policy) for name, policy in policies.items()}
        allocators |= find_allocators([], setup)
        rows += judge(setup, task.sample(instances, generator=generator), allocators, setting)
    return rows


def rate_measures(rate: Tensor, active: Tensor, unit: str = "(bit/s/Hz)") -> dict[str, Measure]:
    """Mean, 5th percentile and least rate of the active links or users, `[batch tx]`, in the unit.

    The percentile is of all links of all instances together, mean and minimum of those of each instance.
    """
    rate = torch.where(active, rate.double(), torch.nan)
    served = active.any(-1)
    least = torch.where(active, rate, torch.inf).amin(-1)
    return {
        f"mean rate / {unit}": Measure(*metrics.mean_interval(rate.nanmean(-1)[served])),
        f"5th percentile rate / {unit}": Measure(*metrics.quantile_interval(rate[served], 0.05)),
        f"minimum rate / {unit}": Measure(*metrics.mean_interval(least[served])),
    }


def told(setup: Setup[I, A], given: Given[I], action: A) -> str:
    """The allocation in a few words, and its objective."""
    shown = setup.display
    value = setup.problem.evaluate(given.instance, action).objective.item() / shown.scale
    unit = shown.unit.removeprefix("(").removesuffix(")")
    return f"{setup.summary(given, action)}; {shown.objective} {value:.4g} {unit}".rstrip()


def better_rule(setup: Setup[I, A], given: Given[I], name: str, action: A) -> str | None:
    """Return a line that names the best trivial rule of the problem if it is better than the action, else None.

    Only rules that violate no constraint count, but for constraints that the objective has a price for. Such a rule is
    better if its objective is higher by more than 1e-6 relative, or if the action violates a constraint.

    Args:
        setup: of the problem.
        given: one instance.
        name: of the allocator whose action it is.
        action: what it decided.
    """
    on = bench.judged(setup.problem, records.stack([given.instance]))
    stacked = records.stack([action])
    own = assess(setup, on, lambda _: stacked)
    rules = {rule: assess(setup, on, setup.solvers[rule]()) for rule in with_trivial([], setup)}
    valid = {rule: found.objective.item() for rule, found in rules.items() if bool(found.valid.all())}
    if not valid:
        return None
    best = max(valid, key=lambda rule: valid[rule])
    value, reached, keeps = valid[best], own.objective.item(), bool(own.valid.all())
    if keeps and value <= reached + _MORE * abs(reached):
        return None
    shown = setup.display
    told = f"{best} reaches {value / shown.scale:#.4g} {shown.unit.removeprefix('(').removesuffix(')')}"
    other = (
        f"more than {name} with {reached / shown.scale:#.4g}"
        if keeps
        else f"and {name} violates a constraint"
    )
    hint = "" if name == setup.default else f"; try --allocator {setup.default}"
    return f"{told}, {other}{hint}"


def scene_of(setup: Setup[I, A], given: Given[I], allocators: Mapping[str, Allocator[I, A]]) -> Scene | None:
    """The instance allocated by all allocators; None if nobody is active."""
    with torch.no_grad():
        actions = {name: allocator(given.instance) for name, allocator in allocators.items()}
        scene = setup.scene(given, actions)
    return scene if scene.users else None


def write_report(
    path: str | os.PathLike[str], results: Results, setup: Setup[Any, Any], scenes: Sequence[Scene] = ()
) -> None:
    """A report that stands alone."""
    bench.html_report(path, results, title=setup.title, display=setup.display, scenes=scenes)
