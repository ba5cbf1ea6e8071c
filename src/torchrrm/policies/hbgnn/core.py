"""What the default network sees of a cellular network, and the physics between its layers; all in relative units.

`r` is the SNR at full power, `q` shares of the limits; noise is 1. Nothing depends on how many users and stations there
are, on their order, or on which limits are those of macro stations.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.records import tensor_record

__all__ = [
    "EDGE_FEATURES",
    "NOT_REACHABLE",
    "STATION_FEATURES",
    "USER_FEATURES",
    "AssociationScores",
    "Outlook",
    "Radio",
    "equal_reach",
    "first_matching",
    "outlook",
    "power_step",
    "radio",
    "settled",
    "soft_matching",
]

NOT_REACHABLE = -1e9
"""Score of a station that does not reach a user."""
EDGE_FEATURES = 9
USER_FEATURES = 3
STATION_FEATURES = 5

_LEVEL = 1.0  # of the start, see `equal_reach`
_TINY = 1e-12
_FAINT = 1e-4  # a ratio to noise below -40 dB is as good as none
_QUIET = -25.0  # least logarithm of a share


@tensor_record
class AssociationScores:
    """What the network says: a score for each station that a user may choose, and each station's power.

    Attributes:
        score: the user's station is that of the highest score; `NOT_REACHABLE` of those out of reach.
        share: of the power limit, in [0, 1].
    """

    score: Float[Tensor, "*batch user bs"]
    share: Float[Tensor, "*batch bs"]


@tensor_record
class Radio:
    """What does not change from layer to layer.

    Attributes:
        snr: SNR at full power, 0 where there is no path.
        level: its logarithm, floored.
        reach: whether there is a path.
        audible: stations that reach somebody.
    """

    snr: Float[Tensor, "*batch user bs"]
    level: Float[Tensor, "*batch user bs"]
    reach: Bool[Tensor, "*batch user bs"]
    audible: Bool[Tensor, "*batch bs"]


@tensor_record
class Outlook:
    """What the network sees under shares and a matching.

    Attributes:
        edge: features of each pair, as planes.
        user: features of each user.
        station: features of each station.
        rate: `ln(1 + SINR)` of each pair.
    """

    edge: Float[Tensor, "*batch edge_feature user bs"]
    user: Float[Tensor, "*batch user user_feature"]
    station: Float[Tensor, "*batch bs bs_feature"]
    rate: Float[Tensor, "*batch user bs"]


def radio(snr: Float[Tensor, "*batch user bs"]) -> Radio:
    """Logarithms and masks of relative SNRs that are 0 where user or station is not active."""
    reach = snr > 0
    level = torch.log(snr.clamp_min(_FAINT))
    return Radio(snr=snr, level=level, reach=reach, audible=reach.any(-2))


def equal_reach(radio: Radio) -> Float[Tensor, "*batch bs"]:
    """Logarithms of shares by which all stations are as loud, in the geometric mean over the users they reach.

    Macro and small stations start alike, and stations in the open softer than those behind buildings: of the starts
    that were compared, [Zhang2022HBGNN]'s geometry, the one from which matching and `WMMSE` end best.
    """
    count = radio.reach.sum(-2).clamp_min(1)
    mean = torch.where(radio.reach, radio.level, 0.0).sum(-2) / count
    return torch.where(radio.audible, (_LEVEL - mean).clamp(_QUIET, 0.0), _QUIET)


def soft_matching(
    score: Float[Tensor, "*batch user bs"], reach: Bool[Tensor, "*batch user bs"], rounds: int = 3
) -> Float[Tensor, "*batch user bs"]:
    """Logarithms of a soft matching `a_ij = exp(z_ij - u_i - v_j)` whose rows and columns sum to at most 1.

    Sinkhorn's normalisation of users and stations in turn, with one more choice at score 0 for each: a user without a
    station of its own, a station that is silent.
    """
    score = torch.where(reach, score, NOT_REACHABLE)
    by_user = torch.zeros_like(score[..., :, :1])
    by_station = torch.zeros_like(score[..., :1, :])
    for _ in range(rounds):
        by_user = _softplus_sum(score - by_station, -1)
        by_station = _softplus_sum(score - by_user, -2)
    return score - by_user - by_station


def _softplus_sum(score: Tensor, dim: int) -> Tensor:
    """`ln(1 + sum exp score)`."""
    top = score.amax(dim, keepdim=True).clamp_min(0.0).detach()
    return top + torch.log(torch.exp(-top) + torch.exp(score - top).sum(dim, keepdim=True))


def first_matching(radio: Radio, log_share: Float[Tensor, "*batch bs"]) -> Float[Tensor, "*batch user bs"]:
    """Soft matching by rates alone."""
    rate, _, _ = _rate(radio, log_share)
    return soft_matching(4.0 * rate - 4.0, radio.reach)


def _rate(radio: Radio, log_share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`ln(1 + SINR)` of each pair, what else the user hears with noise, and all it hears."""
    heard = radio.snr * torch.exp(log_share)[..., None, :]
    total = 1.0 + heard.sum(-1, keepdim=True)
    other = (total - heard).clamp_min(1.0)
    return torch.log1p(heard / other), other, total


