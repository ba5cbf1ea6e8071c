"""Weighted sum rate under minimum rates by a series of geometric programs."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.records import tensor_record
from torchrrm.solvers.rate_region import (
    PowerShare,
    RateRegion,
    RegionSolver,
    cross,
    interference,
    next_state,
    solve_where,
    unfinished,
)

__all__ = ["GeometricProgram"]

_FLOOR = 1e-6  # INR at the strongest receiver to which links that ask for nothing may fall
_MOST_FLOOR = 1e-3  # of the limit, for links that nobody hears


class GeometricProgram(RegionSolver):
    """Successive condensation [Chiang2007]: a stationary point of the weighted sum rate under minimum rates.

    With powers `p = e^x` as fractions of their limits, noise 1, `G = relative_gain(instance)`, what a receiver
    hears of others `I_k = 1 + sum_{j != k} G_kj p_j` and in all `T_k = I_k + G_kk p_k`, the weighted sum rate
    is `sum_k w_k (ln T_k - ln I_k)`. A step condenses each `T_k` at the last powers to the monomial
    `prod_j p_j^{a_kj}`, `a_kj = G_kj p_j / T_k`, a lower bound that is tight there, and solves the geometric program

        minimise  sum_k w_k ln I_k(e^x) - sum_j c_j x_j,   c_j = sum_k w_k a_kj,
        subject to  gamma_k I_k(e^x) <= G_kk e^{x_k},  x <= 0,   gamma_k = 2^r_min,k - 1,

    which is convex in `x`, by a batched interior-point method in float64. So the objective never falls, and
    every minimum rate is kept.

    Starts from the least powers ([Foschini1993]), raised as far as the limits allow (`raised`): full power, where
    nothing is asked for. Where the minimum rates cannot be reached, the action is that of `MinimumPower` and
    `converged` is `False`. Minima and limits are eased by 1e-8 where some link has no room, and by the tolerance of
    `QosSumRate` where they cannot be met without it. The action carries no gradient. In the shipped settings of
    `qos-sum-rate` the objective is 98.5 to 99.9 % of the optimum on average (`QosBound`).

    Deviation: a geometric program has no power 0, so links that ask for nothing may fall to an INR of 1e-6 at
    the receiver that hears them best, and stay there. With `safeguard` the result may be that of a rule.

    Args:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
        max_steps: condensations.
        tolerance: an instance has converged when a step adds no more than this part of the objective; with `None` all
            steps are taken, and nothing counts as converged.
        safeguard: return `MaxPower`, where it keeps all minimum rates, or the powers that give all room to one link
            (`favoured`), where these have a higher objective.
    """

    def __init__(
        self,
        min_rate_bps_hz: float | Tensor = 0.0,
        max_steps: int = 50,
        tolerance: float | None = 1e-6,
        *,
        safeguard: bool = True,
    ):
        super().__init__(min_rate_bps_hz, max_steps, tolerance, safeguard)

    def step(self, instance: RateRegion, state: PowerShare) -> PowerShare:
        signal, heard = interference(instance, state.share)
        condensed = (instance.weight / (heard + signal))[..., None, :] @ instance.gain
        program = _Condensed(
            gain=cross(instance.gain),
            weight=instance.weight,
            exponent=condensed[..., 0, :] * state.share,
            coupling=instance.coupling,
            demand=torch.where(instance.demand > 0, instance.demand, _floor(instance)),
        )
        running = unfinished(state, self.tolerance)
        point = solve_where(running, program, instance, torch.log(instance.inside(0.5)))
        return next_state(instance, state, torch.exp(point))


def _floor(region: RateRegion) -> Float[Tensor, "*batch tx"]:
    """Least power of links that ask for nothing; below half the point that the interior-point method starts from."""
    loudest = region.gain.amax(-2).clamp(min=_FLOOR / _MOST_FLOOR)
    return torch.minimum(_FLOOR / loudest, 0.5 * region.inside(0.5))


@tensor_record
class _Condensed:
    """One geometric program in `x = ln p`; constraints `ln(F p + u) <= x` and `x <= 0`."""

    gain: Float[Tensor, "*batch rx tx"]
    weight: Float[Tensor, "*batch rx"]
    exponent: Float[Tensor, "*batch tx"]
    coupling: Float[Tensor, "*batch rx tx"]
    demand: Float[Tensor, "*batch tx"]

    @property
    def constraints(self) -> int:
        return 2 * self.weight.shape[-1]

    def value(self, point: Tensor, sharpness: Tensor) -> Tensor:
        power = torch.exp(point)[..., None]
        heard = torch.log1p((self.gain @ power)[..., 0])
        objective = (self.weight * heard - self.exponent * point).sum(-1)
        spare = point - torch.log((self.coupling @ power)[..., 0] + self.demand)
        return sharpness * objective - (torch.log(spare) + torch.log(-point)).sum(-1)

    def derivatives(self, point: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
        power = torch.exp(point)
        received = self.gain * power[..., None, :]
        part = received / (1 + received.sum(-1, keepdim=True))  # [*batch rx tx], of I_k
        weight = sharpness[..., None] * self.weight
        mean = (weight[..., None] * part).sum(-2)
        gradient = mean - sharpness[..., None] * self.exponent
        hessian = torch.diag_embed(mean) - part.mT @ (weight[..., None] * part)

        needed = self.coupling * power[..., None, :]
        total = needed.sum(-1) + self.demand
        part = needed / total[..., None]
        price, over = 1 / (point - torch.log(total)), -1 / point
        mean = (price[..., None] * part).sum(-2)
        normal = part - torch.eye(point.shape[-1], dtype=point.dtype, device=point.device)
        gradient = gradient + mean - price + over
        hessian = hessian + torch.diag_embed(mean + over.square()) - part.mT @ (price[..., None] * part)
        return gradient, hessian + normal.mT @ (price.square()[..., None] * normal)
