"""Ergodic power control with minimum mean rates that may be relaxed at a price [Huang2024]."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.base import Evaluation
from torchrrm.problems.links.records import ErgodicAction, ErgodicInstance
from torchrrm.problems.links.weighted_sum_rate import (
    MAX_POWER_W,
    NOISE_POWER_W,
    WeightedSumRate,
    power_violation,
    require_links,
)
from torchrrm.problems.structure import require_action, require_record, require_tensor
from torchrrm.problems.validation import filled, require_numbers

__all__ = ["ErgodicPower", "ergodic_instance"]

_SUM_RATE = WeightedSumRate()


@dataclass(frozen=True)
class ErgodicPower:
    """Sum of the links' mean rates over slots, with minima that may be relaxed (Eq. (4) of [Huang2024]).

        maximise  sum_k r_k - alpha / 2 |s|^2   with   r_k = mean_t log2(1 + SINR_k(H_t, p(H_t))),
        subject to  r_k >= f_min,k - s_k,  0 <= p <= p_max,  s >= 0.

    Attributes:
        slack_penalty: `alpha`; Table I of [Huang2024].
    """

    slack_penalty: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.slack_penalty < math.inf:
            raise ValueError(f"slack_penalty: must be positive and finite, received {self.slack_penalty}")

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "ergodic-power"

    def rate(
        self, instance: ErgodicInstance, power_w: Float[Tensor, "*batch slot tx"]
    ) -> Float[Tensor, "*batch tx"]:
        """Mean rate of each link over the slots in bit/s/Hz."""
        return _SUM_RATE.rate(instance.slots(), power_w).mean(-2)

    def least_slack(
        self, instance: ErgodicInstance, power_w: Float[Tensor, "*batch slot tx"]
    ) -> ErgodicAction:
        """The powers with the least slack that makes them feasible, which is also the best: `s = (f_min - r)^+`."""
        missing = instance.min_rate_bps_hz - self.rate(instance, power_w)
        slack = torch.where(instance.active, torch.clamp(missing, min=0), torch.zeros_like(missing))
        return ErgodicAction(power_w=power_w, slack_bps_hz=slack)

    def evaluate(self, instance: ErgodicInstance, action: ErgodicAction) -> Evaluation:
        """Penalised sum of mean rates in bit/s/Hz; the utility of a link is its own term of it.

        Violations, 0 where inactive: `relaxed_min_rate` `f_min - s - r` and `min_rate` `f_min - r`, the one
        that counts in the end, both relative to `f_min`; `power`, `sign` of the worst slot, relative to the limit;
        `slack` `-s` relative to `f_min`.
        """
        require_action(action, ErgodicAction, instance, ErgodicInstance)
        rate, slack = self.rate(instance, action.power_w), action.slack_bps_hz
        zero = torch.zeros_like(rate)
        utility = torch.where(instance.active, rate - self.slack_penalty / 2 * slack.square(), zero)
        asked = instance.active & (instance.min_rate_bps_hz > 0)
        unit = torch.where(asked, instance.min_rate_bps_hz, torch.ones_like(rate))
        missing = torch.where(asked, (instance.min_rate_bps_hz - rate) / unit, zero)
        slots = instance.slots()
        of_slots = power_violation(action.power_w, slots.max_power_w, slots.active)
        violation = {
            "relaxed_min_rate": torch.where(asked, missing - slack / unit, zero),
            "min_rate": missing,
            "slack": torch.where(instance.active, -slack / unit, zero),
            **{name: value.amax(-2) for name, value in of_slots.items()},
        }
        return Evaluation(objective=utility.sum(-1), utility=utility, violation=violation)

    def validate(self, instance: ErgodicInstance) -> ErgodicInstance:
        """The instance, if it is one.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        require_record(instance, ErgodicInstance)
        require_links(instance.gain, instance.active)
        require_links(instance.mean_gain, instance.active, "mean_gain")
        return require_numbers(instance, positive=("noise_power_w", "max_power_w"))


def ergodic_instance(
    gain: Float[Tensor, "*batch slot rx tx"],
    mean_gain: Float[Tensor, "*batch rx tx"] | None = None,
    *,
    noise_power_w: float | Float[Tensor, "*#batch"] = NOISE_POWER_W,
    max_power_w: float | Float[Tensor, "*#batch tx"] = MAX_POWER_W,
    min_rate_bps_hz: float | Float[Tensor, "*#batch tx"] = 1.0,
) -> ErgodicInstance:
    """Return an instance of linear gains, every link active; by default with limits and minimum of [Huang2024].

    Args:
        gain: `|h|^2` of each slot, in the order of time.
        mean_gain: `E[|h|^2]`; by default the mean over the slots.
        noise_power_w: noise power at a receiver in W: a number, or one for each instance of a batch.
        max_power_w: power limit of each transmitter in W: a number, or a tensor that broadcasts to `[*batch tx]`.
        min_rate_bps_hz: minimum of each link's mean rate in bit/s/Hz, likewise.

    Raises:
        ValueError: naming the argument, the rule and what was received.
    """
    if require_tensor("gain", gain, "float").ndim < 3:
        raise ValueError(f"gain: expected shape [*batch, slot, rx, tx], got {list(gain.shape)}")
    links = (*gain.shape[:-3], gain.shape[-1])
    instance = ErgodicInstance(
        gain=gain,
        mean_gain=gain.mean(-3) if mean_gain is None else mean_gain,
        noise_power_w=filled("noise_power_w", noise_power_w, links[:-1], gain),
        max_power_w=filled("max_power_w", max_power_w, links, gain),
        min_rate_bps_hz=filled("min_rate_bps_hz", min_rate_bps_hz, links, gain),
        active=torch.ones(links, dtype=torch.bool, device=gain.device),
    )
    return require_numbers(
        require_record(instance, ErgodicInstance), positive=("noise_power_w", "max_power_w")
    )
