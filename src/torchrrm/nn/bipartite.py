"""Layers on bipartite graphs of users and stations, all of whose edges are weighed, without edge lists."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["BipartiteLayer", "EdgeNet", "edge_softmax", "edge_weight", "normalised"]

_LEAST_NORM = 1e-6
_LEAST_WEIGHT = 1e-9
_NO_EDGE = -1e9


def normalised(state: Float[Tensor, "*batch node feature"]) -> Float[Tensor, "*batch node feature"]:
    """`sqrt(F) h / ||h||_2` over the F features: step 7 of Algorithm 1 of [Zhang2022HBGNN], at mean square 1."""
    square = state.square().mean(-1, keepdim=True)
    return state * torch.rsqrt(square + _LEAST_NORM)


def edge_softmax(
    score: Float[Tensor, "*batch user bs"], exists: Bool[Tensor, "*batch user bs"], dim: int
) -> Float[Tensor, "*batch user bs"]:
    """Weights of the edges at each node that sum to 1: over its users (`dim=-2`) or its stations (`dim=-1`).

    0 of edges that do not exist, and at nodes without any.
    """
    return torch.where(exists, torch.softmax(torch.where(exists, score, _NO_EDGE), dim), 0.0)


def edge_weight(
    score: Float[Tensor, "*batch head user bs"], exists: Bool[Tensor, "*batch user bs"]
) -> Float[Tensor, "*batch head user bs"]:
    """`exp` of scores clamped to 15 in magnitude, 0 of edges that do not exist: for `BipartiteLayer`."""
    return torch.exp(score.clamp(-15.0, 15.0)) * exists.to(score.dtype)[..., None, :, :]


class BipartiteLayer(nn.Module):
    """Layer of Algorithm 1 of [Zhang2022HBGNN]: aggregation of first and second order, combined and normalised.

    For a user `i`, and likewise for a station with the two kinds exchanged,

        f1_i = mean_j e_ij s_j,   f2_i = mean_j e_ij mean_k e_kj u_k,
        u'_i = normalised [relu L1 [u_i, f1_i], relu L2 [u_i, f2_i]],

    with users' states `u`, stations' `s`, and means weighed by `e`. Those of second order pass through the stations
    that users share, so that nothing is quadratic in users or in stations.

    It deviates from the paper in that edges have weights, a few for each (heads), each of which applies to its
    part of the features, and in that sums are relative to the sums of weights, so that their scale does not grow with
    the network; the paper sums neighbours as they are, and tells edges apart by inputs of fixed size.

    Shapes: users `[*batch user F]`, stations `[*batch bs G]`, weights `[*batch head user bs]` -> users and stations
    `[*batch .. width]`.

    Args:
        user_inputs, station_inputs: features of a node.
        width: of the result, even; half of it tells of each order.
        heads: weights of an edge; divides the width.
    """

    def __init__(self, user_inputs: int, station_inputs: int, *, width: int = 128, heads: int = 4):
        super().__init__()
        if width < 2 or width % 2 or width % heads:
            raise ValueError(f"width: must be even and a multiple of {heads} heads, received {width}")
        self.heads = heads
        self.user_message = nn.Linear(user_inputs, width)
        self.station_message = nn.Linear(station_inputs, width)
        self.user_first = nn.Linear(user_inputs + width, width // 2)
        self.user_second = nn.Linear(user_inputs + width, width // 2)
        self.station_first = nn.Linear(station_inputs + width, width // 2)
        self.station_second = nn.Linear(station_inputs + width, width // 2)

    def forward(
        self,
        user: Float[Tensor, "*batch user user_feature"],
        station: Float[Tensor, "*batch bs bs_feature"],
        weight: Float[Tensor, "*batch head user bs"],
    ) -> tuple[Float[Tensor, "*batch user width"], Float[Tensor, "*batch bs width"]]:
        down, up = weight, weight.mT  # [*batch head user bs], [*batch head bs user]
        per_user = 1.0 / weight.sum(-1, keepdim=True).clamp_min(_LEAST_WEIGHT)  # [*batch head user 1]
        per_station = 1.0 / weight.sum(-2).clamp_min(_LEAST_WEIGHT)[..., None]  # [*batch head bs 1]
        sent_up = up @ self._split(self.user_message(user)) * per_station  # [*batch head bs part]
        sent_down = down @ self._split(self.station_message(station)) * per_user  # [*batch head user part]
        back_down, back_up = self._join(down @ sent_up * per_user), self._join(up @ sent_down * per_station)
        sent_up, sent_down = self._join(sent_up), self._join(sent_down)
        users = [self.user_first(_beside(user, sent_down)), self.user_second(_beside(user, back_down))]
        stations = [
            self.station_first(_beside(station, sent_up)),
            self.station_second(_beside(station, back_up)),
        ]
        return (
            normalised(torch.relu(torch.cat(users, -1))),
            normalised(torch.relu(torch.cat(stations, -1))),
        )

    def _split(self, message: Tensor) -> Float[Tensor, "*batch head node part"]:
        part = message.shape[-1] // self.heads
        return message.unflatten(-1, (self.heads, part)).transpose(-2, -3)

    def _join(self, message: Tensor) -> Float[Tensor, "*batch node width"]:
        return message.transpose(-2, -3).flatten(-2)


class EdgeNet(nn.Module):
    """A hidden layer on each edge, of its own features and of what its ends say: a few numbers an edge.

        z_ij = W relu(A x_ij + B u_i + C s_j + b) + c

    Features of edges are planes `[*batch feature user bs]`, so that both layers are products of matrices, and ends
    speak to `hidden` numbers only: nothing is as large as edges times the width of a node.

    Args:
        edge_inputs, user_inputs, station_inputs: features.
        hidden: width.
        outputs: planes of the result.
    """

    def __init__(
        self, edge_inputs: int, user_inputs: int, station_inputs: int, *, hidden: int = 16, outputs: int = 1
    ):
        super().__init__()
        self.edge = nn.Linear(edge_inputs, hidden)
        self.user = nn.Linear(user_inputs, hidden, bias=False)
        self.station = nn.Linear(station_inputs, hidden, bias=False)
        self.last = nn.Linear(hidden, outputs)

    def forward(
        self,
        edge: Float[Tensor, "*batch edge_feature user bs"],
        user: Float[Tensor, "*batch user user_feature"],
        station: Float[Tensor, "*batch bs bs_feature"],
    ) -> Float[Tensor, "*batch output user bs"]:
        sizes = edge.shape[-2:]
        hidden = (self.edge.weight @ edge.flatten(-2)).unflatten(-1, sizes)  # [*batch hidden user bs]
        hidden = hidden + (self.user(user) + self.edge.bias).mT[..., :, None]
        hidden = torch.relu(hidden + self.station(station).mT[..., None, :])
        result = (self.last.weight @ hidden.flatten(-2)).unflatten(-1, sizes)
        return result + self.last.bias[:, None, None]


def _beside(state: Tensor, message: Tensor) -> Tensor:
    return torch.cat([state, message], dim=-1)
