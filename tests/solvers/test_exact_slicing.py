"""The exact solver against independent oracles, and what it must hold for any slice."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from tests.kernels import cases
from tests.solvers import oracles
from tests.testing.forms import traced
from tests.testing.slices import batch, objective, one_slice

from torchrrm.kernels import slicing as kernels
from torchrrm.kernels.link_rates import curves
from torchrrm.problems import KINDS, QoS, SliceInstance
from torchrrm.records import index, map_tensors, pad, replace, to
from torchrrm.solvers import ExactSlicing, GreedyResourceBlocks, OneWinner

NAMES = list(KINDS)
CONCAVE = [name for name in NAMES if name != "secrecy-short"]


@pytest.mark.parametrize("name", NAMES)
def test_against_the_oracle(name):
    """200 slices a kind: within 1e-6 of an independent bound, 1e-4 for short-block secrecy."""
    problem, law = KINDS[name], KINDS[name].law
    rng = np.random.default_rng(7)
    solved = 0
    for _ in range(200):
        case = cases.usual(rng, int(rng.integers(1, 7)), "secrecy" in name)
        width, bound = kernels.solve(*case, law)
        outcome = oracles.solve(name, case, entries=500 if problem.qos is QoS.EFFECTIVE_CAPACITY else 2000)
        assert ((width > 0) == outcome.served).all()
        if not outcome.served.any():
            assert bound == 0.0
            continue
        solved += 1
        rates = [oracles.curve(name, case.cn0[i], case.eavesdropper[i]) for i in np.flatnonzero(width)]
        value = sum(rate(width[i : i + 1])[0] for rate, i in zip(rates, np.flatnonzero(width), strict=True))
        assert width.sum() <= case.limit * (1 + 1e-12)
        assert (width >= np.where(outcome.served, outcome.least, 0.0) * (1 - 1e-9)).all()
        assert value <= outcome.bound * (1 + 1e-8)  # a table's best entry is a little below the best
        assert bound >= outcome.value * (1 - 1e-9)
        assert value >= outcome.value * (1 - 1e-6)
        if name != "secrecy-short":
            assert value >= outcome.bound * (1 - 1e-6)
        elif value < outcome.bound * (1 - 1e-4):  # the dual has a gap: compare with allocations on a grid
            grid = oracles.on_a_grid(rates, outcome.least[outcome.served], case.limit)
            assert value >= grid * (1 - 1e-5)
            assert bound <= value * (1 + 2e-5)
    assert solved > 150


@pytest.mark.parametrize("name", NAMES)
def test_no_feasible_allocation_is_above_the_bound(name):
    problem, record = KINDS[name], batch(name, count=60)
    solution = ExactSlicing(problem).solve(record)
    assert solution.upper_bound is not None
    best = objective(problem, record, solution.action)
    schedule = problem.schedule(record)
    generator = torch.Generator().manual_seed(0)
    for sharpness in (0.1, 1.0, 5.0, 30.0):
        share = (
            torch.softmax(
                sharpness * torch.randn(record.cn0_hz.shape, generator=generator, dtype=torch.float64), -1
            )
            * schedule.active
        )
        share = share / share.sum(-1, keepdim=True).clamp(min=1e-30)
        width = schedule.minimum_bandwidth_hz + share * schedule.surplus_hz[..., None]
        value = objective(problem, record, dataclasses.replace(solution.action, bandwidth_hz=width))
        assert (value <= solution.upper_bound * (1 + 1e-12)).all()
        assert (value <= best * (1 + 1e-5)).all()
    assert (solution.upper_bound <= best * (1 + 2e-5)).all()
    assert (solution.upper_bound >= best * (1 - 1e-12)).all()


@pytest.mark.parametrize("name", NAMES)
def test_brute_force_of_three_users(name):
    problem, law = KINDS[name], KINDS[name].law
    rng = np.random.default_rng(3)
    steps = np.linspace(0.0, 1.0, 101)
    shares = np.array([(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1 + 1e-12])
    for _ in range(15):
        case = cases.usual(rng, 3, "secrecy" in name)
        width, bound = kernels.solve(*case, law)
        schedule = problem.schedule(one_slice(case))
        least, served = schedule.minimum_bandwidth_hz.numpy(), schedule.active.numpy()
        if not served.any():
            continue
        tried = least + shares[(shares[:, ~served] == 0).all(1)] * schedule.surplus_hz.item()
        total = np.zeros(len(tried))
        for i in np.flatnonzero(served):
            many = np.ones(len(tried))
            total += curves(tried[:, i].copy(), case.cn0[i] * many, case.eavesdropper[i] * many, law)[0]
        value = curves(width, case.cn0, case.eavesdropper, law)[0].sum()
        assert total.max() <= min(bound * (1 + 1e-12), value * (1 + 1e-5))


@pytest.mark.parametrize("name", CONCAVE)
def test_a_general_optimiser_finds_nothing_better(name):
    problem, law = KINDS[name], KINDS[name].law
    rng = np.random.default_rng(11)
    for _ in range(8):
        case = cases.usual(rng, 3, "secrecy" in name)
        schedule = problem.schedule(one_slice(case))
        served, surplus = schedule.active.numpy(), schedule.surplus_hz.item()
        if served.sum() < 2:
            continue
        cn0, eavesdropper, least = (
            case.cn0[served],
            case.eavesdropper[served],
            schedule.minimum_bandwidth_hz.numpy()[served],
        )
        value = curves(kernels.solve(*case, law)[0], case.cn0, case.eavesdropper, law)[0].sum()

        def lost(share, cn0=cn0, eavesdropper=eavesdropper, least=least, surplus=surplus, value=value):
            return -curves(least + share * surplus, cn0, eavesdropper, law)[0].sum() / value

        start = np.full(least.size, 1 / least.size)
        found = optimize.minimize(
            lost,
            start,
            method="SLSQP",
            bounds=[(0, 1)] * least.size,
            constraints={"type": "ineq", "fun": lambda share: 1 - share.sum()},
            options={"ftol": 1e-12},
        )
        feasible = np.clip(found.x, 0, 1) / max(np.clip(found.x, 0, 1).sum(), 1.0)
        assert -lost(feasible) <= 1 + 1e-7


@pytest.mark.parametrize("name", NAMES)
def test_never_below_greedy(name):
    problem, record = KINDS[name], batch(name, count=60, seed=5)
    exact = objective(problem, record, ExactSlicing(problem)(record))
    greedy = objective(problem, record, GreedyResourceBlocks(problem)(record))
    assert (exact >= greedy * (1 - 1e-12)).all()


@pytest.mark.parametrize("name", CONCAVE)
def test_karush_kuhn_tucker(name):
    """One price: slopes of those inside equal it, of those at their minimum are at most it; the slice is spent.

    Not for short-block secrecy, where branch and bound stops at 1e-5 without a last local step.
    """
    problem, record = KINDS[name], batch(name, count=40, seed=6)
    width = ExactSlicing(problem)(record).bandwidth_hz
    schedule = problem.schedule(record)
    some = schedule.active.any(-1)
    slope = problem.slope(schedule, width.clamp(min=1.0))
    free = schedule.active & (width > schedule.minimum_bandwidth_hz * (1 + 1e-6))
    price = torch.where(free, slope, -torch.inf).amax(-1, keepdim=True)
    lowest = torch.where(free, slope, torch.inf).amin(-1, keepdim=True)
    assert ((price - lowest)[some] <= 1e-6 * price[some].abs()).all()
    held = schedule.active & ~free & (problem.curvature(schedule, width.clamp(min=1.0)) <= 0)
    assert ((slope - price)[held] <= 1e-6 * price.expand_as(slope)[held].abs()).all()
    if not problem.finite_blocklength:
        assert ((width.sum(-1) / record.bandwidth_hz - 1).abs()[some] <= 1e-9).all()
    assert (width[~some] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_torch_form_is_the_compiled_one(name):
    count = 6 if KINDS[name].qos is QoS.EFFECTIVE_CAPACITY else 60
    problem, record = KINDS[name], batch(name, count=count, users=5, seed=8)
    solver = ExactSlicing(problem)
    compiled, tensors = solver.solve(record), solver.solve(traced(record))
    assert tensors.converged.all()
    one, other = objective(problem, record, compiled.action), objective(problem, record, tensors.action)
    assert compiled.upper_bound is not None
    assert tensors.upper_bound is not None
    assert (tensors.upper_bound >= one * (1 - 1e-12)).all()
    # Where a demand jumps, only the compiled form branches; the bound of the torch form tells.
    jumps = tensors.upper_bound > other * (1 + 1e-5)
    assert not jumps.any() or name == "secrecy-short"
    assert jumps.sum() <= count // 10
    assert torch.allclose(one[~jumps], other[~jumps], rtol=1e-5)
    if name != "secrecy-short":
        torch.testing.assert_close(compiled.upper_bound, tensors.upper_bound, rtol=1e-8, atol=0.0)
    assert ((compiled.action.bandwidth_hz > 0) == (tensors.action.bandwidth_hz > 0)).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_the_optimum(name):
    """Of the sum rate at the optimum by channels, minimum rates and the slice's bandwidth, against differences."""
    problem = KINDS[name]
    solver = ExactSlicing(problem)
    log_cn0 = torch.tensor([7.6, 8.5, 9.3], dtype=torch.float64)
    base = SliceInstance(
        cn0_hz=10**log_cn0,
        eavesdropper_cn0_hz=10 ** (log_cn0 - 1.5),
        min_rate_bps=torch.tensor([1e6, 2e6, 5e5], dtype=torch.float64),
        bandwidth_hz=torch.tensor(2e7, dtype=torch.float64),
        active=torch.ones(3, dtype=torch.bool),
    )
    factors = torch.ones(7, dtype=torch.float64)

    def scaled(factor):
        return replace(
            base,
            cn0_hz=base.cn0_hz * factor[:3],
            min_rate_bps=base.min_rate_bps * factor[3:6],
            bandwidth_hz=base.bandwidth_hz * factor[6],
        )

    leaf = factors.clone().requires_grad_()
    record = scaled(leaf)
    total = problem.evaluate(record, solver(record)).objective
    (gradient,) = torch.autograd.grad(total, leaf)
    for i in range(7):
        step = torch.zeros(7, dtype=torch.float64)
        step[i] = 1e-4
        ends = [objective(problem, scaled(factors + s), solver(scaled(factors + s))) for s in (step, -step)]
        expected = ((ends[0] - ends[1]) / 2e-4).item()
        assert gradient[i].item() == pytest.approx(expected, rel=1e-4, abs=1e-6 * total.item())


