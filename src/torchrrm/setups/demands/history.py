"""What a run did, block by block, and how it stands against its demands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.bench import kind_of
from torchrrm.bench.demands import NEVER, blocks_until_met, shortfall
from torchrrm.policies.control import Track, Window
from torchrrm.solvers import SOLVERS

__all__ = ["AVERAGED_BLOCKS", "BLOCK_SLOTS", "TRIVIAL", "History", "Settled", "Standing", "Timetable"]

BLOCK_SLOTS = 25
"""Slots of a block, at most: the batch of [Behmandpoor2024]."""
AVERAGED_BLOCKS = 10
"""Blocks of a moving average: what `torchrrm.bench.demands.blocks_until_met` looks at."""
TRIVIAL = {name: rule for name, make in SOLVERS["sum-rate"].items() if kind_of(rule := make()) == "trivial"}
"""Rules of one slot that a loop must beat; they take no notice of demands."""
_TOLERANCE = 0.05  # what a mean over these blocks may fall short by, as there
_TRANSMITS = 1e-6  # of the limit: what is less counts as silence


@dataclass(frozen=True)
class Timetable:
    """The blocks of a schedule: of equal length, but for the last one of each window, which may be shorter.

    Attributes:
        schedule: windows in the order of time.
        window: number of each block's window, from 0.
        slots: of each block.
    """

    schedule: tuple[Window, ...]
    window: Int[Tensor, " block"]
    slots: Int[Tensor, " block"]

    @classmethod
    def of(cls, schedule: Sequence[Window]) -> "Timetable":
        """The blocks of this schedule."""
        window, slots = [], []
        for number, part in enumerate(schedule):
            whole, rest = divmod(part.slots, BLOCK_SLOTS)
            lengths = [BLOCK_SLOTS] * whole + [rest] * (rest > 0)
            window += [number] * len(lengths)
            slots += lengths
        return cls(tuple(schedule), torch.tensor(window), torch.tensor(slots))

    @property
    def demand_bps_hz(self) -> Float[Tensor, "block user"]:
        """Demands in each block."""
        return torch.tensor([window.demand_bps_hz for window in self.schedule])[self.window]

    def window_start(self, block: int) -> int:
        """The first block of this block's window."""
        return int((self.window == self.window[block]).int().argmax())

    def end_slot(self) -> Int[Tensor, " block"]:
        """Slots up to the end of each block."""
        return self.slots.cumsum(0)


@dataclass
class History:
    """Means over blocks, and the multipliers after them; filled as a run goes on.

    Attributes:
        rate_bps_hz: mean rates in bit/s/Hz.
        trivial_rate_bps_hz: those that the rules that need no thought (`TRIVIAL`) give in the same slots.
        power_share: mean powers over the limits.
        on: shares of slots in which users transmitted.
        multiplier: after the block.
        latency_us: of a slot, averaged over the slots that were run at once.
    """

    rate_bps_hz: Float[Tensor, "block user"]
    trivial_rate_bps_hz: Float[Tensor, "block rule user"]
    power_share: Float[Tensor, "block user"]
    on: Float[Tensor, "block user"]
    multiplier: Float[Tensor, "block user"]
    latency_us: Float[Tensor, " block"]

    @classmethod
    def empty(cls, blocks: int, users: int) -> "History":
        """Room for so many blocks."""
        return cls(
            rate_bps_hz=torch.zeros(blocks, users),
            trivial_rate_bps_hz=torch.zeros(blocks, len(TRIVIAL), users),
            power_share=torch.zeros(blocks, users),
            on=torch.zeros(blocks, users),
            multiplier=torch.zeros(blocks, users),
            latency_us=torch.zeros(blocks),
        )

    def write(
        self,
        blocks: slice,
        lengths: Sequence[int],
        track: Track,
        max_power_w: Float[Tensor, " user"],
        trivial_rate_bps_hz: Float[Tensor, "slot rule user"],
    ) -> None:
        """Enter what was done in the slots of some blocks of these lengths."""
        share = track.power_w / max_power_w
        means = {
            "rate_bps_hz": track.rate_bps_hz,
            "trivial_rate_bps_hz": trivial_rate_bps_hz,
            "power_share": share,
            "on": (share > _TRANSMITS).float(),
        }
        for name, value in means.items():
            getattr(self, name)[blocks] = torch.stack([part.mean(0) for part in value.split(list(lengths))])
        last = torch.tensor(lengths).cumsum(0) - 1
        self.multiplier[blocks] = track.multiplier[last].to(self.multiplier)

    def tensors(self, blocks: int) -> dict[str, Tensor]:
        """The first blocks by name."""
        return {part.name: getattr(self, part.name)[:blocks] for part in fields(self)}

    def restore(self, tensors: Mapping[str, Tensor], blocks: int) -> None:
        """Enter the first blocks again."""
        for part in fields(self):
            getattr(self, part.name)[:blocks] = tensors[part.name]


