"""The paper's networks for one number of users and stations: HBGNN by rows of gains, FCNN, CNN."""

import dataclasses
from typing import Any

import pytest
import torch
from tests.testing.association import CELLS, network, sample

from torchrrm.policies import POLICIES
from torchrrm.policies.hbgnn import CnnAssociation, FcnnAssociation, LiteralHBGNN
from torchrrm.policies.hbgnn.fixed_size import level_of
from torchrrm.problems.association import SumRateAssociation, relative_snr
from torchrrm.records import index, map_tensors
from torchrrm.testing import ConformanceError, check_policy

PROBLEM = SumRateAssociation()
FIXED = dataclasses.replace(CELLS, axes=(), any_size=False)
SMALL = {
    LiteralHBGNN: {"width": 16},
    FcnnAssociation: {"width": 32, "layers": 2},
    CnnAssociation: {"kernels": 6, "layers": 2, "width": 16},
}


def small(policy, users=7, stations=5):
    torch.manual_seed(0)
    return policy(users, stations, **SMALL[policy])


def count(policy):
    return sum(parameter.numel() for parameter in policy.parameters())


def test_parameter_counts_are_those_of_table_ii():
    assert count(LiteralHBGNN()) == 471_658  # 4.7e5
    assert count(CnnAssociation()) == 488_962  # 5.0e5
    with torch.device("meta"):
        assert count(FcnnAssociation()) == 64_428_449  # 6.4e7


@pytest.mark.parametrize("policy", SMALL)
def test_it_conforms_but_for_sizes_and_places(policy):
    check_policy(small(policy), PROBLEM, sample, expected=FIXED)


@pytest.mark.parametrize("policy", SMALL)
def test_it_is_not_equivariant(policy):
    with pytest.raises(ConformanceError, match=r"^permutation"):
        check_policy(small(policy), PROBLEM, sample, expected=dataclasses.replace(CELLS, any_size=False))


@pytest.mark.parametrize("policy", SMALL)
def test_scores_of_permuted_users_are_others_but_those_of_the_default_the_same(policy, generator):
    instance, order = network(3, 7, 5, generator=generator), torch.tensor([3, 1, 2, 0, 6, 5, 4])
    moved = dataclasses.replace(
        instance, gain=instance.gain[:, order], active_user=instance.active_user[:, order]
    )

    @torch.no_grad()
    def difference(net):
        one, other = net.double().score(_double(instance)), net.score(_double(moved))
        return float((one.share - other.share).abs().max())

    torch.manual_seed(0)
    assert difference(small(policy)) > 1e-5
    assert difference(POLICIES["HBGNN"]()) < 1e-9


def _double(instance):
    return map_tensors(lambda value: value.double() if value.is_floating_point() else value, instance)


@pytest.mark.parametrize("policy", SMALL)
@pytest.mark.parametrize(("users", "stations"), [(6, 5), (7, 6), (5, 7)])
def test_other_sizes_are_refused_in_one_line(policy, users, stations, generator):
    line = rf"^gain: must be of 7 users and 5 stations, .* received \({users}, {stations}\)$"
    with pytest.raises(ValueError, match=line):
        small(policy)(network(2, users, stations, generator=generator))


@pytest.mark.parametrize("policy", SMALL)
@pytest.mark.parametrize("name", ["users", "stations"])
def test_sizes_of_zero_are_refused(policy, name):
    with pytest.raises(ValueError, match=rf"^{name}: must be at least 1, received 0$"):
        policy(**{name: 0})


@pytest.mark.parametrize("policy", SMALL)
def test_relaxed_probabilities_sum_to_one_and_sharpen_with_the_temperature(policy, generator):
    instance, net = network(4, 7, 5, generator=generator), small(policy)
    warm, cold = net.relax(instance), net.relax(instance, temperature=1e-6)
    heard = (instance.gain > 0).any(-1)
    torch.testing.assert_close(warm.probability.sum(-1), heard.float())
    hard = PROBLEM.evaluate(instance, net(instance)).objective
    torch.testing.assert_close(PROBLEM.relaxed(instance, cold), hard, rtol=1e-4, atol=0)


def test_a_layer_of_the_literal_network_is_algorithm_1(generator):
    instance, net = index(network(1, 3, 2, generator=generator), 0), small(LiteralHBGNN, 3, 2)
    snr = relative_snr(instance)
    level, edge = level_of(snr), snr > 1
    layer: Any = net.layers[0]
    users, stations = list(level), list(level.mT)
    wanted = []
    for i in range(3):
        near = [j for j in range(2) if edge[i, j]]
        second = [k for k in range(3) if k != i and any(edge[k, j] for j in near)]
        sums = [
            sum((stations[j] for j in near), torch.zeros(3)),
            sum((users[k] for k in second), torch.zeros(2)),
        ]
        parts = [
            torch.relu(layer.order[k](torch.relu(layer.user[k](torch.cat([users[i], sums[k]])))))
            for k in range(2)
        ]
        joined = torch.cat(parts)
        wanted.append(joined / joined.norm())
    found = []
    layer.register_forward_hook(lambda module, given, result: found.append(result[0]))
    net(instance)
    torch.testing.assert_close(found[0], torch.stack(wanted))


def test_the_literal_network_learns(generator):
    instance, net = network(16, 7, 5, generator=generator), small(LiteralHBGNN)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    start = PROBLEM.evaluate(instance, net(instance)).objective.mean()
    for _ in range(60):
        optimiser.zero_grad()
        (-PROBLEM.relaxed(instance, net.relax(instance)).mean()).backward()
        optimiser.step()
    assert PROBLEM.evaluate(instance, net(instance)).objective.mean() > 1.2 * start
