"""The published baseline: stationary, within its limits, and no harm where nothing can be done."""

import importlib

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tests.testing.beams import BEAMS, loaded, sample

from torchrrm.problems import MisoInstance, UrllcBeamforming, miso_instance
from torchrrm.problems.beamforming import least_sinr, mmse_action, mmse_sinr, relative_gram
from torchrrm.rates import packet_back_off, packet_rate
from torchrrm.records import index, replace
from torchrrm.solvers import EqualPowerMMSE, HeBF, MinimumPowerBeamforming
from torchrrm.testing import check_solver

PROBLEM = UrllcBeamforming()


@pytest.fixture(scope="module")
def solver():
    """One for all tests: each number of users is compiled once."""
    return HeBF()


def sequential_quadratic(instance: MisoInstance, start: np.ndarray) -> float:
    """Weighted sum rate by a general solver on the powers, beams being the best, from the start."""
    gram, least = relative_gram(instance), least_sinr(instance)
    back_off = packet_back_off(instance.error_probability, instance.blocklength)

    def differentiated(function):
        def value(share: np.ndarray):
            tensor = torch.tensor(share, requires_grad=True)
            result = function(mmse_sinr(gram, tensor))
            return result.detach().numpy()

        def slope(share: np.ndarray):
            return torch.autograd.functional.jacobian(
                lambda q: function(mmse_sinr(gram, q)), torch.tensor(share)
            ).numpy()

        return value, slope

    value, slope = differentiated(lambda sinr: -(instance.weight * packet_rate(sinr, back_off)).sum())
    spare, spare_slope = differentiated(lambda sinr: torch.log1p(sinr) - torch.log1p(least))
    found = minimize(
        value,
        start,
        jac=slope,
        method="SLSQP",
        bounds=[(1e-9, 1.0)] * len(start),
        constraints=[
            {"type": "ineq", "fun": spare, "jac": spare_slope},
            {"type": "ineq", "fun": lambda q: 1 - q.sum(), "jac": lambda q: -np.ones_like(q)},
        ],
        options={"ftol": 1e-12, "maxiter": 300},
    )
    assert found.success, found.message
    return -float(found.fun)


def test_conforms():
    """Cut short: it need not converge for that."""
    check_solver(HeBF(max_steps=1, max_programs=2), PROBLEM, sample, expected=replace(BEAMS, extremes=False))


def test_table_cell(generator, solver):
    """A cell as those of Table I of [He2022USRMNet], with three users: not below equal power, and stationary."""
    instance = miso_instance(loaded(2, 3, 32, generator=generator), blocklength=256.0)
    solution = solver.solve(instance)
    assert solution.converged.all()
    evaluation = PROBLEM.evaluate(instance, solution.action)
    equal = PROBLEM.evaluate(instance, EqualPowerMMSE()(instance)).objective
    assert (evaluation.objective >= equal * (1 - 1e-5)).all()
    assert max(violation.max() for violation in evaluation.violation.values()) <= 1e-7


def test_it_stops_where_a_general_solver_would(generator, solver):
    """Minimum rates bind in some, channels are alike, weights differ."""
    channel = loaded(6, 3, 4, generator=generator, near_m=30.0, far_m=140.0)
    weight = torch.tensor([0.2, 1.0, 0.5], dtype=torch.float64).expand(6, 3)
    instance = miso_instance(channel, blocklength=300.0, weight=weight)
    solution = solver.solve(instance)
    evaluation = PROBLEM.evaluate(instance, solution.action)
    bound = (evaluation.violation["min_rate"].abs() < 1e-4).any(-1) & solution.converged
    assert bound.any()
    assert solution.converged.sum() >= 4
    for i in solution.converged.nonzero()[:, 0].tolist():
        one = index(instance, i)
        share = (index(solution.action, i).power_w / one.max_power_w).numpy()
        best = sequential_quadratic(one, share)
        assert evaluation.objective[i].item() >= best * (1 - 1e-3)
        assert evaluation.violation["min_rate"][i].max() <= 1e-6


def test_infeasible_instances_are_said_so(generator, solver):
    """More users than antennas: no power would do."""
    channel = loaded(2, 3, 2, generator=generator)
    instance = miso_instance(channel, blocklength=100.0)
    solution = solver.solve(instance)
    assert not solution.converged.any()
    assert not solution.iterations.any()
    least = MinimumPowerBeamforming()(instance)
    torch.testing.assert_close(solution.action.power_w, least.power_w)


def test_users_who_ask_for_nothing_and_hear_nothing(generator, solver):
    """Nobody asks for anything, one has no channel, one no weight."""
    instance = miso_instance(loaded(1, 4, 8, generator=generator), payload_bits=0.0)
    channel, weight = instance.channel.clone(), instance.weight.clone()
    channel[0, 1], weight[0, 3] = 0, 0
    instance = replace(instance, channel=channel, weight=weight)
    solution = solver.solve(instance)
    share = solution.action.power_w[0] / instance.max_power_w[0]
    assert solution.converged.all()
    assert share[1] == 0
    assert share[3] < 1e-3
    assert share.sum() == pytest.approx(1.0, abs=1e-6)
    equal = mmse_action(instance, instance.max_power_w[:, None] * torch.tensor([[0.5, 0.0, 0.5, 0.0]]))
    reached = PROBLEM.evaluate(instance, solution.action).objective
    assert reached >= PROBLEM.evaluate(instance, equal).objective * (1 - 1e-4)


def test_progress_is_told(generator):
    seen = []
    instance = sample(3, generator=generator)
    HeBF(max_steps=1, max_programs=1, progress=lambda done, total: seen.append((done, total)))(instance)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_missing_packages_are_named(generator, monkeypatch):
    def missing(name, package=None):
        raise ModuleNotFoundError(name)

    instance = sample(1, generator=generator)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"^cvxpy: must be installed, .* pip install 'torchrrm\[convex\]'$"):
        HeBF()(instance)


def test_steps_must_be_positive():
    with pytest.raises(ValueError, match="max_steps, max_programs: must be at least 1, received 0 and 20"):
        HeBF(max_steps=0)
