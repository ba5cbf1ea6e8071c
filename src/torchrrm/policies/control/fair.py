"""Taking turns by proportional fairness."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.policies.control.base import Controller, require_reads
from torchrrm.problems.links import ErgodicInstance, LinkInstance, PowerAction, WeightedSumRate
from torchrrm.records import replace, tensor_record

__all__ = ["FairState", "ProportionalFair"]

_SUM_RATE = WeightedSumRate()


@tensor_record
class FairState:
    """Moving average of each link's rate in bit/s/Hz."""

    mean_rate_bps_hz: Float[Tensor, "*batch tx"]


class ProportionalFair(Controller[FairState]):
    """Proportional fairness over any allocator of one slot that reads priorities or weights.

    An allocator that reads priorities is called as `allocator(links, priority=ratio)` with the proportional-fairness
    ratio of each link, Eq. (25) of [Huang2024]: the rate at full power over the moving average

        r~(t) = (1 - beta) r~(t-1) + beta r(t)

    of the rates that were given. For one that reads weights the weights of the links are divided by that average: the
    weighted sum rate is then the slope of `sum_k w_k ln r~_k`. The average starts as that of the first `warm_up` slots
    at full power, which stand for the "several data samples" of the paper.

    Args:
        allocator: of one slot; `torchrrm.problems.base.Reads` says how it declares what it reads.
        averaging: `beta`; Table I of [Huang2024].
        warm_up: slots of the initial average.

    Raises:
        ValueError: if the allocator reads neither priorities nor weights.
    """

    def __init__(self, allocator: Callable[..., PowerAction], averaging: float = 0.05, warm_up: int = 100):
        if not 0 < averaging <= 1:
            raise ValueError(f"averaging: must lie in (0, 1], received {averaging}")
        if warm_up < 1:
            raise ValueError(f"warm_up: must be at least 1 slot, received {warm_up}")
        self.reads = require_reads(allocator, ("priority", "weight"), "ProportionalFair")
        self.allocator, self.averaging, self.warm_up = allocator, averaging, warm_up
        self.kind = "policy" if isinstance(allocator, torch.nn.Module) else "solver"

    def start(self, instance: ErgodicInstance) -> FairState:
        """The average over the first slots at full power."""
        first = instance.slots()
        rate = _SUM_RATE.rate(first, first.max_power_w)[..., : self.warm_up, :]  # [*batch slot tx]
        return self.observe_many(rate[..., 1:, :], FairState(mean_rate_bps_hz=rate[..., 0, :]))

    def priority(self, links: LinkInstance, state: FairState) -> Float[Tensor, "*batch tx"]:
        """Proportional-fairness ratio of each link; 0 where inactive."""
        return self.ratio(_SUM_RATE.rate(links, links.max_power_w), state)

    def ratio(self, rate: Float[Tensor, "*batch tx"], state: FairState) -> Float[Tensor, "*batch tx"]:
        """The same, of rates at full power in bit/s/Hz."""
        return rate / torch.clamp(state.mean_rate_bps_hz, min=1e-3)

    def retarget(self, state: FairState, instance: ErgodicInstance) -> FairState:
        """The same state: it knows of no minima."""
        return state

    def multiplier(self, state: FairState) -> Float[Tensor, "*batch tx"]:
        """One over the average."""
        return 1 / torch.clamp(state.mean_rate_bps_hz, min=1e-3)

    def decide(self, links: LinkInstance, state: FairState) -> PowerAction:
        """See `Controller.decide`."""
        if self.reads == "priority":
            return self.allocator(links, priority=self.priority(links, state))
        return self.allocator(replace(links, weight=links.weight * self.multiplier(state)))

    def observe(self, rate: Float[Tensor, "*batch tx"], state: FairState) -> FairState:
        """See `Controller.observe`."""
        return FairState(mean_rate_bps_hz=torch.lerp(state.mean_rate_bps_hz, rate, self.averaging))

    def observe_many(self, rate: Float[Tensor, "*batch slot tx"], state: FairState) -> FairState:
        """The state after several slots."""
        age = torch.arange(rate.shape[-2] - 1, -1, -1, dtype=rate.dtype, device=rate.device)
        kept = (1 - self.averaging) ** rate.shape[-2]
        weight = self.averaging * (1 - self.averaging) ** age
        return FairState(mean_rate_bps_hz=kept * state.mean_rate_bps_hz + (weight[:, None] * rate).sum(-2))