@pytest.mark.parametrize("name", NAMES)
def test_equivariance_padding_and_batch_shapes(name):
    problem, record = KINDS[name], batch(name, count=12, users=6, seed=9)
    solver = ExactSlicing(problem)
    width = solver(record).bandwidth_hz
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    turned = map_tensors(lambda x: x[..., order] if x.ndim == 2 else x, record)
    scale = record.bandwidth_hz[:, None]
    assert ((solver(turned).bandwidth_hz - width[:, order]).abs() <= 1e-9 * scale).all()
    padded = solver(pad(record, user=11)).bandwidth_hz
    assert ((padded[:, :6] - width).abs() <= 1e-9 * scale).all()
    assert not padded[:, 6:].any()
    grid = solver.solve(map_tensors(lambda x: x.reshape(3, 4, *x.shape[1:]), record))
    assert torch.equal(grid.action.bandwidth_hz.reshape(12, 6), width)
    assert grid.converged.shape == grid.iterations.shape == (3, 4)
    single = solver.solve(index(record, 5))
    assert torch.equal(single.action.bandwidth_hz, width[5])
    assert single.upper_bound is not None
    assert single.upper_bound.shape == ()


@pytest.mark.parametrize("name", ["data-rate", "secrecy", "effective-capacity"])
@given(factor=st.floats(1e-4, 1e4))
def test_units_do_not_matter_for_long_blocks(name, factor):
    problem = KINDS[name]
    if problem.qos is QoS.EFFECTIVE_CAPACITY:
        scaled = dataclasses.replace(problem, qos_exponent_per_bit=problem.qos_exponent_per_bit / factor)
    else:
        scaled = problem
    record = batch(name, count=3, seed=10)
    other = map_tensors(lambda x: x * factor if x.is_floating_point() else x, record)
    width, moved = ExactSlicing(problem)(record).bandwidth_hz, ExactSlicing(scaled)(other).bandwidth_hz
    assert ((moved / factor - width).abs() <= 1e-7 * record.bandwidth_hz[:, None]).all()


