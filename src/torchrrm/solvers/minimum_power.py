"""Least powers under which links reach minimum rates, and whether there are any."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.base import Reads
from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.problems.links.qos_sum_rate import (
    QosSumRate,
    allowance,
    compiled_minimum_power,
    coupling,
    is_compilable,
    require_min_rate,
    solve_coupling,
)
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_signs
from torchrrm.solvers.base import Solution

__all__ = [
    "MinimumPower",
    "MinimumRegion",
    "RaisedPower",
    "favoured",
    "is_feasible",
    "minimum_region",
    "raised",
    "restored",
    "spectral_radius",
]

_ROOM = 1e-9  # of the limit: least room between the least power and the limit that is searched without ease
_HAIR = 1e-8  # what minima and limits are eased by where there is less
_SMALL = 1e-6  # of the limit: raising powers ends with a step that adds no more


class MinimumPower:
    """Least powers under which every active link reaches its minimum rate; exact.

    With powers as fractions of their limits, the rates are reached where `p >= F p + u`, with

        F_kj = gamma_k g_kj p_max,j / (g_kk p_max,k) (j != k),   u_k = gamma_k n / (g_kk p_max,k),
        gamma_k = 2^r_min,k - 1.

    Without power limits this can be met if and only if the spectral radius of `F` is below 1 (Perron and
    Frobenius; [Foschini1993]). Then `p = (I - F)^-1 u` is the componentwise least solution, so the instance is
    feasible if and only if `p <= 1`. Elimination without pivoting tells: `I - F` is a nonsingular M-matrix if and
    only if all pivots are positive. Links that ask for nothing get no power. Instances that are feasible only within
    the tolerance of `QosSumRate` get the least powers that do not violate.

    *Where the rates cannot be reached*, the action is the unique fixed point of `p = min(F p + u, 1)`
    ([Yates1995]): who cannot be served even so transmits at the limit, and all others reach their minimum exactly;
    `QosSumRate` reports what is missing, and `converged` is `False`. It is found by Newton's steps, at most one
    a link: from `p = 1`, hold those links at the limit that need it at the last powers, and solve for the others.

    `solve(instance).converged` says whether the instance is feasible, `iterations` how many linear systems were
    solved. Both forms compute in float64. The torch form carries gradients.

    Args:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
    """

    reads: Reads = "nothing"

    def __init__(self, min_rate_bps_hz: float | Tensor = 0.0):
        require_min_rate(min_rate_bps_hz)
        self.min_rate_bps_hz = min_rate_bps_hz

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Least powers, and whether they reach every minimum rate."""
        require_record(instance, LinkInstance)
        if is_compilable(instance, self.min_rate_bps_hz):
            share, feasible, steps = compiled_minimum_power(instance, self.min_rate_bps_hz)
        else:
            share, feasible, steps = _least_share(instance, self.min_rate_bps_hz)
        limit = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return Solution(PowerAction(power_w=share.to(limit.dtype) * limit), feasible, steps)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action


class RaisedPower:
    """The least powers, raised as far as the limits allow: every SINR is then at least what its rate needs.

    A rule that needs no thought beyond the minimum rates, and keeps all of them wherever that is possible; where it is
    not, the action is that of `MinimumPower`. How powers are raised, `raised` says: links that nobody else's minimum
    depends on come to their limits.

    Args:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
    """

    kind = "trivial"
    reads: Reads = "nothing"

    def __init__(self, min_rate_bps_hz: float | Tensor = 0.0):
        self.minimum = MinimumPower(min_rate_bps_hz)

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Raised powers; the rest is as `MinimumPower` says, but for infeasible instances' count of systems."""
        require_signs(require_record(instance, LinkInstance))
        region = minimum_region(instance, self.minimum.min_rate_bps_hz)
        limit = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        power_w = region.highest.to(limit.dtype) * limit
        if not region.feasible.all():
            least_w = self.minimum(instance).power_w
            power_w = torch.where(region.feasible[..., None], power_w, least_w)
        return Solution(PowerAction(power_w=power_w), region.feasible, 1 + (region.ease > 0).long())

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action


