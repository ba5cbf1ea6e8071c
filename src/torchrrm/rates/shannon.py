"""Shannon rate of a link as a function of its bandwidth, with first and second derivative.

With the carrier-to-noise density ratio `c = P h / N0` in Hz, the SNR over a bandwidth `w` is `c / w`.
Everything is written in `share = c / (w + c)`, which lies in (0, 1), so that float32 holds from 1 Hz to 1e9
Hz and from -40 to 140 dB of SNR.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["log1p_excess", "positive", "shannon_curvature", "shannon_rate", "shannon_slope"]

_SERIES_BELOW = 0.1
_SERIES_TERMS = 14


def positive(bandwidth_hz: Tensor) -> Tensor:
    """The bandwidth with values that are not positive replaced by 1 Hz; callers mask what they computed there.

    Masking the argument as well as the result keeps gradients finite where a user has no bandwidth.
    """
    return torch.where(bandwidth_hz > 0, bandwidth_hz, torch.ones_like(bandwidth_hz))


def log1p_excess(share: Tensor) -> Tensor:
    """`-ln(1 - q) - q` for `0 <= q < 1`, without cancellation at small `q` (series `q^2/2 + q^3/3 + ...`)."""
    small = torch.clamp(share, max=_SERIES_BELOW)
    series = torch.full_like(small, 1.0 / _SERIES_TERMS)
    for order in range(_SERIES_TERMS - 1, 1, -1):
        series = series * small + 1.0 / order
    large = torch.clamp(share, min=_SERIES_BELOW, max=1.0 - torch.finfo(share.dtype).eps)
    return torch.where(share < _SERIES_BELOW, series * small * small, -torch.log1p(-large) - large)


def shannon_rate(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*#shape"]:
    """Rate in bit/s: `w log2(1 + c / w)`, and 0 without bandwidth (Eq. (2) of [Hao2024]).

    Args:
        bandwidth_hz: `w` in Hz, not negative.
        cn0_hz: `c = P h / N0` in Hz, not negative.

    >>> shannon_rate(torch.tensor([1e6, 0.0]), torch.tensor([3e6, 3e6]))
    tensor([2000000.,       0.])
    """
    width = positive(bandwidth_hz)
    rate = width * torch.log1p(cn0_hz / width) / math.log(2)
    return torch.where(bandwidth_hz > 0, rate, torch.zeros_like(rate))


def shannon_slope(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*#shape"]:
    """Derivative of `shannon_rate` by bandwidth in bit/s/Hz: `(ln(1 + c/w) - c/(w + c)) / ln 2`; positive, falling."""
    snr = cn0_hz / positive(bandwidth_hz)
    share = snr / (1 + snr)
    exact = torch.log1p(snr) - share
    return torch.where(share < _SERIES_BELOW, log1p_excess(share), exact) / math.log(2)


def shannon_curvature(
    bandwidth_hz: Float[Tensor, "*#shape"], cn0_hz: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*#shape"]:
    """Second derivative of `shannon_rate` in bit/s/Hz^2: `-(c / (w + c))^2 / (w ln 2)`; never positive."""
    width = positive(bandwidth_hz)
    share = cn0_hz / (width + cn0_hz)
    return -share.square() / (width * math.log(2))
