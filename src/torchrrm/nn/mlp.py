"""Fully connected network."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear layers with ReLU between them, over the last axis.

    Shapes: `[*batch, widths[0]] -> [*batch, widths[-1]]`.

    Args:
        widths: of the layers, the input's first.
        batch_norm: normalise what enters each ReLU, by its mean and deviation over all batch axes in training
            and by their running averages else (`BatchNorm1d`, whose shift takes the place of the biases).
    """

    def __init__(self, widths: Sequence[int], *, batch_norm: bool = False):
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths: must be two or more positive layer widths, received {list(widths)}")
        self.batch_norm = batch_norm
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths[:-1]):
            layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
            layers += [nn.BatchNorm1d(outputs), nn.ReLU()] if batch_norm else [nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, features: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        if not self.batch_norm:
            return self.layers(features)
        flat = self.layers(features.reshape(-1, features.shape[-1]))  # [batch output], as BatchNorm1d has it
        return flat.reshape(*features.shape[:-1], flat.shape[-1])
