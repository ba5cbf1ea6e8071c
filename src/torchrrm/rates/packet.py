"""Rate of a packet of few symbols over a channel of one SINR: the normal approximation in nats a channel use.

With `r = ln(1 + SINR)` the rate is `r - theta sqrt(1 - e^(-2 r))`, `theta = Q^-1(eps) / sqrt(n)` at blocklength `n`
(Theorem 54 of [Polyanskiy2010]; below Eq. (7) of [He2022USRMNet]). It is convex in `r`, 0 at 0, negative up to
some `r` and increasing from where it is positive on.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["least_packet_sinr", "packet_back_off", "packet_rate", "packet_rate_slope"]

_STEPS = 12  # of Newton's method from above: it converges quadratically, and always


def packet_back_off(
    error_probability: Float[Tensor, "*#batch"], blocklength: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch"]:
    """`theta = Q^-1(eps) / sqrt(n)` in nats: what a packet pays at most for being short.

    >>> round(packet_back_off(torch.tensor(1e-5), torch.tensor(128.0)).item(), 4)
    0.377
    """
    return -torch.special.ndtri(error_probability) / torch.sqrt(blocklength)


def packet_rate(
    sinr: Float[Tensor, "*#shape"], back_off: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """`ln(1 + g) - theta sqrt(1 - (1 + g)^-2)` in nats a channel use; not clipped where it is negative.

    The gradient is that of the formula but at `g = 0`, where it would be infinite.
    """
    dispersion = sinr * (sinr + 2) / (1 + sinr).square()
    heard = dispersion > 0
    root = torch.where(heard, torch.sqrt(torch.where(heard, dispersion, 1.0)), 0.0)
    return torch.log1p(sinr) - back_off * root


def packet_rate_slope(
    log_sinr: Float[Tensor, "*#shape"], back_off: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Derivative of the rate by `r = ln(1 + g)`: `1 - theta e^(-2 r) / sqrt(1 - e^(-2 r))`; minus infinity at 0."""
    missing = torch.exp(-2 * log_sinr)
    return 1 - back_off * missing / torch.sqrt(-torch.expm1(-2 * log_sinr))


def least_packet_sinr(
    rate: Float[Tensor, "*#shape"], back_off: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """The SINR from which on a packet has at least that rate in nats a channel use: `nu_3` of [He2022USRMNet].

    0 where nothing is asked for. Newton's method in `r` from `rate + theta`, above the root of a convex function.
    """
    rate, back_off = torch.broadcast_tensors(rate, back_off)
    level = rate + back_off
    for _ in range(_STEPS):
        value = level - back_off * torch.sqrt(-torch.expm1(-2 * level)) - rate
        level = level - value / packet_rate_slope(level, back_off)
    return torch.where(rate > 0, torch.expm1(level), torch.zeros_like(level))
