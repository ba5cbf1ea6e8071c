"""HBGNN of large networks, each user of which has a list of stations."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.nn import BipartiteLayer, EdgeNet, edge_weight
from torchrrm.nn.sparse_bipartite import StationLists
from torchrrm.policies.base import Policy
from torchrrm.policies.hbgnn import HBGNN, NOT_REACHABLE
from torchrrm.policies.hbgnn.core import Matching, Outlook, Powers
from torchrrm.problems.association import UNSERVED, AssociationAction, SparseCellInstance, listed
from torchrrm.problems.association.sparse import require_stations
from torchrrm.problems.links import at_neighbours
from torchrrm.problems.validation import over_noise, saturated
from torchrrm.records import replace, tensor_record

__all__ = ["ListScores", "SparseHBGNN"]

# As in `torchrrm.policies.hbgnn.core`.
_LEVEL, _TINY, _FAINT, _QUIET, _MOST = 1.5, 1e-12, 1e-4, -25.0, 40.0


@tensor_record
class ListScores:
    """`AssociationScores` of the stations that users list.

    Attributes:
        score: of each entry of a list; `NOT_REACHABLE` where there is no edge.
        share: of the power limit, in [0, 1].
    """

    score: Float[Tensor, "*batch user degree"]
    share: Float[Tensor, "*batch bs"]


@dataclass(frozen=True)
class _Air:
    """`Radio` of all instances of a batch as one graph, whose last station, which reaches nobody, fills up lists.

    Attributes:
        lists: the graph.
        snr: SNR at full power, 0 where there is no edge, `[user degree]`.
        level: its logarithm, floored.
        strongest: the largest of each user, `[user 1]`.
        reach: whether there is an edge.
        audible: stations that reach somebody, `[bs]`.
        listing: users in reach that list a station of the instance, in the mean, `[bs]`; all where all are listed.
        rest: SNR of all stations that a user does not list, `[user]`.
        instances: how many there are.
    """

    lists: StationLists
    snr: Tensor
    level: Tensor
    strongest: Tensor
    reach: Tensor
    audible: Tensor
    listing: Tensor
    rest: Tensor
    instances: int

    def unlisted(self, share: Float[Tensor, "bs"]) -> Float[Tensor, "user 1"]:
        """What else users hear: as if the stations that they do not list had the mean share of all that are audible."""
        own = torch.where(self.audible, share, 0.0)[:-1].reshape(self.instances, -1).sum(-1)
        count = self.audible[:-1].reshape(self.instances, -1).sum(-1).clamp_min(1)
        rest = self.rest.reshape(self.instances, -1)
        return (rest * (own / count)[:, None]).reshape(-1, 1)


class SparseHBGNN(Policy):
    """`HBGNN` on lists of stations: time and memory grow linearly with the edges.

    It has the weights of a dense policy (`SparseHBGNN.of`): what trains one trains the other, and where all stations
    are listed both give the same scores and powers. Elsewhere users hear the stations that they do not list as if
    these had the mean share of all.

    On a CPU without gradients a compiled kernel sends the messages.

    Args:
        arguments: as of `HBGNN`.
    """

    not_exported = "its dense form is what to export"

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__()
        self.dense = HBGNN(*arguments, **settings)

    @classmethod
    def of(cls, policy: HBGNN) -> "SparseHBGNN":
        """The sparse form of a policy, of the same parameters."""
        sparse = cls(**policy.arguments)
        sparse.dense = policy
        return sparse

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return self.dense.arguments

    def forward(self, instance: SparseCellInstance) -> AssociationAction:
        """The best-scored station of each user's list, and powers in W."""
        scores = self.score(instance)
        best, place = scores.score.max(-1, keepdim=True)
        station = torch.where(best > NOT_REACHABLE / 2, instance.neighbour.gather(-1, place), UNSERVED)
        power = torch.where(instance.active_bs, scores.share * instance.max_power_w, 0.0)
        return AssociationAction(station=station[..., 0], power_w=power)

    def score(self, instance: SparseCellInstance) -> ListScores:
        """The network; where there are no users, stations are silent."""
        if not require_stations(instance).neighbour.numel():
            return ListScores(score=instance.neighbour_gain, share=torch.zeros_like(instance.max_power_w))
        order = instance.neighbour[..., 0].argsort(-1)  # users of the same stations are close in memory
        score, share = self._unroll(_air(_reordered(instance, order)))
        score = score.reshape(instance.neighbour.shape)
        place = order[..., None].expand_as(score)
        return ListScores(
            score=torch.empty_like(score).scatter(-2, place, score),
            share=share.reshape(instance.max_power_w.shape),
        )

    def _unroll(self, air: _Air) -> tuple[Float[Tensor, "user degree"], Float[Tensor, "bs"]]:
        net, lists = self.dense, air.lists
        powers = _equal_reach(air)
        matching = _soft_matching(air, 4.0 * _rate(air, powers.log_share)[0] - 4.0)
        user, station = air.snr[:, :0], air.snr.new_zeros(lists.stations, 0)
        states = user, station
        for number, edges in enumerate(net.edges):
            seen = _outlook(air, powers, matching)
            states = torch.cat([user, seen.user], -1), torch.cat([station, seen.station], -1)
            planes = lists.edge_net(cast(EdgeNet, edges), seen.edge, *states)  # [1 + head user degree]
            matching = _soft_matching(air, planes[0] + net.greed[number] * (seen.rate - 1.0))
            log_share = powers.log_share + net.loudness[number](states[1])[..., 0]
            powers = _power_steps(air, matching.weight, log_share, net.stride[number])
            if number < len(net.layers):
                layer, weight = cast(BipartiteLayer, net.layers[number]), edge_weight(planes[1:], air.reach)
                user, station = lists.layer(layer, *states, weight)
        seen = _outlook(air, powers, matching)
        score = lists.edge_net(net.choice, seen.edge, *states)[0]
        score = score + net.sharpness * _settled(air, matching)
        share = torch.where(air.audible, torch.exp(powers.log_share), 0.0)
        return torch.where(air.reach, score, NOT_REACHABLE), share[:-1]


