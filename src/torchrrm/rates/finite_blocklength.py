"""What a short code word costs: the normal approximation of the rate at finite blocklength.

A block of duration `T` over a bandwidth `w` has `n = T w` symbols. The rate lost is `sqrt(V / n) Q^-1(eps) w
/ ln 2` with the channel dispersion `V = 1 - (1 + c/w)^-2 = s (2 - s)` at `s = c / (w + c)` (Theorem 54 of
[Polyanskiy2010]; Eq. (3) of [Hao2024]).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.rates.shannon import positive, shannon_curvature, shannon_rate, shannon_slope

__all__ = [
    "back_off",
    "dispersion_curvature",
    "dispersion_loss",
    "dispersion_slope",
    "finite_blocklength_curvature",
    "finite_blocklength_rate",
    "finite_blocklength_slope",
]


def back_off(error_probability: float, block_duration_s: float) -> float:
    """`Q^-1(eps) / (sqrt(T) ln 2)` in sqrt(bit^2/s): the factor of `dispersion_loss` in a rate in bit/s.

    >>> round(back_off(1e-5, 0.125e-3), 1)
    550.3
    """
    quantile = -torch.special.ndtri(torch.tensor(error_probability, dtype=torch.float64)).item()
    return quantile / (math.sqrt(block_duration_s) * math.log(2))


def _share(bandwidth_hz: Tensor, cn0_hz: Tensor) -> Tensor:
    return cn0_hz / (bandwidth_hz + cn0_hz)


def _root(value: Tensor) -> Tensor:
    """Square root whose gradient stays finite at 0."""
    return torch.sqrt(torch.clamp(value, min=torch.finfo(value.dtype).tiny))


def dispersion_loss(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*#shape"]:
    """`sqrt(w V)` in sqrt(Hz), and 0 without bandwidth; times `back_off` it is the rate lost in bit/s."""
    width = positive(bandwidth_hz)
    share = _share(width, cn0_hz)
    loss = _root(width) * _root(share * (2 - share))
    return torch.where((bandwidth_hz > 0) & (cn0_hz > 0), loss, torch.zeros_like(loss))


def _slope_factor(share: Tensor) -> Tensor:
    """`s^1.5 (3 - 2 s) / (2 sqrt(2 - s))`: the slope of `sqrt(w V)` times `sqrt(w)`."""
    return share * _root(share) * (3 - 2 * share) / (2 * torch.sqrt(2 - share))


def dispersion_slope(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*#shape"]:
    """Derivative of `dispersion_loss` by bandwidth, 1/sqrt(Hz): `s^1.5 (3 - 2 s) / (2 sqrt((2 - s) w))`."""
    width = positive(bandwidth_hz)
    return _slope_factor(_share(width, cn0_hz)) / torch.sqrt(width)


def dispersion_curvature(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*#shape"]:
    """Second derivative of `dispersion_loss` by bandwidth, Hz^-1.5; never positive: the loss is concave.

    With `h(s)` the factor of the slope and `ds/dw = -s (1 - s) / w` it is `-(h' s (1 - s) + h / 2) w^-1.5`.
    """
    width = positive(bandwidth_hz)
    share = _share(width, cn0_hz)
    log_slope = 1.5 - 2 * share / (3 - 2 * share) + 0.5 * share / (2 - share)
    return -_slope_factor(share) * ((1 - share) * log_slope + 0.5) / (width * torch.sqrt(width))


def finite_blocklength_rate(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"], loss_factor: float
) -> Float[Tensor, "*#shape"]:
    """Rate in bit/s: `w log2(1 + c/w) - sqrt(w V) Q^-1(eps) / (sqrt(T) ln 2)` (Eq. (3) of [Hao2024]).

    The approximation falls below zero at very small bandwidths, where it has no meaning; it is not clipped
    here.

    Args:
        bandwidth_hz: `w` in Hz, not negative.
        cn0_hz: `c = P h / N0` in Hz, not negative.
        loss_factor: `back_off(error_probability, block_duration_s)`; 0 gives the Shannon rate.
    """
    return shannon_rate(bandwidth_hz, cn0_hz) - loss_factor * dispersion_loss(bandwidth_hz, cn0_hz)


def finite_blocklength_slope(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"], loss_factor: float
) -> Float[Tensor, "*#shape"]:
    """Derivative of `finite_blocklength_rate` by bandwidth in bit/s/Hz."""
    return shannon_slope(bandwidth_hz, cn0_hz) - loss_factor * dispersion_slope(bandwidth_hz, cn0_hz)


def finite_blocklength_curvature(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"], loss_factor: float
) -> Float[Tensor, "*#shape"]:
    """Second derivative of `finite_blocklength_rate` by bandwidth in bit/s/Hz^2.

    Not negative everywhere, as [Hao2024] has it after [Sun2019ShortBlocklength]: at high SNR it is positive below
    `(Q^-1(eps))^2 / (16 T)`, 9.1 kHz at the paper's values.
    """
    return shannon_curvature(bandwidth_hz, cn0_hz) - loss_factor * dispersion_curvature(bandwidth_hz, cn0_hz)
