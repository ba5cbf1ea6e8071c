"""Branch and bound against exhaustive search, and its certificate."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tests.testing.links import LINKS, sample

from torchrrm.problems import LinkInstance, WeightedSumRate, link_instance
from torchrrm.problems.links import relative_gain
from torchrrm.records import index, replace
from torchrrm.solvers import BranchAndBound
from torchrrm.testing import check_solver

PROBLEM = WeightedSumRate()
SPLITS = ("linear", "log", "auto")


def rayleigh(count: int, links: int, seed: int, *, snr_db: float = 15.0) -> LinkInstance:
    """Independent Rayleigh channels at unit noise and limit, weights in [0.2, 3]."""
    generator = torch.Generator().manual_seed(seed)
    gain = torch.empty(count, links, links, dtype=torch.float64).exponential_(generator=generator)
    weight = 0.2 + 2.8 * torch.rand(count, links, generator=generator, dtype=torch.float64)
    return link_instance(gain * 10 ** (snr_db / 10), noise_power_w=1.0, max_power_w=1.0, weight=weight)


def spread(count: int, links: int, seed: int) -> LinkInstance:
    """Gains over many decades, as path loss spreads them."""
    generator = torch.Generator().manual_seed(seed)
    power = torch.randn(count, links, links, generator=generator, dtype=torch.float64)
    gain = 10 ** (1.5 * power + 3 * torch.eye(links, dtype=torch.float64))
    weight = 3 * torch.rand(count, links, generator=generator, dtype=torch.float64)
    return link_instance(gain, noise_power_w=1.0, max_power_w=1.0, weight=weight)


def rates(gain: np.ndarray, weight: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Weighted sum rate of powers `[..., link]` as written in the docstring."""
    signal = np.diagonal(gain) * power
    return (weight * np.log2(1 + signal / (1 + power @ gain.T - signal))).sum(-1)


def exhaustive(gain: np.ndarray, weight: np.ndarray) -> float:
    """Largest value on a grid, linear and on a log scale, the best points polished by a quasi-Newton method."""
    axis = np.concatenate(([0.0], np.logspace(-5, 0, 26), np.linspace(0.05, 0.95, 19)))
    grid = np.stack(np.meshgrid(*[axis] * len(weight)), -1).reshape(-1, len(weight))
    value = rates(gain, weight, grid)
    best = value.max()
    for start in grid[np.argsort(value)[-8:]]:
        bounds = [(0.0, 1.0)] * len(weight)
        found = minimize(lambda p: -rates(gain, weight, p), start, bounds=bounds, method="L-BFGS-B")
        best = max(best, -found.fun)
    return best


def multi_start(gain: np.ndarray, weight: np.ndarray, starts: int) -> float:
    """The best of projected quasi-Newton runs from random points."""
    random = np.random.default_rng(0)
    bounds = [(0.0, 1.0)] * len(weight)
    runs = [
        minimize(
            lambda p: -rates(gain, weight, p),
            random.uniform(size=len(weight)) ** 3,
            bounds=bounds,
            method="L-BFGS-B",
        )
        for _ in range(starts)
    ]
    return -min(run.fun for run in runs)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("make", [rayleigh, spread])
@pytest.mark.parametrize("links", [2, 3])
def test_exhaustive_search(make: Callable[..., LinkInstance], links: int, split: Any) -> None:
    instance = make(8, links, 10 + links)
    solution = BranchAndBound(tolerance=1e-3, split=split).solve(instance)
    assert solution.upper_bound is not None
    assert bool(solution.converged.all())
    value = PROBLEM.evaluate(instance, solution.action).objective
    assert bool((solution.upper_bound <= 1.001 * value).all())
    gain = relative_gain(instance).numpy()
    for i in range(8):
        best = exhaustive(gain[i], instance.weight[i].numpy())
        assert best <= float(solution.upper_bound[i]) * (1 + 1e-9)
        assert float(value[i]) >= best * (1 - 1e-6)


