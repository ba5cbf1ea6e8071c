"""Least powers under which links reach minimum rates, and whether there are any."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.problems.links.qos_sum_rate import (
    QosSumRate,
    compiled_minimum_power,
    coupling,
    is_compilable,
    require_min_rate,
    solve_coupling,
)
from torchrrm.problems.structure import require_record
from torchrrm.solvers.base import Solution

__all__ = ["MinimumPower", "RaisedPower", "is_feasible", "raised", "spectral_radius"]


class MinimumPower:
    """Least powers under which every active link reaches its minimum rate; exact.

    With powers as fractions of their limits, the rates are reached where `p >= F p + u`, with

        F_kj = gamma_k g_kj p_max,j / (g_kk p_max,k) (j != k),   u_k = gamma_k n / (g_kk p_max,k),
        gamma_k = 2^r_min,k - 1.

    Without power limits this can be met if and only if the spectral radius of `F` is below 1 (Perron and
    Frobenius; [Foschini1993]). Then `p = (I - F)^-1 u` is the componentwise least solution, so the instance is
    feasible if and only if `p <= 1`. The compiled form eliminates without pivoting: `I - F` is a nonsingular
    M-matrix if and only if all pivots are positive. The torch form solves, and finds `p >= u` under the same
    condition. Links that ask for nothing get no power.

    *Where the rates cannot be reached*, the action is the unique fixed point of `p = min(F p + u, 1)`
    ([Yates1995]): who cannot be served even so transmits at the limit, and all others reach their minimum exactly;
    `QosSumRate` reports what is missing, and `converged` is `False`. It is found by Newton's steps, at most one
    a link: from `p = 1`, hold those links at the limit that need it at the last powers, and solve for the others.

    `solve(instance).converged` says whether the instance is feasible, `iterations` how many linear systems were
    solved. Both forms compute in float64. The torch form carries gradients.

    Args:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
    """

    def __init__(self, min_rate_bps_hz: float | Tensor = 0.0):
        require_min_rate(min_rate_bps_hz)
        self.min_rate_bps_hz = min_rate_bps_hz

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Least powers, and whether they reach every minimum rate."""
        require_record(instance, LinkInstance)
        if is_compilable(instance, self.min_rate_bps_hz):
            share, feasible, steps = compiled_minimum_power(instance, self.min_rate_bps_hz)
        else:
            share, feasible, steps = least_power(*coupling(instance, self.min_rate_bps_hz))
        limit = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return Solution(PowerAction(power_w=share.to(limit.dtype) * limit), feasible, steps)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action


class RaisedPower:
    """The least powers, raised alike until one link is at its limit: every SINR is then above what its rate needs.

    A rule that needs no thought beyond the minimum rates, and keeps all of them wherever that is possible; where it is
    not, the action is that of `MinimumPower`. Links that ask for nothing get no power, unless nobody asks: then each
    transmits at its limit.

    Args:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
    """

    kind = "trivial"

    def __init__(self, min_rate_bps_hz: float | Tensor = 0.0):
        self.minimum = MinimumPower(min_rate_bps_hz)

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Raised powers; the rest is as `MinimumPower` says."""
        found = self.minimum.solve(instance)
        limit = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        share = found.action.power_w / torch.where(instance.active, limit, torch.ones_like(limit))
        power_w = torch.where(found.converged[..., None], raised(share), share) * limit
        return Solution(PowerAction(power_w=power_w), found.converged, found.iterations)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action


def raised(share: Float[Tensor, "*batch tx"]) -> Float[Tensor, "*batch tx"]:
    """Powers as fractions of their limits, the largest of them scaled to 1; 1 where all are 0."""
    most = share.amax(-1, keepdim=True)
    return torch.where(most > 0, share / torch.where(most > 0, most, torch.ones_like(most)), 1.0)


def is_feasible(instance: LinkInstance, min_rate_bps_hz: float | Tensor) -> Bool[Tensor, "*batch"]:
    """Whether some powers within the limits reach every minimum rate; exact, see `MinimumPower`."""
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
