import numpy as np
import pytest
import torch

from torchrrm.nn import HWGCN, GraphFilter


def naive(node, adjacency, weight, bias):
    """Eq. (11), a loop over nodes, outputs, taps and features."""
    out = np.zeros((node.shape[0], weight.shape[2]))
    for tap in range(weight.shape[0]):
        moved = np.linalg.matrix_power(adjacency, tap) @ node
        for k in range(node.shape[0]):
            for o in range(weight.shape[2]):
                out[k, o] += sum(weight[tap, f, o] * moved[k, f] for f in range(node.shape[1]))
    return out + (0 if bias is None else bias)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("taps", [1, 2, 4])
def test_filter_is_the_equation(generator, taps, bias):
    layer = GraphFilter(3, 2, taps, bias=bias).double()
    node = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    adjacency = torch.rand(5, 4, 4, generator=generator, dtype=torch.float64)
    out = layer(node, adjacency).detach().numpy()
    weight = layer.weight.detach().numpy()
    shift = None if layer.bias is None else layer.bias.detach().numpy()
    for each in range(5):
        wanted = naive(node[each].numpy(), adjacency[each].numpy(), weight, shift)
        np.testing.assert_allclose(out[each], wanted, rtol=1e-12, atol=1e-12)


def test_stack_has_the_activations_asked_for(generator):
    net = HWGCN((3, 6, 2), taps=2, last=torch.relu).double()
    node = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    adjacency = torch.rand(4, 4, generator=generator, dtype=torch.float64)
    first, second = net.filters
    hidden = torch.tanh(first(node, adjacency))
    assert torch.equal(net(node, adjacency), torch.relu(second(hidden, adjacency)))
    assert (net(node, adjacency) >= 0).all()


def test_one_tap_passes_no_message(generator):
    node, adjacency = torch.randn(4, 3, generator=generator), torch.rand(4, 4, generator=generator)
    alone, together = HWGCN((3, 6, 2)), HWGCN((3, 6, 2), taps=2)
    changed = node.clone()
    changed[0] += 1
    assert torch.equal(alone(node, adjacency)[1:], alone(changed, adjacency)[1:])
    assert not torch.allclose(together(node, adjacency)[1:], together(changed, adjacency)[1:])


def test_order_of_nodes_does_not_matter(generator):
    net = HWGCN((3, 6, 2), taps=3)
    node, adjacency = torch.randn(5, 3, generator=generator), torch.rand(5, 5, generator=generator)
    order = torch.randperm(5, generator=generator)
    moved = net(node[order], adjacency[order][:, order])
    torch.testing.assert_close(moved, net(node, adjacency)[order])


def test_bad_sizes_are_told():
    with pytest.raises(ValueError, match="taps: must be at least 1, received 0"):
        GraphFilter(3, 2, 0)
    with pytest.raises(ValueError, match="widths: must be two or more"):
        HWGCN((3,))
