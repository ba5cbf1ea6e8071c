"""WMMSE power control of large networks."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import sparse_wmmse as kernels
from torchrrm.kernels.signs import negative, negative_rows
from torchrrm.problems.links import (
    PowerAction,
    SparseLinkInstance,
    at_neighbours,
    relative_sparse_gain,
)
from torchrrm.problems.links.sparse import require_neighbours
from torchrrm.problems.validation import require_signs
from torchrrm.records import is_compilable, tensor_record
from torchrrm.solvers.base import IterativeSolver, Solution
from torchrrm.solvers.link_baselines import safeguarded
from torchrrm.solvers.relative_links import power_action
from torchrrm.solvers.wmmse import Amplitudes, wmmse_step

__all__ = ["RelativeSparseLinks", "SparseWMMSE", "arrays", "relative_sparse_links"]


@tensor_record
class RelativeSparseLinks(SparseLinkInstance):
    """The same links with noise 1 and limits 1, gains relative to the noise at full power.

    Attributes:
        direct: SNR of each link at full power; 0 of links that are not active.
        worth: weight of each link's rate times its SNR at full power; 0 of links that are not active.
    """

    direct: Float[Tensor, "*batch 1 link"]
    worth: Float[Tensor, "*batch 1 link"]

    def heard(self, power: Float[Tensor, "*batch 1 link"]) -> Float[Tensor, "*batch 1 link"]:
        """Noise and what each receiver hears from its neighbours."""
        heard = self.neighbour_gain * at_neighbours(power.squeeze(-2), self.neighbour)
        return 1.0 + heard.sum(-1).unsqueeze(-2)

    def charge(self, cost: Float[Tensor, "*batch 1 link"]) -> Float[Tensor, "*batch 1 link"]:
        """What each transmitter is charged by the receivers, its own among them, by what they hear of it."""
        shares = (cost.squeeze(-2)[..., None] * self.neighbour_gain).flatten(-2)
        total = torch.zeros_like(cost.squeeze(-2)).scatter_add(-1, self.neighbour.flatten(-2), shares)
        return total.unsqueeze(-2) + self.direct * cost


def relative_sparse_links(instance: SparseLinkInstance) -> RelativeSparseLinks:
    """The links in relative units."""
    direct, gain = relative_sparse_gain(instance)
    return RelativeSparseLinks(
        direct_gain=direct,
        neighbour=instance.neighbour,
        neighbour_gain=gain,
        noise_power_w=torch.ones_like(instance.noise_power_w),
        max_power_w=torch.ones_like(instance.max_power_w),
        weight=instance.weight,
        active=instance.active,
        direct=direct.unsqueeze(-2),
        worth=torch.where(instance.active, instance.weight * direct, torch.zeros_like(direct)).unsqueeze(-2),
    )


class SparseWMMSE(IterativeSolver[RelativeSparseLinks, PowerAction, Amplitudes]):
    """`WMMSE` from the limits where each receiver hears a list of neighbours: a step is linear in their number.

    Far links hardly matter to each other, so that a few steps do; 20 by default. On a CPU, without gradients, a
    compiled kernel serves it, in one thread an instance; of 1e5 links numbered at random it waits for memory half of
    the time, which numbering them by place saves.

    Args:
        max_steps: steps taken.
        tol: an instance is left once no amplitude changes by more; by default all steps are taken and nothing
            counts as converged.
        safeguard: compare the result with all links at full power and with the best link alone, as `WMMSE` does, and
            return the best.
    """

    def __init__(self, max_steps: int = 20, tol: float | None = None, *, safeguard: bool = True):
        if max_steps < 1:
            raise ValueError(f"max_steps: must be at least 1, received {max_steps}")
        if tol is not None and not tol >= 0:
            raise ValueError(f"tol: must not be negative, received {tol}")
        self.max_steps, self.tolerance, self.safeguard = max_steps, tol, safeguard

    def __call__(self, instance: SparseLinkInstance) -> PowerAction:
        return self.solve(instance).action

    def solve(self, instance: SparseLinkInstance) -> Solution[PowerAction]:
        """Run.

        Raises:
            ValueError: if a neighbour is not a link, or naming the field, the rule and what was received.
        """
        if is_compilable(require_neighbours(instance)):
            return self._solve_compiled(instance)
        relative = relative_sparse_links(instance)
        state, converged, iterations = self.iterate(relative)
        fraction = self.action(relative, state).power_w
        return Solution(power_action(instance, fraction), converged, iterations)

    def init(self, instance: RelativeSparseLinks) -> Amplitudes:
        return Amplitudes(amplitude=torch.ones_like(instance.direct))

    def step(self, instance: RelativeSparseLinks, state: Amplitudes) -> Amplitudes:
        return Amplitudes(amplitude=wmmse_step(instance, state.amplitude))

    def residual(self, instance: RelativeSparseLinks, old: Amplitudes, new: Amplitudes) -> Tensor:
        """Largest change of an amplitude."""
        moved = (new.amplitude - old.amplitude).abs().squeeze(-2)
        return torch.where(instance.active, moved, 0.0).amax(-1)

    def action(self, instance: RelativeSparseLinks, state: Amplitudes) -> PowerAction:
        fraction = state.amplitude.squeeze(-2).square()
        fraction = safeguarded(instance, fraction, ascended=True) if self.safeguard else fraction
        return PowerAction(power_w=torch.where(instance.active, fraction, 0.0))

    def _solve_compiled(self, instance: SparseLinkInstance) -> Solution[PowerAction]:
        tol = -1.0 if self.tolerance is None else self.tolerance
        batch = instance.direct_gain.shape[:-1]
        single = not batch
        run = kernels.solve if single else kernels.solve_batch
        power, taken, change = run(*arrays(instance), self.max_steps, tol, self.safeguard)
        return Solution(
            PowerAction(power_w=torch.from_numpy(power).reshape(instance.direct_gain.shape)),
            torch.as_tensor(change <= tol).reshape(batch),
            torch.as_tensor(taken, dtype=torch.int64).reshape(batch),
        )


def arrays(instance: SparseLinkInstance) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
    """The fields in the kernel's order, contiguous; a batch flattened to one axis.

    Raises:
        ValueError: naming the field and the value, if a number of active links is negative.
    """
    kind = instance.direct_gain.detach().numpy().dtype
    shape = (
        instance.neighbour.shape[-2:]
        if instance.direct_gain.ndim == 1
        else (-1, *instance.neighbour.shape[-2:])
    )

    def flat(tensor: Tensor, lists: bool = False, dtype: Any = kind) -> Any:
        array = tensor.detach().numpy().reshape(shape if lists else shape[:-1])
        return np.ascontiguousarray(array, dtype)

    noise = instance.noise_power_w
    direct, limit, weight = map(flat, (instance.direct_gain, instance.max_power_w, instance.weight))
    active, lists = flat(instance.active, dtype=np.bool_), flat(instance.neighbour_gain, True)
    level = noise.item() if noise.ndim == 0 else noise.detach().contiguous().numpy().reshape(-1)
    if negative_rows(direct, limit, weight, active) or negative(lists.reshape(-1)) or np.any(level < 0):
        require_signs(instance)
    return direct, flat(instance.neighbour, True, np.int64), lists, level, limit, weight, active
