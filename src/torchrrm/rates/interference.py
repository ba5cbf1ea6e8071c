"""Rates of links that share one channel and treat interference as noise."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["interference_rate", "sinr"]


def sinr(
    gain: Float[Tensor, "*#batch rx tx"],
    power_w: Float[Tensor, "*#batch tx"],
    noise_power_w: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*batch rx"]:
    """SINR of each link: `g_kk p_k / (n + sum_{j != k} g_kj p_j)` (Eq. (1) of [Huang2024]).

    `gain[..., k, j]` is the link from transmitter `j` to receiver `k`; the paper writes it `|h_jk|^2`. The
    interference is summed without the signal, not got by a difference, so that float32 holds where the signal
    is many orders above it.

    >>> gain = torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    >>> sinr(gain, torch.tensor([1.0, 1.0]), torch.tensor(0.5))
    tensor([1., 4.])
    """
    signal = gain.diagonal(dim1=-2, dim2=-1) * power_w
    own = torch.eye(gain.shape[-1], dtype=torch.bool, device=gain.device)
    cross = gain.masked_fill(own, 0.0)
    interference = (cross @ power_w[..., None])[..., 0]  # [*batch rx]
    return signal / (noise_power_w[..., None] + interference)


def interference_rate(
    gain: Float[Tensor, "*#batch rx tx"],
    power_w: Float[Tensor, "*#batch tx"],
    noise_power_w: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*batch rx"]:
    """Spectral efficiency of each link in bit/s/Hz: `log2(1 + SINR)` (Eq. (2) of [Huang2024]).

    That of the largest number there is where the SINR overflows.
    """
    ratio = sinr(gain, power_w, noise_power_w)
    return torch.log1p(torch.clamp(ratio, max=torch.finfo(ratio.dtype).max)) / math.log(2)
