"""Meeting minimum mean rates by moving the weights of links."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import control as kernels
from torchrrm.policies.control.base import (
    Controller,
    LinkAllocator,
    Track,
    compiled_rule,
    require_demands,
    require_reads,
)
from torchrrm.policies.control.compiled import loop_arrays, loop_track
from torchrrm.problems.links import ErgodicInstance, LinkInstance, PowerAction
from torchrrm.records import replace, tensor_record

__all__ = ["DualState", "OnlineDual"]


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
    shortfall is at most `(mu_T - mu_0) / (step T)`, whatever the channels, as long as no multiplier is at the
    ceiling. It needs no training; any allocator that reads the weights serves.

    Multipliers of demands that cannot be met grow until the ceiling, which keeps the loop from diverging: those
    links then have nearly all the say, and the others keep what is left.

    Over an allocator that has a compiled form (`rule`), the whole loop runs compiled on a CPU.

    Args:
        allocator: of one slot.
        demands: minimum mean rate in bit/s/Hz, `[*batch tx]` or one for all; by default those of the instance.
        step: of the multipliers, per slot.
        slack_penalty: `alpha`, if the minima may be relaxed.
        ceiling: of the multipliers.
        first: gives the first multipliers of an instance; by default they are 0.

    Raises:
        ValueError: if the allocator reads priorities or demands, which this loop does not give.
    """

    def __init__(
        self,
        allocator: LinkAllocator,
        demands: Tensor | float | None = None,
        step: float = 0.1,
        *,
        slack_penalty: float | None = None,
        ceiling: float = 1e3,
        first: Callable[[ErgodicInstance], Tensor] | None = None,
    ):
        for name, value in (("step", step), ("ceiling", ceiling)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: must be positive and finite, received {value}")
        if slack_penalty is not None and not slack_penalty > 0:
            raise ValueError(f"slack_penalty: must be positive, received {slack_penalty}")
        require_reads(allocator, ("weight", "nothing"), "OnlineDual")
        self.allocator, self.demands, self.step = allocator, demands, step
        self.slack_penalty, self.ceiling, self.first = slack_penalty, ceiling, first
        self.kind = "policy" if isinstance(allocator, torch.nn.Module) else "solver"

    def start(self, instance: ErgodicInstance) -> DualState:
        """The first multipliers.

        Raises:
            ValueError: of demands that are negative, not finite, or not as many as links.
        """
        least = require_demands(instance.min_rate_bps_hz if self.demands is None else self.demands, instance)
        return self._first(instance, least)

    def retarget(self, state: DualState, instance: ErgodicInstance) -> DualState:
        """The first multipliers of the instance's minima.

        Those of old demands say little of new ones, and after demands out of reach they have wound up.
        """
        least = require_demands(instance.min_rate_bps_hz, instance)
        return self._first(instance, least)

    def multiplier(self, state: DualState) -> Float[Tensor, "*batch tx"]:
        """`mu`; the weights are `1 + mu`."""
        return state.multiplier

    def decide(self, links: LinkInstance, state: DualState) -> PowerAction:
        """See `Controller.decide`."""
        return self.allocator(replace(links, weight=links.weight * (1 + state.multiplier)))

    def observe(self, rate: Float[Tensor, "*batch tx"], state: DualState) -> DualState:
        """See `Controller.observe`."""
        moved = state.multiplier + self.step * (
            state.min_rate_bps_hz - self._relaxed * state.multiplier - rate
        )
        moved = torch.clamp(moved, min=0, max=self.ceiling) * (state.min_rate_bps_hz > 0)
        return replace(state, multiplier=moved)

    def track(self, instance: ErgodicInstance, state: DualState) -> tuple[Track, DualState]:
        """See `Controller.track`."""
        rule = compiled_rule(self.allocator, instance)
        if rule is None:
            return super().track(instance, state)
        links = loop_arrays(instance, state.min_rate_bps_hz)
        multiplier = state.multiplier.double().reshape(-1, links[-1].shape[-1]).numpy().copy()
        settings = (float(self.step), self._relaxed, float(self.ceiling))
        seen = loop_track(kernels.dual_batch(rule, *links, multiplier, settings), instance)
        last = torch.from_numpy(multiplier).to(state.multiplier).reshape(state.multiplier.shape)
        return seen, replace(state, multiplier=last)

    def _first(self, instance: ErgodicInstance, least: Tensor) -> DualState:
        asked = replace(instance, min_rate_bps_hz=least)
        multiplier = torch.zeros_like(least) if self.first is None else self.first(asked)
        return DualState(multiplier=multiplier * (least > 0), min_rate_bps_hz=least)

    @property
    def _relaxed(self) -> float:
        return 0.0 if self.slack_penalty is None else 1.0 / self.slack_penalty
