"""Weighted sum rate of interference links, each with a minimum rate in every slot.

**Tolerance.** An action does not violate if all rates are at least `(1 - e) r_min` and all powers in `[0, (1 + e)
p_max]` with `e = FEASIBLE_TO`; of powers down to `-e p_max`, which do not violate either, the rates are those of 0.
An instance is feasible if there are such powers: if the least ones for the minima `(1 - e) r_min` are within `(1 + e)
p_max`. Feasibility and actions keep aside what an action's rounding in the precision of the instance may add
(`allowance`); bounds add it, so that they hold for every action that does not violate. Solvers use the tolerance only
where the minima cannot be met without it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.kernels.minimum_power import minimum_power, minimum_power_batch
from torchrrm.kernels.signs import negative, negative_links
from torchrrm.problems.base import FEASIBLE_TO, Evaluation
from torchrrm.problems.links.records import LinkInstance, PowerAction
from torchrrm.problems.links.weighted_sum_rate import WeightedSumRate, relative_gain
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_broadcast, require_signs, require_values
from torchrrm.records import is_plain, to

__all__ = [
    "QosSumRate",
    "allowance",
    "compiled_minimum_power",
    "coupling",
    "demanded_rate",
    "is_compilable",
    "require_min_rate",
    "solve_coupling",
]

_SUM_RATE = WeightedSumRate()
_ROUNDING = 1e-9  # of the limit: what the least power may exceed it by
_LEAST_GAIN = 1e-100
_ROUNDINGS = 8  # of the precision of an instance, in which powers are given and violations computed
_MOST_RATE = 300.0  # bit/s/Hz: above, nothing is feasible, and `2^r` would overflow


@dataclass(frozen=True, eq=False)
class QosSumRate:
    """Weighted sum rate where each active link has a minimum rate.

        maximise sum_k w_k log2(1 + SINR_k(p))   subject to   log2(1 + SINR_k(p)) >= r_min,k,  0 <= p_k <= p_max,k.

    Attributes:
        min_rate_bps_hz: minimum of each link's rate in bit/s/Hz: a number for all, or a tensor that broadcasts
            to `[*batch tx]`. 0 asks for nothing.
    """

    min_rate_bps_hz: float | Tensor = 0.0

    def __post_init__(self) -> None:
        require_min_rate(self.min_rate_bps_hz)

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "qos-sum-rate"

    def rate(self, instance: LinkInstance, power_w: Float[Tensor, "*batch tx"]) -> Float[Tensor, "*batch tx"]:
        """Rate of each link in bit/s/Hz; 0 of links that are not active, which do not interfere either."""
        return _SUM_RATE.rate(instance, power_w)

    def evaluate(self, instance: LinkInstance, action: PowerAction) -> Evaluation:
        """Weighted sum rate in bit/s/Hz; the utility of a link is its share of it.

        Violations: those of `WeightedSumRate` and `min_rate`, `(r_min - r) / r_min`, 0 where inactive or
        where nothing is asked for.
        """
        score = _SUM_RATE.evaluate(instance, action)
        least = demanded_rate(instance, self.min_rate_bps_hz)
        missing = least - _SUM_RATE.rate(instance, action.power_w)
        asked = least > 0
        relative = torch.where(
            asked, missing / torch.where(asked, least, torch.ones_like(least)), 0 * missing
        )
        return Evaluation(score.objective, score.utility, {**score.violation, "min_rate": relative})

    def feasible(self, instance: LinkInstance) -> Bool[Tensor, "*batch"]:
        """Whether some powers do not violate, with the tolerance that is described above; exact, see `MinimumPower`."""
        require_record(instance, LinkInstance)
        if is_compilable(instance):
            return compiled_minimum_power(instance, self.min_rate_bps_hz)[1]
        with torch.no_grad():
            ease = allowance(instance.gain.dtype)
            return solve_coupling(*coupling(instance, self.min_rate_bps_hz, ease))[1]

    def validate(self, instance: LinkInstance) -> LinkInstance:
        """The instance, if it is one and the minimum rates fit it.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        demanded_rate(require_record(instance, LinkInstance), self.min_rate_bps_hz)
        return _SUM_RATE.validate(instance)


def require_min_rate(min_rate_bps_hz: float | Tensor) -> None:
    """Minimum rates that are finite and not negative."""
    require_values("min_rate_bps_hz", torch.as_tensor(min_rate_bps_hz).detach(), positive=False)


def demanded_rate(
    instance: LinkInstance, min_rate_bps_hz: float | Tensor, dtype: torch.dtype | None = None
) -> Float[Tensor, "*batch tx"]:
    """Minimum rate of each link in bit/s/Hz; 0 of those that are not active.

    Raises:
        ValueError: if the minimum rates do not broadcast to the links.
    """
    shape = instance.active.shape
    least = torch.as_tensor(min_rate_bps_hz, dtype=dtype or instance.gain.dtype, device=instance.gain.device)
    require_broadcast("min_rate_bps_hz", least, shape)
    return torch.where(instance.active, least, torch.zeros_like(least))


