"""Rules of input that several problems have."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchrrm.kernels.links import MOST_RATIO
from torchrrm.kernels.signs import negative
from torchrrm.records import active_like, axis_names

__all__ = [
    "MOST_RATIO",
    "filled",
    "gain_ceiling",
    "over_noise",
    "require_broadcast",
    "require_indices",
    "require_number",
    "require_numbers",
    "require_shape",
    "require_signs",
    "require_values",
    "saturated",
]

R = TypeVar("R")


def saturated(ratio: Tensor) -> Tensor:
    """Ratios to the noise, those above `MOST_RATIO` as it."""
    return torch.clamp(ratio, max=MOST_RATIO)


def over_noise(power_w: Tensor, noise_power_w: Tensor) -> Tensor:
    """Powers `[*batch n]` over the noise `[*batch]`; the largest number there is where that overflows."""
    ratio = power_w / noise_power_w[..., None]
    return torch.clamp(
        ratio, max=torch.finfo(ratio.dtype).max
    )  # infinite, it would make no number of a gain of 0


def gain_ceiling(limit_w: Tensor, noise_power_w: Tensor) -> Tensor:
    """Gain `[*batch n]` of each transmitter at which its ratio to the noise at full power is `MOST_RATIO`.

    Objectives count gains above it as it, so that they are those of the instance that solvers and bounds work with
    (`saturated`). Limits must be numbers, also of transmitters that are not active.
    """
    return (MOST_RATIO * noise_power_w)[..., None] / limit_w


def require_shape(name: str, value: Tensor, shape: list[int]) -> None:
    """A tensor of exactly that shape."""
    if list(value.shape) != shape:
        raise ValueError(f"{name}: must have shape {shape}, received {list(value.shape)}")


def require_values(name: str, values: Tensor, *, positive: bool, where: Tensor | None = None) -> None:
    """Values that are finite, and positive or not negative, where the mask holds.

    Positive ones must be normal numbers besides: those below have lost digits, and their inverse overflows.
    """
    least = torch.finfo(values.dtype).smallest_normal
    bad = ~torch.isfinite(values) | (values < (least if positive else 0))
    if where is not None:
        bad = bad & where
    if bad.any():
        place, received = [int(i) for i in bad.nonzero()[0]], values[bad][0].item()
        rule = "positive and finite" if positive else "finite and not negative"
        if 0 < received < least:
            rule = f"at least {least:.3g}"
        raise ValueError(f"{name}: must be {rule}, received {received} at {place}")


def require_numbers(instance: R, positive: Sequence[str] = ()) -> R:
    """The instance, if all its numbers are finite and no real one is negative, where active.

    For searches that would not end otherwise; what a problem's `validate` checks besides they can do with.

    Args:
        instance: the instance.
        positive: fields that must be positive.

    Raises:
        ValueError: naming the field, the rule and the value.
    """
    for name, axes in axis_names(type(instance)).items():
        values: Tensor = getattr(instance, name).detach()
        if values.is_complex():
            values = values.abs()
        if values.is_floating_point():
            mask = active_like(instance, axes)
            where = None if mask is None else mask.expand_as(values)
            require_values(name, values, positive=name in positive, where=where)
    return instance


def require_signs(instance: R) -> R:
    """Return the instance if none of its real numbers is negative where active; NaN is not.

    Raises:
        ValueError: naming the field, the rule and the value.
    """
    for name, value in vars(instance).items():
        if value.is_floating_point() and _holds_negative(value.detach()):  # inactive entries among them
            mask = active_like(instance, axis_names(type(instance))[name])
            where = None if mask is None else mask.expand_as(value)
            require_values(name, torch.where(value < 0, value, 0.0).detach(), positive=False, where=where)
    return instance


def _holds_negative(value: Tensor) -> bool:
    if value.is_cpu:
        return negative(np.ascontiguousarray(value.numpy()).reshape(-1))
    return bool((value < 0).any())


def require_indices(name: str, index: Tensor, size: int, what: str, *, least: int = 0) -> None:
    """Indices from `least`, 0 or -1 where there may be none, to `size - 1`.

    Raises:
        ValueError: naming the rule and the value.
    """
    if index.numel():
        low, high = (int(end) for end in torch.aminmax(index))
        if low < least or high >= size:
            received = low if low < least else high
            none = f" or {least}" if least < 0 else ""
            raise ValueError(f"{name}: must be a {what}, 0 to {size - 1}{none}, received {received}")


def filled(name: str, value: float | Tensor, shape: Sequence[int], like: Tensor) -> Tensor:
    """Return a number, or a tensor that broadcasts to the shape, as a tensor of that shape.

    Args:
        name: of the argument, for the message.
        value: the number or the tensor.
        shape: of the result.
        like: tensor whose device and precision the result has; that of the real parts if it is complex.

    Raises:
        ValueError: if it is neither, or if a tensor does not broadcast to the shape or has another precision.
    """
    dtype = like.dtype.to_real()
    if not isinstance(value, Tensor):
        return torch.full(tuple(shape), require_number(name, value), dtype=dtype, device=like.device)
    if value.dtype != dtype:
        raise ValueError(f"{name}: expected a number or a tensor of {dtype}, got {value.dtype}")
    return require_broadcast(name, value, shape).expand(tuple(shape))


def require_number(name: str, value: Any, *, positive: bool = False) -> float:
    """Return a real number as a float.

    Raises:
        ValueError: naming the rule and what was received.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name}: expected a number or a torch.Tensor, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if positive and not 0 < number < math.inf:
        raise ValueError(f"{name}: must be positive and finite, received {number}")
    return number


def require_broadcast(name: str, value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor that broadcasts to the shape.

    Raises:
        ValueError: naming both shapes.
    """
    sizes = zip(reversed(value.shape), reversed(shape), strict=False)
    if value.ndim > len(shape) or any(size not in (1, wanted) for size, wanted in sizes):
        raise ValueError(f"{name}: must broadcast to {list(shape)}, received shape {list(value.shape)}")
    return value
