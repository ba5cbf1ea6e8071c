"""What the default network sees of a cellular network, and the physics between its layers; all in relative units.

`r` is the SNR at full power, `q` shares of the limits; noise is 1. Nothing depends on how many users and stations there
are, on their order, or on which limits are those of macro stations. All takes time linear in the pairs: most of it are
products of the matrix of SNRs, or of a matching, with vectors.
"""

from typing import NamedTuple

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
    "Matching",
    "Outlook",
    "Powers",
    "Radio",
    "Stage",
    "equal_reach",
    "first_matching",
    "matched_rate",
    "outlook",
    "power_steps",
    "radio",
    "settled",
    "soft_matching",
]

NOT_REACHABLE = -1e9
"""Score of a station that does not reach a user."""
EDGE_FEATURES = 4
USER_FEATURES = 5
STATION_FEATURES = 6

_LEVEL = 1.5  # of the start, see `equal_reach`
_TINY = 1e-12
_FAINT = 1e-4  # a ratio to noise below -40 dB is as good as none
_QUIET = -25.0  # least logarithm of a share
_MOST = 40.0  # largest score of a pair


@tensor_record
class AssociationScores:
    """What the network says: a score for each station that a user may choose, and each station's power.

    Attributes:
        score: the user's station is that of the highest score; `NOT_REACHABLE` of those out of reach.
        share: of the power limit, in [0, 1].
    """

    score: Float[Tensor, "*batch user bs"]
    share: Float[Tensor, "*batch bs"]


class Radio(NamedTuple):
    """What does not change from layer to layer.

    Attributes:
        snr: SNR at full power, 0 where there is no path.
        level: its logarithm, floored.
        strongest: the largest of each user.
        reach: whether there is a path.
        audible: stations that reach somebody.
    """

    snr: Float[Tensor, "*batch user bs"]
    level: Float[Tensor, "*batch user bs"]
    strongest: Float[Tensor, "*batch user 1"]
    reach: Bool[Tensor, "*batch user bs"]
    audible: Bool[Tensor, "*batch bs"]


class Matching(NamedTuple):
    """A soft matching: rows and columns sum to at most 1.

    Attributes:
        level: logarithm of `weight`.
        weight: of each pair.
    """

    level: Float[Tensor, "*batch user bs"]
    weight: Float[Tensor, "*batch user bs"]


class Powers(NamedTuple):
    """Shares as logarithms, and where the last step wanted them to go.

    Attributes:
        log_share: of the limits.
        move: change of half the logarithm that the step asked for, before it was clamped.
    """

    log_share: Float[Tensor, "*batch bs"]
    move: Float[Tensor, "*batch bs"]


class Stage(NamedTuple):
    """What a stage ends with."""

    matching: Matching
    powers: Powers


class Outlook(NamedTuple):
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
    return Radio(snr, level, level.amax(-1, keepdim=True), reach, reach.any(-2))


def equal_reach(radio: Radio) -> Powers:
    """Shares by which all stations are as loud: `ln q_j = 1.5 - mean_i ln(1 + r_ij)`, over users in reach of any.

    Macro and small stations start alike, stations in the open softer than those behind buildings, and those that few
    users hear louder: of the starts that were compared, the one from which matching and `WMMSE` end best.
    """
    heard = radio.reach.any(-1).sum(-1, keepdim=True).clamp_min(1)
    mean = torch.log1p(radio.snr).sum(-2) / heard
    log_share = torch.where(radio.audible, (_LEVEL - mean).clamp(_QUIET, 0.0), _QUIET)
    return Powers(log_share, torch.zeros_like(log_share))


def soft_matching(
    score: Float[Tensor, "*batch user bs"], reach: Bool[Tensor, "*batch user bs"], rounds: int = 4
) -> Matching:
    """`a_ij = u_i v_j exp(z_ij)`, rows and columns of which sum to at most 1.

    The normalisation of users and stations in turn of [Sinkhorn1967], with one more choice of score 0 for each: a user
    without a station of its own, a station that is silent.
    """
    score = torch.where(reach, score.clamp(max=_MOST), -_MOST)
    top = score.amax(-1, keepdim=True).clamp_min(0.0)
    kernel = torch.where(reach, torch.exp(score - top), 0.0)
    turned, alone = kernel.mT, torch.exp(-top)  # [*batch bs user], [*batch user 1]
    by_station = torch.ones_like(turned[..., :1])  # [*batch bs 1]
    by_user = alone
    for _ in range(rounds):
        by_user = torch.reciprocal(alone + kernel @ by_station)
        by_station = torch.reciprocal(1.0 + turned @ by_user)
    level = score + (torch.log(by_user) - top) + torch.log(by_station).mT
    return Matching(level, kernel * by_user * by_station.mT)