class MinimumRegion(NamedTuple):
    """Powers that do not violate: fractions `q >= F q + u`, `q <= 1` of limits that are eased by `ease`; in float64.

    `ease` is 0, except where some link has no room within its limit: then 1e-8, which gives every region an interior,
    or, where the minima cannot be met without it, the tolerance.

    Attributes:
        matrix, demand: `F` and `u`, see `coupling`.
        least: the least of them.
        top: `raised` ones.
        feasible: whether there are any; `least` and `top` have no meaning where not.
        ease: of minima and limits.
    """

    matrix: Float[Tensor, "*batch rx tx"]
    demand: Float[Tensor, "*batch tx"]
    least: Float[Tensor, "*batch tx"]
    top: Float[Tensor, "*batch tx"]
    feasible: Bool[Tensor, "*batch"]
    ease: Float[Tensor, "*batch"]

    @property
    def highest(self) -> Float[Tensor, "*batch tx"]:
        """`top` as fractions of the limits themselves."""
        return (1 + self.ease[..., None]) * self.top


def minimum_region(instance: LinkInstance, min_rate_bps_hz: float | Tensor) -> MinimumRegion:
    """The region of an instance, detached from any graph."""
    with torch.no_grad():
        matrix, demand = coupling(instance, min_rate_bps_hz)
        least, feasible = solve_coupling(matrix, demand)
        tight = ~feasible | (least.amax(-1) > 1 - _ROOM)
        ease = torch.zeros_like(least[..., 0])
        if tight.any():
            most = torch.where(feasible, _HAIR, allowance(instance.gain.dtype))
            ease = torch.where(tight, most, ease)
            matrix, demand = coupling(instance, min_rate_bps_hz, ease)
            least, feasible = solve_coupling(matrix, demand)
        least = least.clamp(max=1)
        return MinimumRegion(matrix, demand, least, raised(matrix, least), feasible, ease)


def raised(
    matrix: Float[Tensor, "*batch rx tx"], least: Float[Tensor, "*batch tx"]
) -> Float[Tensor, "*batch tx"]:
    """Powers above the least ones that keep every minimum, as far as the limits allow.

    With `Z = (I - F)^-1`, margins `m >= 0` over `p >= F p + u` take powers `Z m` more. Link `k` alone could have the
    margin `t_k = min_j (1 - p_j) / Z_jk`. All get the same part of theirs, the largest that the limits allow, which
    is at least `1 / n`; then again, while some link has room. So a link without room holds back only those whose
    margins it would pay for.
    """
    inverse, share = _inverse(matrix), least
    for _ in range(least.shape[-1]):
        room = (1 - share).clamp(min=0)
        step = (inverse @ _margin(inverse, room)[..., None])[..., 0]
        part = torch.where(step > 0, room / step, torch.inf).amin(-1, keepdim=True).clamp(max=1)
        share = share + part * step
        if not (part * step > _SMALL).any():
            break
    return torch.maximum(share.clamp(max=1), least)


def favoured(
    matrix: Float[Tensor, "*batch rx tx"], least: Float[Tensor, "*batch tx"]
) -> Float[Tensor, "*batch link tx"]:
    """Powers above the least ones that give all the margin there is to one link, for each link.

    Link `k` has the margin `t_k` of `raised` alone: powers `t_k Z e_k` more. Where nothing is asked for it alone
    transmits, at its limit.
    """
    inverse = _inverse(matrix)
    margin = _margin(inverse, (1 - least).clamp(min=0))
    return torch.minimum(least[..., None, :] + (inverse * margin[..., None, :]).mT, torch.ones_like(inverse))


def _inverse(matrix: Float[Tensor, "*batch rx tx"]) -> Float[Tensor, "*batch tx rx"]:
    """`Z = (I - F)^-1`."""
    own = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return torch.linalg.inv_ex(own - matrix)[0].clamp(min=0)


def _margin(
    inverse: Float[Tensor, "*batch tx rx"], room: Float[Tensor, "*batch tx"]
) -> Float[Tensor, "*batch rx"]:
    """Each link's largest margin alone, `min_j room_j / Z_jk`."""
    return torch.where(inverse > 0, room[..., :, None] / inverse, torch.inf).amin(-2)


