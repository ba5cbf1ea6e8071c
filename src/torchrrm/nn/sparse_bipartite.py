"""Layers on bipartite graphs of users and stations by lists of edges, with the weights of the layers on all pairs."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchrrm.kernels import list_messages as kernels
from torchrrm.nn.bipartite import BipartiteLayer, EdgeNet, normalised
from torchrrm.records import is_plain

__all__ = ["StationLists"]

_LEAST_WEIGHT = 1e-9  # as in `torchrrm.nn.bipartite`
_COMPILED = (torch.float32, torch.float64)
# Compiled functions, which pyright takes for the plain ones that they are made from.
_to_users: Callable[..., Any] = kernels.to_users
_to_stations: Callable[..., Any] = kernels.to_stations


class StationLists:
    """A graph by the list of stations that each user has, none twice: memory is linear in its edges.

    Planes of edges are `[.. user degree]`, so that sums over a user's stations are those over the last axis.

    Args:
        neighbour: stations of each user.
        stations: how many there are.
    """

    def __init__(self, neighbour: Int[Tensor, "user degree"], stations: int):
        self.neighbour = neighbour.contiguous()
        self.stations = stations
        self._flat = self.neighbour.flatten()

    def at(self, value: Float[Tensor, "*plane bs"]) -> Float[Tensor, "*plane user degree"]:
        """The value of each edge's station."""
        return value.index_select(-1, self._flat).unflatten(-1, self.neighbour.shape)

    def sum(self, value: Float[Tensor, "user degree"]) -> Float[Tensor, "bs"]:
        """Sums over each station's users."""
        return value.new_zeros(self.stations).scatter_add(0, self._flat, value.flatten())

    def largest(self, value: Float[Tensor, "user degree"]) -> Float[Tensor, "bs"]:
        """Maximum over each station's users; 0 without any."""
        start = value.new_full((self.stations,), -torch.inf)
        found = start.scatter_reduce(0, self._flat, value.flatten(), "amax")
        return torch.where(found > -torch.inf, found, 0.0)

    def edge_net(
        self,
        net: EdgeNet,
        edge: Float[Tensor, "edge_feature user degree"],
        user: Float[Tensor, "user user_feature"],
        station: Float[Tensor, "bs bs_feature"],
    ) -> Float[Tensor, "output user degree"]:
        """`EdgeNet` on the edges that there are."""
        hidden = self.at(net.station(station).mT.contiguous())  # [hidden user degree]
        hidden = hidden + (net.user(user) + net.edge.bias).mT[..., None]
        hidden = torch.relu(torch.addmm(hidden.flatten(1), net.edge.weight, edge.flatten(1)))
        return torch.addmm(net.last.bias[:, None], net.last.weight, hidden).unflatten(-1, edge.shape[1:])

    def layer(
        self,
        layer: BipartiteLayer,
        user: Float[Tensor, "user user_feature"],
        station: Float[Tensor, "bs bs_feature"],
        weight: Float[Tensor, "head user degree"],
    ) -> tuple[Float[Tensor, "user width"], Float[Tensor, "bs width"]]:
        """`BipartiteLayer` on the edges that there are."""
        per_user = weight.sum(-1)  # [head user]
        per_station = torch.stack([self.sum(plane) for plane in weight])  # [head bs]
        sent_up = _mean(self._up(weight, layer.user_message(user)), per_station)
        sent_down = _mean(self._down(weight, layer.station_message(station)), per_user)
        back_down = _mean(self._down(weight, sent_up), per_user)
        back_up = _mean(self._up(weight, sent_down), per_station)
        users = [
            layer.user_first(torch.cat([user, sent_down], -1)),
            layer.user_second(torch.cat([user, back_down], -1)),
        ]
        stations = [
            layer.station_first(torch.cat([station, sent_up], -1)),
            layer.station_second(torch.cat([station, back_up], -1)),
        ]
        return (
            normalised(torch.relu(torch.cat(users, -1))),
            normalised(torch.relu(torch.cat(stations, -1))),
        )

    def _down(
        self, weight: Float[Tensor, "head user degree"], message: Float[Tensor, "bs width"]
    ) -> Float[Tensor, "user width"]:
        """Sums of stations' messages, each head's part by its weights."""
        if _compiled(weight, message):
            return torch.from_numpy(_to_users(*_arrays(weight, self.neighbour, message)))
        sent = message.unflatten(-1, (len(weight), -1))[self.neighbour]  # [user degree head part]
        return torch.einsum("hnd,ndhc->nhc", weight, sent).flatten(-2)

    def _up(
        self, weight: Float[Tensor, "head user degree"], message: Float[Tensor, "user width"]
    ) -> Float[Tensor, "bs width"]:
        """Sums of users' messages, each head's part by its weights."""
        if _compiled(weight, message):
            arrays = _arrays(weight, self.neighbour, message)
            return torch.from_numpy(_to_stations(*arrays, self.stations))
        sent = torch.einsum("hnd,nhc->ndhc", weight, message.unflatten(-1, (len(weight), -1)))
        result = message.new_zeros(self.stations, message.shape[-1])
        return result.index_add(0, self._flat, sent.flatten(0, 1).flatten(1))


def _mean(
    total: Float[Tensor, "node width"], weight: Float[Tensor, "head node"]
) -> Float[Tensor, "node width"]:
    """Sums of messages over those of weights, each head's part by its own."""
    scale = 1.0 / weight.clamp_min(_LEAST_WEIGHT).mT[..., None]  # [node head 1]
    return (total.unflatten(-1, (len(weight), -1)) * scale).flatten(-2)


def _compiled(weight: Tensor, message: Tensor) -> bool:
    asked = torch.is_grad_enabled() and (weight.requires_grad or message.requires_grad)
    return not asked and is_plain(weight, message) and message.dtype in _COMPILED


def _arrays(*tensors: Tensor) -> tuple:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)
