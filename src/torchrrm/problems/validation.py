"""Rules of input that several problems have."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from torchrrm.kernels.links import MOST_RATIO
from torchrrm.records import active_like, axis_names

__all__ = [
    "MOST_RATIO",
    "gain_ceiling",
    "over_noise",
    "require_numbers",
    "require_shape",
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


def gain_ceiling(max_power_w: Tensor, noise_power_w: Tensor, active: Tensor) -> Tensor:
    """Gain `[*batch n]` of each transmitter at which its ratio to the noise at full power is `MOST_RATIO`.

    Objectives count gains above it as it, so that they are those of the instance that solvers and bounds work with
    (`saturated`). Transmitters that are not active, whose limit may be no number, have one that is a number.
    """
    limit = torch.where(active, max_power_w, torch.ones_like(max_power_w))
    return MOST_RATIO / over_noise(limit, noise_power_w)


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


def require_numbers(instance: R) -> R:
    """The instance, if all its numbers are finite and no real one is negative, where active.

    For searches that would not end otherwise; what a problem's `validate` checks besides they can do with.

    Raises:
        ValueError: naming the field, the rule and the value.
    """
    for name, axes in axis_names(type(instance)).items():
        values: Any = getattr(instance, name)
        if values.is_complex():
            values = values.abs()
        if values.is_floating_point():
            mask = active_like(instance, axes)
            where = None if mask is None else mask.expand_as(values)
            require_values(name, values.detach(), positive=False, where=where)
    return instance
