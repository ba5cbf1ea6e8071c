"""Secrecy rate against one eavesdropper as a function of bandwidth, for long and short blocks.

Written in `q = (c - e) / (w + c)` and `t = e / (w + e)`, with `c` and `e` the carrier-to-noise density ratios
of the user and of the eavesdropper: `ln(1 + c/w) - ln(1 + e/w) = -ln(1 - q)` has no cancellation when the two
channels are alike.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.rates.finite_blocklength import dispersion_curvature, dispersion_loss, dispersion_slope
from torchrrm.rates.shannon import log1p_excess, positive

__all__ = ["secrecy_curvature", "secrecy_rate", "secrecy_slope"]


def _advantage(bandwidth_hz: Tensor, cn0_hz: Tensor, eavesdropper_cn0_hz: Tensor) -> Tensor:
    return torch.clamp(cn0_hz - eavesdropper_cn0_hz, min=0) / (bandwidth_hz + cn0_hz)


def _log_advantage(bandwidth_hz: Tensor, cn0_hz: Tensor, eavesdropper_cn0_hz: Tensor) -> Tensor:
    """`ln((w + c) / (w + e))`, 0 where the eavesdropper's channel is at least as good."""
    return torch.log1p(
        torch.clamp(cn0_hz - eavesdropper_cn0_hz, min=0) / (bandwidth_hz + eavesdropper_cn0_hz)
    )


def secrecy_rate(
    bandwidth_hz: Float[Tensor, "*#shape"],
    cn0_hz: Float[Tensor, "*#shape"],
    eavesdropper_cn0_hz: Float[Tensor, "*#shape"],
    loss_factor: float = 0.0,
    leakage_factor: float = 0.0,
) -> Float[Tensor, "*#shape"]:
    """Secrecy rate in bit/s (Eqs. (5) and (6) of [Hao2024]; the short-block form from [Wang2019SecureShort]).

    `[w log2(1 + c/w) - w log2(1 + e/w)]^+` less, for short blocks, `loss_factor sqrt(w V(c)) + leakage_factor
    sqrt(w V(e))`; 0 where `c <= e` or without bandwidth. The short-block form may fall below zero at small
    bandwidths; it is not clipped.

    Args:
        bandwidth_hz: `w` in Hz, not negative.
        cn0_hz: the user's `c` in Hz.
        eavesdropper_cn0_hz: `e` in Hz.
        loss_factor: `back_off(error_probability, block_duration_s)`, 0 for long blocks.
        leakage_factor: `back_off(information_leakage, block_duration_s)`, 0 for long blocks.
    """
    width = positive(bandwidth_hz)
    rate = width * _log_advantage(width, cn0_hz, eavesdropper_cn0_hz) / math.log(2)
    if loss_factor or leakage_factor:
        rate = rate - loss_factor * dispersion_loss(width, cn0_hz)
        rate = rate - leakage_factor * dispersion_loss(width, eavesdropper_cn0_hz)
    return torch.where((bandwidth_hz > 0) & (cn0_hz > eavesdropper_cn0_hz), rate, torch.zeros_like(rate))


def secrecy_slope(
    bandwidth_hz: Float[Tensor, "*#shape"],
    cn0_hz: Float[Tensor, "*#shape"],
    eavesdropper_cn0_hz: Float[Tensor, "*#shape"],
    loss_factor: float = 0.0,
    leakage_factor: float = 0.0,
) -> Float[Tensor, "*#shape"]:
    """Derivative of `secrecy_rate` in bit/s/Hz; for long blocks `(-ln(1 - q) - q + q t) / ln 2` (Eq. (18))."""
    width = positive(bandwidth_hz)
    advantage = _advantage(width, cn0_hz, eavesdropper_cn0_hz)
    listening = eavesdropper_cn0_hz / (width + eavesdropper_cn0_hz)
    exact = _log_advantage(width, cn0_hz, eavesdropper_cn0_hz) - advantage
    excess = torch.where(advantage < 0.25, log1p_excess(advantage), exact)
    slope = (excess + advantage * listening) / math.log(2)
    if loss_factor or leakage_factor:
        slope = slope - loss_factor * dispersion_slope(width, cn0_hz)
        slope = slope - leakage_factor * dispersion_slope(width, eavesdropper_cn0_hz)
    return torch.where(cn0_hz > eavesdropper_cn0_hz, slope, torch.zeros_like(slope))


def secrecy_curvature(
    bandwidth_hz: Float[Tensor, "*#shape"],
    cn0_hz: Float[Tensor, "*#shape"],
    eavesdropper_cn0_hz: Float[Tensor, "*#shape"],
    loss_factor: float = 0.0,
    leakage_factor: float = 0.0,
) -> Float[Tensor, "*#shape"]:
    """Second derivative of `secrecy_rate` in bit/s/Hz^2.

    For long blocks `-(s^2 - t^2) / (w ln 2)` with `s = c / (w + c)` (Eq. (19)).
    """
    width = positive(bandwidth_hz)
    advantage = _advantage(width, cn0_hz, eavesdropper_cn0_hz)
    listening = eavesdropper_cn0_hz / (width + eavesdropper_cn0_hz)
    share = cn0_hz / (width + cn0_hz)
    # (1 - t) / w is 1 / (w + e), which does not cancel against a strong eavesdropper.
    curvature = -advantage * (share + listening) / ((width + eavesdropper_cn0_hz) * math.log(2))
    if loss_factor or leakage_factor:
        curvature = curvature - loss_factor * dispersion_curvature(width, cn0_hz)
        curvature = curvature - leakage_factor * dispersion_curvature(width, eavesdropper_cn0_hz)
    return torch.where(cn0_hz > eavesdropper_cn0_hz, curvature, torch.zeros_like(curvature))
