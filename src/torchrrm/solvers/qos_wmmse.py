"""Weighted minimum mean square error power control under minimum rates."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.records import tensor_record
from torchrrm.solvers.rate_region import (
    PowerShare,
    RateRegion,
    RegionSolver,
    interference,
    next_state,
    solve_where,
    unfinished,
)

__all__ = ["QosWMMSE"]


class QosWMMSE(RegionSolver):
    """WMMSE [Shi2011] that keeps minimum rates: a stationary point of the weighted sum rate under them.

    With powers `p` as fractions of their limits, noise 1 and `G = relative_gain(instance)`, receivers and
    weights are those of WMMSE,

        u_k = sqrt(G_kk p_k) / (1 + sum_j G_kj p_j),   w_k = 1 / (1 - u_k sqrt(G_kk p_k)),

    and the powers minimise the weighted error, convex in `p`, where the rates are kept, which is linear in `p`:

        minimise  sum_k a_k p_k - 2 b_k sqrt(p_k),   a_k = sum_j v_j w_j u_j^2 G_jk,   b_k = v_k w_k u_k sqrt(G_kk),
        subject to  gamma_k (1 + sum_{j != k} G_kj p_j) <= G_kk p_k,  0 <= p <= 1,   gamma_k = 2^r_min,k - 1,

    with the links' weights `v`. Where `p_k = min(b_k / a_k, 1)^2`, WMMSE's step, keeps all rates, it is the
    minimiser; elsewhere a batched interior-point method in float64 finds it. So the objective never falls, every
    minimum rate is kept, and without minimum rates this is WMMSE from full power.

    Deviations from [Shi2011]: the constraints, in the powers' update alone, and `safeguard`.

    Starts as `GeometricProgram` does, and does the same where the minimum rates cannot be reached or leave no room. The
    action carries no gradient.

    Args:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
        max_steps: updates of the powers.
        tolerance: an instance has converged when a step adds no more than this part of the objective; with `None` all
            steps are taken, and nothing counts as converged.
        safeguard: return `MaxPower`, where it keeps all minimum rates, or the powers that give all room to one link
            (`favoured`), where these have a higher objective.
    """

    def __init__(
        self,
        min_rate_bps_hz: float | Tensor = 0.0,
        max_steps: int = 100,
        tolerance: float | None = 1e-6,
        *,
        safeguard: bool = True,
    ):
        super().__init__(min_rate_bps_hz, max_steps, tolerance, safeguard)

    def step(self, instance: RateRegion, state: PowerShare) -> PowerShare:
        signal, heard = interference(instance, state.share)
        cost = instance.weight * signal / (heard * (heard + signal))  # v_k w_k u_k^2
        linear = (cost[..., None, :] @ instance.gain)[..., 0, :]
        gain = instance.gain.diagonal(dim1=-2, dim2=-1)
        root = instance.weight * gain * torch.sqrt(state.share) / heard
        free = (root / torch.where(linear > 0, linear, torch.ones_like(linear))).clamp(max=1).square()
        needed = (instance.coupling @ free[..., None])[..., 0] + instance.demand
        short = (free < needed).any(-1) & unfinished(state, self.tolerance)
        if short.any():
            system = torch.eye(needed.shape[-1], dtype=needed.dtype, device=needed.device) - instance.coupling
            program = _WeightedError(linear=linear, root=root, system=system, demand=instance.demand)
            found = solve_where(short, program, instance, instance.inside(0.5))
            free = torch.where(short[..., None], found, free)
        return next_state(instance, state, free)


@tensor_record
class _WeightedError:
    """`sum_k a_k p_k - 2 b_k sqrt(p_k)` under `(I - F) p >= u`, which makes `p` positive, and `p <= 1`."""

    linear: Float[Tensor, "*batch tx"]
    root: Float[Tensor, "*batch tx"]
    system: Float[Tensor, "*batch rx tx"]
    demand: Float[Tensor, "*batch tx"]

    @property
    def constraints(self) -> int:
        return 2 * self.linear.shape[-1]

    def value(self, point: Tensor, sharpness: Tensor) -> Tensor:
        objective = (self.linear * point - 2 * self.root * torch.sqrt(point)).sum(-1)
        spare = (self.system @ point[..., None])[..., 0] - self.demand
        return sharpness * objective - (torch.log(spare) + torch.log(1 - point)).sum(-1)

    def derivatives(self, point: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
        price = 1 / ((self.system @ point[..., None])[..., 0] - self.demand)
        over, sharp = 1 / (1 - point), sharpness[..., None]
        gradient = sharp * (self.linear - self.root / torch.sqrt(point)) + over
        gradient = gradient - (price[..., None, :] @ self.system)[..., 0, :]
        bend = sharp * self.root / (2 * point * torch.sqrt(point)) + over.square()
        return gradient, torch.diag_embed(bend) + self.system.mT @ (price.square()[..., None] * self.system)
