"""How evenly rates are spread over users: what a sum hides."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["SERVED_FROM", "jain_index", "low_rate", "served_users"]

SERVED_FROM = 1e-3
"""Rate in bit/s/Hz from which a user counts as served: 20 kbit/s in a band of 20 MHz."""


def served_users(
    rate: Float[Tensor, "*batch user"], active: Bool[Tensor, "*batch user"]
) -> Float[Tensor, "*batch"]:
    """How many active users have a rate of at least `SERVED_FROM`."""
    return ((rate >= SERVED_FROM) & active).sum(-1).to(rate.dtype)


def jain_index(
    rate: Float[Tensor, "*batch user"], active: Bool[Tensor, "*batch user"]
) -> Float[Tensor, "*batch"]:
    """`(sum r)^2 / (K sum r^2)` over the K active users: 1 if all are equal, 1/K if one has all; 0 without any rate."""
    own = torch.where(active, rate, 0.0)
    count = active.sum(-1).clamp_min(1).to(rate.dtype)
    squares = own.square().sum(-1)
    return own.sum(-1).square() / torch.where(squares > 0, count * squares, 1.0)


def low_rate(
    rate: Float[Tensor, "*batch user"], active: Bool[Tensor, "*batch user"], fraction: float = 0.05
) -> Float[Tensor, "*batch"]:
    """The rate that `fraction` of the active users are below: by default the 5th percentile, linear between users."""
    ordered = torch.where(active, rate, torch.inf).sort(-1).values
    place = fraction * (active.sum(-1).clamp_min(1) - 1).to(rate.dtype)
    below = place.floor().long()[..., None]
    above = place.ceil().long()[..., None]
    low, high = ordered.gather(-1, below)[..., 0], ordered.gather(-1, above)[..., 0]
    share = place - place.floor()
    found = torch.where(share > 0, low + share * (high - low), low)
    return torch.where(active.any(-1), found, 0.0)
