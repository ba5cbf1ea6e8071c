"""Bounds of boxes against random points of them and against the bounds that they replace."""

import numpy as np
import pytest

from torchrrm.kernels.link_ascent import ascend
from torchrrm.kernels.link_bounds import bound_box, decide_by_slope, new_work, weighted_rate


def rates(gain: np.ndarray, weight: np.ndarray, power: np.ndarray) -> np.ndarray:
    signal = np.diagonal(gain) * power
    return (weight * np.log(1 + signal / (1 + power @ gain.T - signal))).sum(-1)


def case(seed: int, links: int) -> tuple[np.ndarray, ...]:
    """Gain over decades, weights, and a box, some of its sides of no length."""
    random = np.random.default_rng(seed)
    gain = 10 ** random.uniform(-2, 2 + 2 * (seed % 2), (links, links))
    ends = np.sort(random.uniform(size=(2, links)) ** random.choice([1, 6]), 0)
    ends[0, random.uniform(size=links) < 0.3] = 0.0
    ends[1, random.uniform(size=links) < 0.3] = 1.0
    fixed = random.uniform(size=links) < 0.15
    ends[0, fixed] = ends[1, fixed]
    return gain, random.uniform(0, 3, links), ends[0], ends[1]


def points(low: np.ndarray, high: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Uniform in the box, half of the coordinates on its sides."""
    random = np.random.default_rng(seed)
    part = random.uniform(size=(count, len(low)))
    part = np.where(random.uniform(size=part.shape) < 0.5, part.round(), part)
    return low + part * (high - low)


@pytest.mark.parametrize("seed", range(40))
def test_bound_holds_all_over_the_box(seed: int) -> None:
    links = 1 + seed % 7
    gain, weight, low, high = case(seed, links)
    start, wide = 0.5 * np.ones(links), (low.copy(), high.copy())
    bound = bound_box(low, high, start, gain, weight, links, 0.0, new_work(links))
    inside = points(*wide, 4000, seed)
    assert rates(gain, weight, inside).max() <= bound * (1 + 1e-12) + 1e-12
    signal = np.diagonal(gain)
    least = 1 + gain @ wide[0] - signal * wide[0]
    mixed_monotonic = (weight * np.log(1 + signal * wide[1] / least)).sum()
    assert bound <= mixed_monotonic * (1 + 1e-6) + 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_bound_is_at_most_that_of_differences_of_concave_functions(seed: int) -> None:
    """The largest value of that surrogate on random points cannot be below ours by more than their coarseness."""
    gain, weight, low, high = case(seed, 2)
    wide = low.copy(), high.copy()
    bound = bound_box(low, high, 0.5 * np.ones(2), gain, weight, 2, 0.0, new_work(2))
    axis = np.linspace(0, 1, 201)
    grid = wide[0] + np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) * (wide[1] - wide[0])
    signal = np.diagonal(gain) * grid
    heard = 1 + grid @ gain.T - signal
    least, most = heard.min(0), heard.max(0)
    share = (heard - least) / np.maximum(most - least, 1e-300)
    chord = np.log(least) + share * (np.log(most) - np.log(least))
    surrogate = (weight * (np.log(signal + heard) - chord)).sum(-1)
    assert bound <= surrogate.max() * (1 + 0.02) + 1e-3


@pytest.mark.parametrize("seed", range(20))
def test_shrunk_boxes_keep_what_is_above_the_threshold(seed: int) -> None:
    gain, weight, low, high = case(seed, 3)
    inside = points(low, high, 20000, seed)
    value = rates(gain, weight, inside)
    threshold = float(np.quantile(value, 0.95))
    bound_box(low, high, 0.5 * np.ones(3), gain, weight, 3, threshold, new_work(3))
    kept = ((inside >= low - 1e-12) & (inside <= high + 1e-12)).all(-1)
    assert value[~kept].max(initial=-np.inf) <= threshold * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_slopes_keep_the_maximum(seed: int) -> None:
    links = 3
    gain, weight, _, _ = case(seed, links)
    best = np.ones(links)
    for corner in np.ndindex(2, 2, 2):
        power = np.array(corner, dtype=float)
        ascend(power, gain, weight, links, 500, 1e-15, True, np.empty(links))
        if rates(gain, weight, power) > rates(gain, weight, best):
            best = power
    random = np.random.default_rng(seed)
    for _ in range(50):
        low = best * random.uniform(size=links) ** random.choice([0.1, 1, 3])
        high = best + (1 - best) * random.uniform(size=links) ** random.choice([1, 3])
        ends = low.copy(), high.copy()
        assert decide_by_slope(low, high, gain, weight, links, new_work(links)[0]), ends
        assert (low <= best + 1e-6).all()
        assert (high >= best - 1e-6).all()


@pytest.mark.parametrize("seed", range(10))
def test_ascent_never_falls_and_reports_its_value(seed: int) -> None:
    gain, weight, low, _ = case(seed, 5)
    power, last = np.clip(low, 0.1, 1), 0.0
    for jumps in (False, True):
        for _ in range(4):
            value = ascend(power, gain, weight, 5, 1, 0.0, jumps, np.empty(5))
            assert value >= last - 1e-12
            assert value == pytest.approx(rates(gain, weight, power), rel=1e-9)
            assert weighted_rate(power, gain, weight, 5) == pytest.approx(value, rel=1e-9)
            last = value
