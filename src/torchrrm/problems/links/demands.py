"""Links whose demands on mean rates change over the slots, as one instance: what a control loop is judged on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.base import Evaluation
from torchrrm.problems.links.records import ErgodicInstance, LinkInstance
from torchrrm.problems.links.weighted_sum_rate import WeightedSumRate, power_violation, require_links
from torchrrm.problems.structure import require_action, require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.records import replace, tensor_record

__all__ = ["DemandInstance", "MetDemands", "SlotPowers"]

_SUM_RATE = WeightedSumRate()
_TIMED_SLOTS = 40


@tensor_record
class DemandInstance:
    """Links over slots in windows of equal length, each with demands of its own.

    Attributes:
        gain: `|h|^2` of each slot, in the order of time; a multiple of the windows.
        mean_gain: `E[|h|^2]`, what is known before the first slot.
        noise_power_w: noise power at a receiver in W.
        max_power_w: power limit of each transmitter in every slot, in W.
        demand_bps_hz: mean rate that each link asks for in each window, in bit/s/Hz.
        active: links that take part.
    """

    gain: Float[Tensor, "*batch slot rx tx"]
    mean_gain: Float[Tensor, "*batch rx tx"]
    noise_power_w: Float[Tensor, "*batch"]
    max_power_w: Float[Tensor, "*batch tx"]
    demand_bps_hz: Float[Tensor, "*batch window tx"]
    active: Bool[Tensor, "*batch tx"]

    same_axis: ClassVar[Mapping[str, str]] = {"rx": "tx"}
    """Receiver `k` is that of transmitter `k`: what masks the one masks the other."""
    holds: ClassVar[str] = "links with demands in windows of slots"

    @property
    def windows(self) -> int:
        """How many."""
        return self.demand_bps_hz.shape[-2]

    def window(self, number: int, first: int = 0) -> ErgodicInstance:
        """The slots of one window, from its `first` on, with its demands as minima."""
        slots = self.gain.shape[-3] // self.windows
        return ErgodicInstance(
            gain=self.gain[..., number * slots + first : (number + 1) * slots, :, :],
            mean_gain=self.mean_gain,
            noise_power_w=self.noise_power_w,
            max_power_w=self.max_power_w,
            min_rate_bps_hz=self.demand_bps_hz[..., number, :],
            active=self.active,
        )

    def slots(self) -> LinkInstance:
        """All slots as instances of batch shape `[*batch slot]`, every active link of weight 1."""
        whole = self.window(0)
        return replace(whole, gain=self.gain).slots()

    def timed(self) -> tuple["DemandInstance", int]:
        """The first slots in the first window, and how many: what the latency of a slot is measured on."""
        slots = min(_TIMED_SLOTS, self.gain.shape[-3] // self.windows)
        few = replace(self, gain=self.gain[..., :slots, :, :], demand_bps_hz=self.demand_bps_hz[..., :1, :])
        return few, slots


@tensor_record
class SlotPowers:
    """Transmit power of each link in each slot in W; 0 for links that are not active."""

    power_w: Float[Tensor, "*batch slot tx"]


@dataclass(frozen=True)
class MetDemands:
    """Sum of mean rates, of windows in which demands on mean rates are to be met once they have settled.

        maximise  mean_w sum_k r_wk   subject to   r_wk >= (1 - tolerance) u_wk,  0 <= p <= p_max

    with mean rates `r_wk` over the slots of window `w` after its first `settle` part, and demands `u_wk`.

    Attributes:
        settle: part of each window that does not count: control loops need time.
        tolerance: what means over some hundred slots may fall short by, relative to the demand; as in
            `torchrrm.bench.demands.blocks_until_met`.
    """

    settle: float = 0.5
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        for name in ("settle", "tolerance"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: must lie in [0, 1), received {getattr(self, name)}")

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "demands"

    def first(self, instance: DemandInstance) -> int:
        """Slots of a window that do not count."""
        return math.floor(self.settle * (instance.gain.shape[-3] // instance.windows))

    def rate(
        self, instance: DemandInstance, power_w: Float[Tensor, "*batch slot tx"]
    ) -> Float[Tensor, "*batch window tx"]:
        """Mean rate of each link in bit/s/Hz in each window, once settled; 0 where not active."""
        rate = _SUM_RATE.rate(instance.slots(), power_w).unflatten(-2, (instance.windows, -1))
        return rate[..., self.first(instance) :, :].mean(-2)

    def shortfall(
        self, instance: DemandInstance, power_w: Float[Tensor, "*batch slot tx"], tolerance: float = 0.0
    ) -> Float[Tensor, "*batch window tx"]:
        """`((1 - tolerance) u - r) / u`; 0 where nothing is asked for or not active."""
        rate, demand = self.rate(instance, power_w), instance.demand_bps_hz
        asked = instance.active[..., None, :] & (demand > 0)
        unit = torch.where(asked, demand, torch.ones_like(demand))
        return torch.where(asked, 1 - tolerance - rate / unit, torch.zeros_like(rate))

    def evaluate(self, instance: DemandInstance, action: SlotPowers) -> Evaluation:
        """Sum of mean rates in bit/s/Hz, mean over the windows; the utility of a link is its own part.

        Violations: `min_rate`, the worst window's shortfall beyond the tolerance relative to the demand; `power` and
        `sign` of the worst slot, relative to the limit.
        """
        require_action(action, SlotPowers, instance, DemandInstance)
        utility = self.rate(instance, action.power_w).mean(-2)
        slots = instance.slots()
        of_slots = power_violation(action.power_w, slots.max_power_w, slots.active)
        violation = {
            "min_rate": self.shortfall(instance, action.power_w, self.tolerance).amax(-2),
            **{name: value.amax(-2) for name, value in of_slots.items()},
        }
        return Evaluation(objective=utility.sum(-1), utility=utility, violation=violation)

    def validate(self, instance: DemandInstance) -> DemandInstance:
        """The instance, if it is one.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        require_record(instance, DemandInstance)
        slots, windows = instance.gain.shape[-3], instance.windows
        if windows < 1 or slots < windows or slots % windows:
            raise ValueError(f"gain: must have a multiple of {windows} slots, one a window, received {slots}")
        require_links(instance.gain, instance.active)
        return require_numbers(instance, positive=("noise_power_w", "max_power_w"))
