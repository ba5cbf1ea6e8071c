"""Layers and masked reductions."""

from torchrrm.nn.mlp import MLP
from torchrrm.nn.reductions import masked_max, masked_mean, masked_softmax

__all__ = ["MLP", "masked_max", "masked_mean", "masked_softmax"]