def outlook(
    radio: Radio, log_share: Float[Tensor, "*batch bs"], log_match: Float[Tensor, "*batch user bs"]
) -> Outlook:
    """Features under shares and a matching."""
    rate, other, total = _rate(radio, log_share)
    share, match = torch.exp(log_share), torch.exp(log_match)
    best_user, best_station = rate.amax(-1, keepdim=True), rate.amax(-2, keepdim=True)
    near = radio.level + log_share[..., None, :]
    edges = [
        radio.level * 0.1,
        near * 0.2,
        rate * 0.3,
        (rate - best_user) * 0.3,
        (rate - best_station) * 0.3,
        (near - near.amax(-1, keepdim=True)) * 0.2,
        (near - near.amax(-2, keepdim=True)) * 0.2,
        log_match.clamp_min(-20.0) * 0.2,
        match,
    ]
    gained = match * (1.0 - torch.exp(-rate))  # [*batch user bs], slope of the rate by ln SINR
    cost = gained / other
    harm = _from_users(radio.snr, cost.sum(-1)) - (radio.snr * cost).sum(-2)
    harm = share * harm.clamp_min(0.0)
    own = gained.sum(-2)
    user = [torch.log(total[..., 0]) * 0.2, best_user[..., 0] * 0.3, match.sum(-1)]
    station = [log_share * 0.1, best_station[..., 0, :] * 0.3, match.sum(-2), own, torch.log1p(harm)]
    return Outlook(
        edge=torch.stack(edges, -3), user=torch.stack(user, -1), station=torch.stack(station, -1), rate=rate
    )


def settled(radio: Radio, log_match: Float[Tensor, "*batch user bs"]) -> Float[Tensor, "*batch user bs"]:
    """Scores that turn a soft matching to an association: a station of one's own, or else one that is silent.

    `ln(a_ij + e^-3 s_ij (1 - sum_k a_kj))`, where `s_ij` is the SNR relative to the user's strongest.
    """
    strongest = torch.where(radio.reach, radio.level, NOT_REACHABLE).amax(-1, keepdim=True)
    match = torch.exp(log_match)
    free = torch.log((1.0 - match.sum(-2, keepdim=True)).clamp_min(1e-4))
    parked = free + 0.5 * (radio.level - strongest).clamp_min(-10.0) - 3.0
    return torch.logaddexp(log_match.clamp_min(-20.0), parked)


def power_step(
    radio: Radio,
    match: Float[Tensor, "*batch user bs"],
    log_share: Float[Tensor, "*batch bs"],
    stride: Float[Tensor, ""],
) -> Float[Tensor, "*batch bs"]:
    """A step of WMMSE [Shi2011] on the links of a soft matching, in logarithms, prolonged by a factor.

    A station's link is that to its users in the mean, `w_ij = a_ij / sum_k a_kj`, its weight `sum_k a_kj`; with
    `d_j = sum_i w_ij r_ij` and so on. `ln q_j` moves by twice the logarithm of `d_j / (heard_j price_j)`.
    """
    share = torch.exp(log_share)
    weight = match.sum(-2).clamp_min(_TINY)  # [*batch bs]
    direct = (match * radio.snr).sum(-2) / weight
    total = 1.0 + _from_stations(radio.snr, share)
    signal = direct * share
    heard = (_from_users(match, total) / weight - signal).clamp_min(1.0)
    cost = weight * signal / (heard * (heard + signal))
    others = _from_users(radio.snr, _from_stations(match, cost / weight)) - direct * cost
    price = direct * cost + others.clamp_min(0.0)
    move = torch.log((weight * direct / (heard * price.clamp_min(_TINY))).clamp_min(_TINY))
    return (log_share + stride * move.clamp(-6.0, 6.0)).clamp(_QUIET, 0.0)


def _from_users(matrix: Tensor, value: Float[Tensor, "*batch user"]) -> Float[Tensor, "*batch bs"]:
    return (value[..., None, :] @ matrix)[..., 0, :]


def _from_stations(matrix: Tensor, value: Float[Tensor, "*batch bs"]) -> Float[Tensor, "*batch user"]:
    return (matrix @ value[..., None])[..., 0]
