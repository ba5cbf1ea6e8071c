"""Fully connected network."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear layers with ReLU between them, over the last axis.

    Shapes: `[*batch, widths[0]] -> [*batch, widths[-1]]`.
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths: must be two or more positive layer widths, received {list(widths)}")
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, features: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        return self.layers(features)