@dataclass(frozen=True)
class Standing:
    """How users stand after some slots.

    Attributes:
        window: number of the present window, from 0.
        slot: slots that are done.
        demand_bps_hz: that hold at present.
        moving_bps_hz: mean rates over the last 250 slots, but not from before the demands changed.
        mean_bps_hz: mean rates since the demands changed.
        on: shares of slots, since then, in which users transmitted.
        power_share: mean powers over the limits, since then.
        multiplier: at present.
    """

    window: int
    slot: int
    demand_bps_hz: Float[Tensor, " user"]
    moving_bps_hz: Float[Tensor, " user"]
    mean_bps_hz: Float[Tensor, " user"]
    on: Float[Tensor, " user"]
    power_share: Float[Tensor, " user"]
    multiplier: Float[Tensor, " user"]

    @classmethod
    def after(cls, blocks: int, history: History, timetable: Timetable) -> "Standing":
        """After at least one block."""
        first = timetable.window_start(blocks - 1)
        since, late = slice(first, blocks), slice(max(first, blocks - AVERAGED_BLOCKS), blocks)
        return cls(
            window=int(timetable.window[blocks - 1]),
            slot=int(timetable.slots[:blocks].sum()),
            demand_bps_hz=torch.tensor(timetable.schedule[int(timetable.window[blocks - 1])].demand_bps_hz),
            moving_bps_hz=weighted_mean(history.rate_bps_hz[late], timetable.slots[late]),
            mean_bps_hz=weighted_mean(history.rate_bps_hz[since], timetable.slots[since]),
            on=weighted_mean(history.on[since], timetable.slots[since]),
            power_share=weighted_mean(history.power_share[since], timetable.slots[since]),
            multiplier=history.multiplier[blocks - 1],
        )

    @property
    def met(self) -> Bool[Tensor, " user"]:
        """Whose moving average falls short of the demand by at most 5 %."""
        return self.moving_bps_hz >= (1 - _TOLERANCE) * self.demand_bps_hz


@dataclass(frozen=True)
class Settled:
    """A window once it has settled: from the block on from which its demands are met.

    Where they never are, or where the window is too short to tell, its second half stands for it.

    Attributes:
        slots_until_met: before that; None if it never happens or cannot be told.
        rate_bps_hz: mean rates from then on.
        demand_bps_hz: of the window.
        whole_shortfall: Eq. (12) of [Behmandpoor2024] of mean rates over the whole window.
        shortfall: the same of `rate_bps_hz`.
    """

    slots_until_met: int | None
    rate_bps_hz: Float[Tensor, " user"]
    demand_bps_hz: Float[Tensor, " user"]
    whole_shortfall: float
    shortfall: float

    @classmethod
    def of(
        cls,
        rate_bps_hz: Float[Tensor, "block user"],
        slots: Int[Tensor, " block"],
        demand_bps_hz: Float[Tensor, " user"],
    ) -> "Settled":
        """Of mean rates of a window's blocks."""
        full = rate_bps_hz[slots == BLOCK_SLOTS]
        block = NEVER
        if len(full) >= AVERAGED_BLOCKS:
            found = blocks_until_met(
                full, demand_bps_hz, block=1, window=AVERAGED_BLOCKS, tolerance=_TOLERANCE
            )
            block = int(found)
        first = len(slots) // 2 if block == NEVER else block
        rate = weighted_mean(rate_bps_hz[first:], slots[first:])
        return cls(
            slots_until_met=None if block == NEVER else BLOCK_SLOTS * block,
            rate_bps_hz=rate,
            demand_bps_hz=demand_bps_hz,
            whole_shortfall=float(shortfall(weighted_mean(rate_bps_hz, slots), demand_bps_hz)),
            shortfall=float(shortfall(rate, demand_bps_hz)),
        )


def weighted_mean(
    values: Float[Tensor, "block user"], slots: Int[Tensor, " block"]
) -> Float[Tensor, " user"]:
    """Mean over slots of means over blocks."""
    weight = slots.double() / slots.sum()
    return (weight[:, None] * values.double()).sum(0).float()