def _reordered(instance: SparseCellInstance, order: Int[Tensor, "*batch user"]) -> SparseCellInstance:
    """The instance with its users in another order."""
    place = order[..., None].expand_as(instance.neighbour)
    return replace(
        instance,
        neighbour=instance.neighbour.gather(-2, place),
        neighbour_gain=instance.neighbour_gain.gather(-2, place),
        residual_w=instance.residual_w.gather(-1, order),
        active_user=instance.active_user.gather(-1, order),
    )


def _air(instance: SparseCellInstance) -> _Air:
    stations, degree = instance.max_power_w.shape[-1], instance.neighbour.shape[-1]
    scale = over_noise(instance.max_power_w, instance.noise_power_w)
    ratio = instance.neighbour_gain * at_neighbours(scale, instance.neighbour.clamp_min(0))
    snr = torch.where(listed(instance), saturated(ratio), 0.0).reshape(-1, degree)
    rest = torch.where(instance.active_user, instance.residual_w / instance.noise_power_w[..., None], 0.0)
    lists = instance.neighbour.reshape(-1, *instance.neighbour.shape[-2:])
    block = torch.arange(len(lists), device=lists.device)[:, None, None] * stations
    last = len(lists) * stations
    graph = StationLists(torch.where(lists >= 0, lists + block, last).flatten(0, 1), last + 1)
    level = torch.log(snr.clamp_min(_FAINT))
    return _Air(
        lists=graph,
        snr=snr,
        level=level,
        strongest=level.amax(-1, keepdim=True),
        reach=snr > 0,
        audible=graph.largest(snr.detach()) > 0,
        listing=_listing(instance, (snr > 0).any(-1)).to(snr.dtype),
        rest=rest.flatten(),
        instances=len(lists),
    )


def _listing(instance: SparseCellInstance, heard: Bool[Tensor, "user"]) -> Float[Tensor, "bs"]:
    """Entries of active stations in the lists of users in reach, by the number of these stations."""
    entry = at_neighbours(instance.active_bs, instance.neighbour.clamp_min(0)) & (instance.neighbour >= 0)
    entries = (entry.sum(-1) * heard.reshape(entry.shape[:-1])).sum(-1)
    mean = (entries / instance.active_bs.sum(-1).clamp_min(1))[..., None].expand(instance.active_bs.shape)
    return torch.cat([mean.flatten(), mean.new_ones(1)]).clamp_min(1e-3)


