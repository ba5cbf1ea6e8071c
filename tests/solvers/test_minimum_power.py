"""Least powers against linear programs, their optimality, and what happens where there are none."""

import math

import cvxpy
import numpy as np
import pytest
import torch
from tests.testing.forms import traced
from tests.testing.links import LEAST_RATE, LINKS, partly_feasible, sample

from torchrrm.problems import LinkInstance, PowerAction, QosSumRate, link_instance
from torchrrm.problems.links.qos_sum_rate import coupling, solve_coupling
from torchrrm.records import index, replace, to
from torchrrm.solvers import MinimumPower, is_feasible, spectral_radius
from torchrrm.solvers.minimum_power import least_power, minimum_region
from torchrrm.testing import check_problem, check_solver


def linear_program(instance: LinkInstance, rate: np.ndarray) -> np.ndarray | None:
    """Powers of least sum that reach the rates, of one instance; `None` where there are none."""
    gain, noise, limit = instance.gain.numpy(), float(instance.noise_power_w), instance.max_power_w.numpy()
    power = cvxpy.Variable(len(limit))
    constraints: list[cvxpy.Constraint] = [power >= 0, power <= limit]
    for k in range(len(limit)):
        other = sum(gain[k, j] * power[j] for j in range(len(limit)) if j != k) + noise
        constraints.append(gain[k, k] * power[k] >= (2 ** rate[k] - 1) * other)
    task = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(power)), constraints)
    task.solve(solver="CLARABEL")
    return power.value if task.status == "optimal" else None


def test_problem_conforms():
    check_problem(QosSumRate(0.3), sample, expected=LINKS)


@pytest.mark.parametrize("rate", [0.0, LEAST_RATE])
def test_solver_conforms(rate):
    check_solver(MinimumPower(rate), QosSumRate(rate), sample, expected=LINKS)


def test_against_linear_programs():
    """50 feasible instances to 1e-4; those said to be infeasible are so, whichever form says it."""
    instance, rate = (
        partly_feasible(90),
        torch.rand(90, 4, generator=torch.Generator().manual_seed(1)).double() * 1.5,
    )
    solution = MinimumPower(rate).solve(instance)
    general = MinimumPower(rate).solve(traced(instance))
    assert torch.equal(solution.converged, general.converged)
    found = 0
    for i in range(90):
        wanted = linear_program(index(instance, i), rate[i].numpy())
        assert bool(solution.converged[i]) == (wanted is not None)
        if wanted is not None:
            found += 1
            np.testing.assert_allclose(solution.action.power_w[i].numpy(), wanted, rtol=1e-4)
    assert 50 <= found <= 80


def test_both_forms_agree():
    for size in (1, 3, 8):
        instance = partly_feasible(200, size=size, seed=size)
        instance = replace(instance, active=torch.rand(200, size, generator=torch.Generator()) < 0.8)
        kernel, torch_form = (
            MinimumPower(0.7).solve(instance),
            MinimumPower(0.7).solve(traced(instance)),
        )
        assert torch.equal(kernel.converged, torch_form.converged)
        assert torch.equal(kernel.iterations, torch_form.iterations)
        torch.testing.assert_close(kernel.action.power_w, torch_form.action.power_w, rtol=1e-7, atol=1e-12)
        single = MinimumPower(0.7).solve(index(instance, 7))
        assert torch.equal(single.action.power_w, kernel.action.power_w[7])
        assert single.converged == kernel.converged[7]


def test_rates_are_met_exactly_and_nothing_less_would_do():
    instance, problem = partly_feasible(100), QosSumRate(0.8)
    solution = MinimumPower(0.8).solve(instance)
    power = solution.action.power_w[solution.converged]
    served = index(instance, solution.converged)
    rate = problem.rate(served, power)
    torch.testing.assert_close(rate, torch.full_like(rate, 0.8), rtol=1e-9, atol=0.0)
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):  # any powers that reach the rates are at least these, in each entry
        other = (power + (1 - power) * torch.rand(power.shape, generator=generator).double() ** 4).clamp(
            max=1
        )
        violation = problem.evaluate(served, PowerAction(power_w=other)).violation["min_rate"].amax(-1)
        assert (other[violation <= 0] >= power[violation <= 0] - 1e-12).all()
    less = PowerAction(power_w=power * (1 - 1e-6))
    assert (problem.evaluate(served, less).violation["min_rate"] > 0).any(-1).all()


def test_infeasible_instances_get_the_fixed_point():
    """Iterated from zero and from the limit, `p = min(F p + u, 1)` comes to the action."""
    instance = partly_feasible(200, size=6, seed=3)
    solution = MinimumPower(1.0).solve(instance)
    assert 0.2 < solution.converged.double().mean() < 0.95
    matrix, demand = coupling(instance, 1.0)
    for power in (torch.zeros_like(demand), torch.ones_like(demand)):
        for _ in range(20000):
            power = ((matrix @ power[..., None])[..., 0] + demand).clamp(max=1)
        torch.testing.assert_close(solution.action.power_w, power, rtol=1e-4, atol=1e-6)
    score = QosSumRate(1.0).evaluate(instance, solution.action)
    missing = score.violation["min_rate"]
    assert (missing.amax(-1) > 0)[~solution.converged].all()
    assert (missing <= 1e-9)[solution.converged].all()
    below = solution.action.power_w < 1
    assert (missing[below].abs() < 1e-6).all()
    assert score.violation["power"].max() <= 0


