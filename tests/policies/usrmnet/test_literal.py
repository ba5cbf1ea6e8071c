import math
from typing import Any

import pytest
import torch
from tests.testing.beams import BEAMS, loaded

from torchrrm.policies import POLICIES
from torchrrm.policies.unrolled import unroll
from torchrrm.policies.usrmnet import LiteralUSRMNet
from torchrrm.policies.usrmnet.literal import POWER
from torchrrm.problems.beamforming import (
    UrllcBeamforming,
    dual_sinr,
    least_sinr,
    miso_instance,
    mmse_action,
)
from torchrrm.rates import packet_back_off
from torchrrm.records import index, map_tensors, replace, to
from torchrrm.solvers.minimum_power_beamforming import MinimumPowerBeamforming, feasible
from torchrrm.testing import ConformanceError, check_policy

PROBLEM = UrllcBeamforming()


@pytest.fixture
def instance(generator):
    return miso_instance(loaded(6, 4, 8, generator=generator), payload_bits=64.0)


def policy(users=4, **arguments):
    torch.manual_seed(0)
    return LiteralUSRMNet(users, **arguments).double()


def test_it_starts_at_minimum_power_with_every_constraint_tight(instance):
    made = policy()
    state = made.begin(instance)
    wanted = MinimumPowerBeamforming()(instance)
    torch.testing.assert_close(state.x[..., POWER], wanted.power_w)
    torch.testing.assert_close(state.x[..., 1], least_sinr(instance), rtol=1e-6, atol=0)
    program = made.describe(instance, state)
    assert max(float(value.max()) for value in program.violation(state.x).values()) < 1e-9
    torch.testing.assert_close(program.project(state.x), state.x, rtol=1e-6, atol=1e-9)


def test_the_description_is_problem_10(instance):
    made = policy()
    state = made.begin(instance)
    program = made.describe(instance, state)
    x = state.x * 1.3
    q, low, high, spread, root = x.unbind(-1)
    back_off = packet_back_off(instance.error_probability, instance.blocklength)[:, None]
    objective = (instance.weight * (torch.log(1 + low) - back_off * root)).sum(-1)
    torch.testing.assert_close(program.objective(x), -objective)
    given = torch.autograd.functional.jacobian(lambda x: program.objective(x).sum(), x)
    torch.testing.assert_close(program.gradient(x), given)
    for k in range(4):  # (8), antenna by antenna
        h, w = instance.channel, state.beam
        heard = sum(q[:, j] * (h[:, j].conj() * w[:, k]).sum(-1).abs() ** 2 for j in range(4) if j != k)
        sinr = q[:, k] * (h[:, k].conj() * w[:, k]).sum(-1).abs() ** 2 / (1 + heard)
        found = {name: value[:, k] for name, value in program.coupled(x).items()}
        torch.testing.assert_close(found["lower_sinr"], low[:, k] - sinr)
        torch.testing.assert_close(found["upper_sinr"], sinr - high[:, k])
        torch.testing.assert_close(found["dispersion"], 1 - (1 + high[:, k]) ** -2 - spread[:, k])
        torch.testing.assert_close(found["back_off"], spread[:, k].sqrt() - root[:, k])
    adjacency = torch.einsum("bka,bla->bkl", instance.channel.conj(), state.beam).abs()
    torch.testing.assert_close(program.features(x)[1], adjacency)


def test_the_preliminary_step_increases_10a(instance):
    program = policy().describe(instance, policy().begin(instance))
    moved = program.start - 1e-3 * program.gradient(program.start)
    assert (program.objective(moved) < program.objective(program.start)).all()


def test_projections_keep_10b_to_10f(instance, generator):
    program = policy().describe(instance, policy().begin(instance))
    x = program.start + 3 * torch.randn(program.start.shape, generator=generator, dtype=torch.float64)
    q, low, high, spread, _ = program.project(x).unbind(-1)
    nu, top = least_sinr(instance), 10**1.5 * instance.channel.abs().square().sum(-1)
    assert (low >= nu - 1e-9).all()
    assert (high <= top + 1e-9).all()
    assert (spread >= 1 - (1 + nu) ** -2 - 1e-9).all()
    assert (spread <= 1 - (1 + top) ** -2 + 1e-9).all()
    assert (q >= 0).all()