@pytest.mark.parametrize("form", ["compiled", "torch"])
@pytest.mark.parametrize("name", NAMES)
def test_nobody_schedulable(name, form):
    record = batch(name, count=3, users=4)
    record = replace(record, min_rate_bps=torch.full_like(record.min_rate_bps, 1e13))
    solution = ExactSlicing(KINDS[name]).solve(traced(record) if form == "torch" else record)
    assert not solution.action.bandwidth_hz.any()
    assert solution.upper_bound is not None
    assert not solution.upper_bound.any()


@pytest.mark.parametrize("name", NAMES)
def test_extreme_numbers(name):
    """Finite, feasible and certified over 180 dB of SNR, 1 bit/s to 1 Gbit/s, 1 kHz to 1 GHz.

    Some 100 kHz for dozens of short-block users may exhaust the branches; then a gap of up to 1e-3 is let pass.
    """
    law = KINDS[name].law
    rng = np.random.default_rng(0)
    loose = 0
    count = 60 if KINDS[name].qos is QoS.EFFECTIVE_CAPACITY else 200
    for _ in range(count):
        case = cases.extreme(rng, int(rng.choice([1, 2, 5, 20, 60])), "secrecy" in name)
        width, bound = kernels.solve(*case, law)
        assert np.isfinite(width).all()
        assert np.isfinite(bound)
        assert (width >= 0).all()
        assert width.sum() <= case.limit * (1 + 1e-9)
        served = width > 0
        rate = curves(width, case.cn0, case.eavesdropper, law)[0]
        assert (rate[served] >= case.min_rate[served] * (1 - 1e-8)).all()
        value = rate[served].sum()
        assert value <= bound * (1 + 1e-12)
        assert value >= bound * (1 - 1e-3)
        loose += value < bound * (1 - 2e-5)
    assert loose <= count // 50


