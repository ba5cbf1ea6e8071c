"""HBGNN as [Zhang2022HBGNN] prints it: a node's features are its gains, so that sizes and places are fixed."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from torchrrm.policies.hbgnn.fixed_size import FixedSizeAssociation

__all__ = ["LiteralHBGNN"]

_AUDIBLE = 1.0
"""SNR at full power above which the paper has an edge."""


class _Neighbours(NamedTuple):
    """Matrices of ones at neighbours: of first order, and of second order, without the node itself."""

    first: Float[Tensor, "*batch user bs"]
    users: Float[Tensor, "*batch user user"]
    stations: Float[Tensor, "*batch bs bs"]


def _neighbours(audible: Bool[Tensor, "*batch user bs"], dtype: torch.dtype) -> _Neighbours:
    first = audible.to(dtype)
    return _Neighbours(first, _shared(first @ first.mT), _shared(first.mT @ first))


def _shared(count: Float[Tensor, "*batch node node"]) -> Float[Tensor, "*batch node node"]:
    itself = torch.eye(count.shape[-1], dtype=torch.bool, device=count.device)
    return ((count > 0) & ~itself).to(count.dtype)


class _Layer(nn.Module):
    """Steps 5 to 7 of Algorithm 1: for orders 1 and 2, `L([h_v, sum of neighbours])`; joined, of Euclidean norm 1."""

    def __init__(self, user_inputs: int, station_inputs: int, width: int):
        super().__init__()
        both = user_inputs + station_inputs
        self.user = nn.ModuleList([nn.Linear(both, width), nn.Linear(2 * user_inputs, width)])
        self.station = nn.ModuleList([nn.Linear(both, width), nn.Linear(2 * station_inputs, width)])
        self.order = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])

    def forward(
        self, user: Tensor, station: Tensor, near: _Neighbours
    ) -> tuple[Float[Tensor, "*batch user width"], Float[Tensor, "*batch bs width"]]:
        users = (near.first @ station, near.users @ user)
        stations = (near.first.mT @ user, near.stations @ station)
        return self._combine(self.user, user, users), self._combine(self.station, station, stations)

    def _combine(self, entry: nn.ModuleList, own: Tensor, heard: tuple[Tensor, Tensor]) -> Tensor:
        parts = []
        for enter, encode, sums in zip(entry, self.order, heard, strict=True):
            parts.append(torch.relu(encode(torch.relu(enter(torch.cat([own, sums], -1))))))
        return normalize(torch.cat(parts, -1), dim=-1)


class LiteralHBGNN(FixedSizeAssociation):
    """HBGNN by Algorithm 1 and Section IV of [Zhang2022HBGNN].

    A node's first features are its gains: a user's row, a station's column, as `level_of` the SNRs. Users and stations
    are neighbours where the SNR at full power is above 1; neighbours of second order share a neighbour. Two layers sum
    the features of both orders; a linear layer gives a station's power, another, of as many outputs as there are
    stations, a user's scores.

    What the text leaves open. Nodes of the two kinds have features of different lengths, so that the first dense
    layer of `L^(i)` in Algorithm 1, "multi-layer" and one an order, is one a kind; the second is shared by the kinds.
    With `width` neurons in each, these are 471 658 parameters at 120 users and 105 stations, 4.7e5 as Table II prints;
    with a single layer in `L^(i)` they would be 4.1e5, with two of which nothing is shared 5.4e5. The activation is a
    ReLU. The scale of gains is that of `level_of`.

    Args:
        users, stations: that it serves.
        width: neurons of each dense layer; a node's state has twice as many features.
    """

    def __init__(self, users: int = 120, stations: int = 105, *, width: int = 128):
        super().__init__(users, stations)
        self.width = width
        self.layers = nn.ModuleList([_Layer(stations, users, width), _Layer(2 * width, 2 * width, width)])
        self.choice = nn.Linear(2 * width, stations)
        self.loudness = nn.Linear(2 * width, 1)

    @property
    def arguments(self) -> dict[str, int]:
        """What rebuilds the policy, as JSON."""
        return {**super().arguments, "width": self.width}

    def logits(
        self, level: Float[Tensor, "*batch user bs"], ratio: Float[Tensor, "*batch user bs"]
    ) -> tuple[Float[Tensor, "*batch user bs"], Float[Tensor, "*batch bs"]]:
        """Scores of stations and of powers."""
        near = _neighbours(ratio > _AUDIBLE, level.dtype)
        user, station = level, level.mT
        for layer in self.layers:
            user, station = layer(user, station, near)
        return self.choice(user), self.loudness(station)[..., 0]