@pytest.mark.parametrize("make", [rayleigh, spread])
def test_never_below_many_local_searches(make: Callable[..., LinkInstance]) -> None:
    instance = make(4, 6, 3)
    solution = BranchAndBound().solve(instance)
    assert solution.upper_bound is not None
    value = PROBLEM.evaluate(instance, solution.action).objective
    assert bool((solution.upper_bound <= 1.01 * value).all())
    gain = relative_gain(instance).numpy()
    for i in range(4):
        best = multi_start(gain[i], instance.weight[i].numpy(), 20)
        assert best <= float(solution.upper_bound[i])
        assert best <= float(value[i]) * 1.01


@pytest.mark.parametrize("split", SPLITS)
def test_conformance(split: Any) -> None:
    check_solver(BranchAndBound(split=split, starts=2), PROBLEM, sample, expected=LINKS)


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 0.001])
def test_gap_within_tolerance(tolerance: float) -> None:
    instance = rayleigh(6, 5, 7)
    solution = BranchAndBound(tolerance=tolerance).solve(instance)
    assert solution.upper_bound is not None
    value = PROBLEM.evaluate(instance, solution.action).objective
    assert bool(solution.converged.all())
    assert bool((solution.upper_bound >= value).all())
    assert bool((solution.upper_bound <= (1 + tolerance) * value).all())


@pytest.mark.parametrize("limit", [{"time_limit_s": 0.0}, {"max_boxes": 1}, {"max_boxes": 15}])
def test_stopped_early_is_still_certified(limit: dict[str, Any]) -> None:
    instance = rayleigh(6, 9, 8)
    loose, tight = BranchAndBound(1e-3, **limit).solve(instance), BranchAndBound(1e-3).solve(instance)
    assert loose.upper_bound is not None
    assert tight.upper_bound is not None
    assert not bool(loose.converged.any())
    assert bool(tight.converged.all())
    assert bool((loose.upper_bound < torch.inf).all())
    assert bool((loose.upper_bound >= PROBLEM.evaluate(instance, tight.action).objective).all())
    if "max_boxes" in limit:
        assert int(loose.iterations.max()) <= limit["max_boxes"] + 1


def test_slices_of_the_search_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = spread(5, 6, 2)
    wanted = BranchAndBound(tolerance=1e-3).solve(instance)
    monkeypatch.setattr("torchrrm.solvers.branch_and_bound.Search.slice_", 1)
    monkeypatch.setattr("torchrrm.solvers.branch_and_bound._ROOM", 4)
    monkeypatch.setattr("torchrrm.solvers.branch_and_bound.AT_ONCE", 2)
    found = BranchAndBound(tolerance=1e-3).solve(instance)
    torch.testing.assert_close(found.action.power_w, wanted.action.power_w)
    torch.testing.assert_close(found.upper_bound, wanted.upper_bound)


def test_asymmetric_gain() -> None:
    """Transmitter 0 drowns receiver 1 and not the other way round: link 0 pays for it."""
    gain = torch.tensor([[[10.0, 0.0], [1e4, 10.0]]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 1.2]], dtype=torch.float64)
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=1.0, weight=weight)
    assert BranchAndBound()(instance).power_w[0, 1] == 1.0
    assert BranchAndBound()(instance).power_w[0, 0] < 0.1


def test_links_of_no_weight_are_silent() -> None:
    instance = rayleigh(4, 4, 5)
    weight = instance.weight.clone()
    weight[:, 1] = 0.0
    solution = BranchAndBound().solve(replace(instance, weight=weight))
    assert bool((solution.action.power_w[:, 1] == 0).all())
    nothing = BranchAndBound().solve(replace(instance, weight=0 * weight))
    assert bool(nothing.converged.all())
    assert bool((nothing.upper_bound == 0).all())  # pyright: ignore[reportOptionalOperand]


def test_instances_without_a_batch_and_without_any() -> None:
    instance = rayleigh(2, 3, 6)
    single = BranchAndBound().solve(index(instance, 0))
    assert single.converged.shape == ()
    empty = BranchAndBound().solve(index(instance, slice(0, 0)))
    assert empty.action.power_w.shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"tolerance": 0.0}, "tolerance"),
        ({"time_limit_s": -1.0}, "time_limit_s"),
        ({"max_boxes": 0}, "max_boxes"),
        ({"split": "cubic"}, "split"),
        ({"starts": -1}, "starts"),
    ],
)
def test_arguments(arguments: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*, received "):
        BranchAndBound(**arguments)  # pyright: ignore[reportArgumentType]
