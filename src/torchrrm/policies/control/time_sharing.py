"""Meeting demands by switching users on and off: ALCOR [Behmandpoor2024]."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
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

__all__ = ["SharingSettings", "SharingState", "TimeSharing"]

_UPDATES = {"printed": kernels.PRINTED, "corrected": kernels.CORRECTED, "simple": kernels.SIMPLE}
_MOVED = ("multiplier", "base", "extrapolated", "momentum", "shortfall")


@dataclass(frozen=True)
class SharingSettings:
    """How `TimeSharing` moves its multipliers.

    Attributes:
        update: which of the three forms (see `TimeSharing`).
        batch: slots of an estimate, `B`.
        step: `gamma`.
        damping: `alpha_0`, in (0, 1].
        decay: `alpha~`: the damping of iteration `k` is `alpha_0 / sqrt(1 + alpha~ k)`; 0 keeps it constant.
        ceiling: of the multipliers; demands that cannot be met drive them there and no further.
    """

    update: Literal["printed", "corrected", "simple"] = "simple"
    batch: int = 25
    step: float = 5.0
    damping: float = 0.9
    decay: float = 0.0
    ceiling: float = 1e3

    def __post_init__(self) -> None:
        if self.update not in _UPDATES:
            raise ValueError(f"update: must be one of {', '.join(_UPDATES)}, received {self.update!r}")
        if self.batch < 1:
            raise ValueError(f"batch: must be at least 1 slot, received {self.batch}")
        for name in ("step", "ceiling"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be positive and finite, received {getattr(self, name)}")
        if not 0 < self.damping <= 1:
            raise ValueError(f"damping: must lie in (0, 1], received {self.damping}")
        if not 0 <= self.decay < math.inf:
            raise ValueError(f"decay: must be at least 0 and finite, received {self.decay}")


@tensor_record
class SharingState:
    """What `TimeSharing` carries from slot to slot; the symbols are those of Algorithm 1 of [Behmandpoor2024].

    Attributes:
        multiplier: that the probabilities come from at present.
        base: the base iterate, `lambda bar`.
        extrapolated: `h`.
        momentum: `h^k - lambda bar^(k-1)`.
        shortfall: sum of `u - R` over the slots of the present batch, in bit/s/Hz.
        demand_bps_hz: `u`.
        slot: slots since the start.
        key: tells the random numbers of runs and of restarts apart.
    """

    multiplier: Float[Tensor, "*batch tx"]
    base: Float[Tensor, "*batch tx"]
    extrapolated: Float[Tensor, "*batch tx"]
    momentum: Float[Tensor, "*batch tx"]
    shortfall: Float[Tensor, "*batch tx"]
    demand_bps_hz: Float[Tensor, "*batch tx"]
    slot: Int[Tensor, "*batch"]
    key: Int[Tensor, "*batch"]


class TimeSharing(Controller[SharingState]):
    """ALCOR, Algorithm 1 of [Behmandpoor2024]: users are on with probabilities that their demands move.

    In each slot user `i` is on with probability `kappa_i = (1 + lambda_i) / max_l (1 + lambda_l)`, independently
    of the others, and an allocator that knows of no demands serves those who are on. With `F` the mean of
    `u - R` over a batch of slots, `gamma` the step and `alpha_k` the damping:

    - `simple`: `lambda <- (lambda + alpha_k gamma F)^+` after each batch (the text's, times `gamma`).
    - `printed`: two batches an iteration, both drawn by `lambda^k`: `h^(k+1) = lbar + gamma F + (1 - alpha_k)
      (h^k - lbar^(k-1) - gamma F)`, `lambda^(k+1) = (h^(k+1))^+`, then `lbar^(k+1) = lbar - alpha_k (h^(k+1) -
      lambda^(k+1) - gamma F')`.
    - `corrected`: the same, but the first batch is drawn by the base iterate `lbar`, the second by
      `lambda^(k+1)`. As printed both batches estimate the same expectation, which makes it momentum and not the
      extragradient method that the convergence proof is about.

    The default is `simple`: it meets demands soonest. `corrected` promises its demands for `lambda`, that is, for
    the second batches; the first ones, drawn by an auxiliary point, serve as probes and count on the air all the
    same. The two points agree only where `gamma` is below the inverse Lipschitz constant of `F`, which the steps of
    1 to 10 of the paper are not (measured in `docs/results`).

    The draws are a function of a key, the slot and the user's number alone (SplitMix64), so that a saved loop
    resumes exactly and the compiled loop draws the same. Over an allocator that has a compiled form (`rule`) the
    whole loop runs compiled on a CPU.

    Args:
        allocator: of one slot; called with `active` narrowed.
        demands: mean rates in bit/s/Hz, `[*batch tx]` or one for all; by default the instance's minima.
        settings: of the update.
        seed: of the draws.

    Raises:
        ValueError: if the allocator reads demands.
    """

    def __init__(
        self,
        allocator: LinkAllocator,
        demands: Tensor | float | None = None,
        settings: SharingSettings | None = None,
        *,
        seed: int = 0,
    ):
        require_reads(allocator, ("nothing", "weight", "priority"), "TimeSharing")
        self.allocator, self.demands = allocator, demands
        self.settings, self.seed = settings or SharingSettings(), seed
        self.kind = "policy" if isinstance(allocator, torch.nn.Module) else "solver"

    def start(self, instance: ErgodicInstance) -> SharingState:
        """Everybody is on.

        Raises:
            ValueError: of demands that are negative, not finite, or not as many as links.
        """
        demand = require_demands(instance.min_rate_bps_hz if self.demands is None else self.demands, instance)
        batch, device = demand.shape[:-1], demand.device
        run = torch.arange(batch.numel(), device=device).reshape(batch)
        zero = torch.zeros_like(demand)
        return SharingState(
            multiplier=zero,
            base=zero,
            extrapolated=zero,
            momentum=zero,
            shortfall=zero,
            demand_bps_hz=demand,
            slot=torch.zeros_like(run),
            key=_next_key(_next_key(run + (self.seed << 32))),
        )

    def retarget(self, state: SharingState, instance: ErgodicInstance) -> SharingState:
        """A restart with the instance's minima, as in the paper."""
        zero = torch.zeros_like(state.multiplier)
        return SharingState(
            **dict.fromkeys(_MOVED, zero),
            demand_bps_hz=require_demands(instance.min_rate_bps_hz, instance),
            slot=torch.zeros_like(state.slot),
            key=_next_key(state.key),
        )

    def multiplier(self, state: SharingState) -> Float[Tensor, "*batch tx"]:
        """`lambda`, which the probabilities come from."""
        return state.multiplier

    def probability(self, links: LinkInstance, state: SharingState) -> Float[Tensor, "*batch tx"]:
        """`kappa`; 0 where inactive."""
        score = torch.where(links.active, 1 + state.multiplier, 0.0)
        return score / score.amax(-1, keepdim=True).clamp_min(1.0)

    def select(self, links: LinkInstance, state: SharingState) -> Bool[Tensor, "*batch tx"]:
        """The user selection vector of this slot."""
        score = torch.where(links.active, 1 + state.multiplier, 0.0)
        user = torch.arange(score.shape[-1], device=score.device)
        drawn = _chance(state.key[..., None], state.slot[..., None], user)
        return links.active & (drawn * score.double().amax(-1, keepdim=True) < score)

    def decide(self, links: LinkInstance, state: SharingState) -> PowerAction:
        """See `Controller.decide`."""
        return self.allocator(replace(links, active=self.select(links, state)))

    def observe(self, rate: Float[Tensor, "*batch tx"], state: SharingState) -> SharingState:
        """See `Controller.observe`."""
        batch = self.settings.batch
        gathered = replace(state, shortfall=state.shortfall + state.demand_bps_hz - rate)
        ends = (state.slot + 1) % batch == 0
        if ends.any():
            gathered = _where(ends, self._moved(gathered), gathered)
        return replace(gathered, slot=state.slot + 1)

    def track(self, instance: ErgodicInstance, state: SharingState) -> tuple[Track, SharingState]:
        """See `Controller.track`."""
        rule = compiled_rule(self.allocator, instance)
        if rule is None:
            return super().track(instance, state)
        how = self.settings
        links = loop_arrays(instance, state.demand_bps_hz)
        rows = torch.stack([getattr(state, name).double() for name in _MOVED], dim=-2)
        moved = rows.reshape(-1, *rows.shape[-2:]).numpy()
        clock = torch.stack([state.key, state.slot], dim=-1).reshape(-1, 2).numpy()
        scales = map(float, (how.step, how.damping, how.decay, how.ceiling))
        settings = (_UPDATES[how.update], how.batch, *scales)
        seen = loop_track(kernels.sharing_batch(rule, *links, moved, clock, settings), instance)
        last = torch.from_numpy(moved).reshape(rows.shape).to(state.multiplier)
        after = dict(zip(_MOVED, last.unbind(-2), strict=True))
        return seen, replace(state, slot=state.slot + instance.gain.shape[-3], **after)

    def _moved(self, state: SharingState) -> SharingState:
        """The state after a batch is full."""
        how, half = self.settings, state.slot // self.settings.batch
        iteration = half if how.update == "simple" else half // 2
        damping = how.damping / torch.sqrt(1 + how.decay * iteration.to(state.base))[..., None]
        move = how.step / how.batch * state.shortfall
        emptied = replace(state, shortfall=torch.zeros_like(state.shortfall))
        if how.update == "simple":
            base = torch.clamp(state.base + damping * move, min=0, max=how.ceiling)
            return replace(emptied, base=base, multiplier=base)
        ahead = state.base + move + (1 - damping) * (state.momentum - move)
        ahead = torch.clamp(ahead, max=how.ceiling)
        below = torch.clamp(state.extrapolated, max=0)
        base = torch.clamp(state.base - damping * (below - move), max=how.ceiling)
        corrected = how.update == "corrected"
        first = replace(
            emptied,
            extrapolated=ahead,
            multiplier=torch.clamp(ahead, min=0) if corrected else state.multiplier,
        )
        second = replace(
            emptied,
            base=base,
            momentum=state.extrapolated - state.base,
            multiplier=torch.clamp(base if corrected else state.extrapolated, min=0),
        )
        return _where(half % 2 == 0, first, second)


def _where(chosen: Bool[Tensor, "*batch"], new: SharingState, old: SharingState) -> SharingState:
    """`new` in the chosen runs, else `old`; keys and slots are those of `old`."""
    moved: dict[str, Any] = {
        name: torch.where(chosen[..., None], getattr(new, name), getattr(old, name)) for name in _MOVED
    }
    return replace(old, **moved)


def _next_key(key: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """Another key: Knuth's linear congruential step, which wraps around."""
    return key * 6364136223846793005 + 1442695040888963407


def _chance(key: Tensor, slot: Tensor, link: Tensor) -> Float[Tensor, "*batch tx"]:
    """`torchrrm.kernels.control.chance` of tensors, in float64."""
    z = key + slot * kernels.STRIDE_SLOT + link * kernels.STRIDE_LINK
    for shift, mask, factor in kernels.MIXES:
        z = (z ^ ((z >> shift) & mask)) * factor
    return ((z >> 11) & ((1 << 53) - 1)).double() * 2.0**-53
