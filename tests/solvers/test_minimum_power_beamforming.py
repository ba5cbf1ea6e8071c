"""Least powers and restored powers: fixed points, both forms, hard channels, gradients."""

import pytest
import torch
from tests.testing.beams import BEAMS, Cell, complex_normal, in_cell, loaded, sample
from tests.testing.forms import traced

from torchrrm.problems import UrllcBeamforming, miso_instance
from torchrrm.problems.beamforming import least_sinr, mmse_action, mmse_sinr, relative_gram
from torchrrm.records import index, map_tensors, replace, to
from torchrrm.solvers import MinimumPowerBeamforming, least_power_w, restored_power
from torchrrm.solvers.minimum_power_beamforming import feasible
from torchrrm.testing import check_solver

PROBLEM, SOLVER = UrllcBeamforming(), MinimumPowerBeamforming()
CASES: dict[str, Cell] = {
    "easy": (6, 64, 120.0, 140.0, 15.0, 128.0),
    "far": (8, 32, 30.0, 200.0, 15.0, 128.0),
    "loaded": (12, 16, 120.0, 140.0, 16.5, 256.0),
    "crowded": (8, 4, 120.0, 140.0, 30.0, 1024.0),
}


def draw(case, generator, batch=20):
    return in_cell(CASES[case], generator, batch)


def reached(instance, power_w):
    """SINR of best beams over the least one."""
    share = power_w / instance.max_power_w[..., None]
    return mmse_sinr(relative_gram(instance), share) / least_sinr(instance)


@pytest.mark.parametrize("case", CASES)
def test_least_powers_are_a_fixed_point_or_balanced(generator, case):
    instance = draw(case, generator)
    solution = SOLVER.solve(instance)
    ratio = reached(instance, solution.action.power_w)
    fits = solution.converged
    assert torch.equal(fits, feasible(instance))
    assert torch.equal(fits, least_power_w(instance) <= instance.max_power_w * (1 + 1e-9))
    assert (ratio[fits] - 1).abs().max() < 1e-9 if fits.any() else True
    assert ((ratio.amax(-1) - ratio.amin(-1)) / ratio.amax(-1) < 1e-7).all()
    assert (ratio[~fits] < 1).all()
    spent = solution.action.power_w.sum(-1)
    assert torch.allclose(spent[~fits], instance.max_power_w[~fits])
    assert solution.iterations.max() < 15


@pytest.mark.parametrize("case", CASES)
def test_restored_powers_are_the_fixed_point(generator, case):
    """Everybody has the least SINR or the common scale of what was wanted, at full power."""
    instance = draw(case, generator)
    wanted = torch.rand(instance.active.shape, generator=generator, dtype=torch.float64) ** 3
    power_w, fits = restored_power(instance, wanted)
    assert torch.equal(fits, feasible(instance))
    assert torch.allclose(power_w.sum(-1), instance.max_power_w, rtol=1e-12)
    ratio = reached(instance, power_w)
    assert (ratio[fits] >= 1 - 1e-9).all()
    scale = power_w / wanted
    least = scale.amin(-1, keepdim=True)
    lifted = (scale > least * (1 + 1e-7)) & fits[..., None]
    assert ((ratio[lifted] - 1).abs() < 1e-9).all()
    again, _ = restored_power(instance, power_w)
    assert torch.allclose(again[fits], power_w[fits], rtol=1e-7)