def restored(
    matrix: Float[Tensor, "*batch rx tx"],
    demand: Float[Tensor, "*batch tx"],
    share: Float[Tensor, "*batch tx"],
    safe: Float[Tensor, "*batch tx"],
) -> Float[Tensor, "*batch tx"]:
    """`share + t (safe - share)` with the least `t` in [0, 1] that keeps `p >= F p + u`, where `safe` does."""

    def spare(power: Tensor) -> Tensor:
        power = power.double()
        return power - (matrix @ power[..., None])[..., 0] - demand

    found, kept = spare(share), spare(safe)
    short = found < 0
    part = torch.where(short, -found / torch.where(short, kept.clamp_min(0) - found, 1.0), 0.0)
    part = part.amax(-1, keepdim=True).clamp(max=1)
    return (share + part * (safe.double() - share)).to(share.dtype)


def is_feasible(instance: LinkInstance, min_rate_bps_hz: float | Tensor) -> Bool[Tensor, "*batch"]:
    """Whether some powers do not violate the minimum rates and the limits; exact, see `QosSumRate.feasible`."""
    return QosSumRate(min_rate_bps_hz).feasible(instance)


def spectral_radius(instance: LinkInstance, min_rate_bps_hz: float | Tensor) -> Float[Tensor, "*batch"]:
    """Spectral radius of `F` of `MinimumPower`; below 1, only power limits can keep the rates from being reached."""
    require_min_rate(min_rate_bps_hz)
    require_record(instance, LinkInstance)
    matrix = coupling(instance, min_rate_bps_hz)[0]
    return torch.linalg.eigvals(matrix).abs().amax(-1).to(instance.gain.dtype)


def least_power(
    matrix: Float[Tensor, "*batch rx tx"], demand: Float[Tensor, "*batch tx"]
) -> tuple[Float[Tensor, "*batch tx"], Bool[Tensor, "*batch"], Tensor]:
    """Fixed point of `p = min(F p + u, 1)`, whether it meets all demands, and the linear systems solved."""
    with torch.no_grad():
        feasible = solve_coupling(matrix, demand)[1]
        steps = torch.ones_like(feasible, dtype=torch.int64)
        full = torch.zeros_like(demand, dtype=torch.bool)
        if not feasible.all():
            full, steps = _saturated(matrix, demand, feasible)
    return _hold(matrix, demand, full).clamp(max=1.0), feasible, steps


def _least_share(
    instance: LinkInstance, min_rate_bps_hz: float | Tensor
) -> tuple[Float[Tensor, "*batch tx"], Bool[Tensor, "*batch"], Tensor]:
    """`MinimumPower` as fractions of the limits, whether they do not violate, and the linear systems solved."""
    share, met, steps = least_power(*coupling(instance, min_rate_bps_hz))
    if not met.all():
        ease = allowance(instance.gain.dtype)
        eased, within = solve_coupling(*coupling(instance, min_rate_bps_hz, ease))
        share = torch.where((within & ~met)[..., None], (1 + ease) * eased.clamp(max=1), share)
        met, steps = met | within, steps + ~met
    return share, met, steps


def _saturated(matrix: Tensor, demand: Tensor, feasible: Tensor) -> tuple[Tensor, Tensor]:
    """Links at the limit, none where feasible, and the linear systems solved."""
    full = (demand + matrix.sum(-1) >= 1) & ~feasible[..., None]
    steps = 2 - feasible.long()
    for _ in range(demand.shape[-1]):
        power = _hold(matrix, demand, full)
        still = full & (demand + (matrix @ power[..., None])[..., 0] >= 1)
        changed = (still != full).any(-1)
        if not changed.any():
            break
        full, steps = still, steps + changed
    return full, steps


def _hold(matrix: Tensor, demand: Tensor, full: Tensor) -> Tensor:
    """Solution of `p = F p + u`, links that are `full` held at 1."""
    held = matrix.masked_fill(full[..., None], 0.0)
    return solve_coupling(held, torch.where(full, torch.ones_like(demand), demand))[0]
