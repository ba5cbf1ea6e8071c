"""The powers under which links reach their minimum rates, as solvers that stay among them see them."""

import dataclasses
import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.links import LinkInstance, PowerAction, relative_gain
from torchrrm.problems.links.qos_sum_rate import QosSumRate, require_min_rate
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.records import map_tensors, tensor_record, to
from torchrrm.solvers.base import IterativeSolver, Solution, best_action, select
from torchrrm.solvers.interior_point import BarrierProgram, minimise
from torchrrm.solvers.link_baselines import MaxPower
from torchrrm.solvers.minimum_power import MinimumPower, favoured, minimum_region

__all__ = [
    "PowerShare",
    "RateRegion",
    "RegionSolver",
    "cross",
    "first_state",
    "interference",
    "next_state",
    "rate_region",
    "region_solution",
    "solve_where",
    "unfinished",
    "weighted_rate",
]


@tensor_record
class RateRegion:
    """Powers `p`, fractions of their limits, with `p >= F p + u` and `p <= 1`, see `MinimumRegion`; all in float64.

    Where the minimum rates cannot be reached, nothing is asked for and `feasible` is `False`.

    Attributes:
        gain: interference-to-noise ratio at full power.
        weight: of each link's rate, 0 of links that are not active.
        coupling: `F`; rows of links that ask for nothing are zero.
        demand: `u`.
        least: least of these powers.
        top: those `raised` as far as the limits allow.
        scale: the limits that powers are fractions of, over `p_max`.
        feasible: whether the minimum rates can be reached.
    """

    gain: Float[Tensor, "*batch rx tx"]
    weight: Float[Tensor, "*batch tx"]
    coupling: Float[Tensor, "*batch rx tx"]
    demand: Float[Tensor, "*batch tx"]
    least: Float[Tensor, "*batch tx"]
    top: Float[Tensor, "*batch tx"]
    scale: Float[Tensor, "*batch"]
    feasible: Bool[Tensor, "*batch"]

    def inside(self, part: float) -> Float[Tensor, "*batch tx"]:
        """The point at this part of the way from `least` to `top`; between them it strictly keeps all rates."""
        return self.least + part * (self.top - self.least)


@tensor_record
class PowerShare:
    """Where a solver is.

    Attributes:
        share: powers as fractions of the limits.
        value: their weighted sum rate in nats.
        progress: what the last step added to it, relative to it; infinite before the first.
    """

    share: Float[Tensor, "*batch tx"]
    value: Float[Tensor, "*batch"]
    progress: Float[Tensor, "*batch"]


def rate_region(instance: LinkInstance, min_rate_bps_hz: float | Tensor) -> RateRegion:
    """The region of an instance, detached from any graph."""
    with torch.no_grad():
        found = minimum_region(require_numbers(require_record(instance, LinkInstance)), min_rate_bps_hz)
        some, scale = found.feasible[..., None], 1 + found.ease
        exact = to(instance, dtype=torch.float64)
        return RateRegion(
            gain=relative_gain(exact) * scale[..., None, None],
            weight=torch.where(instance.active, exact.weight, torch.zeros_like(exact.weight)),
            coupling=torch.where(some[..., None], found.matrix, torch.zeros_like(found.matrix)),
            demand=torch.where(some, found.demand, torch.zeros_like(found.demand)),
            least=torch.where(some, found.least, torch.zeros_like(found.least)),
            top=torch.where(some, found.top, torch.ones_like(found.top)),
            scale=scale,
            feasible=found.feasible,
        )


def interference(
    region: RateRegion, share: Float[Tensor, "*batch tx"]
) -> tuple[Float[Tensor, "*batch rx"], Float[Tensor, "*batch rx"]]:
    """Signal, and interference with noise, at each receiver, both relative to the noise."""
    own = region.gain.diagonal(dim1=-2, dim2=-1)
    return own * share, 1 + (cross(region.gain) @ share[..., None])[..., 0]


def cross(gain: Float[Tensor, "*batch rx tx"]) -> Float[Tensor, "*batch rx tx"]:
    """The gain without its diagonal."""
    return gain - torch.diag_embed(gain.diagonal(dim1=-2, dim2=-1))


def weighted_rate(region: RateRegion, share: Float[Tensor, "*batch tx"]) -> Float[Tensor, "*batch"]:
    """Weighted sum rate in nats."""
    signal, heard = interference(region, share)
    return (region.weight * torch.log1p(signal / heard)).sum(-1)


