"""Trivial beams: what they are, and that bad channels do them no harm."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tests.testing.beams import complex_normal, loaded

from torchrrm.problems import UrllcBeamforming, miso_instance
from torchrrm.problems.beamforming import coupling, dual_sinr, least_sinr, to_downlink
from torchrrm.records import replace
from torchrrm.solvers import EqualPowerMMSE, ZeroForcing

PROBLEM = UrllcBeamforming()
BASELINES = (EqualPowerMMSE(), ZeroForcing())


def cells(generator, *, users=6, antennas=16, batch=20, **ring):
    return miso_instance(loaded(batch, users, antennas, generator=generator, **ring), blocklength=256.0)


def test_equal_power_is_shared_by_those_who_can_hear(generator):
    instance = cells(generator, batch=1)
    channel = instance.channel.clone()
    channel[:, 1] = 0
    active = torch.tensor([[True, True, False, True, True, True]])
    action = EqualPowerMMSE()(replace(instance, channel=channel, active=active))
    share = action.power_w[0] / instance.max_power_w
    assert share.tolist() == pytest.approx([0.25, 0, 0, 0.25, 0.25, 0.25])


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_both_forms_of_equal_power_agree(generator, batch, dtype, tolerance):
    channel = complex_normal(*batch, 5, 8, generator=generator, dtype=dtype)
    channel[..., 2, :] = 0
    instance = miso_instance(channel)
    active = torch.rand(instance.active.shape, generator=generator) < 0.8
    instance = replace(instance, active=active)
    compiled = EqualPowerMMSE()(instance)
    traced = EqualPowerMMSE()(replace(instance, channel=channel.clone().requires_grad_()))
    assert traced.beam.requires_grad
    for name in ("power_w", "beam"):
        received, wanted = getattr(compiled, name), getattr(traced, name).detach()
        torch.testing.assert_close(received, wanted, rtol=tolerance, atol=tolerance)


def test_equal_power_reproduces_the_published_cell(generator):
    """15 dB, 64 antennas, 128 uses, 6 users: 2.4997 nats in Table I of [He2022USRMNet], of its baseline."""
    instance = miso_instance(loaded(2000, 6, 64, generator=generator), blocklength=128.0)
    solution = EqualPowerMMSE().solve(instance)
    assert solution.converged.all()
    assert PROBLEM.evaluate(instance, solution.action).objective.mean() == pytest.approx(2.4997, rel=5e-3)


def test_zero_forcing_forces_to_zero(generator):
    instance = cells(generator)
    action = ZeroForcing()(instance)
    coupled = coupling(instance, action.beam)
    own = coupled.diagonal(dim1=-2, dim2=-1)
    assert (coupled - torch.diag_embed(own)).amax() < 1e-12 * own.amin()
    torch.testing.assert_close(to_downlink(instance, action).power_w, action.power_w)
    torch.testing.assert_close(action.power_w.sum(-1), instance.max_power_w)


@pytest.mark.parametrize("payload", [0.0, 256.0])
def test_zero_forcing_fills_in_the_power_as_is_best(generator, payload):
    """Against a general solver, with weights and gains of which some get nothing but their minimum."""
    instance = cells(generator, batch=5, near_m=30.0, far_m=200.0, users=4)
    weight = torch.tensor([0.05, 1.0, 0.3, 2.0], dtype=torch.float64).expand(5, 4)
    instance = replace(instance, weight=weight, payload_bits=torch.full_like(weight, payload))
    solution = ZeroForcing().solve(instance)
    gain = coupling(instance, solution.action.beam).diagonal(dim1=-2, dim2=-1).numpy()
    least, tried = least_sinr(instance).numpy() / gain, 0
    for i in range(5):
        if least[i].sum() > 1:
            assert not solution.converged[i]
            continue
        spare, tried = 1 - least[i].sum(), tried + 1
        found = minimize(
            lambda q, i=i: -weight[i].numpy() @ np.log1p(q * gain[i]),
            least[i] + spare / 4,
            bounds=[(low, 1) for low in least[i]],
            constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        value = (weight[i] * torch.log1p(dual_sinr(instance, solution.action)[i])).sum().item()
        assert value >= -found.fun * (1 - 1e-9)
        assert solution.converged[i]
    assert tried >= 2


@pytest.mark.parametrize("solver", BASELINES)
def test_dependent_and_missing_channels_do_no_harm(generator, solver):
    channel = complex_normal(4, 6, 4, generator=generator, dtype=torch.float64)  # more users than antennas
    channel[1, 1] = channel[1, 0]
    channel[2, 1:] = channel[2, :1] * torch.arange(1, 6)[:, None]  # rank 1
    channel[3] = 0
    instance = miso_instance(channel)
    solution = solver.solve(instance)
    assert torch.isfinite(solution.action.power_w).all()
    assert torch.isfinite(torch.view_as_real(solution.action.beam)).all()
    assert not solution.converged.any()
    evaluation = PROBLEM.evaluate(instance, solution.action)
    assert torch.isfinite(evaluation.objective).all()
    for name in ("power", "sign", "beam"):
        assert evaluation.violation[name].max() <= 1e-12
    assert not solution.action.power_w[3].any()


@pytest.mark.parametrize("solver", BASELINES)
def test_converged_is_that_minimum_rates_are_kept(generator, solver):
    instance = cells(generator, batch=100, near_m=30.0, far_m=200.0)
    solution = solver.solve(instance)
    missing = PROBLEM.evaluate(instance, solution.action).violation["min_rate"].amax(-1)
    assert torch.equal(solution.converged, missing <= 1e-8)
    assert 0 < solution.converged.sum() < 100
