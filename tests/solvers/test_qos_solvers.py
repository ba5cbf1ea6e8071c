"""`GeometricProgram` and `QosWMMSE`: along the path that cvxpy takes, monotone, and true to every minimum rate."""

import numpy as np
import pytest
import torch
from scipy import optimize
from tests.solvers import oracles_links as oracles
from tests.testing.links import LEAST_RATE, LINKS, partly_feasible, sample

from torchrrm.problems import LinkInstance, QosSumRate
from torchrrm.records import index, replace, to
from torchrrm.solvers import GeometricProgram, MinimumPower, QosWMMSE
from torchrrm.solvers.rate_region import rate_region
from torchrrm.testing import check_solver

KINDS = [GeometricProgram, QosWMMSE]


def feasible_links(count: int, size: int, rate: float, seed: int = 0) -> LinkInstance:
    """That many instances that can give the rate to all, of different weights."""
    instance = partly_feasible(4 * count, size=size, seed=seed)
    weight = 0.5 + torch.rand(instance.weight.shape, generator=torch.Generator().manual_seed(seed)).double()
    instance = replace(instance, weight=weight)
    return index(index(instance, QosSumRate(rate).feasible(instance)), slice(count))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, LEAST_RATE])
def test_solver_conforms(kind, rate):
    check_solver(kind(rate, max_steps=5), QosSumRate(rate), sample, expected=replace(LINKS, extremes=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "rate", "count"), [(3, 1.0, 17), (4, 0.5, 17), (5, 0.0, 16)])
def test_against_cvxpy(kind, size, rate, count):
    """The objective after three steps from the same start, 50 feasible instances in all, to 1e-4."""
    instance = feasible_links(count, size, rate, seed=size)
    assert len(instance.gain) == count
    solver = kind(rate, max_steps=3, tolerance=0.0, safeguard=False)
    action, start = solver(instance), rate_region(instance, rate).inside(1.0)
    oracle = oracles.condensations if kind is GeometricProgram else oracles.weighted_errors
    for i in range(count):
        single = index(instance, i)
        gain, weight = oracles.scaled(single)
        wanted = oracles.value(gain, weight, oracle(single, rate, start[i].numpy(), 3))
        found = oracles.value(gain, weight, (action.power_w[i] / single.max_power_w).numpy())
        assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.8])
def test_never_decreases_and_keeps_all_rates(kind, rate):
    instance, problem = feasible_links(40, 5, rate, seed=9), QosSumRate(rate)
    solver, region = kind(rate, tolerance=0.0), rate_region(instance, rate)
    state = solver.init(region)
    for _ in range(6):
        new = solver.step(region, state)
        assert (new.value >= state.value).all()
        state = new
    score = problem.evaluate(instance, kind(rate, max_steps=2)(instance))
    assert score.violation["min_rate"].max() <= 1e-6
    assert score.violation["power"].max() <= 0
    assert (score.objective > problem.evaluate(instance, MinimumPower(rate)(instance)).objective).all()


def test_without_minimum_rates_it_is_wmmse():
    instance = feasible_links(20, 5, 0.0)
    solver = QosWMMSE(0.0, max_steps=150, tolerance=0.0, safeguard=False)
    power = solver(instance).power_w / instance.max_power_w
    for i in range(20):
        single = index(instance, i)
        gain, weight = oracles.scaled(single)
        wanted = oracles.value(gain, weight, oracles.wmmse(single, 150))
        assert oracles.value(gain, weight, power[i].numpy()) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_converges_where_no_local_change_is_better(kind):
    """A general optimiser (SLSQP) started at the powers found adds nothing."""
    rate, instance = 0.6, feasible_links(8, 3, 0.6, seed=4)
    solution = kind(rate, max_steps=1000, tolerance=1e-9).solve(instance)
    assert solution.converged.all()
    for i in range(8):
        gain, weight = oracles.scaled(index(instance, i))
        need = (2**rate - 1) / np.diag(gain)
        power = (solution.action.power_w[i] / instance.max_power_w[i]).numpy()
        rule = {
            "type": "ineq",
            "fun": lambda p, g=gain, n=need: p - n * oracles.heard(g, p),
        }
        found = optimize.minimize(
            lambda p, g=gain, w=weight: -oracles.value(g, w, p),
            power,
            bounds=[(0, 1)] * 3,
            constraints=[rule],
            method="SLSQP",
        )
        value = oracles.value(gain, weight, power)
        near = np.abs(found.x - power).max() < 0.1
        assert not near or -found.fun <= value * (1 + 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_infeasible_instances_are_told_and_get_minimum_power(kind):
    instance = partly_feasible(40, size=5, seed=2)
    feasible = QosSumRate(1.0).feasible(instance)
    assert 0 < feasible.sum() < 40
    solution = kind(1.0, max_steps=30, tolerance=1e-3).solve(instance)
    assert not solution.converged[~feasible].any()
    assert solution.converged[feasible].all()
    wanted = MinimumPower(1.0)(instance).power_w
    torch.testing.assert_close(solution.action.power_w[~feasible], wanted[~feasible])


@pytest.mark.parametrize("kind", KINDS)
def test_rates_that_leave_no_room_get_the_least_powers(kind):
    gain = torch.tensor([[1.0, 0.1], [0.1, 1.0]], dtype=torch.float64)
    instance = replace(index(partly_feasible(1, size=2), 0), gain=gain)
    rate = float(torch.log2(torch.tensor(1 + 1 / 0.13, dtype=torch.float64)))  # just full power
    solution = kind(rate - 1e-12).solve(instance)
    assert solution.converged
    torch.testing.assert_close(solution.action.power_w, instance.max_power_w)


@pytest.mark.parametrize("kind", KINDS)
def test_demands_of_some_links_in_single_precision(kind):
    """Each link has its own minimum; links of weight 0 get no more than they ask for."""
    rate = torch.tensor([1.0, 0.0, 0.5, 0.0])
    instance, problem = to(partly_feasible(20, seed=6), dtype=torch.float32), QosSumRate(rate)
    instance = replace(instance, weight=torch.tensor([0.0, 1.0, 1.0, 1.0]).expand(20, 4).clone())
    solution = kind(rate, max_steps=40).solve(instance)
    assert solution.action.power_w.dtype == torch.float32
    score, feasible = problem.evaluate(instance, solution.action), problem.feasible(instance)
    assert score.violation["min_rate"][feasible].max() <= 1e-6
    first = problem.rate(instance, solution.action.power_w)[feasible, 0]
    assert (first < 1.01).double().mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_zero(kind):
    instance = feasible_links(5, 4, 0.2)
    solution = kind(0.2).solve(replace(instance, weight=0 * instance.weight))
    assert torch.isfinite(solution.action.power_w).all()
    assert QosSumRate(0.2).evaluate(instance, solution.action).violation["min_rate"].max() <= 1e-6
