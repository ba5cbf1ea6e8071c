"""GramAscent: optima by brute force and by their conditions, both forms, symmetry, hard channels."""

import itertools

import numpy as np
import pytest
import torch
from tests.testing.beams import BEAMS, Cell, complex_normal, in_cell, loaded, sample
from tests.testing.forms import traced

from torchrrm.problems import UrllcBeamforming, miso_instance
from torchrrm.problems.beamforming import (
    least_sinr,
    mmse_action,
    mmse_error,
    mmse_sinr,
    power_slope,
    relative_gram,
)
from torchrrm.rates import packet_back_off, packet_rate, packet_rate_slope
from torchrrm.records import index, map_tensors, pad, replace, to
from torchrrm.solvers import EqualPowerMMSE, GramAscent, restored_power
from torchrrm.solvers.minimum_power_beamforming import feasible
from torchrrm.testing import check_solver

PROBLEM, SOLVER = UrllcBeamforming(), GramAscent()
CASES: dict[str, Cell] = {
    "easy": (6, 32, 120.0, 140.0, 15.0, 128.0),
    "far": (6, 32, 30.0, 200.0, 15.0, 256.0),
    "loaded": (10, 16, 120.0, 140.0, 17.0, 256.0),
    "crowded": (6, 4, 120.0, 140.0, 25.0, 1024.0),
}


def draw(case, generator, batch=20):
    return in_cell(CASES[case], generator, batch)


def objective(instance, action):
    return PROBLEM.evaluate(instance, map_tensors(torch.Tensor.detach, action)).objective


def best_of_grid(instance, steps):
    """Largest weighted sum rate over a grid of the simplex that keeps the minimum rates."""
    users = instance.active.shape[-1]
    counts = [
        (*head, steps - sum(head))
        for head in itertools.product(range(steps + 1), repeat=users - 1)
        if sum(head) <= steps
    ]
    share = torch.tensor(counts, dtype=torch.float64) / steps
    sinr = mmse_sinr(relative_gram(instance), share)
    back_off = packet_back_off(instance.error_probability, instance.blocklength)
    value = (instance.weight * packet_rate(sinr, back_off)).sum(-1)
    keeps = (sinr >= least_sinr(instance) * (1 - 1e-12)).all(-1)
    return value[keeps].max() if keeps.any() else None


@pytest.mark.parametrize(
    ("users", "antennas", "steps"), [(2, 4, 4000), (2, 1, 4000), (3, 4, 150), (3, 2, 150)]
)
@pytest.mark.parametrize("payload", [0.0, 60.0])
def test_optimum_by_brute_force(users, antennas, steps, payload):
    """Also where users are best switched off: one antenna, or nothing asked for at a low SNR."""
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        channel = complex_normal(users, antennas, generator=generator, dtype=torch.float64)
        weight = 0.2 + torch.rand(users, generator=generator, dtype=torch.float64)
        instance = miso_instance(0.4 * channel, weight=weight, payload_bits=payload, blocklength=200.0)
        solution = GramAscent(starts=4 + users).solve(instance)
        wanted = best_of_grid(instance, steps)
        assert wanted is None or solution.converged
        if wanted is not None:
            assert objective(instance, solution.action) >= wanted - 1e-9 * abs(wanted)


@pytest.mark.parametrize("case", CASES)
def test_conditions_of_an_optimum(generator, case):
    """Marginal rates equal the price of power where users are above their minimum, and are below it elsewhere."""
    instance = draw(case, generator)
    solution = GramAscent(tol=1e-14).solve(instance)
    assert torch.equal(solution.converged, feasible(instance))
    instance, action = index(instance, solution.converged), index(solution.action, solution.converged)
    gram, share = relative_gram(instance), action.power_w / instance.max_power_w[..., None]
    assert torch.allclose(share.sum(-1), torch.ones_like(share[..., 0]), rtol=1e-12)
    level = -torch.log(mmse_error(gram, share))
    back_off = packet_back_off(instance.error_probability, instance.blocklength)[..., None]
    gain = instance.weight * packet_rate_slope(level, back_off)
    price = torch.linalg.inv(power_slope(gram, share)).sum(-2)
    bound = mmse_sinr(gram, share) < least_sinr(instance) * (1 + 1e-8)
    assert (mmse_sinr(gram, share) >= least_sinr(instance) * (1 - 1e-9)).all()
    worth = gain / price
    top = worth.masked_fill(bound, -torch.inf).amax(-1, keepdim=True)
    low = worth.masked_fill(bound, torch.inf).amin(-1, keepdim=True)
    assert (top - low <= 1e-4 * top).all()
    assert (worth[bound] <= (top * (1 + 1e-4)).expand_as(worth)[bound]).all()