def allowance(dtype: torch.dtype, *, outer: bool = False) -> float:
    """`FEASIBLE_TO` less the rounding of an action in that precision; with `outer` more, which bounds must hold for."""
    rounding = _ROUNDINGS * torch.finfo(dtype).eps
    return FEASIBLE_TO + (rounding if outer else -rounding)


def coupling(
    instance: LinkInstance, min_rate_bps_hz: float | Tensor, ease: float | Float[Tensor, "*batch"] = 0.0
) -> tuple[Float[Tensor, "*batch rx tx"], Float[Tensor, "*batch tx"]]:
    """`F` and `u` in float64, with which powers `p`, as fractions of the limits, reach the rates if `p >= F p + u`.

        F_kj = gamma_k g_kj p_max,j / (g_kk p_max,k),   u_k = gamma_k n / (g_kk p_max,k),   gamma_k = 2^r_min,k - 1.

    Rows of links that ask for nothing or are not active are zero. With `ease` the minima are `(1 - ease) r_min`, and
    the limits `(1 + ease) p_max`.
    """
    gain = relative_gain(to(instance, dtype=torch.float64))
    rate = demanded_rate(instance, min_rate_bps_hz, torch.float64).clamp(max=_MOST_RATE)
    less = torch.as_tensor(ease, dtype=rate.dtype, device=rate.device)[..., None]
    gain = gain * (1 + less[..., None])
    scale = torch.expm1(rate * (1 - less) * math.log(2)) / gain.diagonal(dim1=-2, dim2=-1).clamp(
        min=_LEAST_GAIN
    )
    own = torch.eye(gain.shape[-1], dtype=torch.bool, device=gain.device)
    return scale[..., None] * gain.masked_fill(own, 0.0), scale


def solve_coupling(
    matrix: Float[Tensor, "*batch rx tx"], demand: Float[Tensor, "*batch tx"]
) -> tuple[Float[Tensor, "*batch tx"], Bool[Tensor, "*batch"]]:
    """Solution of `p = F p + u`, and whether it is the least power that meets every demand and within the limits.

    Elimination without pivoting: `I - F` is a nonsingular M-matrix if and only if all pivots are positive. Up to there
    nothing but pivots is ever a difference, so that powers keep their digits however far their sizes are apart.
    """
    links = demand.shape[-1]
    own = torch.eye(links, dtype=demand.dtype, device=demand.device)
    rows = torch.cat([own - matrix, demand[..., None]], -1)
    regular = torch.ones_like(demand[..., 0], dtype=torch.bool)
    for k in range(links):
        pivot = rows[..., k, k]
        regular = regular & (pivot > 0)
        row = rows[..., k : k + 1, :] / pivot[..., None, None]
        rows = rows - (rows[..., k : k + 1] - own[:, k : k + 1]) * row  # row `k` becomes `row`
    power = rows[..., -1]
    return power, regular & (power <= 1 + _ROUNDING).all(-1)


def is_compilable(instance: LinkInstance, min_rate_bps_hz: float | Tensor = 0.0) -> bool:
    """Whether a kernel may serve the instance: plain tensors, of which no gradient is asked for."""
    tensors = [instance.gain, instance.noise_power_w, instance.max_power_w]
    if isinstance(min_rate_bps_hz, Tensor):
        tensors.append(min_rate_bps_hz)
    return not any(tensor.requires_grad for tensor in tensors) and is_plain(*tensors)


def compiled_minimum_power(
    instance: LinkInstance, min_rate_bps_hz: float | Tensor
) -> tuple[Float[Tensor, "*batch tx"], Bool[Tensor, "*batch"], Tensor]:
    """Powers as fractions of the limits in float64, feasibility, and linear systems solved, by the kernel.

    Where the minima can be met with the tolerance alone, the powers are the least that do.
    """
    shape, links = instance.active.shape, instance.active.shape[-1]

    def rows(tensor: Tensor, *size: int) -> Any:
        values = tensor.reshape(-1, *size).numpy()
        return np.ascontiguousarray(values, np.bool_ if tensor.dtype == torch.bool else np.float64)

    ease = allowance(instance.gain.dtype)
    least = demanded_rate(instance, min_rate_bps_hz, torch.float64).detach()
    gain, limit = rows(instance.gain, links, links), rows(instance.max_power_w, links)
    noise, active = rows(instance.noise_power_w), rows(instance.active, links)
    if negative(noise) or negative_links(gain, limit, limit, active):
        require_signs(instance)
    if shape[:-1].numel() == 1:  # a control loop's: no threads to wait for
        single = gain[0], noise[0], limit[0], active[0], rows(least, links)[0]
        power, feasible, steps = minimum_power(*single, ease)
    else:
        power, feasible, steps = minimum_power_batch(gain, noise, limit, active, rows(least, links), ease)
    batch = shape[:-1]
    return (
        torch.from_numpy(power).reshape(shape),
        torch.as_tensor(feasible).reshape(batch),
        torch.as_tensor(steps).reshape(batch),
    )
