"""Checks of the matrix: every bundled policy in every use, every solver under every controller.

A check returns what the table shows, `yes` with a number where there is one, or `no: reason` where a use is refused as
it should be. It raises where the use fails.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.matrix.subjects import (
    INSTANCES,
    LINK_PROBLEMS,
    Subject,
    draw_links,
    over_slots,
    record,
    require_done,
    run_command,
    sources,
)
from tests.testing.registered import CUT_SHORT
from torch import Tensor

from torchrrm.bench import Results
from torchrrm.deploy import InferenceSession
from torchrrm.deploy.contract import export_obstacle
from torchrrm.policies import EachSlot, OnlineDual, ProportionalFair, TimeSharing, load_pretrained
from torchrrm.problems import LinkInstance
from torchrrm.problems.base import FEASIBLE_TO
from torchrrm.records import axis_names, index, map_tensors
from torchrrm.setups.registry import SETUPS

__all__ = ["CONTROLLERS", "USES", "under"]

CLOSE = 1e-4
"""Of a limit, or of an objective: what single precision may change of an action."""
LARGE = 40
CONTROLLERS: Mapping[str, Callable[[Any], Any]] = {
    "each-slot": EachSlot,
    "online-dual": OnlineDual,
    "time-sharing": TimeSharing,
    "proportional-fair": ProportionalFair,
}


def yes(number: float | None = None, what: str = "") -> str:
    """Return the cell of a use that works."""
    return "yes" if number is None else f"yes, {number:.1e}{what}"


def refused(reason: str) -> str:
    """Return the cell of a use that is refused, for a reason of one line."""
    assert reason, "no reason"
    assert "\n" not in reason, reason
    return f"no: {reason}"


def deviation(found: Mapping[str, Any], wanted: Mapping[str, Any], instance: Mapping[str, Any]) -> float:
    """Return the largest difference of two actions in parts of their limits; infinite between other choices."""
    worst = 0.0
    for name, target in wanted.items():
        value, target = np.asarray(found[name]), np.asarray(target)
        if target.dtype.kind == "i":
            worst = max(worst, 0.0 if np.array_equal(value, target) else np.inf)
            continue
        limit = float(np.max(np.asarray(instance.get(f"max_{name}", instance.get(name, 1.0))), initial=0.0))
        error = float(np.abs(value - target).max(initial=0.0))
        worst = max(worst, error / limit if limit else error)
    return worst


def require(number: float, most: float = CLOSE) -> str:
    """Return the cell of a difference, which may be at most so large."""
    assert number <= most, f"differs by {number:.3g}, at most {most:.3g}"
    return yes(number)


def export(on: Subject) -> str:
    """Export the policy by the command; one that is not exported is refused in the words of its class."""
    reason = export_obstacle(on.exported)
    if reason is None:
        path = on.files.exported(on.name, on.problem)
        assert InferenceSession(path).header["policy"] == type(on.exported).__name__
        return f"yes, {path.stat().st_size / 1024:.0f} KiB"
    out = on.files.folder / f"{on.name}.none"
    code, errors = run_command("export", on.name, "--problem", on.problem, "--out", str(out))
    assert code == 2, errors
    assert reason in errors, errors
    assert errors.count("\n") == 1, errors
    assert not out.exists()
    return refused(reason)


def session(on: Subject) -> str:
    """Compare actions of a session with those of torch, of the weights that ship."""
    reason = export_obstacle(on.exported)
    if reason is not None:
        return refused(reason)
    opened, worst = InferenceSession(on.files.exported(on.name, on.problem)), 0.0
    for batch, size in ((1, 2), (6, 7)):
        drawn = on.draw(batch, size)
        instance = record(INSTANCES[on.deployment["service"]], drawn)
        with torch.no_grad():
            wanted = vars(on.exported(instance))
        found = opened.allocate(**{name: drawn[name] for name in axis_names(type(instance))})
        assert not found.fallback.any(), found.refused
        worst = max(worst, deviation(found.action, wanted, drawn))
    return require(worst)


def allocate(on: Subject) -> str:
    """Allocate an instance by the command."""
    source, options, _ = sources(on)
    out, kept = on.files.folder / "allocated.csv", on.files.folder / "allocated.json"
    line = ["allocate", source, "--problem", on.problem, "--allocator", on.name, *options]
    return _row(on, *line, "--out", str(out), "--json", str(kept))


def evaluate(on: Subject) -> str:
    """Score the allocator on random instances by the command."""
    _, _, options = sources(on)
    kept = on.files.folder / "evaluated.json"
    line = ["evaluate", "--problem", on.problem, "--allocators", on.name, *options, "--instances", "2"]
    return _row(on, *line, "--json", str(kept))


def _row(on: Subject, *line: str) -> str:
    """Run a command, and return the optimality of the allocator that it wrote."""
    require_done(*line)
    (row,) = [row for row in Results.from_json(Path(line[-1])).rows if row.allocator == on.name]
    assert np.isfinite(row.objective)
    return "yes" if row.optimality is None else f"yes, {100 * row.optimality:.1f} %"


def float64(on: Subject) -> str:
    """Compare the objective of the policy in double precision with that of its own."""
    instance = on.instances(6, 7)
    values = []
    with torch.no_grad():
        for dtype in (torch.float32, torch.float64):
            action = on.allocator(dtype)(instance)
            values.append(on.setup.problem.evaluate(instance, action).objective)
    single, double = values
    assert double.isfinite().all()
    return require(float(((single - double).abs() / double.abs().clamp_min(1e-9)).max()))


def batch(on: Subject) -> str:
    """Allocate no instance, one, and many; many must be as one by one."""
    allocator, instance = on.allocator(), on.instances(6, 7)
    with torch.no_grad():
        together = vars(allocator(instance))
        alone = [vars(allocator(index(instance, number))) for number in range(6)]
        none = vars(allocator(map_tensors(lambda value: value[:0], instance)))
    assert all(value.shape == (0, *together[name].shape[1:]) for name, value in none.items())
    one_by_one = {name: torch.stack([action[name] for action in alone]) for name in together}
    return require(
        deviation(together, one_by_one, {name: value.numpy() for name, value in vars(instance).items()})
    )


def sizes(on: Subject) -> str:
    """Allocate instances of 2, 3 and many links or users; a policy of a fixed size refuses others."""
    if on.fixed is not None:
        return refused([_refusal(on, size) for size in (2, 3, LARGE)][-1])
    worst = 0.0
    for size in (2, 3, LARGE):
        instance = on.instances(4, size)
        with torch.no_grad():
            score = on.setup.problem.evaluate(instance, on.allocator()(instance))
        assert score.objective.isfinite().all()
        worst = max(worst, _violation(on, instance, score))
    return require(worst, FEASIBLE_TO)


def _refusal(on: Subject, links: int) -> str:
    """Return in which words a policy of a fixed size refuses so many links."""
    instance = record(LinkInstance, draw_links(2, links))
    try:
        on.allocator()(over_slots(instance) if on.problem == "ergodic-power" else instance)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"serves {links} links")


def _violation(on: Subject, instance: Any, score: Any) -> float:
    """Return the largest violation that has no price, of the instances in which none need be."""
    problem = on.setup.problem
    kept = (
        problem.feasible(instance)
        if hasattr(problem, "feasible")
        else torch.ones_like(score.objective).bool()
    )
    found = [v[kept] for name, v in score.violation.items() if name not in on.setup.priced]
    return max((float(value.max()) for value in found if value.numel()), default=0.0)


USES: Mapping[str, Callable[[Subject], str]] = {
    "export": export,
    "session": session,
    "allocate": allocate,
    "evaluate": evaluate,
    "float64": float64,
    "batch 0, 1, many": batch,
    "other sizes": sizes,
}


def under(problem: str, name: str, controller: str) -> str:
    """Put an allocator under a controller, over 4 slots: it works, or is refused for what it takes or reads."""
    setup = SETUPS[problem]
    make = CUT_SHORT.get((problem, name), setup.solvers.get(name))
    allocator = setup.serving(load_pretrained(name)) if make is None else make()
    drawn = draw_links(2, getattr(allocator, "links", None) or 3)
    instance = over_slots(record(LinkInstance, drawn))
    try:
        loop = CONTROLLERS[controller](allocator)
        with torch.no_grad():
            power: Tensor = loop(instance).power_w
            alone: Tensor = loop(map_tensors(lambda value: value[:1], instance)).power_w
    except ValueError as error:
        if problem in LINK_PROBLEMS and "reads" not in str(error):
            raise
        return refused(str(error))
    assert problem in LINK_PROBLEMS
    limit = instance.max_power_w[:, None] * instance.active[:, None]
    assert power.shape == instance.gain.shape[:-1]
    assert ((power >= 0) & (power <= limit * (1 + FEASIBLE_TO))).all()
    return require(float((power[:1] - alone).abs().max() / instance.max_power_w.max()))