def test_sizes_are_those_printed():
    made = LiteralUSRMNet(6)
    shapes = [tuple(value.shape) for value in made.layers[0].parameters()]
    assert shapes == [(1, 5, 32), (1, 32, 2), (1, 11, 32), (1, 32, 5)]
    assert len(made.layers) == 2


def test_beams_are_those_of_9_without_gradient(instance):
    made = policy()
    state = unroll(made, instance, 1)
    power = state.x[..., POWER]
    torch.testing.assert_close(state.beam, mmse_action(instance, power.detach()).beam)
    assert power.requires_grad
    assert not state.beam.requires_grad


def test_proposition_1_does_not_hold(instance):
    """A renumbering of the users is *not* a renumbering of the powers: rows of A are features of fixed places."""
    made, order = policy(), torch.tensor([3, 1, 0, 2])
    moved = map_tensors(lambda value: value[:, order] if value.ndim > 1 else value, instance)
    with torch.no_grad():
        apart = made(moved).power_w - made(instance).power_w[:, order]
        # The start, the description and the step sizes are equivariant; it is the perturbation that is not.
        first, other = made.begin(instance), made.begin(moved)
        torch.testing.assert_close(other.x, first.x[:, order], rtol=1e-6, atol=1e-9)
        step: Any = made.layers[0].step
        torch.testing.assert_close(
            step(*made.describe(moved, other).features(other.x)),
            step(*made.describe(instance, first).features(first.x)),
        )
    assert apart.abs().max() > 1e-2 * made(instance).power_w.max()


def test_the_conformance_suite_says_so(generator):

    def paper(batch_size, *, generator):
        channel = loaded(batch_size, 4, 8, generator=generator, dtype=torch.float32)
        return miso_instance(channel, payload_bits=64.0)

    torch.manual_seed(0)
    expected = replace(BEAMS, any_size=False)
    with pytest.raises(ConformanceError, match="permutation: power_w must not change"):
        check_policy(LiteralUSRMNet(4, restore=True), PROBLEM, paper, expected=expected)


def test_restoration_keeps_every_rate_and_uses_all_power(instance):
    assert feasible(instance).all()
    with torch.no_grad():
        score = PROBLEM.evaluate(instance, policy(restore=True)(instance))
    assert score.violation["min_rate"].max() < 1e-9
    assert score.violation["power"].abs().max() < 1e-9


def test_units_do_not_matter(instance):
    made = policy()
    scaled = replace(
        instance,
        noise_power_w=instance.noise_power_w * 1e-12,
        max_power_w=instance.max_power_w * 20,
        channel=instance.channel * math.sqrt(1e-12 / 20),
    )
    with torch.no_grad():
        wanted, found = made(instance), made(scaled)
    # Only the ratio of limit and noise is read, as P with sigma = 1; here it is 20e12 times the paper's.
    torch.testing.assert_close(
        dual_sinr(scaled, MinimumPowerBeamforming()(scaled)),
        dual_sinr(instance, MinimumPowerBeamforming()(instance)),
        rtol=1e-6,
        atol=0,
    )
    quieter = replace(
        instance,
        noise_power_w=instance.noise_power_w * 1e-12,
        max_power_w=instance.max_power_w * 1e-12,
    )
    with torch.no_grad():
        found = made(quieter)
    torch.testing.assert_close(found.power_w * 1e12, wanted.power_w, rtol=1e-6, atol=1e-9)


def test_batches_singles_and_precision(instance):
    made = policy()
    with torch.no_grad():
        together = made(instance)
        torch.testing.assert_close(made(index(instance, 2)).power_w, together.power_w[2])
        single = policy().float()(to(instance, dtype=torch.float32))
    assert single.power_w.dtype == torch.float32
    torch.testing.assert_close(single.power_w.double(), together.power_w, rtol=1e-3, atol=1e-3)


def test_other_sizes_are_refused(instance):
    with pytest.raises(ValueError, match="instance: must have 5 users, received 4"):
        policy(5)(instance)
    with pytest.raises(ValueError, match="depth: must be at least 1, received 0"):
        LiteralUSRMNet(4, depth=0)


def test_it_can_be_kept():
    assert POLICIES["LiteralUSRMNet"] is LiteralUSRMNet
    made = policy(taps=2, bias=True, depth=1)
    assert LiteralUSRMNet(**made.arguments).arguments == made.arguments
