"""The two forms of an allocator: compiled, and in torch where a gradient is asked for."""

from typing import TypeVar

from torch import Tensor

from torchrrm.records import map_tensors

R = TypeVar("R")


def traced(instance: R) -> R:
    """Return the instance with channels that ask for a gradient, so that the torch form serves it."""
    copy = map_tensors(Tensor.clone, instance)
    next(iter(vars(copy).values())).requires_grad_()
    return copy
