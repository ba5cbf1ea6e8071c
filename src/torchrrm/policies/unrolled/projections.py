"""Projections onto convex sets for `ConstrainedProgram.projections`: Eq. (5) of [He2022USRMNet] and exact ones.

Each maker returns `projection(x)` of `x [*batch user variable]`. Bounds are numbers or tensors `[*batch user]`, limits
of sums are `[*batch]`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.policies.unrolled.description import Projection

__all__ = ["at_least", "at_most", "half_space", "onto_budget", "onto_level", "sum_at_most"]


def onto_level(
    function: Callable[[Tensor], Float[Tensor, "*batch"]],
    limit: float | Float[Tensor, "*batch"] = 0.0,
    slope: Callable[[Tensor], Tensor] | None = None,
) -> Projection:
    """Eq. (5) for any differentiable convex `h`: `x + (limit - h(x)) / |dh/dx|^2 dh/dx` where `h(x) > limit`.

    Exact where `h` is affine. Else it is one step towards the set, which it does not reach in general: it is the
    projection onto the half-space that contains the set and touches the graph of `h` above `x`.

    Args:
        function: `h(x)`, `[*batch]`.
        limit: that `h` is to stay below.
        slope: `dh/dx` in closed form; by default it is differentiated.
    """

    def project(x: Tensor) -> Tensor:
        value = function(x)
        normal = torch.func.grad(lambda at: function(at).sum())(x) if slope is None else slope(x)
        length = normal.square().sum((-2, -1))
        excess = (value - limit).clamp_min(0) / torch.where(length > 0, length, torch.ones_like(length))
        return x - excess[..., None, None] * normal

    return project


def half_space(
    normal: Float[Tensor, "*batch user variable"], limit: float | Float[Tensor, "*batch"]
) -> Projection:
    """Onto `sum_kv a_kv x_kv <= limit`, exactly."""
    return onto_level(lambda x: (normal * x).sum((-2, -1)), limit, lambda x: normal.expand_as(x))


def at_most(variable: int, bound: float | Float[Tensor, "*batch user"]) -> Projection:
    """Onto `x_v <= bound` for one variable of every user, exactly: Eq. (5) of every user's own half-space at once."""

    def project(x: Tensor) -> Tensor:
        return _with(x, variable, torch.minimum(x[..., variable], torch.as_tensor(bound).to(x)))

    return project


def at_least(variable: int, bound: float | Float[Tensor, "*batch user"]) -> Projection:
    """Onto `x_v >= bound` for one variable of every user, exactly."""

    def project(x: Tensor) -> Tensor:
        return _with(x, variable, torch.maximum(x[..., variable], torch.as_tensor(bound).to(x)))

    return project


def sum_at_most(
    variable: int, limit: float | Float[Tensor, "*batch"], active: Bool[Tensor, "*batch user"]
) -> Projection:
    """Onto `sum_k x_kv <= limit` over the active users, exactly: what is too much is taken from all alike."""

    def project(x: Tensor) -> Tensor:
        value = x[..., variable]
        here = active.to(value.dtype)
        excess = ((value * here).sum(-1) - limit).clamp_min(0) / here.sum(-1).clamp_min(1)
        return _with(x, variable, value - excess[..., None] * here)

    return project


def onto_budget(
    variable: int, limit: float | Float[Tensor, "*batch"], active: Bool[Tensor, "*batch user"]
) -> Projection:
    """Onto `x_kv >= 0, sum_k x_kv <= limit` at once, exactly: `[x - m]^+` with the least such `m >= 0`.

    `sum_at_most` and then `at_least(variable, 0)`, as (10f) and (10g) of [He2022USRMNet] in their order, leave the
    first set again whenever the second has anything to do.
    """

    def project(x: Tensor) -> Tensor:
        value = torch.where(active, x[..., variable].clamp_min(0), torch.zeros_like(x[..., variable]))
        bound = torch.as_tensor(limit).to(value).expand(value.shape[:-1])[..., None]
        ordered = value.sort(-1, descending=True).values
        count = torch.arange(1, value.shape[-1] + 1, dtype=value.dtype, device=value.device)
        level = ((ordered.cumsum(-1) - bound) / count).amax(-1, keepdim=True)  # [*batch 1]
        return _with(x, variable, (value - level.clamp_min(0)).clamp_min(0))

    return project


def _with(x: Tensor, variable: int, value: Tensor) -> Tensor:
    """`x` with another value of one variable."""
    columns = list(x.unbind(-1))
    columns[variable] = value
    return torch.stack(columns, dim=-1)
