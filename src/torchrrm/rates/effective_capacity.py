"""Effective capacity under a queueing-delay requirement, by a fixed quadrature over the small-scale fading.

`E(w) = -1/theta ln sum_i omega_i exp(-theta r(w, c g_i))` with the rate `r` of one coherence interval at the
fading gain `g_i` (Eq. (4) of [Hao2024]; [Wu2003EffectiveCapacity]). The nodes and weights come from the fading law
(`Fading.quadrature`), so the value is deterministic and smooth; `theta` is the QoS exponent times the
coherence time, per bit.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.rates.finite_blocklength import (
    finite_blocklength_curvature,
    finite_blocklength_rate,
    finite_blocklength_slope,
)

__all__ = ["effective_capacity", "effective_capacity_curvature", "effective_capacity_slope"]

_EXPM1_BELOW = 0.5


def _spread(bandwidth_hz: Tensor, cn0_hz: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Bandwidth and faded `c g` over a last axis of nodes: two tensors `[*shape, node]`."""
    bandwidth_hz, cn0_hz = torch.broadcast_tensors(bandwidth_hz, cn0_hz)
    return bandwidth_hz[..., None], cn0_hz[..., None] * gain.to(cn0_hz)


def effective_capacity(
    bandwidth_hz: Float[Tensor, "*#shape"],
    cn0_hz: Float[Tensor, "*#shape"],
    quadrature: tuple[Float[Tensor, "node"], Float[Tensor, "node"]],
    exponent_per_bit: float,
    loss_factor: float = 0.0,
) -> Float[Tensor, "*#shape"]:
    """Effective capacity in bit/s.

    Args:
        bandwidth_hz: `w` in Hz, not negative; 0 gives 0.
        cn0_hz: `c = P alpha / N0` in Hz of the mean (large-scale) gain.
        quadrature: gains and weights of the fading law; weights sum to 1.
        exponent_per_bit: `theta T_c` of the paper, per bit; `1 / exponent` is about the largest capacity at
            high SNR, a nat.
        loss_factor: `back_off(error_probability, block_duration_s)`, 0 for long blocks.
    """
    gain, weight = quadrature
    width, faded = _spread(bandwidth_hz, cn0_hz, gain)
    exponent = -exponent_per_bit * finite_blocklength_rate(width, faded, loss_factor)  # [*shape, node]
    weight = weight.to(exponent)
    deep = torch.logsumexp(exponent + torch.log(weight), dim=-1)
    # Where the exponents are small, 1 - E[exp] cancels in logsumexp but not in expm1.
    shallow = torch.log1p(torch.clamp((weight * torch.expm1(exponent)).sum(-1), min=-0.9))
    return -torch.where(deep > -_EXPM1_BELOW, shallow, deep) / exponent_per_bit


def _tilted(
    width: Tensor, faded: Tensor, weight: Tensor, exponent_per_bit: float, loss_factor: float
) -> Tensor:
    """The fading law tilted by `exp(-theta r)`, which weighs the derivatives: `[*shape, node]`, sums to 1."""
    exponent = -exponent_per_bit * finite_blocklength_rate(width, faded, loss_factor)
    return torch.softmax(exponent + torch.log(weight.to(exponent)), dim=-1)


def effective_capacity_slope(
    bandwidth_hz: Float[Tensor, "*#shape"],
    cn0_hz: Float[Tensor, "*#shape"],
    quadrature: tuple[Float[Tensor, "node"], Float[Tensor, "node"]],
    exponent_per_bit: float,
    loss_factor: float = 0.0,
) -> Float[Tensor, "*#shape"]:
    """Derivative of `effective_capacity` by bandwidth in bit/s/Hz: the mean of `r'` under the tilted law."""
    width, faded = _spread(bandwidth_hz, cn0_hz, quadrature[0])
    tilted = _tilted(width, faded, quadrature[1], exponent_per_bit, loss_factor)
    return (tilted * finite_blocklength_slope(width, faded, loss_factor)).sum(-1)


def effective_capacity_curvature(
    bandwidth_hz: Float[Tensor, "*#shape"],
    cn0_hz: Float[Tensor, "*#shape"],
    quadrature: tuple[Float[Tensor, "node"], Float[Tensor, "node"]],
    exponent_per_bit: float,
    loss_factor: float = 0.0,
) -> Float[Tensor, "*#shape"]:
    """Second derivative of `effective_capacity` in bit/s/Hz^2: `E[r''] - theta Var[r']` under the tilted law."""
    width, faded = _spread(bandwidth_hz, cn0_hz, quadrature[0])
    tilted = _tilted(width, faded, quadrature[1], exponent_per_bit, loss_factor)
    slope = finite_blocklength_slope(width, faded, loss_factor)
    mean = (tilted * slope).sum(-1, keepdim=True)
    variance = (tilted * (slope - mean).square()).sum(-1)
    return (tilted * finite_blocklength_curvature(width, faded, loss_factor)).sum(
        -1
    ) - exponent_per_bit * variance