def test_what_keeps_every_minimum_is_only_scaled(generator):
    instance = draw("easy", generator)
    wanted = torch.ones(instance.active.shape, dtype=torch.float64)
    power_w, fits = restored_power(instance, wanted)
    assert fits.all()
    assert torch.allclose(power_w, (instance.max_power_w / 6)[..., None].expand_as(power_w), rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_both_forms_agree(generator, case):
    instance = draw(case, generator, batch=6)
    one, other = SOLVER.solve(instance), SOLVER.solve(traced(instance))
    assert torch.equal(one.converged, other.converged)
    torch.testing.assert_close(other.action.power_w, one.action.power_w, rtol=1e-7, atol=0)
    torch.testing.assert_close(least_power_w(traced(instance)), least_power_w(instance), rtol=1e-9, atol=0)
    wanted = torch.rand(instance.active.shape, generator=generator, dtype=torch.float64) ** 3
    power_w, fits = restored_power(instance, wanted)
    of_torch, also = restored_power(traced(instance), wanted)
    assert torch.equal(fits, also)
    torch.testing.assert_close(of_torch.detach(), power_w, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("form", ["compiled", "torch"])
def test_conformance(generator, form):
    solver = SOLVER if form == "compiled" else (lambda instance: SOLVER(traced(instance)))
    check_solver(solver, PROBLEM, sample, expected=BEAMS, generator=generator)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_batch_shapes_and_single_precision(generator, batch):
    channel = loaded(1, 6, 32, generator=generator)[0].expand(*batch, 6, 32)
    instance = miso_instance(channel)
    single = to(instance, dtype=torch.float32)
    power_w, fits = restored_power(single, torch.ones(*batch, 6))
    assert power_w.dtype == torch.float32
    assert fits.shape == batch
    solution = SOLVER.solve(single)
    assert solution.action.beam.dtype == torch.complex64
    wanted = SOLVER.solve(instance).action.power_w
    torch.testing.assert_close(solution.action.power_w.double(), wanted, rtol=1e-5, atol=0)
    assert PROBLEM.evaluate(single, solution.action).violation["min_rate"].max() < 1e-5


@pytest.mark.parametrize("form", ["compiled", "torch"])
def test_channels_of_zero_and_parallel_ones(generator, form):
    kind = traced if form == "torch" else (lambda instance: instance)
    channel = 3 * complex_normal(4, 6, generator=generator, dtype=torch.float64)
    silent, parallel = channel.clone(), channel.clone()
    silent[1], parallel[1] = 0, 2j * channel[0]
    instance = miso_instance(silent, blocklength=256.0)
    assert least_power_w(kind(instance)) == torch.inf
    assert not SOLVER.solve(kind(instance)).converged
    power_w, fits = restored_power(kind(instance), torch.ones(4, dtype=torch.float64))
    assert not fits
    assert torch.isfinite(power_w).all()
    idle = replace(instance, payload_bits=torch.tensor([256.0, 0.0, 256.0, 256.0], dtype=torch.float64))
    solution = SOLVER.solve(kind(idle))
    assert solution.converged
    assert solution.action.power_w[1] == 0
    heavy = miso_instance(parallel, blocklength=200.0)  # over 1 nat each: not for two users in one direction
    assert least_power_w(kind(heavy)) == torch.inf
    light = replace(
        heavy, payload_bits=torch.full((4,), 20.0, dtype=torch.float64), max_power_w=torch.tensor(1e3)
    )
    light = to(light, dtype=torch.float64)
    assert SOLVER.solve(kind(light)).converged
    none = map_tensors(torch.zeros_like, instance).active
    assert SOLVER(kind(replace(instance, active=none))).power_w.abs().max() == 0


def test_wanted_shares_of_nothing_and_below(generator):
    instance = index(
        draw("far", generator, batch=40), feasible(draw("far", torch.Generator().manual_seed(0), 40))
    )
    zero = torch.zeros(instance.active.shape, dtype=torch.float64)
    minus = zero - 1
    minus[:, 0] = 1.0
    for wanted in (zero, minus):
        for one in (instance, traced(instance)):
            power_w, fits = restored_power(one, wanted)
            assert fits.all()
            assert (reached(instance, power_w.detach()) >= 1 - 1e-9).all()


def test_restoration_has_exact_gradients(generator):
    channel = loaded(1, 3, 4, generator=generator, near_m=50.0)[0]
    instance = miso_instance(channel, blocklength=300.0, max_power_w=200.0)
    wanted = torch.tensor([1.0, 0.001, 2.0], dtype=torch.float64)
    power_w, fits = restored_power(instance, wanted)
    assert fits
    assert ((reached(instance, power_w) - 1).abs() < 1e-9).any()
    wanted.requires_grad_()

    def shares(power_w, channel):
        return restored_power(replace(instance, channel=channel), power_w)[0]

    channel = instance.channel.clone().requires_grad_()
    assert torch.autograd.gradcheck(shares, (wanted, channel), eps=1e-7, atol=1e-4, rtol=1e-4)


def test_units_do_not_matter(generator):
    instance = draw("far", generator, batch=5)
    other = replace(
        instance, max_power_w=instance.max_power_w * 1e-12, noise_power_w=instance.noise_power_w * 1e-12
    )
    one, same = SOLVER.solve(instance), SOLVER.solve(other)
    torch.testing.assert_close(same.action.power_w * 1e12, one.action.power_w, rtol=1e-9, atol=0)
    action = mmse_action(instance, one.action.power_w)
    torch.testing.assert_close(action.beam, one.action.beam, rtol=1e-8, atol=1e-10)


def test_shapes_that_do_not_fit():
    instance = miso_instance(torch.ones(3, 4, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"noise_power_w: expected shape \[3\], got \[4\]"):
        SOLVER(replace(instance, noise_power_w=torch.ones(4)))
