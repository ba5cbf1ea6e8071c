"""A batched interior-point method for small smooth convex programs, each instance at its own pace."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.records import index

__all__ = ["BarrierProgram", "minimise"]

_GROWTH = 30.0
_CENTRED = 0.1  # squared Newton decrement, before the step, from which on the next barrier is taken
_NEWTON_STEPS = 200
_SEARCHES = 8
_ARMIJO = 0.01
_NOISE = 1e-14  # of the barrier function: what rounding may raise it by


class BarrierProgram(Protocol):
    """A convex program `min f(x)` in `G(x) <= 0`, as its barrier function `t f(x) - sum_i ln(-G_i(x))`.

    A tensor record.

    Attributes:
        constraints: their number.
    """

    @property
    def constraints(self) -> int: ...

    def value(
        self, point: Float[Tensor, "*trial instance n"], sharpness: Float[Tensor, "instance"]
    ) -> Float[Tensor, "*trial instance"]:
        """The barrier function at `t = sharpness`; infinite or NaN where a constraint is not kept strictly."""
        ...

    def derivatives(
        self, point: Float[Tensor, "instance n"], sharpness: Float[Tensor, "instance"]
    ) -> tuple[Float[Tensor, "instance n"], Float[Tensor, "instance n n"]]:
        """Its gradient and Hessian at a strictly feasible point."""
        ...


def minimise(
    program: BarrierProgram,
    start: Float[Tensor, "instance n"],
    scale: Float[Tensor, "instance"],
    gap: float = 1e-8,
    first: float = 1.0,
) -> Float[Tensor, "instance n"]:
    """Strictly feasible point whose objective is within `gap * scale` of the least.

    The barrier method (Section 11.3 of [Boyd2004]): Newton's steps with backtracking minimise
    `t f - sum_i ln(-G_i)`, whose minimiser misses the optimum by at most `m / t` with `m` constraints; then `t`
    grows. Steps are invariant to the scale of variables. Instances that are done are left out of further steps.
    All in the precision of `start`, which should be float64; no gradients.

    Args:
        program: the convex program, a tensor record of batch shape `[instance]`.
        start: strictly feasible point.
        scale: of the objective.
        gap: relative to `scale`.
        first: the gap, relative to `scale`, that the first `t` stands for.
    """
    with torch.no_grad():
        result, place = start.clone(), torch.arange(len(start), device=start.device)
        point, sharpness = start, program.constraints / (first * scale)
        last = program.constraints / (gap * scale)
        for _ in range(_NEWTON_STEPS):
            if not len(place):
                break
            point, centred = _newton_step(program, point, sharpness)
            running = ~(centred & (sharpness >= last))
            sharpness = torch.where(centred, torch.minimum(sharpness * _GROWTH, last), sharpness)
            if not running.all():
                result[place] = point
                program, point = index(program, running), point[running]
                place, sharpness, last = place[running], sharpness[running], last[running]
        result[place] = point
    return result


def _newton_step(program: BarrierProgram, point: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """The next point, and whether this one was close to the minimiser of its barrier function."""
    gradient, hessian = program.derivatives(point, sharpness)
    root = hessian.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).rsqrt()
    scaled = hessian * root[..., :, None] * root[..., None, :]  # to a diagonal of 1
    direction = torch.linalg.solve_ex(scaled, -gradient * root)[0] * root
    slope = (gradient * direction).sum(-1)  # minus the squared decrement
    value = program.value(point, sharpness)
    allowed = value + _NOISE * value.abs()
    lengths = torch.tensor([1.0, 0.5, 0.25, 0.125], dtype=point.dtype, device=point.device)[:, None]
    taken = torch.zeros_like(value)
    for _ in range(_SEARCHES):  # several lengths a call, since small operators cost the same
        tried = program.value(point + lengths[..., None] * direction, sharpness)  # [length instance]
        good = tried <= allowed + _ARMIJO * lengths * slope  # NaN is not
        longest = torch.where(good, lengths, torch.zeros_like(tried)).amax(0)
        taken = torch.where(taken > 0, taken, longest)
        if (taken > 0).all():
            break
        lengths = lengths / 16
    centred = (-slope < _CENTRED) | ~(taken > 0)  # or nothing but rounding is left
    return torch.where((taken > 0)[..., None], point + taken[..., None] * direction, point), centred
