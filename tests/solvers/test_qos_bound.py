"""The optimum under minimum rates: against brute force, without minima, at the edge of what can be met."""

import math

import numpy as np
import pytest
import torch
from tests.testing.links import LINKS, sample

from torchrrm.kernels import qos_bounds, qos_ranges
from torchrrm.policies import UnrolledPower
from torchrrm.problems import LinkInstance, PowerAction, QosSumRate, link_instance
from torchrrm.problems.base import FEASIBLE_TO
from torchrrm.records import index, replace, to
from torchrrm.solvers import (
    BranchAndBound,
    GeometricProgram,
    MinimumPower,
    QosBound,
    QosWMMSE,
    RaisedPower,
)
from torchrrm.testing import check_solver

FINEST = 1e-5


def close_links(count: int, size: int, generator: torch.Generator) -> LinkInstance:
    """Links that disturb each other enough for minimum rates to bind."""
    gain = torch.empty(count, size, size, dtype=torch.float64).exponential_(generator=generator)
    own = torch.eye(size, dtype=torch.float64)
    return link_instance(gain * (0.3 + own), noise_power_w=0.05, max_power_w=1.0)


def rates(gain: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Rates in nats of powers `[point link]`, of gains over the noise."""
    signal = power * np.diag(gain)
    return np.log1p(signal / (1 + power @ gain.T - signal))


def brute_force(gain: np.ndarray, weight: np.ndarray, least: np.ndarray, rng: np.random.Generator) -> float:
    """Largest weighted sum rate of powers on grids and around their best points; `-inf` if none keeps all minima.

    At the optimum some power is at its limit, since all rates grow when all powers do.
    """
    size, best = len(weight), -math.inf
    axis = np.concatenate([[0.0], np.geomspace(1e-9, 1, 40), np.linspace(0.02, 1, 400 if size == 2 else 40)])
    for full in range(size):
        others = [k for k in range(size) if k != full]
        power = np.ones((len(axis) ** (size - 1), size))
        power[:, others] = np.stack(np.meshgrid(*[axis] * (size - 1), indexing="ij"), -1).reshape(
            -1, size - 1
        )

        def value(power: np.ndarray) -> np.ndarray:
            rate = rates(gain, power)
            return np.where((rate >= least - 1e-13).all(-1), rate @ weight, -math.inf)

        found = value(power)
        for start in np.argsort(-found)[:3]:
            point, top, width = power[start], found[start], 0.05
            for _ in range(40 if top > -math.inf else 0):
                near = np.tile(point, (100, 1))
                near[:, others] *= np.exp(width * rng.standard_normal((100, size - 1)))
                near = near.clip(0, 1)
                reached = value(near)
                width *= 1.0 if reached.max() > top else 0.7
                if reached.max() > top:
                    point, top = near[reached.argmax()], reached.max()
            best = max(best, float(top))
    return best


def adversarial(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gains over the noise, weights and minima in nats: absent gains, zeros, tiny and just reachable minima."""
    snr = 10 ** rng.uniform(-2, 6)
    gain = snr * rng.exponential(size=(size, size)) * 10 ** rng.uniform(-3, 0.7, size=(size, size))
    gain[np.diag_indices(size)] = snr * rng.exponential(size=size)
    if rng.random() < 0.3:
        gain *= (rng.random((size, size)) < 0.5) | np.eye(size, dtype=bool)
    weight, least = rng.uniform(0.1, 2, size), rng.uniform(0.01, 1, size) * rng.choice([1e-9, 0.1, 1.0])
    mode = rng.integers(5)
    if mode == 0:
        least = 0 * least
    if mode == 1:
        least *= rng.random(size) < 0.5
    if mode == 2:
        weight *= rng.random(size) < 0.5
    if mode == 3:  # at the edge
        least = rates(gain, rng.uniform(0.2, 1, (1, size)) ** 2)[0]
    return gain, weight, least


@pytest.mark.parametrize(("size", "count"), [(1, 10), (2, 60), (3, 12)])
def test_no_powers_that_keep_the_minima_are_above(size, count):
    """At tolerance 1e-5: brute force finds nothing above the bound, and the action is within the tolerance of it."""
    rng, tried = np.random.default_rng(size), 0
    for _ in range(count):
        gain, weight, least = adversarial(rng, size)
        best = brute_force(gain, weight, least, rng) / math.log(2) if size > 1 else None
        instance = link_instance(torch.from_numpy(gain), noise_power_w=1.0, max_power_w=1.0)
        instance = replace(instance, weight=torch.from_numpy(weight))
        problem = QosSumRate(torch.from_numpy(least / math.log(2)))
        solution = QosBound(problem.min_rate_bps_hz, FINEST).solve(instance)
        assert solution.upper_bound is not None
        if best is None:
            reach = math.log2(1 + gain[0, 0])
            best = weight[0] * reach if least[0] <= reach * math.log(2) else -math.inf
        if best == -math.inf:
            continue
        tried += 1
        score = problem.evaluate(instance, solution.action)
        assert solution.converged
        assert best <= float(solution.upper_bound) * (1 + 1e-12)
        assert float(solution.upper_bound) <= float(score.objective) * (1 + 1.001 * FINEST) + 1e-15
        assert max(float(v.max()) for v in score.violation.values()) <= FEASIBLE_TO
    assert tried > count / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_minima_it_is_the_optimum(generator: torch.Generator, dtype: torch.dtype) -> None:
    drawn = to(sample(4, generator=generator), dtype=dtype)
    found, free = QosBound(0.0, 1e-4).solve(drawn), BranchAndBound(1e-4).solve(drawn)
    assert found.upper_bound is not None
    torch.testing.assert_close(found.upper_bound, free.upper_bound, rtol=2e-4, atol=0.0)
    assert found.converged.all()
    assert found.action.power_w.dtype == found.upper_bound.dtype == dtype


def test_minima_cost_something(generator: torch.Generator) -> None:
    problem = QosSumRate(torch.tensor([0.6, 0.3, 0.0]))
    drawn = close_links(20, 3, generator)
    kept = index(drawn, problem.feasible(drawn))
    found, free = QosBound(problem.min_rate_bps_hz).solve(kept), BranchAndBound(1e-3).solve(kept)
    assert found.upper_bound is not None
    assert free.upper_bound is not None
    assert len(found.upper_bound) >= 4
    assert bool((found.upper_bound <= free.upper_bound * (1 + 2e-3)).all())
    assert bool((found.upper_bound < 0.9 * free.upper_bound).any())


def test_conforms() -> None:
    check_solver(QosBound(0.05), QosSumRate(0.05), sample, expected=LINKS)


def test_padding_order_and_what_cannot_be_reached(generator: torch.Generator) -> None:
    drawn = close_links(6, 3, generator)
    few = replace(drawn, active=drawn.active & torch.tensor([True, True, False]))
    part = replace(
        drawn,
        gain=drawn.gain[:, :2, :2],
        max_power_w=drawn.max_power_w[:, :2],
        weight=drawn.weight[:, :2],
        active=drawn.active[:, :2],
    )
    padded, alone = QosBound(0.4).solve(few), QosBound(0.4).solve(part)
    torch.testing.assert_close(padded.upper_bound, alone.upper_bound)
    turned = replace(drawn, gain=drawn.gain.flip(-1, -2))
    here, there = QosBound(0.3).solve(drawn), QosBound(0.3).solve(turned)
    torch.testing.assert_close(here.upper_bound, there.upper_bound)
    torch.testing.assert_close(here.action.power_w, there.action.power_w.flip(-1))
    nobody = QosBound(50.0).solve(drawn)
    assert nobody.upper_bound is not None
    assert not nobody.converged.any()
    assert bool((nobody.upper_bound == -math.inf).all())
    torch.testing.assert_close(nobody.action.power_w, MinimumPower(50.0)(drawn).power_w)


def test_a_spent_budget_leaves_a_valid_bound(generator: torch.Generator) -> None:
    drawn = close_links(8, 5, generator)
    short, full = QosBound(0.05, max_boxes=1).solve(drawn), QosBound(0.05).solve(drawn)
    assert short.upper_bound is not None
    assert full.upper_bound is not None
    assert full.converged.all()
    assert not short.converged.all()
    assert bool((short.upper_bound >= QosSumRate(0.05).evaluate(drawn, full.action).objective).all())
    assert int(short.iterations.max()) == 1


def test_slices_of_the_search_do_not_change_it(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = close_links(5, 5, generator)
    whole = QosBound(0.02, 1e-4).solve(drawn)
    monkeypatch.setattr("torchrrm.solvers.qos_bound._SinrSearch.slice_", 1)
    monkeypatch.setattr("torchrrm.solvers.qos_bound.AT_ONCE", 2)
    parts = QosBound(0.02, 1e-4).solve(drawn)
    torch.testing.assert_close(parts.action.power_w, whole.action.power_w)
    torch.testing.assert_close(parts.upper_bound, whole.upper_bound)


def test_bad_settings_are_one_line() -> None:
    with pytest.raises(ValueError, match="tolerance: must be positive"):
        QosBound(0.2, tolerance=0.0)
    with pytest.raises(ValueError, match="min_rate_bps_hz: must be"):
        QosBound(-1.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_certificate_holds_for_any_point_and_prices(seed: int) -> None:
    """The bound of points and prices at random is above the relaxation's value anywhere in the box."""
    rng, n = np.random.default_rng(seed), 3
    gain = 100 * rng.exponential(size=(n, n)) * (0.05 + np.eye(n))
    work, weight = qos_ranges.new_work(n), rng.uniform(0.1, 2, n)
    lo, hi = np.full(n, -1.0), np.log(np.diag(gain))
    first = lo.copy()
    bound, known = qos_ranges.tighten(first, lo, hi, gain, weight, n, -1.0, work)
    assert known
    inside = np.exp(rng.uniform(-6, 0, (20000, n)))
    level = np.log(np.expm1(rates(gain, inside)))
    kept = ((level >= lo) & (level <= hi)).all(-1)
    assert kept.sum() > 50
    assert not ((level >= -1.0).all(-1) & ~kept).any()  # the ranges miss nothing
    best = (np.log1p(np.exp(level[kept])) @ weight).max()
    assert best <= bound
    relaxed, _, m = qos_bounds.relax(lo, hi, bound, 0.0, 1.0, 1e-6, gain, weight, n, work)
    assert m == n
    assert best <= relaxed <= bound


ALL_MINIMA = [GeometricProgram, QosWMMSE, QosBound, RaisedPower]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cross", [0.0, 1e-12])
@pytest.mark.parametrize("over", [1.0, 1 + 5e-6])
@pytest.mark.parametrize("kind", [*ALL_MINIMA, UnrolledPower])
def test_a_minimum_without_room_holds_back_nobody_else(kind, over, cross, dtype):
    """The first minimum is just at, or by less than the tolerance beyond, what the limit allows; the second is easy."""
    gain = (torch.eye(2) + cross * (1 - torch.eye(2))).to(dtype)
    instance = link_instance(gain, noise_power_w=0.1, max_power_w=1.0)
    rate = over * torch.tensor([math.log2(11), 0.1], dtype=dtype)
    problem = QosSumRate(rate)
    assert problem.feasible(instance)
    torch.manual_seed(0)
    with torch.no_grad():
        action = (
            UnrolledPower().asking(rate).to(dtype)(instance)
            if kind is UnrolledPower
            else kind(rate)(instance)
        )
    score = problem.evaluate(instance, action)
    assert max(float(v.max()) for v in score.violation.values()) <= FEASIBLE_TO
    if kind is not UnrolledPower:
        torch.testing.assert_close(action.power_w, torch.ones(2, dtype=dtype), rtol=5e-4, atol=0.0)
        assert float(score.objective) == pytest.approx(6.9189, abs=6e-4)
    else:
        assert float(score.objective) > 3.56


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_tolerance(dtype: torch.dtype, generator: torch.Generator) -> None:
    """What does not violate is below the bound, and instances at the edge are feasible as far as actions exist."""
    drawn = to(close_links(30, 3, generator), dtype=dtype)
    full = QosSumRate().rate(drawn, drawn.max_power_w)  # no other powers reach these
    for over, feasible in ((1.0, True), (1 + 5e-6, True), (1 + 3e-5, False)):
        problem = QosSumRate(over * full)
        assert bool((problem.feasible(drawn) == feasible).all())
        bound = QosBound(problem.min_rate_bps_hz, FINEST).solve(drawn)
        assert bound.upper_bound is not None
        for kind in ALL_MINIMA:
            solution = kind(problem.min_rate_bps_hz).solve(drawn)
            score = problem.evaluate(drawn, solution.action)
            worst = torch.stack([v.amax(-1) for v in score.violation.values()]).amax(0)
            assert bool((worst <= FEASIBLE_TO).all()) == feasible
            if feasible:
                exact = problem.evaluate(
                    to(drawn, dtype=torch.float64), to(solution.action, dtype=torch.float64)
                )
                assert bool((exact.objective <= bound.upper_bound.double() * (1 + 1e-9)).all())
        most = PowerAction(power_w=(1 + FEASIBLE_TO) * drawn.max_power_w)
        if feasible and dtype == torch.float64:
            value = problem.evaluate(drawn, most)
            assert bool((value.objective <= bound.upper_bound * (1 + 1e-12)).all())


def test_raised_powers_keep_the_minima_and_reach_a_limit(generator: torch.Generator) -> None:
    drawn = close_links(40, 3, generator)
    problem, solver = QosSumRate(0.5), RaisedPower(0.5)
    found = solver.solve(drawn)
    met = problem.feasible(drawn)
    assert 0 < int(met.sum()) < 40
    assert torch.equal(found.converged, met)
    power, least = found.action.power_w, MinimumPower(0.5)(drawn).power_w
    torch.testing.assert_close(power[met].amax(-1), torch.ones_like(power[met][:, 0]))
    torch.testing.assert_close(power[~met], least[~met])
    kept = problem.evaluate(index(drawn, met), PowerAction(power_w=power[met]))
    assert float(kept.violation["min_rate"].max()) <= 1e-9
    torch.testing.assert_close(RaisedPower()(drawn).power_w, drawn.max_power_w)
    assert solver.kind == "trivial"
