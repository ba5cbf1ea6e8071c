"""Edges and node features of the power net, by hand and by what they must not depend on."""

import math

import pytest
import torch

from torchrrm.policies import PowerGNN
from torchrrm.policies.power_gnn import EDGES, node_features
from torchrrm.problems import link_instance
from torchrrm.records import replace

RATIO = torch.tensor([[math.e**2, 1.0, 1e9], [math.e, math.e**-1, 1e9], [1e9, 1e9, 1e9]], dtype=torch.float64)
ACTIVE = torch.tensor([True, True, False])


def test_frobenius_edges_are_equation_24():
    """Logarithms 2, 0, 1 and -1, whose norm is the root of 6; nothing of the link that is not active."""
    expected = torch.tensor([[2.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(EDGES["frobenius"](RATIO, ACTIVE), expected / math.sqrt(6.0))


def test_frobenius_edges_take_no_path_as_20_db_below_the_noise():
    ratio = torch.tensor([[0.0]], dtype=torch.float64)
    assert EDGES["frobenius"](ratio, torch.tensor([True])).item() == -1.0


def test_local_edges_do_not_depend_on_other_links():
    edges = EDGES["local"](RATIO, ACTIVE)
    torch.testing.assert_close(edges[:2, :2], torch.log1p(RATIO[:2, :2]) / 50.0)
    assert not edges[2].any()
    assert not edges[:, 2].any()


def test_mean_edges_are_local_ones_over_the_number_of_active_links():
    torch.testing.assert_close(EDGES["mean"](RATIO, ACTIVE), EDGES["local"](RATIO, ACTIVE) * 20.0 / 2)


def test_only_ratios_of_weights_matter(generator):
    """Levels of weights are relative to their geometric mean over the active links; those of priorities are not."""
    condition = torch.rand(4, generator=generator, dtype=torch.float64) + 0.1
    ratio, active = torch.ones(4, dtype=torch.float64), torch.tensor([True, True, True, False])
    node = node_features(condition, ratio, ratio, active, "weight", True)
    torch.testing.assert_close(node, node_features(7 * condition, ratio, ratio, active, "weight", True))
    level = condition[:3].log()
    torch.testing.assert_close(node[:3, 0], level - level.mean())
    priority = node_features(condition, ratio, ratio, active, "priority", True)
    torch.testing.assert_close(priority[:3, 0], level)


@pytest.mark.parametrize("condition", ["weight", "priority"])
def test_a_condition_is_read_from_its_place(condition, generator):
    """Weights of the instance, or priorities beside it; the other one changes nothing."""
    torch.manual_seed(0)
    net = PowerGNN(condition, widths=(4,))
    links = link_instance(torch.rand(3, 3, generator=generator) * 1e-10)
    heavier = replace(links, weight=torch.tensor([1.0, 2.0, 3.0]))
    priority = torch.tensor([1.0, 2.0, 3.0])
    with torch.no_grad():
        by_weight = torch.equal(net(links).power_w, net(heavier).power_w)
        by_priority = torch.equal(net(links).power_w, net(links, priority=priority).power_w)
    assert (by_weight, by_priority) == (condition == "priority", condition == "weight")