# What follows is `torchrrm.policies.hbgnn.core` on lists; names and order are the same.


def _equal_reach(air: _Air) -> Powers:
    mean = air.lists.sum(torch.log1p(air.snr)) / air.listing
    log_share = torch.where(air.audible, (_LEVEL - mean).clamp(_QUIET, 0.0), _QUIET)
    return Powers(log_share, torch.zeros_like(log_share))


def _soft_matching(air: _Air, score: Float[Tensor, "user degree"], rounds: int = 4) -> Matching:
    lists, score = air.lists, torch.where(air.reach, score.clamp(max=_MOST), -_MOST)
    top = score.amax(-1, keepdim=True).clamp_min(0.0)
    kernel = torch.where(air.reach, torch.exp(score - top), 0.0)
    alone, by_station = torch.exp(-top), torch.ones_like(kernel)
    by_user, level = alone, score
    for _ in range(rounds):
        by_user = 1.0 / (alone + (kernel * by_station).sum(-1, keepdim=True))
        total = 1.0 + lists.sum(kernel * by_user)
        by_station, level = lists.at(1.0 / total), lists.at(torch.log(total))
    return Matching(score + (torch.log(by_user) - top) - level, kernel * by_user * by_station)


def _rate(air: _Air, log_share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    share = torch.exp(log_share)
    heard = air.snr * air.lists.at(share)
    total = 1.0 + air.unlisted(share) + heard.sum(-1, keepdim=True)
    return torch.log1p(heard / (total - heard).clamp_min(1.0)), heard, total


def _outlook(air: _Air, powers: Powers, matching: Matching) -> Outlook:
    lists, match = air.lists, matching.weight
    rate, heard, total = _rate(air, powers.log_share)
    edges = [air.level * 0.1, rate * 0.3, matching.level.clamp_min(-20.0) * 0.2, match]
    gained = match * heard / total
    user = [
        torch.log(total[:, 0]) * 0.2,
        rate.amax(-1) * 0.3,
        air.strongest[:, 0] * 0.1,
        match.sum(-1),
        gained.sum(-1),
    ]
    station = [
        powers.log_share * 0.1,
        lists.largest(rate) * 0.3,
        powers.move.clamp(-6.0, 6.0) * 0.3,
        lists.sum(match * rate) * 0.3,
        lists.sum(match),
        lists.sum(gained),
    ]
    return Outlook(torch.stack(edges), torch.stack(user, -1), torch.stack(station, -1), rate)


def _settled(air: _Air, matching: Matching) -> Float[Tensor, "user degree"]:
    free = torch.log((1.0 - air.lists.sum(matching.weight)).clamp_min(1e-4))
    parked = air.lists.at(free) + 0.5 * (air.level - air.strongest).clamp_min(-10.0) - 3.0
    return torch.maximum(matching.level.clamp_min(-20.0), parked)


def _power_steps(
    air: _Air,
    match: Float[Tensor, "user degree"],
    log_share: Float[Tensor, "bs"],
    strides: Float[Tensor, "step"],
) -> Powers:
    lists = air.lists
    weight = lists.sum(match).clamp_min(_TINY)
    direct = lists.sum(match * air.snr) / weight
    move = torch.zeros_like(log_share)
    for stride in strides:
        share = torch.exp(log_share)
        signal = direct * share
        total = 1.0 + air.unlisted(share) + (air.snr * lists.at(share)).sum(-1, keepdim=True)
        heard = (lists.sum(match * total) / weight - signal).clamp_min(1.0)
        cost = weight * signal / (heard * (heard + signal))
        own = direct * cost
        charged = (match * lists.at(cost / weight)).sum(-1, keepdim=True)
        price = own + (lists.sum(air.snr * charged) - own).clamp_min(0.0)
        move = torch.log((weight * direct / (heard * price.clamp_min(_TINY))).clamp_min(_TINY))
        log_share = (log_share + stride * move.clamp(-6.0, 6.0)).clamp(_QUIET, 0.0)
    return Powers(log_share, move)
