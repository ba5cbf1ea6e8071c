"""Conformance suites: what every problem, solver and policy must hold, here and in the code of users.

    check_problem(problem, sample)
    check_solver(solver, problem, sample)
    check_policy(policy, problem, sample)
    check_extremes(allocator, problem, sample)
    check_boundary(allocator, problem, sample)
    check_size(allocator, problem, sample, users=1000)

`sample(batch_size, *, generator)` draws instances, as a task's does. Nothing is returned; the first rule that
is broken raises a `ConformanceError` that names it. `Expected` says what holds for one problem and not for
all.

An instance's masks are its fields `active`, or `active_<axis>` where several axes have one each. A field of an action
that names entries of an axis is listed in the record's `index_of`; it holds -1 where it names none, and moves with
that axis where its entries are renumbered.
"""

from torchrrm.testing.boundary import check_boundary
from torchrrm.testing.expected import ConformanceError, Expected
from torchrrm.testing.extremes import check_extremes
from torchrrm.testing.policy import check_policy
from torchrrm.testing.problem import check_problem
from torchrrm.testing.size import check_size
from torchrrm.testing.solver import check_solver

__all__ = [
    "ConformanceError",
    "Expected",
    "check_boundary",
    "check_extremes",
    "check_policy",
    "check_problem",
    "check_size",
    "check_solver",
]
