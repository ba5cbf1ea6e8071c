"""Rules of input that several problems have."""

import torch
from torch import Tensor

__all__ = ["require_shape", "require_values"]


def require_shape(name: str, value: Tensor, shape: list[int]) -> None:
    """A tensor of exactly that shape."""
    if list(value.shape) != shape:
        raise ValueError(f"{name}: must have shape {shape}, received {list(value.shape)}")


def require_values(name: str, values: Tensor, *, positive: bool, where: Tensor | None = None) -> None:
    """Values that are finite, and positive or not negative, where the mask holds."""
    bad = ~torch.isfinite(values) | (values <= 0 if positive else values < 0)
    if where is not None:
        bad = bad & where
    if bad.any():
        place = [int(i) for i in bad.nonzero()[0]]
        rule = "positive and finite" if positive else "finite and not negative"
        raise ValueError(f"{name}: must be {rule}, received {values[bad][0].item()} at {place}")
