"""Control loops over slots: allocators of one slot put to work on long-term aims."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.base import Allocator
from torchrrm.problems.links import (
    ErgodicAction,
    ErgodicInstance,
    ErgodicPower,
    LinkInstance,
    PowerAction,
    WeightedSumRate,
)
from torchrrm.records import replace, tensor_record

__all__ = ["Controller", "DualState", "EachSlot", "FairState", "OnlineDual", "ProportionalFair"]

LinkAllocator = Allocator[LinkInstance, PowerAction]
S = TypeVar("S")
_SUM_RATE = WeightedSumRate()
_ERGODIC = ErgodicPower()


class EachSlot:
    """The same allocator in every slot by itself, all slots at once: no memory, no long-term aim."""

    def __init__(self, allocator: LinkAllocator):
        self.allocator = allocator
        self.kind = getattr(allocator, "kind", "solver")

    def __call__(self, instance: ErgodicInstance) -> ErgodicAction:
        return _ERGODIC.least_slack(instance, self.allocator(instance.slots()).power_w)


class Controller(ABC, Generic[S]):
    """A control loop: it decides one slot at a time, and carries a state from slot to slot.

    The state is a record, so that a loop can be stopped, saved and resumed. Called on an instance of many slots
    it runs through them in the order of time, batched over everything else. The slack that it reports is the
    least that its powers need.
    """

    kind = "solver"

    @abstractmethod
    def start(self, instance: ErgodicInstance) -> S:
        """State before the first slot."""

    @abstractmethod
    def decide(self, links: LinkInstance, state: S) -> PowerAction:
        """The powers of a slot."""

    @abstractmethod
    def observe(self, rate: Float[Tensor, "*batch tx"], state: S) -> S:
        """The state after a slot that gave these rates in bit/s/Hz."""

    def run(self, instance: ErgodicInstance, state: S) -> tuple[Float[Tensor, "*batch slot tx"], S]:
        """Powers of all slots in W, and the state after the last."""
        powers = []
        for slot in range(instance.gain.shape[-3]):
            links = instance.slot(slot)
            power = self.decide(links, state).power_w
            state = self.observe(_SUM_RATE.rate(links, power), state)
            powers.append(power)
        return torch.stack(powers, dim=-2), state

    def __call__(self, instance: ErgodicInstance) -> ErgodicAction:
        power, _ = self.run(instance, self.start(instance))
        return _ERGODIC.least_slack(instance, power)


@tensor_record
class FairState:
    """Moving average of each link's rate in bit/s/Hz."""

    mean_rate_bps_hz: Float[Tensor, "*batch tx"]


class ProportionalFair(Controller[FairState]):
    """Tells an allocator the proportional-fairness ratio of each link (Eq. (25) of [Huang2024]).

    The ratio is the rate at full power over the moving average `r~(t) = (1 - beta) r~(t-1) + beta r(t)` of the
    rates that were given. The average starts as that of the first `warm_up` slots at full power, which stand for
    the "several data samples" of the paper.

    Args:
        allocator: called as `allocator(links, priority=ratio)`.
        averaging: `beta`; Table I of [Huang2024].
        warm_up: slots of the initial average.
    """

    def __init__(self, allocator: Callable[..., PowerAction], averaging: float = 0.05, warm_up: int = 100):
        if not 0 < averaging <= 1:
            raise ValueError(f"averaging: must lie in (0, 1], received {averaging}")
        if warm_up < 1:
            raise ValueError(f"warm_up: must be at least 1 slot, received {warm_up}")
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

    def decide(self, links: LinkInstance, state: FairState) -> PowerAction:
        """See `Controller.decide`."""
        return self.allocator(links, priority=self.priority(links, state))

    def observe(self, rate: Float[Tensor, "*batch tx"], state: FairState) -> FairState:
        """See `Controller.observe`."""
        return FairState(mean_rate_bps_hz=torch.lerp(state.mean_rate_bps_hz, rate, self.averaging))

    def observe_many(self, rate: Float[Tensor, "*batch slot tx"], state: FairState) -> FairState:
        """The state after several slots."""
        age = torch.arange(rate.shape[-2] - 1, -1, -1, dtype=rate.dtype, device=rate.device)
        kept = (1 - self.averaging) ** rate.shape[-2]
        weight = self.averaging * (1 - self.averaging) ** age
        return FairState(mean_rate_bps_hz=kept * state.mean_rate_bps_hz + (weight[:, None] * rate).sum(-2))


@tensor_record
class DualState:
    """Multipliers of the minimum rates, and the minima themselves in bit/s/Hz."""

    multiplier: Float[Tensor, "*batch tx"]
    min_rate_bps_hz: Float[Tensor, "*batch tx"]


class OnlineDual(Controller[DualState]):
    """Meets minimum mean rates slot by slot: weights `1 + mu`, and `mu` moved by the shortfall of each slot.

    `mu <- (mu + step (f_min - s - r))^+`: the stochastic dual method on Eq. (6) of [Huang2024], with its `lambda`
    eliminated (`lambda = 1 + mu`), as in [NaderiAlizadeh2022]. With a slack penalty `alpha` the slack that is best
    for the multiplier, `s = mu / alpha`, is eliminated too; without one the minima are hard. After T slots the mean
    shortfall is at most `(mu_T - mu_0) / (step T)`, whatever the channels. It needs no training; any allocator that
    reads the weights serves.

    Args:
        allocator: of one slot.
        demands: minimum mean rate in bit/s/Hz, `[*batch tx]` or one for all; by default those of the instance.
        step: of the multipliers, per slot.
        slack_penalty: `alpha`, if the minima may be relaxed.
        first: gives the first multipliers of an instance; by default they are 0.
    """

    def __init__(
        self,
        allocator: LinkAllocator,
        demands: Tensor | float | None = None,
        step: float = 0.1,
        *,
        slack_penalty: float | None = None,
        first: Callable[[ErgodicInstance], Tensor] | None = None,
    ):
        if not 0 < step < math.inf:
            raise ValueError(f"step: must be positive and finite, received {step}")
        if slack_penalty is not None and not slack_penalty > 0:
            raise ValueError(f"slack_penalty: must be positive, received {slack_penalty}")
        self.allocator, self.demands, self.step = allocator, demands, step
        self.slack_penalty, self.first = slack_penalty, first
        self.kind = "policy" if isinstance(allocator, torch.nn.Module) else "solver"

    def start(self, instance: ErgodicInstance) -> DualState:
        """The first multipliers."""
        asked = instance.min_rate_bps_hz if self.demands is None else self.demands
        least = torch.as_tensor(asked, dtype=instance.gain.dtype, device=instance.gain.device)
        least = torch.where(instance.active, least, torch.zeros_like(instance.min_rate_bps_hz))
        multiplier = torch.zeros_like(least) if self.first is None else self.first(instance)
        return DualState(multiplier=multiplier * (least > 0), min_rate_bps_hz=least)

    def decide(self, links: LinkInstance, state: DualState) -> PowerAction:
        """See `Controller.decide`."""
        return self.allocator(replace(links, weight=links.weight * (1 + state.multiplier)))

    def observe(self, rate: Float[Tensor, "*batch tx"], state: DualState) -> DualState:
        """See `Controller.observe`."""
        relaxed = 0.0 if self.slack_penalty is None else state.multiplier / self.slack_penalty
        moved = state.multiplier + self.step * (state.min_rate_bps_hz - relaxed - rate)
        return replace(state, multiplier=torch.clamp(moved, min=0) * (state.min_rate_bps_hz > 0))