def first_state(region: RateRegion) -> PowerShare:
    """The least powers, raised as far as the limits allow: full power where nothing is asked for."""
    share = region.inside(1.0)
    value = weighted_rate(region, share)
    progress = torch.where(region.feasible, torch.inf, 0.0).to(value)  # nothing to do elsewhere
    return PowerShare(share=share, value=value, progress=progress)


def next_state(region: RateRegion, old: PowerShare, share: Float[Tensor, "*batch tx"]) -> PowerShare:
    """The state of new powers, or the old one where they are worse, by rounding, or not asked for."""
    value = weighted_rate(region, share)
    better = region.feasible & (value >= old.value)
    value = torch.where(better, value, old.value)
    return PowerShare(
        share=torch.where(better[..., None], share, old.share),
        value=value,
        progress=(value - old.value) / value.clamp(min=math.ulp(1.0)),
    )


def unfinished(state: PowerShare, tolerance: float | None) -> Bool[Tensor, "*batch"]:
    """Instances that the next step is for."""
    return state.progress > (-1.0 if tolerance is None else tolerance)


def solve_where(
    mask: Bool[Tensor, "*batch"],
    program: BarrierProgram,
    region: RateRegion,
    start: Float[Tensor, "*batch tx"],
) -> Float[Tensor, "*batch tx"]:
    """Minimiser of a program of batch shape `*batch`, in the instances of the mask; elsewhere `start`."""
    batch = len(mask.shape)

    def flat(value: Tensor) -> Tensor:
        return value.reshape(-1, *value.shape[batch:])[mask.reshape(-1)]

    scale = region.weight.sum(-1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    result = start.clone().reshape(-1, start.shape[-1])
    result[mask.reshape(-1)] = minimise(map_tensors(flat, program), flat(start), flat(scale))
    return result.reshape(start.shape)


def region_solution(
    instance: LinkInstance,
    min_rate_bps_hz: float | Tensor,
    region: RateRegion,
    iterated: tuple[PowerShare, Tensor, Tensor],
) -> Solution[PowerAction]:
    """The powers found; those of `MinimumPower` where the region is empty."""
    state, converged, steps = iterated
    limit = torch.where(
        instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w)
    ).detach()
    power_w = (region.scale[..., None] * state.share).to(limit.dtype) * limit
    if not region.feasible.all():
        power_w = torch.where(
            region.feasible[..., None], power_w, MinimumPower(min_rate_bps_hz)(instance).power_w
        )
    return Solution(PowerAction(power_w=power_w), region.feasible & converged, steps)


def _best_favoured(instance: LinkInstance, region: RateRegion) -> PowerAction:
    """The best of the powers that give all room to one link."""
    share = favoured(region.coupling, region.least)
    each = RateRegion(**{name: value.unsqueeze(region.feasible.ndim) for name, value in vars(region).items()})
    best = weighted_rate(each, share).argmax(-1)[..., None, None].expand_as(share[..., :1, :])
    limit = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
    power = region.scale[..., None] * share.gather(-2, best)[..., 0, :]
    return PowerAction(power_w=power.to(limit.dtype) * limit)


class RegionSolver(IterativeSolver[Any, PowerAction, PowerShare]):
    """A solver whose steps stay within the region; what it does where there is none `region_solution` tells.

    Args:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
        max_steps: at most.
        tolerance: an instance has converged when a step adds no more than this part of the objective; with `None` all
            steps are taken, and nothing counts as converged.
        safeguard: return `MaxPower`, where it keeps all minimum rates, or the powers that give all room to one link
            (`favoured`), where these have a higher objective.
    """

    def __init__(
        self, min_rate_bps_hz: float | Tensor, max_steps: int, tolerance: float | None, safeguard: bool
    ):
        require_min_rate(min_rate_bps_hz)
        self.min_rate_bps_hz, self.max_steps, self.tolerance = min_rate_bps_hz, max_steps, tolerance
        self.safeguard = safeguard

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Run to convergence."""
        with torch.no_grad():
            region = rate_region(instance, self.min_rate_bps_hz)
            found = region_solution(instance, self.min_rate_bps_hz, region, self.iterate(region))
            if not self.safeguard:
                return found
            actions = [found.action, MaxPower()(instance), _best_favoured(instance, region)]
            best, _ = best_action(QosSumRate(self.min_rate_bps_hz), instance, actions)
            return dataclasses.replace(found, action=select(region.feasible, best, found.action))

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action

    def init(self, instance: RateRegion) -> PowerShare:
        return first_state(instance)

    def residual(self, instance: RateRegion, old: PowerShare, new: PowerShare) -> Tensor:
        return new.progress

    def action(self, instance: RateRegion, state: PowerShare) -> PowerAction:
        """Powers as fractions of the limits."""
        return PowerAction(power_w=state.share)
