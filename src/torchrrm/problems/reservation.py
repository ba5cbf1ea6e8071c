"""Reservation of a station's bandwidth for its slices, before it is shared within them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["reserve_bandwidth"]


def reserve_bandwidth(
    qci: Float[Tensor, "*batch user"], slice_index: Int[Tensor, "*batch user"], slices: int, total_hz: float
) -> Float[Tensor, "*batch slice"]:
    """Bandwidth of each slice in Hz by its users' QoS class identifiers (Eqs. (7) to (9) of [Hao2024]).

    `W_s = W_max sum_{u in s} I_u / sum_u I_u`; the shares sum to 1 (Eq. (8)).

    Args:
        qci: `I_u`, the QoS class identifier of each user, as the weight that the paper makes of it.
        slice_index: the slice that each user belongs to, `0 .. slices - 1`.
        slices: number of slices.
        total_hz: bandwidth `W_max` of the station in Hz.

    Raises:
        ValueError: if an identifier is negative, if all are zero, or if a slice index is out of range.

    >>> reserve_bandwidth(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0, 0, 1]), 2, 80e6)
    tensor([30000000., 50000000.])
    """
    if not bool((qci >= 0).all()) or not bool((qci.sum(-1) > 0).all()):
        raise ValueError(f"qci: must not be negative and not all zero, received {qci.tolist()}")
    if not bool(((slice_index >= 0) & (slice_index < slices)).all()):
        raise ValueError(f"slice_index: must lie in 0 .. {slices - 1}, received {slice_index.tolist()}")
    weight = torch.zeros(*qci.shape[:-1], slices, dtype=qci.dtype, device=qci.device)
    weight = weight.scatter_add(-1, slice_index, qci)
    return total_hz * weight / weight.sum(-1, keepdim=True)
