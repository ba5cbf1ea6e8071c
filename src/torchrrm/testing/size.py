"""Conformance of an allocator at a size far from that of the sample."""

import time
from typing import Any

import torch

from torchrrm.problems import Allocator, Problem
from torchrrm.records import axis_sizes, index, stack
from torchrrm.testing.allocator import AllocatorSuite
from torchrrm.testing.expected import ConformanceError, Expected, require
from torchrrm.testing.surgery import Sample, take, user_axes

__all__ = ["check_size"]


def check_size(
    allocator: Allocator[Any, Any],
    problem: Problem[Any, Any],
    sample: Sample,
    users: int = 1000,
    *,
    within_s: float = 20.0,
    expected: Expected | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Check that an allocator serves many users in bounded time, or refuses them in one line.

    The instance is the first of the sample, the entries of its first axis of users (with those that are renumbered with
    it) repeated until there are as many. The action must have its shapes and keep the constraints, where that is
    possible (`problem.feasible`); a `ValueError` of one line, which is to name the size that is served, is as good.

    Args:
        allocator: that is checked.
        problem: judges the action.
        sample: `sample(batch_size, *, generator) -> instance`.
        users: how many.
        within_s: processor time that an action may take.
        expected: what holds for this problem and not for all.
        generator: of all random numbers; by default of seed 0.

    Raises:
        ConformanceError: naming the rule that is broken.
    """
    suite = AllocatorSuite(problem, sample, expected, generator)
    many = repeated(sample(1, generator=suite.generator), users, suite.expected)
    begin = time.process_time()
    try:
        action = suite.check_form(allocator, many, f"{users} users")
    except ValueError as error:
        told = str(error)
        require(
            "\n" not in told and "received" in told, "size", f"must be refused in one line, received {told!r}"
        )
        return
    except Exception as error:
        raise ConformanceError(
            f"size: {users} users must be served or refused, received {error!r}"
        ) from error
    spent = time.process_time() - begin
    require(
        spent <= within_s, "size", f"{users} users must take at most {within_s:g} s, received {spent:.3g} s"
    )
    feasible = suite.expected.feasible or getattr(problem, "feasible", None)
    if feasible is None or bool(feasible(many).all()):
        suite.check_feasible(many, action, f"{users} users")


def repeated(instance: Any, users: int, expected: Expected) -> Any:
    """The instance with the entries of its first group of axes repeated until there are as many."""
    group = user_axes(instance, expected)[0]
    again = torch.arange(users) % axis_sizes(instance)[group[0]]
    return stack([index(take(instance, dict.fromkeys(group, again)), 0)])
