"""Layers on lists of stations against those on all pairs."""

import pytest
import torch

from torchrrm.nn import BipartiteLayer, EdgeNet
from torchrrm.nn.sparse_bipartite import StationLists

USERS, STATIONS, DEGREE, HEADS = 30, 11, 4, 4


def lists(degree: int = DEGREE) -> StationLists:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randperm(STATIONS, generator=generator)[:degree] for _ in range(USERS)]
    return StationLists(torch.stack(rows), STATIONS)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def spread(graph: StationLists, value: torch.Tensor) -> torch.Tensor:
    """`[.. user bs]` of planes of edges, 0 elsewhere."""
    full = value.new_zeros(*value.shape[:-1], STATIONS)
    return full.scatter(-1, graph.neighbour.expand_as(value), value)


def test_sums_and_maxima_of_stations():
    graph, value = lists(), drawn(USERS, DEGREE)
    torch.testing.assert_close(graph.sum(value), spread(graph, value).sum(0))
    full = spread(graph, value)
    wanted = torch.where(full == 0, -torch.inf, full).amax(0)
    assert torch.equal(graph.largest(value), wanted)
    assert torch.equal(graph.at(wanted), wanted[graph.neighbour])
    alone = StationLists(torch.tensor([[2]]), 4)
    assert alone.largest(torch.tensor([[-1.0]])).tolist() == [0.0, 0.0, -1.0, 0.0]


def test_edge_net_is_that_of_all_pairs():
    graph, net = lists(), EdgeNet(5, 7, 3, hidden=6, outputs=2).double()
    edge, user, station = drawn(5, USERS, DEGREE), drawn(USERS, 7), drawn(STATIONS, 3)
    wanted = net(spread(graph, edge), user, station)
    found = graph.edge_net(net, edge, user, station)
    torch.testing.assert_close(found, wanted.gather(-1, graph.neighbour.expand_as(found)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degree", [1, DEGREE, STATIONS])
def test_layer_is_that_of_all_pairs(dtype, degree):
    graph, layer = lists(degree), BipartiteLayer(7, 3, width=16, heads=HEADS).to(dtype)
    weight = drawn(HEADS, USERS, degree, dtype=dtype).abs()
    nodes = drawn(USERS, 7, dtype=dtype), drawn(STATIONS, 3, dtype=dtype)
    wanted = layer(*nodes, spread(graph, weight))
    traced = graph.layer(layer, *nodes, weight)
    with torch.no_grad():
        compiled = graph.layer(layer, *nodes, weight)
    for found in (traced, compiled):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert traced[0].requires_grad
    assert not compiled[0].requires_grad


def test_gradients_are_those_of_all_pairs():
    graph, layer = lists(), BipartiteLayer(7, 3, width=16, heads=HEADS).double()
    weight = drawn(HEADS, USERS, DEGREE).abs().requires_grad_()
    nodes = drawn(USERS, 7), drawn(STATIONS, 3)
    users, stations = drawn(USERS, 16, seed=1), drawn(STATIONS, 16, seed=2)

    def gradients(result):
        total = (result[0] * users).sum() + (result[1] * stations).sum()
        return torch.autograd.grad(total, [weight, *layer.parameters()])

    found = gradients(graph.layer(layer, *nodes, weight))
    wanted = gradients(layer(*nodes, spread(graph, weight)))
    torch.testing.assert_close(found, wanted)
