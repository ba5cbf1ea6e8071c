"""How well demands on mean rates are met: by how much they are missed, and from when on they are not."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["NEVER", "block_means", "blocks_until_met", "shortfall"]

NEVER = -1
"""Number of blocks where demands are not met at any time."""


def shortfall(
    rate_bps_hz: Float[Tensor, "*batch user"], demand_bps_hz: Float[Tensor, "*batch user"]
) -> Float[Tensor, "*batch"]:
    """Worst relative shortfall: Eq. (12) of [Behmandpoor2024].

    `max_i (u_i - R_i)^+ / u_i` over the users with a demand; 0 if nobody has one.
    """
    asked = demand_bps_hz > 0
    unit = torch.where(asked, demand_bps_hz, torch.ones_like(demand_bps_hz))
    missing = torch.clamp(demand_bps_hz - rate_bps_hz, min=0) / unit
    return torch.where(asked, missing, torch.zeros_like(missing)).amax(-1)


def block_means(
    rate_bps_hz: Float[Tensor, "*batch slot user"], block: int
) -> Float[Tensor, "*batch block user"]:
    """Mean rates of blocks of slots; slots of a last block that is not full are left out."""
    count = rate_bps_hz.shape[-2] // block
    return rate_bps_hz[..., : count * block, :].unflatten(-2, (count, block)).mean(-2)


def blocks_until_met(
    rate_bps_hz: Float[Tensor, "*batch slot user"],
    demand_bps_hz: Float[Tensor, "*batch user"],
    *,
    block: int = 25,
    window: int = 10,
    tolerance: float = 0.05,
) -> Int[Tensor, "*batch"]:
    """Blocks that pass before demands are met: 0 if they are from the first slot on, `NEVER` if they never are.

    They are met from a block on if the mean rates of it and the `window - 1` blocks after it fall short of no
    demand by more than `tolerance`. A mean over blocks that are past would still hold the time before.
    """
    mean = block_means(rate_bps_hz, block)
    if mean.shape[-2] < window:
        raise ValueError(
            f"rate_bps_hz: must have at least {window * block} slots, received {rate_bps_hz.shape[-2]}"
        )
    ahead = mean.unfold(-2, window, 1).mean(-1)  # [*batch block user]
    met = shortfall(ahead, demand_bps_hz[..., None, :]) <= tolerance
    first = met.int().argmax(-1)
    return torch.where(met.any(-1), first, torch.full_like(first, NEVER))