def first_matching(radio: Radio, log_share: Float[Tensor, "*batch bs"]) -> Matching:
    """Soft matching by rates alone."""
    rate, _, _ = _rate(radio, log_share)
    return soft_matching(4.0 * rate - 4.0, radio.reach)


def _rate(radio: Radio, log_share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`ln(1 + SINR)` of each pair, what each hears, and all that a user hears, with the noise."""
    heard = radio.snr * torch.exp(log_share)[..., None, :]
    total = 1.0 + heard.sum(-1, keepdim=True)
    return torch.log1p(heard / (total - heard).clamp_min(1.0)), heard, total


def matched_rate(radio: Radio, stage: Stage) -> Float[Tensor, "*batch user bs"]:
    """`a_ij ln(1 + SINR_ij)` in nats: what a stage promises."""
    return stage.matching.weight * _rate(radio, stage.powers.log_share)[0]


def outlook(radio: Radio, powers: Powers, matching: Matching) -> Outlook:
    """Features under shares and a matching."""
    log_share, match = powers.log_share, matching.weight
    rate, heard, total = _rate(radio, log_share)
    edges = [radio.level * 0.1, rate * 0.3, matching.level.clamp_min(-20.0) * 0.2, match]
    best_user, best_station = rate.amax(-1), rate.amax(-2)
    gained = match * heard / total  # [*batch user bs], slope of the rate by ln SINR
    user = [
        torch.log(total[..., 0]) * 0.2,
        best_user * 0.3,
        radio.strongest[..., 0] * 0.1,
        match.sum(-1),
        gained.sum(-1),
    ]
    station = [
        log_share * 0.1,
        best_station * 0.3,
        powers.move.clamp(-6.0, 6.0) * 0.3,
        (match * rate).sum(-2) * 0.3,
        match.sum(-2),
        gained.sum(-2),
    ]
    return Outlook(torch.stack(edges, -3), torch.stack(user, -1), torch.stack(station, -1), rate)


def settled(radio: Radio, matching: Matching) -> Float[Tensor, "*batch user bs"]:
    """Scores that turn a soft matching to an association: a station of one's own, or else one that is silent.

    `ln(a_ij + e^-3 s_ij (1 - sum_k a_kj))`, where `s_ij` is the root of the SNR relative to the user's strongest.
    """
    free = torch.log((1.0 - matching.weight.sum(-2, keepdim=True)).clamp_min(1e-4))
    parked = free + 0.5 * (radio.level - radio.strongest).clamp_min(-10.0) - 3.0
    return torch.maximum(matching.level.clamp_min(-20.0), parked)


def power_steps(
    radio: Radio,
    match: Float[Tensor, "*batch user bs"],
    log_share: Float[Tensor, "*batch bs"],
    strides: Float[Tensor, "step"],
) -> Powers:
    """Steps of WMMSE [Shi2011] on the links of a soft matching, in logarithms, each prolonged by a factor.

    A station's link is that to its users in the mean, `w_ij = a_ij / sum_k a_kj`, its weight `sum_k a_kj`; with
    `d_j = sum_i w_ij r_ij` and so on. `ln q_j` moves by the factor times the logarithm of `d_j / (heard_j price_j)`,
    that by which WMMSE multiplies amplitudes: the factor 2 is WMMSE itself.
    """
    snr, heard_by, served_by = radio.snr, radio.snr.mT, match.mT
    weight = match.sum(-2).clamp_min(_TINY)[..., None]  # [*batch bs 1], as all that follows of stations
    direct = (match * snr).sum(-2)[..., None] / weight
    level = log_share[..., None]
    move = torch.zeros_like(level)
    for stride in strides:
        share = torch.exp(level)
        signal = direct * share
        heard = (served_by @ (1.0 + snr @ share) / weight - signal).clamp_min(1.0)
        cost = weight * signal / (heard * (heard + signal))
        own = direct * cost
        price = own + (heard_by @ (match @ (cost / weight)) - own).clamp_min(0.0)
        move = torch.log((weight * direct / (heard * price.clamp_min(_TINY))).clamp_min(_TINY))
        level = (level + stride * move.clamp(-6.0, 6.0)).clamp(_QUIET, 0.0)
    return Powers(level[..., 0], move[..., 0])
