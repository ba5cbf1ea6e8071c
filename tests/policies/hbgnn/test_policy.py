"""The default network: any numbers of users and stations, and what it does where there is nothing to do."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.testing.association import CELLS, FAIR_CELLS, network, sample, sample_sparse

from torchrrm.policies import HBGNN
from torchrrm.policies.hbgnn.core import equal_reach, power_steps, radio, soft_matching
from torchrrm.problems import ProportionalFairAssociation, SumRateAssociation
from torchrrm.problems.association import UNSERVED, AssociationAction, relative_snr
from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.records import index, pad, stack
from torchrrm.solvers import WMMSE
from torchrrm.testing import check_policy

PROBLEMS = {
    "association": (SumRateAssociation(), CELLS),
    "fair-association": (ProportionalFairAssociation(), FAIR_CELLS),
}


def policy(problem="association", **arguments):
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 32, "hidden": 6}
    return HBGNN(problem, **sizes | arguments)


@pytest.mark.parametrize("draw", [sample, sample_sparse])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("head", ["softmax", "gumbel"])
def test_conforms(problem, head, draw):
    objective, expected = PROBLEMS[problem]
    check_policy(policy(problem, head=head), objective, draw, expected=expected)


@pytest.mark.parametrize(("users", "stations"), [(1, 1), (1, 5), (5, 1), (40, 60), (90, 20)])
def test_one_set_of_weights_serves_all_sizes(users, stations, generator):
    net, instance = policy(), network(3, users, stations, generator=generator)
    action = net(instance)
    score = SumRateAssociation().evaluate(instance, action)
    assert all(not (value > 1e-6).any() for value in score.violation.values())
    assert score.objective.isfinite().all()


def test_networks_of_different_sizes_in_one_batch(generator):
    net = policy()
    alone = [network(1, users, 9, generator=generator) for users in (3, 12)]
    alone = [index(one, 0) for one in alone]
    together = net(stack(alone))
    for place, one in enumerate(alone):
        action = net(one)
        assert torch.equal(together.station[place, : len(action.station)], action.station)
        torch.testing.assert_close(together.power_w[place], action.power_w, rtol=5e-3, atol=1e-9)


def test_padding_changes_nothing(generator):
    net, instance = policy(), network(2, 6, 5, generator=generator)
    padded = net(pad(instance, user=9, bs=8))
    action = net(instance)
    assert torch.equal(padded.station[:, :6], action.station)
    assert (padded.station[:, 6:] == UNSERVED).all()
    torch.testing.assert_close(padded.power_w[:, :5], action.power_w, rtol=5e-3, atol=1e-9)
    assert not padded.power_w[:, 5:].any()


def test_without_users_stations_are_silent(generator):
    action = policy()(network(2, 0, 5, generator=generator))
    assert action.station.shape == (2, 0)
    assert not action.power_w.any()


def test_nobody_in_reach_and_nobody_active(generator):
    instance = network(2, 6, 5, generator=generator)
    blocked = replace(instance, gain=torch.zeros_like(instance.gain))
    idle = replace(instance, active_user=torch.zeros_like(instance.active_user))
    for one in (blocked, idle):
        action = policy()(one)
        assert (action.station == UNSERVED).all()
        assert not action.power_w.any()


def test_it_is_deterministic(generator):
    net, instance = policy(), network(2, 6, 5, generator=generator)
    assert vars(net(instance)).keys() == {"station", "power_w"}
    assert torch.equal(net(instance).power_w, net(instance).power_w)


def test_only_ratios_to_the_noise_matter(generator):
    net, instance = policy(), network(2, 8, 6, generator=generator)
    other = replace(
        instance,
        noise_power_w=instance.noise_power_w * 8,
        max_power_w=instance.max_power_w * 4,
        gain=instance.gain * 2,
    )
    one, another = net(instance), net(other)
    assert torch.equal(one.station, another.station)
    torch.testing.assert_close(another.power_w, one.power_w * 4, rtol=1e-5, atol=0)


def test_shares_may_be_as_small_as_macro_stations_need(generator):
    instance = network(4, 20, 10, generator=generator)
    loud = replace(instance, max_power_w=instance.max_power_w * 1e6)
    share = policy().score(loud).share
    assert 0 < share[share > 0].min() < 1e-5


def test_float64_is_kept_and_agrees(generator):
    net, instance = policy(), network(3, 12, 8, generator=generator)
    double = policy().double()(
        replace(
            instance,
            **{
                name: getattr(instance, name).double()
                for name in ("gain", "noise_power_w", "max_power_w", "bandwidth_hz")
            },
        )
    )
    action = net(instance)
    assert double.power_w.dtype == torch.float64
    assert action.power_w.dtype == torch.float32
    assert isinstance(double, AssociationAction)
    torch.testing.assert_close(double.power_w.float(), action.power_w, rtol=1e-2, atol=1e-6)


def test_relaxed_is_the_action_when_cold(generator):
    net, instance = policy(), network(3, 9, 6, generator=generator)
    relaxed, action = net.relax(instance, temperature=1e-4), net(instance)
    chosen = relaxed.probability.gather(-1, action.station.clamp_min(0)[..., None])[..., 0]
    torch.testing.assert_close(chosen, (action.station >= 0).float(), rtol=0, atol=1e-3)
    torch.testing.assert_close(relaxed.power_w, action.power_w)


def test_soft_matching_sums_to_at_most_one(generator):
    reach = torch.rand(4, 12, 9, generator=generator) < 0.7
    match = soft_matching(20 * torch.randn(4, 12, 9, generator=generator), reach, rounds=50)
    assert (match.weight >= 0).all()
    assert not match.weight[~reach].any()
    assert (match.weight.sum(-1) <= 1 + 1e-2).all()
    assert (match.weight.sum(-2) <= 1 + 1e-5).all()
    torch.testing.assert_close(torch.exp(match.level)[reach], match.weight[reach], rtol=1e-3, atol=1e-6)


def test_power_steps_are_those_of_wmmse(generator):
    instance = index(network(1, 7, 5, generator=generator), 0)
    instance = replace(
        instance,
        gain=instance.gain.clamp_min(1e-12).double(),
        **{
            name: getattr(instance, name).double()
            for name in ("noise_power_w", "max_power_w", "bandwidth_hz")
        },
    )
    air = radio(relative_snr(instance))
    match = torch.zeros_like(air.snr)
    match[torch.arange(5), torch.arange(5)] = 1.0  # user j is that of station j
    start = equal_reach(air).log_share
    moved = power_steps(air, match, start, torch.full((3,), 2.0, dtype=torch.float64))
    one = torch.ones(5, dtype=torch.float64)
    links = LinkInstance(
        gain=air.snr[:5], noise_power_w=one[0], max_power_w=one, weight=one, active=one.bool()
    )
    expected = WMMSE().refine(links, PowerAction(power_w=torch.exp(start)), 3).power_w
    torch.testing.assert_close(torch.exp(moved.log_share), expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("name", "value"), [("problem", "links"), ("head", "hard")])
def test_arguments_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        HBGNN(**{name: value})
