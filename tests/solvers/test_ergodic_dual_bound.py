"""The ergodic dual bound against policies, and against time sharing over grids of powers as a convex program."""

from typing import Any

import cvxpy
import numpy as np
import pytest
import torch
from tests.testing.links import ERGODIC, sample_ergodic

from torchrrm.problems import ErgodicInstance, ErgodicPower, ergodic_instance
from torchrrm.records import index, replace
from torchrrm.solvers import WMMSE, ErgodicDualBound, MaxPower
from torchrrm.testing import check_solver

PROBLEM = ErgodicPower()


def faded(batch: int, slots: int, links: int, seed: int, *, min_rate_bps_hz: float = 1.0) -> ErgodicInstance:
    """Links of unequal strength, Rayleigh faded."""
    generator = torch.Generator().manual_seed(seed)
    scale = 10 ** torch.randn(batch, 1, links, links, generator=generator, dtype=torch.float64)
    fading = torch.empty(batch, slots, links, links, dtype=torch.float64).exponential_(generator=generator)
    gain = scale * fading * (1 + 30 * torch.eye(links, dtype=torch.float64))
    return ergodic_instance(gain, noise_power_w=1.0, max_power_w=1.0, min_rate_bps_hz=min_rate_bps_hz)


def grid_optimum(gain: np.ndarray, minimum: np.ndarray, slack_penalty: float | None) -> float:
    """Optimum over `[slot 2 2]` of sharing each slot's time among powers on a grid."""
    axis = np.concatenate(([0.0], np.logspace(-3, 0, 12)))
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    signal = grid * np.diagonal(gain, axis1=-2, axis2=-1)[:, None]  # [slot point link]
    heard = 1 + np.einsum("tkj,mj->tmk", gain, grid) - signal
    rate = np.log2(1 + signal / heard)
    share = cvxpy.Variable((len(gain), len(grid)), nonneg=True)
    mean: list[Any] = [cvxpy.sum(cvxpy.multiply(share, rate[..., k])) / len(gain) for k in range(2)]
    limits: list[Any] = [cvxpy.sum(share, axis=1) == 1]  # pyright: ignore[reportArgumentType]
    worth = mean[0] + mean[1]
    if slack_penalty is None:
        limits += [mean[k] >= minimum[k] for k in range(2)]
    else:
        slack = cvxpy.Variable(2, nonneg=True)
        limits += [mean[k] >= minimum[k] - slack[k] for k in range(2)]
        worth = worth - slack_penalty / 2 * cvxpy.sum_squares(slack)
    value: Any = cvxpy.Problem(cvxpy.Maximize(worth), limits).solve(solver="CLARABEL")
    return float(value)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_time_sharing_over_a_grid(seed: int, hard: bool) -> None:
    instance = faded(2, 12, 2, seed, min_rate_bps_hz=2.0 if not hard else 0.8)
    bound = ErgodicDualBound(tolerance=1e-3, hard=hard).solve(instance)
    assert bound.upper_bound is not None
    for i in range(2):
        minimum = instance.min_rate_bps_hz[i].numpy()
        wanted = grid_optimum(instance.gain[i].numpy(), minimum, None if hard else PROBLEM.slack_penalty)
        assert np.isfinite(wanted)
        assert wanted <= float(bound.upper_bound[i]) * (1 + 1e-6)
        assert float(bound.upper_bound[i]) <= wanted * 1.02


@pytest.mark.parametrize("hard", [False, True])
def test_above_every_policy_on_the_same_slots(hard: bool) -> None:
    instance = faded(3, 20, 4, 7, min_rate_bps_hz=0.5)
    solution = ErgodicDualBound(hard=hard).solve(instance)
    assert solution.upper_bound is not None
    slots = instance.slots()
    weighted = replace(slots, weight=(1 + solution.multiplier).unsqueeze(-2).expand(slots.weight.shape))
    for powers in (MaxPower()(slots), WMMSE()(slots), WMMSE(starts=10)(slots), WMMSE(starts=10)(weighted)):
        action = PROBLEM.least_slack(instance, powers.power_w)
        judged = PROBLEM.evaluate(instance, action)
        kept = judged.violation["min_rate"].amax(-1) <= 0 if hard else torch.ones(3, dtype=torch.bool)
        assert bool((judged.objective <= solution.upper_bound)[kept].all())


