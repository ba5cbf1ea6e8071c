"""Reductions over users of which some are padding."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["masked_max", "masked_mean", "masked_softmax"]


def masked_softmax(
    score: Float[Tensor, "*batch user"], active: Bool[Tensor, "*batch user"]
) -> Float[Tensor, "*batch user"]:
    """Softmax over active users; 0 for the others, and everywhere if nobody is active.

    >>> masked_softmax(torch.tensor([1.0, 1.0, 9.0]), torch.tensor([True, True, False]))
    tensor([0.5000, 0.5000, 0.0000])
    """
    lowest = torch.full_like(score, torch.finfo(score.dtype).min)
    shifted = torch.where(active, score, lowest)
    weight = torch.exp(shifted - shifted.amax(-1, keepdim=True)) * active
    return weight / torch.clamp(weight.sum(-1, keepdim=True), min=torch.finfo(score.dtype).tiny)


def masked_mean(
    value: Float[Tensor, "*batch user feature"], active: Bool[Tensor, "*batch user"]
) -> Float[Tensor, "*batch feature"]:
    """Mean over active users; 0 if nobody is active."""
    return (value * active[..., None]).sum(-2) / torch.clamp(active.sum(-1), min=1)[..., None]


def masked_max(
    value: Float[Tensor, "*batch user feature"], active: Bool[Tensor, "*batch user"]
) -> Float[Tensor, "*batch feature"]:
    """Largest value over active users; 0 if nobody is active."""
    lowest = torch.full_like(value, torch.finfo(value.dtype).min)
    largest = torch.where(active[..., None], value, lowest).amax(-2)
    return torch.where(active.any(-1)[..., None], largest, torch.zeros_like(largest))