@pytest.mark.parametrize("case", CASES)
def test_never_below_equal_power_nor_restored_ones(generator, case):
    instance = draw(case, generator)
    solution = SOLVER.solve(instance)
    found = objective(instance, solution.action)
    fits = solution.converged
    equal = EqualPowerMMSE().solve(instance)
    both = fits & equal.converged
    assert (found[both] >= objective(instance, equal.action)[both] * (1 - 1e-9)).all()
    power_w, _ = restored_power(
        instance, torch.rand(fits.shape[0], instance.active.shape[-1], generator=generator)
    )
    restored = mmse_action(instance, power_w.double())
    refined = SOLVER.refine(instance, restored)
    gain = objective(instance, refined) - objective(instance, restored)
    assert (gain[fits] >= -1e-9).all()
    for action in (solution.action, refined):
        violation = PROBLEM.evaluate(instance, action).violation
        assert violation["min_rate"][fits].max() < 1e-6
        assert violation["power"].max() < 1e-9
    polished = objective(instance, SOLVER.refine(instance, solution.action))
    torch.testing.assert_close(polished[fits], found[fits], rtol=1e-8, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_both_forms_agree(generator, case):
    instance = draw(case, generator, batch=4)
    solver = GramAscent(starts=3, max_steps=80)
    one, other = solver.solve(instance), solver.solve(traced(instance))
    assert torch.equal(one.converged, other.converged)
    assert other.action.power_w.requires_grad
    torch.testing.assert_close(
        objective(instance, other.action), objective(instance, one.action), rtol=1e-7, atol=0
    )
    start = mmse_action(instance, torch.rand(instance.active.shape, generator=generator).double())
    torch.testing.assert_close(
        objective(instance, solver.refine(traced(instance), start)),
        objective(instance, solver.refine(instance, start)),
        rtol=1e-7,
        atol=0,
    )


def test_gradients_are_those_of_the_optimum(generator):
    """Of a user at its minimum rate as well."""
    solver = GramAscent(starts=1, tol=1e-14)
    instance = draw("far", generator)
    instance = index(instance, int(solver.solve(instance).converged.nonzero()[0]))
    ratio = mmse_sinr(relative_gram(instance), solver(instance).power_w / instance.max_power_w)
    assert (ratio < least_sinr(instance) * (1 + 1e-8)).any()
    direction = complex_normal(*instance.channel.shape, generator=generator, dtype=torch.float64)
    worth = torch.rand(6, generator=generator, dtype=torch.float64)
    channel = instance.channel.clone().requires_grad_()
    power_w = solver(replace(instance, channel=channel)).power_w
    (slope,) = torch.autograd.grad((power_w * worth).sum(), channel)
    ends = [
        (solver(replace(instance, channel=instance.channel + step * direction)).power_w * worth).sum()
        for step in (1e-5, -1e-5)
    ]
    assert (slope.conj() * direction).real.sum().item() == pytest.approx(
        (ends[0] - ends[1]).item() / 2e-5, rel=1e-4
    )


@pytest.mark.parametrize("form", ["compiled", "torch"])
def test_conformance(generator, form):
    solver = SOLVER if form == "compiled" else (lambda instance: GramAscent(starts=2)(traced(instance)))
    check_solver(solver, PROBLEM, sample, expected=BEAMS, generator=generator)


def test_random_starts_follow_users_and_ignore_padding(generator):
    solver = GramAscent(starts=14, seed=3)
    instance = draw("crowded", generator, batch=6)
    wanted = objective(instance, solver(instance))
    order = torch.randperm(6, generator=generator)
    moved = replace(instance, channel=instance.channel[:, order])
    torch.testing.assert_close(objective(moved, solver(moved)), wanted, rtol=1e-8, atol=0)
    padded = pad(instance, user=9)
    padded = replace(padded, noise_power_w=torch.ones_like(padded.noise_power_w))
    torch.testing.assert_close(objective(padded, solver(padded)), wanted, rtol=1e-8, atol=0)
    assert (wanted >= objective(instance, SOLVER(instance)) * (1 - 1e-9)).all()


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_batch_shapes_and_single_precision(generator, batch):
    channel = loaded(1, 6, 32, generator=generator, near_m=60.0)[0].expand(*batch, 6, 32)
    instance = miso_instance(channel, blocklength=256.0)
    single = to(instance, dtype=torch.float32)
    solution = SOLVER.solve(single)
    assert solution.action.power_w.dtype == torch.float32
    assert solution.converged.shape == solution.iterations.shape == batch
    wanted = objective(instance, SOLVER(instance)).float()
    torch.testing.assert_close(objective(single, solution.action), wanted, rtol=1e-5, atol=0)
    assert PROBLEM.evaluate(single, solution.action).violation["min_rate"].max() < 1e-5


@pytest.mark.parametrize("form", ["compiled", "torch"])
def test_hard_instances(generator, form):
    """Zero and parallel channels, minimum rates out of reach, users of weight 0, nothing asked for, nobody active."""
    kind = traced if form == "torch" else (lambda instance: instance)
    solver = GramAscent(starts=2) if form == "torch" else SOLVER
    channel = 3 * complex_normal(4, 6, generator=generator, dtype=torch.float64)
    silent, parallel = channel.clone(), channel.clone()
    silent[1], parallel[1] = 0, 2j * channel[0]
    instance = miso_instance(channel, blocklength=256.0)
    for bad in (miso_instance(silent), miso_instance(parallel, blocklength=200.0)):
        solution = solver.solve(kind(bad))
        assert not solution.converged
        assert torch.isfinite(solution.action.power_w).all()
        assert solution.action.power_w.sum().item() == pytest.approx(bad.max_power_w.item())
    for fine in (
        replace(instance, weight=torch.tensor([0.0, 1.0, 0.0, 0.5], dtype=torch.float64)),
        replace(miso_instance(silent), payload_bits=torch.zeros(4, dtype=torch.float64)),
        replace(miso_instance(parallel), payload_bits=torch.zeros(4, dtype=torch.float64)),
        replace(instance, weight=torch.zeros(4, dtype=torch.float64)),
    ):
        solution = solver.solve(kind(fine))
        assert solution.converged
        action = map_tensors(torch.Tensor.detach, solution.action)
        assert PROBLEM.evaluate(fine, action).violation["min_rate"].max() < 1e-9
    nobody = solver(kind(replace(instance, active=torch.zeros(4, dtype=torch.bool))))
    assert nobody.power_w.abs().max() == 0


def test_units_do_not_matter(generator):
    instance = draw("far", generator, batch=5)
    other = replace(
        instance, max_power_w=instance.max_power_w * 1e-12, noise_power_w=instance.noise_power_w * 1e-12
    )
    torch.testing.assert_close(SOLVER(other).power_w * 1e12, SOLVER(instance).power_w, rtol=1e-6, atol=0)


def test_starts_are_as_announced():
    table = GramAscent(starts=9, seed=1).table(5)
    assert np.array_equal(table[:, :6], GramAscent(starts=6, seed=1).table(5))
    assert table.shape == (5, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"max_steps": 0}, "max_steps: must be at least 1"), ({"starts": 0}, "starts"), ({"tol": -1.0}, "tol")],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GramAscent(**arguments)