def test_gap_closes_and_says_so() -> None:
    instance = faded(3, 40, 4, 5)
    solution = ErgodicDualBound().solve(instance)
    value = PROBLEM.evaluate(instance, solution.action).objective
    assert solution.upper_bound is not None
    assert bool(solution.converged.all())
    assert bool((value <= solution.upper_bound).all())
    assert bool((value >= 0.98 * solution.upper_bound).all())
    poor = ErgodicDualBound(steps=1).solve(instance)
    assert poor.upper_bound is not None
    assert bool((poor.upper_bound >= value).all())


def test_hard_minima_are_kept_and_bounded_lower() -> None:
    instance = faded(3, 40, 3, 8, min_rate_bps_hz=0.3)
    soft, hard = ErgodicDualBound().solve(instance), ErgodicDualBound(hard=True).solve(instance)
    assert soft.upper_bound is not None
    assert hard.upper_bound is not None
    assert bool((hard.upper_bound <= soft.upper_bound * 1.01).all())
    kept = PROBLEM.evaluate(instance, hard.action).violation["min_rate"].amax(-1)
    assert bool((kept <= 0.02).all())


@pytest.mark.parametrize("hard", [False, True])
def test_dual_is_convex_and_bounds_at_any_multipliers(hard: bool) -> None:
    instance = faded(1, 6, 3, 2, min_rate_bps_hz=0.2)
    solver = ErgodicDualBound(tolerance=1e-4, hard=hard)
    reached = PROBLEM.evaluate(instance, solver(instance)).objective
    ends = torch.tensor([[0.0, 2.0, 0.5]]), torch.tensor([[3.0, 0.0, 1.0]])
    values = [float(solver.certify(instance, (1 - t) * ends[0] + t * ends[1])[0]) for t in (0.0, 0.5, 1.0)]
    assert values[1] <= 0.5 * (values[0] + values[2]) + 2e-4 * abs(values[1])
    assert min(values) >= float(reached)
    with pytest.raises(ValueError, match=r"^multiplier: .*, received "):
        solver.certify(instance, -ends[0])


def test_interval_and_multipliers() -> None:
    instance = faded(2, 30, 3, 1)
    instance = replace(instance, active=torch.tensor([[True, True, True], [True, False, True]]))
    solution = ErgodicDualBound().solve(instance)
    assert solution.upper_bound is not None
    assert solution.interval.shape == (2, 2)
    middle = solution.interval.mean(-1)
    torch.testing.assert_close(middle, solution.upper_bound, rtol=1e-9, atol=0.0)
    spread = solution.slot_bound.std(-1) / 30**0.5
    torch.testing.assert_close(solution.interval[:, 1] - middle, 1.959964 * spread)
    assert bool((solution.multiplier >= 0).all())
    assert float(solution.multiplier[1, 1]) == 0.0


@pytest.mark.parametrize("hard", [False, True])
def test_conformance(hard: bool) -> None:
    solver = ErgodicDualBound(steps=6, starts=1, hard=hard)
    check_solver(solver, PROBLEM, sample_ergodic, expected=ERGODIC)


def test_instances_without_a_batch() -> None:
    instance = faded(2, 3, 3, 3)
    solution = ErgodicDualBound(steps=3).solve(index(instance, 0))
    assert solution.converged.shape == ()
    assert solution.interval.shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"steps": 0}, "steps"), ({"tolerance": -1.0}, "tolerance"), ({"starts": -1}, "starts")],
)
def test_arguments(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*, received "):
        ErgodicDualBound(**arguments)