def test_spectral_radius_tells_what_no_power_can_reach():
    instance = partly_feasible(300, seed=5)
    radius = spectral_radius(instance, 1.0)
    matrix = coupling(instance, 1.0)[0].numpy()
    np.testing.assert_allclose(radius, [np.abs(np.linalg.eigvals(m)).max() for m in matrix], rtol=1e-9)
    unlimited = is_feasible(replace(instance, max_power_w=1e12 * instance.max_power_w), 1.0)
    clear = (radius - 1).abs() > 1e-6
    assert torch.equal(unlimited[clear], (radius < 1)[clear])
    assert not is_feasible(instance, 1.0)[radius >= 1].any()
    assert (radius >= 1).sum() > 10


def test_two_links_in_closed_form():
    gain = torch.tensor([[1.0, 0.2], [0.4, 2.0]], dtype=torch.float64)
    instance = link_instance(gain, noise_power_w=0.1, max_power_w=1.0)
    g = math.expm1(0.5 * math.log(2))
    first = (g * 0.1 + g * 0.2 * g * 0.05) / (1 - g * 0.2 * g * 0.2)
    power = MinimumPower(0.5)(instance).power_w
    assert power[0].item() == pytest.approx(first, rel=1e-12)
    assert power[1].item() == pytest.approx(g * 0.05 + g * 0.2 * first, rel=1e-12)


def test_gradient():
    instance = to(partly_feasible(3, size=3), dtype=torch.float64)

    def power(gain):
        return MinimumPower(0.4)(replace(instance, gain=gain)).power_w

    torch.autograd.gradcheck(power, instance.gain.clone().requires_grad_())


def test_links_that_ask_for_nothing_get_nothing():
    instance = partly_feasible(5)
    solution = MinimumPower(torch.tensor([0.5, 0.0, 0.0, 0.5])).solve(instance)
    assert not solution.action.power_w[:, 1:3].any()
    assert solution.action.power_w[:, [0, 3]].all()


def test_powers_of_unlike_sizes_keep_their_digits():
    """Elimination with pivots gave a link without a minimum a power of -1e-17 of the others': infeasible, it said.

    `p_0 = 1e-20`; `p_1 = 1e-9 + 70 p_0`, `p_2 = 50 p_1 + 1e-9 = 51e-9`, and nothing is asked for the fourth.
    """
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    matrix[1, 0], matrix[2, 1], matrix[2, 3] = 70.0, 50.0, 90.0
    demand = torch.tensor([1e-20, 1e-9, 1e-9, 0.0], dtype=torch.float64)
    power, met = solve_coupling(matrix, demand)
    assert met
    assert power[3] == 0
    torch.testing.assert_close(
        power[:3] / torch.tensor([1e-20, 1e-9, 51e-9]).double(), torch.ones(3).double()
    )
    assert not solve_coupling(matrix, 1e8 * demand)[1]  # over its limit
    matrix[0, 1] = 0.1  # 0.1 times 70: no powers suffice
    assert not solve_coupling(matrix, demand)[1]


def test_region_of_a_link_without_a_minimum_beside_strong_ones():
    """Found by `tests/falsify`: shares of 6e-11 to 3e-10 reach these minima, and 0 is enough for the second link."""
    gain = torch.tensor(
        [
            [1.2804e-05, 3.0931e-07, 3.1506e-05, 1.1375e-05],
            [2.7217e-09, 6.4824e-07, 2.1418e-03, 8.7087e-07],
            [0.0, 3.5242e-07, 4.6618e-02, 6.1453e-04],
            [1.1201e-05, 4.8082e-02, 2e-12, 1.5917e-02],
        ]
    )
    limit = torch.tensor([2094.9255, 618.0984, 562.1929, 771.8036])
    instance = link_instance(gain, noise_power_w=1.3642e-10, max_power_w=limit)
    rate = torch.tensor([0.0163, 0.0, 2.7088, 4.9761])
    region = minimum_region(instance, rate)
    assert region.feasible
    assert is_feasible(instance, rate)
    assert region.least[1] == 0
    assert (region.least < 1e-9).all()


def test_demands_that_nothing_can_meet_stay_finite():
    instance = partly_feasible(5)
    for form in (instance, traced(instance)):
        solution = MinimumPower(1000.0).solve(form)
        assert not solution.converged.any()
        assert (solution.action.power_w == 1).all()
    singular = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    power, feasible, _ = least_power(singular, torch.tensor([0.1, 0.1], dtype=torch.float64))
    assert not feasible
    torch.testing.assert_close(power, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (-1.0, "min_rate_bps_hz: must be finite and not negative, received -1.0"),
        (math.nan, "min_rate_bps_hz: must be finite and not negative, received nan"),
        (torch.tensor([1.0, math.inf]), "min_rate_bps_hz: must be finite and not negative, received inf"),
    ],
)
@pytest.mark.parametrize("kind", [MinimumPower, QosSumRate])
def test_bad_rates_are_one_clear_line(kind, rate, message):
    with pytest.raises(ValueError, match=message):
        kind(rate)


def test_rates_of_other_links_are_one_clear_line():
    with pytest.raises(
        ValueError, match=r"min_rate_bps_hz: must broadcast to \[2, 4\], received shape \[3\]"
    ):
        MinimumPower(torch.ones(3))(partly_feasible(2))
