"""One description of a constrained program, from which networks are unrolled: Eq. (1) of [He2022USRMNet].

    minimise f(x; theta)   subject to   h_i(x; theta) <= 0 (projectable),   g_j(x; theta) <= 0 (coupled).

`x` is `[*batch user variable]`: the variables of each user, not one long vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["ConstrainedProgram", "Projection", "Variables"]

Variables = Float[Tensor, "*batch user variable"]

Projection = Callable[[Tensor], Tensor]
"""`projection(x)`: the nearest `x` that keeps one projectable constraint, of the same shape."""


@dataclass(frozen=True)
class ConstrainedProgram:
    """A batch of programs of one kind, with the data `theta` of each at hand in the functions.

    To describe a problem is to write one function of its instance (and of what is held fixed, such as beams) that
    returns this. All functions are differentiable and loop over no users and no instances.

    Attributes:
        start: `x_0`, what the descent begins at.
        objective: `f(x)` of each program, `[*batch]`, to be minimised.
        projections: of the projectable constraints, in the order of application: see
            `torchrrm.policies.unrolled.projections`.
        coupled: `g_j(x)` by name, `[*batch user]` each; at most 0 where satisfied.
        features: what networks see at `x`, as the tensors they take: `[*batch user feature]` first, then as the
            networks ask, such as `[*batch user user]` between users.
        active: users that exist; the variables of the others stay at `start`.
        slope: `df/dx`, `[*batch user variable]`, in closed form. By default it is differentiated; where the policy
            is to be exported, give it.
    """

    start: Variables
    objective: Callable[[Tensor], Tensor]
    projections: tuple[Projection, ...]
    coupled: Callable[[Tensor], Mapping[str, Tensor]]
    features: Callable[[Tensor], tuple[Tensor, ...]]
    active: Bool[Tensor, "*batch user"]
    slope: Callable[[Tensor], Tensor] | None = None

    def gradient(self, x: Variables) -> Variables:
        """`df/dx`; itself differentiable."""
        if self.slope is not None:
            return self.slope(x)
        return torch.func.grad(lambda value: self.objective(value).sum())(x)

    def project(self, x: Variables) -> Variables:
        """`P_N ... P_2 P_1 x`, Eq. (4) of [He2022USRMNet], and `start` for users that do not exist.

        One pass: where two sets share a variable, a later projection may leave the earlier set again.
        """
        for projection in self.projections:
            x = projection(x)
        return torch.where(self.active[..., None], x, self.start)

    def violation(self, x: Variables) -> dict[str, Float[Tensor, "*batch user"]]:
        """`[g_j(x)]^+` of each coupled constraint; 0 for users that do not exist."""
        zero = torch.zeros_like(x[..., 0])
        return {
            name: torch.where(self.active, value.clamp_min(0), zero)
            for name, value in self.coupled(x).items()
        }
