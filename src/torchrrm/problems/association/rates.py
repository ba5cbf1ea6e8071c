"""Rates of users by their stations, in a band that all stations use."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.problems.association.records import AssociationAction, CellInstance, RelaxedAssociation, one_hot
from torchrrm.problems.validation import gain_ceiling, over_noise, saturated

__all__ = [
    "in_reach",
    "load",
    "reachable",
    "received",
    "relative_snr",
    "relaxed_rate",
    "station_rate",
    "station_sinr",
    "user_rate",
]


def _both(instance: CellInstance) -> Bool[Tensor, "*batch user bs"]:
    return instance.active_user[..., :, None] & instance.active_bs[..., None, :]


def reachable(instance: CellInstance) -> Bool[Tensor, "*batch user bs"]:
    """Which active stations have a path to which active users."""
    return _both(instance) & (instance.gain > 0)


def in_reach(instance: CellInstance) -> Bool[Tensor, "*batch user"]:
    """Active users to whom at least one active station has a path: those that must be served."""
    return reachable(instance).any(-1)


def relative_snr(instance: CellInstance) -> Float[Tensor, "*batch user bs"]:
    """Signal over noise at full power, `g_ij p_max,j / n`: what solvers and policies compute with.

    In these units powers are fractions of the limits and the noise is 1. 0 in rows of users and columns of stations
    that are not active; ratios above `MOST_RATIO` count as it.
    """
    scale = over_noise(instance.max_power_w, instance.noise_power_w)
    return torch.where(_both(instance), saturated(instance.gain * scale[..., None, :]), 0.0)


def received(instance: CellInstance, power_w: Float[Tensor, "*batch bs"]) -> Float[Tensor, "*batch user bs"]:
    """Power of each station at each user over the noise, `p_j g_ij / n`; 0 where either is not active.

    Gains that exceed the noise by more than `MOST_RATIO` at full power count as those that do by just that.
    """
    power = torch.where(instance.active_bs, power_w, 0.0) / instance.noise_power_w[..., None]
    ceiling = gain_ceiling(torch.where(instance.active_bs, instance.max_power_w, 1.0), instance.noise_power_w)
    gain = torch.minimum(instance.gain, ceiling[..., None, :])
    return torch.where(_both(instance), gain * power[..., None, :], 0.0)


def station_sinr(
    instance: CellInstance, power_w: Float[Tensor, "*batch bs"]
) -> Float[Tensor, "*batch user bs"]:
    """SINR of each user if that station served it: `p_j g_ij / (n + sum_{m != j} p_m g_im)`.

    Eq. (1) of [Zhang2022HBGNN] without the serving station among the interferers, as its Eq. (9) has it. Sums leave out
    the own station instead of subtracting it, which would cancel in float32.
    """
    heard = received(instance, power_w)
    before = heard.cumsum(-1)
    after = heard.flip(-1).cumsum(-1).flip(-1)
    zero = torch.zeros_like(heard[..., :1])
    others = torch.cat([zero, before[..., :-1]], -1) + torch.cat([after[..., 1:], zero], -1)
    return heard / (1 + others)


def station_rate(
    instance: CellInstance, power_w: Float[Tensor, "*batch bs"]
) -> Float[Tensor, "*batch user bs"]:
    """`log2(1 + SINR)` in bit/s/Hz of each user at each station, over the whole band."""
    return torch.log1p(station_sinr(instance, power_w)) / math.log(2)


def load(
    instance: CellInstance, station: Int[Tensor, "*batch user"]
) -> tuple[Float[Tensor, "*batch user bs"], Float[Tensor, "*batch bs"]]:
    """The association of active users and stations as a matrix of ones, and `N_j`, how many users each has."""
    chosen = one_hot(station, instance.gain.shape[-1], dtype=instance.gain.dtype)
    chosen = torch.where(_both(instance), chosen, 0.0)
    return chosen, chosen.sum(-2)


def user_rate(instance: CellInstance, action: AssociationAction) -> Float[Tensor, "*batch user"]:
    """`log2(1 + SINR_ij) / N_j` in bit/s/Hz of each user at its station `j`; 0 of users without one.

    Users of one station share its band and do not interfere. Times `bandwidth_hz` it is in bit/s.
    """
    chosen, count = load(instance, action.station)
    rate = station_rate(instance, action.power_w) / count.clamp_min(1.0)[..., None, :]
    return (chosen * rate).sum(-1)


def relaxed_rate(instance: CellInstance, relaxed: RelaxedAssociation) -> Float[Tensor, "*batch user"]:
    """The same of probabilities: `sum_j x_ij log2(1 + SINR_ij) / max(1, N_j)` with `N_j = sum_i x_ij`.

    It is `user_rate` where probabilities are 0 or 1, and differentiable. A station that few probabilities point to is
    not counted whole, as it would be without the maximum.
    """
    chosen = torch.where(_both(instance), relaxed.probability, 0.0)
    rate = station_rate(instance, relaxed.power_w) / chosen.sum(-2).clamp_min(1.0)[..., None, :]
    return (chosen * rate).sum(-1)
