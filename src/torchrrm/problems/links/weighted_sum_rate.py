"""Weighted sum rate of interference links in one slot."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.base import Evaluation
from torchrrm.problems.links.records import LinkInstance, PowerAction
from torchrrm.problems.structure import require_action, require_record, require_tensor
from torchrrm.problems.validation import (
    filled,
    gain_ceiling,
    over_noise,
    require_numbers,
    require_values,
    saturated,
)
from torchrrm.rates import interference_rate
from torchrrm.units import dbm_to_watt

__all__ = [
    "MAX_POWER_W",
    "NOISE_POWER_W",
    "WeightedSumRate",
    "link_instance",
    "power_violation",
    "relative_gain",
    "require_links",
    "saturated_gain",
]

NOISE_POWER_W = dbm_to_watt(-104.0)
"""Of -174 dBm/Hz over 10 MHz, as in Section V of [Huang2024]."""
MAX_POWER_W = dbm_to_watt(10.0)
"""10 dBm, as in Section V of [Huang2024]."""


@dataclass(frozen=True)
class WeightedSumRate:
    """Weighted sum of the links' spectral efficiencies, powers between zero and a limit.

        maximise sum_k w_k log2(1 + SINR_k(p))   subject to   0 <= p_k <= p_max,k.

    Gains count as `saturated_gain`: at most 150 dB over the noise at full power.
    NP-hard; the weights are the instance's.
    """

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "sum-rate"

    def rate(self, instance: LinkInstance, power_w: Float[Tensor, "*batch tx"]) -> Float[Tensor, "*batch tx"]:
        """Rate of each link in bit/s/Hz; 0 of links that are not active, which do not interfere either."""
        rate = _rate(instance, power_w, _limit(instance))
        return torch.where(instance.active, rate, torch.zeros_like(rate))

    def evaluate(self, instance: LinkInstance, action: PowerAction) -> Evaluation:
        """Weighted sum rate in bit/s/Hz; the utility of a link is its share of it.

        Violations, relative to the limit, 0 where inactive: `power` `(p - p_max) / p_max`, `sign` `-p / p_max`.
        """
        require_action(action, PowerAction, instance, LinkInstance)
        limit = _limit(instance)
        utility = instance.weight * _rate(instance, action.power_w, limit)
        utility = torch.where(instance.active, utility, torch.zeros_like(utility))
        violation = _violation(action.power_w, limit, instance.active)
        return Evaluation(objective=utility.sum(-1), utility=utility, violation=violation)

    def validate(self, instance: LinkInstance) -> LinkInstance:
        """The instance, if it is one.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        require_record(instance, LinkInstance)
        require_links(instance.gain, instance.active)
        return require_numbers(instance, positive=("noise_power_w", "max_power_w"))


def _rate(instance: LinkInstance, power_w: Tensor, limit: Tensor) -> Tensor:
    """Rate of each active link, in bit/s/Hz; no number of meaning elsewhere."""
    power = torch.where(instance.active, power_w.clamp(min=0), torch.zeros_like(power_w))
    return interference_rate(_saturated(instance, limit), power, instance.noise_power_w)


def _limit(instance: LinkInstance) -> Tensor:
    """Power limits; 1 where inactive, where they may be no numbers."""
    return torch.where(instance.active, instance.max_power_w, torch.ones_like(instance.max_power_w))


def _both(instance: LinkInstance) -> Tensor:
    """Where both ends are active, `[*batch rx tx]`."""
    return instance.active[..., :, None] & instance.active[..., None, :]


def power_violation(power_w: Tensor, max_power_w: Tensor, active: Tensor) -> dict[str, Tensor]:
    """Violations `power` and `sign`, relative to the limit; 0 where inactive."""
    return _violation(power_w, torch.where(active, max_power_w, torch.ones_like(max_power_w)), active)


def _violation(power_w: Tensor, limit: Tensor, active: Tensor) -> dict[str, Tensor]:
    """`power_violation`, of limits that are numbers where inactive."""
    share = torch.where(active, power_w / limit, torch.zeros_like(power_w))
    over = torch.where(active, share - 1.0, torch.zeros_like(share))
    return {"power": over, "sign": -share}


def saturated_gain(instance: LinkInstance) -> Float[Tensor, "*batch rx tx"]:
    """The gains that the objective counts: `min(g_kj, MOST_RATIO n / p_max,j)`, in relative units `relative_gain`.

    Beyond 150 dB over the noise at full power float64 cannot tell the noise from interference, and certificates
    would not hold. 0 in rows and columns of links that are not active.
    """
    return _saturated(instance, _limit(instance))


def _saturated(instance: LinkInstance, limit: Tensor) -> Tensor:
    gain = torch.minimum(instance.gain, gain_ceiling(limit, instance.noise_power_w)[..., None, :])
    return torch.where(_both(instance), gain, torch.zeros_like(gain))


def relative_gain(instance: LinkInstance) -> Float[Tensor, "*batch rx tx"]:
    """Interference-to-noise ratio at full power, `g_kj p_max,j / n`: what solvers and policies compute with.

    Its diagonal is the SNR. 0 in rows and columns of links that are not active. In these units powers are
    fractions of the limit and the noise is 1, so that float32 neither overflows nor underflows; ratios above
    `MOST_RATIO` count as it.
    """
    scale = over_noise(instance.max_power_w, instance.noise_power_w)
    ratio = instance.gain * scale[..., None, :]
    return torch.where(_both(instance), saturated(ratio), torch.zeros_like(ratio))


def link_instance(
    gain: Float[Tensor, "*batch rx tx"],
    *,
    noise_power_w: float | Float[Tensor, "*#batch"] = NOISE_POWER_W,
    max_power_w: float | Float[Tensor, "*#batch tx"] = MAX_POWER_W,
    weight: float | Float[Tensor, "*#batch tx"] = 1.0,
) -> LinkInstance:
    """Return an instance of linear gains, every link active; by default with the limits of [Huang2024].

    Args:
        gain: `|h|^2`; `gain[..., k, j]` from transmitter `j` to receiver `k`.
        noise_power_w: noise power at a receiver in W: a number, or one for each instance of a batch.
        max_power_w: power limit of each transmitter in W: a number, or a tensor that broadcasts to `[*batch tx]`.
        weight: weight of each link's rate, likewise.

    Raises:
        ValueError: naming the argument, the rule and what was received.
    """
    links = require_tensor("gain", gain, "float").shape[:-1]
    instance = LinkInstance(
        gain=gain,
        noise_power_w=filled("noise_power_w", noise_power_w, links[:-1], gain),
        max_power_w=filled("max_power_w", max_power_w, links, gain),
        weight=filled("weight", weight, links, gain),
        active=torch.ones(links, dtype=torch.bool, device=gain.device),
    )
    return require_numbers(require_record(instance, LinkInstance), positive=("noise_power_w", "max_power_w"))


def require_links(gain: Tensor, active: Tensor, name: str = "gain") -> None:
    """Gains finite and not negative, direct ones positive, where both ends are active; somebody is."""
    idle = ~active.any(-1)
    if idle.any():
        place = f" at {idle.nonzero()[0].tolist()}" if idle.ndim else ""
        raise ValueError(f"active: must hold at least one active link, received none{place}")
    slots = active.unsqueeze(-2).expand(gain.shape[:-1]) if gain.ndim > active.ndim + 1 else active
    require_values(name, gain, positive=False, where=slots[..., :, None] & slots[..., None, :])
    require_values(f"direct {name}", gain.diagonal(dim1=-2, dim2=-1), positive=True, where=slots)
