"""Conformance of a solver."""

from typing import Any

import torch

from torchrrm.problems import Problem
from torchrrm.records import batch_shape
from torchrrm.solvers import Solution
from torchrrm.testing.allocator import AllocatorSuite
from torchrrm.testing.expected import Expected, require, require_close
from torchrrm.testing.extremes import ExtremesSuite
from torchrrm.testing.surgery import Sample

__all__ = ["check_solver"]


def check_solver(
    solver: Any,
    problem: Problem[Any, Any],
    sample: Sample,
    *,
    expected: Expected | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Check that a solver allocates as every allocator does, and that its `Solution` is one.

    Its actions have the shapes, precision and device of the instance and are finite, also with one user and
    with nobody active; they keep every constraint, in single and double precision; inactive users get nothing
    and do not matter; renumbering users renumbers the action (but for ties); padding changes nothing; a
    batch, in any shape, is allocated as one by one; the same instance gets the same action and is left as it
    is.

    Extremes (`Expected.extremes`): `problem.validate`, where there is one, refuses NaN, infinite and negative
    numbers by the field's name in one line; zeros and denormal numbers that it accepts get finite actions that keep
    the constraints, huge ones finite actions, all without a warning; what it refuses ends, with an action or a
    `ValueError` of one line, and changes no other instance of the batch; NaN in the fields of inactive users
    changes nothing.

    If it has `solve`: the action is that of a call, `converged` and `iterations` have the batch shape,
    and no upper bound is below the objective.

    Raises:
        ConformanceError: naming the first rule that is broken.
    """
    suite = AllocatorSuite(problem, sample, expected, generator)
    suite.run(solver)
    for dtype in (torch.float32, torch.float64):
        suite.check_precision(solver, dtype)
    if suite.expected.extremes:
        ExtremesSuite(problem, sample, expected, generator).run(solver)
    if hasattr(solver, "solve"):
        _check_solution(solver, suite)


def _check_solution(solver: Any, suite: AllocatorSuite) -> None:
    instance = suite.draw()
    batch = batch_shape(instance)
    solution = solver.solve(instance)
    require(
        isinstance(solution, Solution),
        "solution",
        f"solve must return a Solution, received {type(solution).__name__}",
    )
    for name, value in vars(solver(instance)).items():
        require_close(
            getattr(solution.action, name), value, 0.0, "solution", f"{name}, as a call returns it,"
        )
    for name, kind in (("converged", "bool"), ("iterations", "int")):
        value = getattr(solution, name)
        fits = value.shape == batch and str(value.dtype).startswith(f"torch.{kind}")
        received = f"{list(value.shape)} of {value.dtype}"
        require(
            fits, "solution", f"{name} must have shape {list(batch)} and type {kind}, received {received}"
        )
    if solution.upper_bound is None:
        return
    bound, objective = solution.upper_bound, suite.problem.evaluate(instance, solution.action).objective
    require(
        bound.shape == batch,
        "bound",
        f"upper_bound must have shape {list(batch)}, received {list(bound.shape)}",
    )
    low = ~(objective <= bound + suite.expected.closeness * objective.abs())
    received = f"{bound[low].tolist()} for {objective[low].tolist()}"
    require(not bool(low.any()), "bound", f"upper_bound must not be below the objective, received {received}")