@pytest.mark.parametrize("form", ["compiled", "torch"])
def test_curves_straight_to_rounding(form):
    """At 110 dB of SNR a secrecy rate has one slope; its user takes what others leave at that price."""
    case = cases.Slice(
        np.array([7.7e6, 6.8e17, 1.4e3]),
        np.array([1.8e4, 5.1e16, 9e-4]),
        np.array([2.4e5, 1.7e5, 1.3]),
        6e6,
        np.ones(3, np.bool_),
    )
    problem, record = KINDS["secrecy"], one_slice(case)
    solution = ExactSlicing(problem).solve(traced(record) if form == "torch" else record)
    assert solution.upper_bound is not None
    assert objective(problem, record, solution.action) >= solution.upper_bound * (1 - 1e-6)


def test_newton_steps_do_not_go_to_and_fro():
    """Log-scale steps of the same size up and down would leave this demand where it starts."""
    cn0 = np.array([2.4e8, 3.9e13, 1.4e14, 1.7e6, 1.9e19])
    rate = np.array([30.0, 9.7e3, 7.3e3, 5e2, 7.9e4])
    case = cases.Slice(cn0, np.zeros(5), rate, 2490811.97637690, np.ones(5, np.bool_))
    problem, record = KINDS["effective-capacity"], one_slice(case)
    for one in (record, traced(record)):
        solution = ExactSlicing(problem).solve(one)
        assert solution.upper_bound is not None
        assert objective(problem, record, solution.action) >= solution.upper_bound * (1 - 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_float32_gives_what_float64_gives(name):
    problem, record = KINDS[name], to(batch(name, count=20, seed=12), dtype=torch.float32)
    action = ExactSlicing(problem)(record)
    assert action.bandwidth_hz.dtype == torch.float32
    exact = ExactSlicing(problem).solve(to(record, dtype=torch.float64))
    assert exact.upper_bound is not None
    wide = dataclasses.replace(action, bandwidth_hz=action.bandwidth_hz.double())
    value = objective(problem, to(record, dtype=torch.float64), wide)
    assert (value >= exact.upper_bound * (1 - 3e-5)).all()


@pytest.mark.parametrize("form", [lambda record: record, traced])
@pytest.mark.parametrize("name", ["data-rate", "secrecy"])
@pytest.mark.parametrize(
    ("cn0", "least", "width"),
    [
        (
            [10.865064377717506, 44.94765171259064, 1280.428644065281, 663568094196.0267],
            [15.674962278665472, 0.0, 0.0, 0.0],
            6969607.716980261,
        ),
        (
            [6.365771772166911, 47941929160.140594, 16.663610374013082, 62.6672879269611],
            [9.183860157887091, 0.3289995025171108, 0.0, 0.0],
            4054676.3039152706,
        ),
    ],
)
def test_minima_near_the_most_that_any_bandwidth_carries(cn0, least, width, name, form):
    """The bandwidth that such a minimum needs has few digits, and a strong user makes them count.

    `OneWinner` keeps the minimum with 1e-16 to spare, and had 1.6e-5 more than the bound.
    """
    record = one_slice((cn0, [0.0] * 4, least, width, [True] * 4))
    problem = KINDS[name]
    for rule in (OneWinner(problem), GreedyResourceBlocks(problem)):
        evaluation = problem.evaluate(record, rule(record))
        assert all((violation <= 1e-15).all() for violation in evaluation.violation.values())
        bound = ExactSlicing(problem).solve(form(record)).upper_bound
        assert bound is not None
        assert evaluation.objective <= bound.detach()


@pytest.mark.parametrize("name", NAMES)
def test_a_user_that_asks_for_nothing_and_can_have_nothing_makes_no_slice_infeasible(name):
    record = one_slice(([1e7, 0.0], [2e7 if "secrecy" in name else 0.0, 0.0], [0.0, 0.0], 1e6, [True, True]))
    assert KINDS[name].feasible(record)
    assert not KINDS[name].feasible(replace(record, min_rate_bps=torch.tensor([0.0, 1.0]).double()))
    solution = ExactSlicing(KINDS[name]).solve(record)
    expected = 0.0 if "secrecy" in name else float(objective(KINDS[name], record, solution.action))
    assert solution.upper_bound == pytest.approx(expected)
