"""What the suites expect, and the error of what does not meet it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["ConformanceError", "Expected", "require", "require_close"]


class ConformanceError(AssertionError):
    """A rule of a conformance suite is broken; the message is `rule: what is wrong`."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What holds for one problem and not for all.

    Attributes:
        axes: named axes that are permuted and padded, those of one tuple together, such as `(("rx", "tx"),)`
            where receiver `k` belongs to transmitter `k`. By default each axis of the instance's masks by
            itself.
        utility_sums: whether the objective is the sum of the utilities.
        closeness: largest relative difference between results that must agree.
        violation: largest violation that counts as satisfied, by the constraint's name.
        violation_otherwise: the same for constraints that `violation` does not name.
        any_size: whether instances of other numbers of users are served; a policy may be made for one number.
        feasible: of an instance, whether all its constraints can be kept; by default `problem.feasible`, if there is
            one, else that they always can.
        extremes: whether zeros, denormal and huge numbers and such that are none are tried; not of an allocator
            that takes minutes for them, or that is only another form of one that is tried.
        auxiliary: how the names of a policy's parameters begin that serve learning and move no action.
    """

    axes: tuple[tuple[str, ...], ...] | None = None
    utility_sums: bool = True
    closeness: float = 1e-5
    violation: Mapping[str, float] = field(default_factory=dict)
    violation_otherwise: float = 1e-5
    any_size: bool = True
    feasible: Callable[[Any], Tensor] | None = None
    extremes: bool = True
    auxiliary: tuple[str, ...] = ()


def require(condition: bool, rule: str, message: str) -> None:
    """Raise a `ConformanceError` unless the condition holds."""
    if not condition:
        raise ConformanceError(f"{rule}: {message}")


def require_close(
    received: Tensor, wanted: Tensor, closeness: float, rule: str, what: str, *, unit: float = 0.0
) -> None:
    """Raise a `ConformanceError` unless two tensors agree, relative to the largest value or to `unit`."""
    shapes = f"{what} must have shape {list(wanted.shape)}, received {list(received.shape)}"
    require(received.shape == wanted.shape, rule, shapes)
    error, scale = _difference(received, wanted)
    scale = max(scale, unit)
    require(
        error <= closeness * scale,
        rule,
        f"{what} must not change, received a difference of {error:.3g} in {scale:.3g}",
    )


def _difference(received: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Largest absolute difference, and the largest absolute value that it is measured by."""
    if not received.numel():
        return 0.0, 1.0
    double = torch.complex128 if wanted.is_complex() else torch.float64
    values, targets = received.detach().to(double), wanted.detach().to(double)
    error = torch.where(values == targets, 0.0, (values - targets).abs()).max()  # equal infinities are equal
    return float(error.nan_to_num(torch.inf)), float(targets.abs().max())
