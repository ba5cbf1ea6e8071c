"""Bipartite layers against loops over their definition."""

import pytest
import torch

from torchrrm.nn import BipartiteLayer, EdgeNet, edge_softmax, edge_weight
from torchrrm.nn.bipartite import normalised


def graph(generator, *batch, users=6, stations=4, heads=2):
    user = torch.randn(*batch, users, 3, generator=generator, dtype=torch.float64)
    station = torch.randn(*batch, stations, 5, generator=generator, dtype=torch.float64)
    score = torch.randn(*batch, heads, users, stations, generator=generator, dtype=torch.float64)
    exists = torch.rand(*batch, users, stations, generator=generator) < 0.7
    return user, station, edge_weight(score, exists)


def layer(width=8, heads=2):
    torch.manual_seed(0)
    return BipartiteLayer(3, 5, width=width, heads=heads).double()


def test_scores_of_edges_are_clamped():
    score = torch.tensor([[[100.0, -100.0, 2.0, 2.0]]])
    weight = edge_weight(score, torch.tensor([[True, True, True, False]]))
    torch.testing.assert_close(weight, torch.tensor([[[15.0, -15.0, 2.0, -torch.inf]]]).exp())


def mean(weight, state):
    """Of each row's neighbours, weighed; 0 without any."""
    total = weight.sum()
    return (weight[:, None] * state).sum(0) / total if total > 0 else torch.zeros_like(state[0])


def one_user(net, user, station, weight, i):
    """Step 5 to 7 of Algorithm 1 for one user, head by head."""
    part = net.user_message.out_features // net.heads
    sent, said = net.station_message(station), net.user_message(user)
    first, second = [], []
    for head in range(net.heads):
        mine = slice(head * part, (head + 1) * part)
        edge = weight[head]
        stations = torch.stack([mean(edge[:, j], said[:, mine]) for j in range(len(station))])
        first.append(mean(edge[i], sent[:, mine]))
        second.append(mean(edge[i], stations))
    f1 = net.user_first(torch.cat([user[i], *first]))
    f2 = net.user_second(torch.cat([user[i], *second]))
    state = torch.relu(torch.cat([f1, f2]))
    return state / state.norm() * len(state) ** 0.5


def test_a_user_hears_stations_and_users_that_share_them(generator):
    user, station, weight = graph(generator)
    net = layer()
    users, _ = net(user, station, weight)
    expected = torch.stack([one_user(net, user, station, weight, i) for i in range(len(user))])
    torch.testing.assert_close(users, expected, rtol=1e-3, atol=1e-3)


def test_stations_are_users_with_the_kinds_exchanged(generator):
    user, station, weight = graph(generator)
    net, turned = layer(), BipartiteLayer(5, 3, width=8, heads=2).double()
    names = {"user": "station", "station": "user"}
    state = {f"{names[key.split('_')[0]]}_{key.split('_', 1)[1]}": v for key, v in net.state_dict().items()}
    turned.load_state_dict(state)
    users, stations = net(user, station, weight)
    other, another = turned(station, user, weight.mT)
    torch.testing.assert_close((stations, users), (other, another))


def test_batch_is_one_by_one(generator):
    user, station, weight = graph(generator, 2, 3)
    net = layer()
    together = net(user, station, weight)
    for i in range(2):
        for j in range(3):
            alone = net(user[i, j], station[i, j], weight[i, j])
            torch.testing.assert_close((together[0][i, j], together[1][i, j]), alone)


def test_nodes_without_edges_hear_nothing_and_gradients_are_finite(generator):
    user, station, weight = graph(generator)
    score = torch.zeros_like(weight, requires_grad=True)
    exists = torch.zeros(6, 4, dtype=torch.bool)
    net = layer()
    users, stations = net(user, station, edge_weight(score, exists))
    assert users.isfinite().all()
    assert stations.isfinite().all()
    (users.sum() + stations.sum()).backward()
    assert score.grad is not None
    assert not score.grad.any()


def test_normalised_has_mean_square_one(generator):
    state = torch.randn(3, 5, 16, generator=generator)
    torch.testing.assert_close(normalised(state).square().mean(-1), torch.ones(3, 5), rtol=1e-4, atol=0)
    assert not normalised(torch.zeros(2, 4)).any()


@pytest.mark.parametrize("dim", [-1, -2])
def test_softmax_sums_to_one_where_there_are_edges(dim, generator):
    score = 50 * torch.randn(5, 4, generator=generator)
    exists = torch.rand(5, 4, generator=generator) < 0.4
    exists[2], exists[:, 1] = False, False
    weight = edge_softmax(score, exists, dim)
    torch.testing.assert_close(weight.sum(dim), exists.any(dim).float())
    assert not weight[~exists].any()


def test_edge_net_is_its_definition(generator):
    torch.manual_seed(0)
    net = EdgeNet(2, 3, 5, hidden=4, outputs=3).double()
    user, station, _ = graph(generator)
    edge = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    found = net(edge, user, station)
    for i in range(6):
        for j in range(4):
            hidden = net.edge(edge[:, i, j]) + net.user(user[i]) + net.station(station[j])
            torch.testing.assert_close(found[:, i, j], net.last(torch.relu(hidden)))


@pytest.mark.parametrize(("width", "heads"), [(0, 1), (7, 1), (8, 3)])
def test_widths_are_checked(width, heads):
    with pytest.raises(ValueError, match=r"^width: must be even and a multiple"):
        BipartiteLayer(3, 5, width=width, heads=heads)
