import pytest
import torch
from tests.testing.slices import batch, objective

from torchrrm.problems import KINDS, SliceAction
from torchrrm.solvers import SOLVERS, EqualSurplus, ExactSlicing, OneWinner


@pytest.mark.parametrize("name", KINDS)
def test_equal_surplus_by_definition(name):
    problem, record = KINDS[name], batch(name, count=30, seed=1)
    schedule = problem.schedule(record)
    extra = EqualSurplus(problem)(record).bandwidth_hz - schedule.minimum_bandwidth_hz
    share = schedule.surplus_hz / schedule.active.sum(-1).clamp(min=1)
    torch.testing.assert_close(extra, schedule.active * share[:, None], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_one_winner_is_the_best_single_winner(name):
    problem, record = KINDS[name], batch(name, count=30, users=4, seed=2)
    schedule = problem.schedule(record)
    width = OneWinner(problem)(record).bandwidth_hz
    value = objective(problem, record, SliceAction(bandwidth_hz=width))
    for i in range(4):
        trial = schedule.minimum_bandwidth_hz.clone()
        trial[:, i] += schedule.surplus_hz
        rival = objective(problem, record, SliceAction(bandwidth_hz=trial))
        assert (value >= rival * (1 - 1e-12))[schedule.active[:, i]].all()
    assert ((width > schedule.minimum_bandwidth_hz * (1 + 1e-9)).sum(-1) <= 1).all()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rule", [EqualSurplus, OneWinner])
def test_trivial_rules_are_below_the_bound(name, rule):
    problem, record = KINDS[name], batch(name, count=30, seed=3)
    bound = ExactSlicing(problem).solve(record).upper_bound
    assert bound is not None
    assert (objective(problem, record, rule(problem)(record)) <= bound * (1 + 1e-12)).all()
    assert rule.kind == "trivial"


@pytest.mark.parametrize("solver", SOLVERS["slicing"])
@pytest.mark.parametrize("users", [1, 2, 5, 50, 1000])
@pytest.mark.parametrize("name", KINDS)
def test_every_solver_is_feasible_in_float32(name, users, solver):
    """Within the slice to 1e-6, no scheduled user below its minimum rate by more than 1e-5."""
    problem = KINDS[name]
    record = batch(name, count=1 if users == 1000 else 4, users=users, seed=4, dtype=torch.float32)
    if solver == "greedy-blocks" and "capacity" in name:
        allocator = SOLVERS["slicing"][solver](problem, 1e6)
    else:
        allocator = SOLVERS["slicing"][solver](problem)
    action = allocator(record)
    assert action.bandwidth_hz.dtype == torch.float32
    violation = problem.evaluate(record, action).violation
    # What was allocated, summed exactly: a sum in float32 has its own rounding.
    total = action.bandwidth_hz.double().sum(-1)
    assert ((total / record.bandwidth_hz.double() - 1) <= 1e-6).all()
    assert (violation["min_rate"] <= 1e-5).all()
    assert (violation["sign"] <= 0).all()
