"""Slices without minimum rates, where short blocks have users with a negative rate: such a user counts with 0.

Rates are those of `tests.solvers.oracles`, which share no code with the library.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from tests.solvers import oracles
from tests.testing.forms import traced

from torchrrm.channels import hml_scenario
from torchrrm.channels.snapshot import THERMAL_NOISE_PSD_W_PER_HZ
from torchrrm.problems import KINDS, QoS, SliceAction, SliceInstance, slice_instance
from torchrrm.records import index, replace
from torchrrm.solvers import ExactSlicing, GreedyResourceBlocks, OneWinner

SHORT = [name for name in KINDS if name.endswith("-short")]
BRANCHED = 1e-5  # relative gap that branch and bound promises
SLACK = 1e-9


def utility(name: str, cn0: float, eavesdropper: float, width: np.ndarray) -> np.ndarray:
    """`max(rate, 0)`, 0 without bandwidth or advantage."""
    heard = eavesdropper if name.startswith("secrecy") else 0.0
    if cn0 <= heard:
        return np.zeros_like(width)
    rate = oracles.curve(name, cn0, heard)(np.where(width > 0, width, 1.0))
    return np.where(width > 0, np.maximum(rate, 0.0), 0.0)


def independent(name: str, record: SliceInstance, action: SliceAction) -> float:
    users = zip(
        record.cn0_hz.tolist(),
        record.eavesdropper_cn0_hz.tolist(),
        action.bandwidth_hz.tolist(),
        strict=True,
    )
    return math.fsum(float(utility(name, c, e, np.array([w]))[0]) for c, e, w in users)


def slices(cn0, eavesdropper, bandwidth_hz: float) -> SliceInstance:
    """One slice of users without minimum rates."""
    cn0 = torch.as_tensor(cn0, dtype=torch.float64)
    return SliceInstance(
        cn0_hz=cn0,
        eavesdropper_cn0_hz=torch.as_tensor(eavesdropper, dtype=torch.float64),
        min_rate_bps=torch.zeros_like(cn0),
        bandwidth_hz=torch.tensor(bandwidth_hz, dtype=torch.float64),
        active=torch.ones_like(cn0, dtype=torch.bool),
    )


def cell(name: str, drops: int, users: int, bandwidth_hz: float) -> SliceInstance:
    """Slices of the cell of [Hao2024]."""
    generator = torch.Generator().manual_seed(0)
    draw = hml_scenario().sample(drops, transmitters=users, receivers=2, generator=generator)
    gain = draw.large_scale_gain if name.startswith("effective") else draw.gain
    own, heard = gain.double().unbind(-2)
    terms = {"min_rate_bps": 0.0, "noise_psd_w_per_hz": THERMAL_NOISE_PSD_W_PER_HZ}
    return slice_instance(own, heard, bandwidth_hz=bandwidth_hz, **terms)


def assert_certified(name: str, record: SliceInstance, gap: float) -> None:
    """Own and independent objective at most the bound, and near it."""
    problem, solution = KINDS[name], ExactSlicing(KINDS[name]).solve(record)
    own = problem.evaluate(record, solution.action).objective
    assert solution.upper_bound is not None
    assert (own <= solution.upper_bound * (1 + SLACK)).all()
    assert (solution.upper_bound <= own * (1 + gap) * (1 + SLACK)).all()
    spent = solution.action.bandwidth_hz.sum(-1)
    assert (spent <= record.bandwidth_hz * (1 + 1e-12)).all()
    for i in range(0, len(own), max(len(own) // 4, 1)):
        exact = independent(name, index(record, i), index(solution.action, i))
        assert own[i].item() == pytest.approx(exact, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("bandwidth_hz", [5e3, 2e4, 1e5, 1e6])
@pytest.mark.parametrize("name", SHORT)
def test_few_hertz_and_many_users(name, bandwidth_hz):
    drops = 5 if KINDS[name].qos is QoS.EFFECTIVE_CAPACITY else 40
    assert_certified(name, cell(name, drops, 100, bandwidth_hz), BRANCHED)


@pytest.mark.parametrize("bandwidth_hz", [5e3, 3e4, 2e5])
@pytest.mark.parametrize("spread_db", [0.0, 1e-3])
@pytest.mark.parametrize("name", ["data-rate-short", "secrecy-short"])
def test_users_that_are_almost_alike(name, spread_db, bandwidth_hz):
    """Which of 20 users of one order are served is known, also where they are equal; how many is not."""
    rng = np.random.default_rng(1)
    cn0 = 100 * bandwidth_hz * 10 ** (rng.uniform(-spread_db, spread_db, (4, 20)) / 10)
    record = slices(cn0, np.full_like(cn0, 0.1 * bandwidth_hz), bandwidth_hz)
    record = replace(record, bandwidth_hz=record.bandwidth_hz.expand(4))
    assert_certified(name, record, BRANCHED)


@pytest.mark.parametrize("bandwidth_hz", [5e3, 5e4, 1e6])
@pytest.mark.parametrize("name", SHORT)
def test_three_users_against_a_grid(name, bandwidth_hz):
    rng = np.random.default_rng(2)
    steps = np.linspace(0.0, 1.0, 201)
    shares = np.array([(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1 + 1e-12])
    for _ in range(2 if name.startswith("effective") else 5):
        cn0 = bandwidth_hz * 10 ** rng.uniform(-1, 5, 3)
        heard = cn0 * 10 ** rng.uniform(-5, 0.3, 3)
        record = slices(cn0, heard, bandwidth_hz)
        solution = ExactSlicing(KINDS[name]).solve(record)
        value = [
            utility(name, c, e, steps * bandwidth_hz)[np.rint(shares[:, i] * 200).astype(int)]
            for i, (c, e) in enumerate(zip(cn0, heard, strict=True))
        ]
        best, own = np.sum(value, axis=0).max(), independent(name, record, solution.action)
        assert solution.upper_bound is not None
        assert best <= solution.upper_bound.item() * (1 + SLACK)
        assert own >= best * (1 - BRANCHED)


@pytest.mark.parametrize("form", ["compiled", "torch"])
@pytest.mark.parametrize("bandwidth_hz", [5e3, 1e8])
@pytest.mark.parametrize("snr_db", [-30, 20, 90])
@pytest.mark.parametrize("name", KINDS)
def test_one_user_has_the_whole_slice(name, snr_db, bandwidth_hz, form):
    """Its rate at all of it, at the bandwidth where it is largest if it falls beyond, and never below 0."""
    cn0 = bandwidth_hz * 10 ** (snr_db / 10)
    record = slices([cn0], [1e-4 * cn0], bandwidth_hz)
    solution = ExactSlicing(KINDS[name]).solve(traced(record) if form == "torch" else record)
    grid = bandwidth_hz * np.geomspace(1e-4, 1.0, 4001)
    best = float(utility(name, cn0, 1e-4 * cn0, grid).max())
    own = KINDS[name].evaluate(record, solution.action).objective.item()
    assert solution.upper_bound is not None
    # The quadratures of the fading differ, and so do grid and optimum where the rate has a peak.
    assert own >= best * (1 - (1e-8 if name.startswith("effective") else 1e-12))
    assert own == pytest.approx(best, rel=1e-6)
    assert own <= solution.upper_bound.item() * (1 + SLACK)
    assert solution.upper_bound.item() == pytest.approx(own, rel=1e-8)


@pytest.mark.parametrize("form", ["compiled", "torch"])
def test_data_rate_has_a_closed_form(form):
    """`w = W c / sum c` gives `W log2(1 + sum c / W)`."""
    cn0 = torch.tensor([1e6, 3e7, 2e9, 5e4], dtype=torch.float64)
    record = slices(cn0, torch.zeros(4), 1e6)
    solution = ExactSlicing(KINDS["data-rate"]).solve(traced(record) if form == "torch" else record)
    closed = 1e6 * math.log2(1 + cn0.sum().item() / 1e6)
    assert solution.upper_bound is not None
    torch.testing.assert_close(solution.action.bandwidth_hz, 1e6 * cn0 / cn0.sum(), rtol=1e-9, atol=0)
    assert solution.upper_bound.item() == pytest.approx(closed, rel=1e-11)
    own = KINDS["data-rate"].evaluate(record, solution.action).objective.item()
    assert own == pytest.approx(closed, rel=1e-11)


@pytest.mark.parametrize("bandwidth_hz", [5e3, 1e5, 1e6])
@pytest.mark.parametrize("name", SHORT)
def test_torch_form(name, bandwidth_hz):
    """Its own bound holds and is not below the compiled optimum; it schedules the same users."""
    record = cell(name, 3 if KINDS[name].qos is QoS.EFFECTIVE_CAPACITY else 12, 12, bandwidth_hz)
    problem, solver = KINDS[name], ExactSlicing(KINDS[name])
    compiled, tensors = solver.solve(record), solver.solve(traced(record))
    best = problem.evaluate(record, compiled.action).objective
    own = problem.evaluate(record, tensors.action).objective
    assert tensors.upper_bound is not None
    assert (own <= tensors.upper_bound * (1 + SLACK)).all()
    assert (best <= tensors.upper_bound * (1 + SLACK)).all()
    assert torch.equal(problem.schedule(traced(record)).active, problem.schedule(record).active)


@pytest.mark.parametrize("name", SHORT)
def test_a_weak_user_is_scheduled_and_counts_nothing(name):
    """Its rate is negative at any bandwidth: objective and bound are 0 in both forms."""
    record = slices([1e3, 2e3], [0.0, 0.0], 1e6)
    problem = KINDS[name]
    assert (problem.rate(record, torch.full((2,), 5e5, dtype=torch.float64)) < 0).all()
    for one in (record, traced(record)):
        solution = ExactSlicing(problem).solve(one)
        assert problem.schedule(one).active.all()
        assert solution.upper_bound is not None
        assert solution.upper_bound.item() == 0.0
        assert problem.evaluate(one, solution.action).objective.item() == 0.0


@pytest.mark.parametrize("name", SHORT)
def test_allocators_maximise_what_is_evaluated(name):
    """One block for all of the slice goes to the user of the largest `max(rate, 0)`; compiled and in torch."""
    record = cell(name, 6, 8, 2e4)
    problem = KINDS[name]
    whole = torch.diag_embed(record.bandwidth_hz[:, None].expand(6, 8))  # [drop winner user]
    best = torch.stack(
        [problem.evaluate(record, SliceAction(bandwidth_hz=whole[:, user])).objective for user in range(8)]
    ).amax(0)
    for solver in (GreedyResourceBlocks(problem, 2e4), OneWinner(problem)):
        for one in (record, traced(record)):
            assert torch.equal(problem.evaluate(record, solver(one)).objective, best)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", KINDS)
def test_rates_vanish_with_the_bandwidth(name, dtype):
    """Down to bandwidths at which the SNR is no number: finite, near 0, with finite gradients, in both forms."""
    record = slice_instance(
        torch.tensor([1e-6], dtype=dtype), torch.tensor([1e-9], dtype=dtype), min_rate_bps=0.0
    )
    for width in (1e-12, 1e-30, 1e-44, 1e-300, 5e-324):
        bandwidth = torch.tensor([width], dtype=dtype, requires_grad=True)
        for one in (record, traced(record)):
            rate = KINDS[name].rate(one, bandwidth)
            (slope,) = torch.autograd.grad(rate.sum(), bandwidth)
            assert rate.abs().item() <= 1e3 * math.sqrt(width)
            assert torch.isfinite(slope).all()
