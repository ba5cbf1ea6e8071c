"""Control loops scored: what demands they meet, when, at which sum rate and in what time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.bench.demands import blocks_until_met
from torchrrm.policies import OnlineDual, SharingSettings, TimeSharing
from torchrrm.policies.control import Controller, LinkAllocator
from torchrrm.problems import ErgodicInstance
from torchrrm.recipes.alcor.allocators import make_allocator, regressor
from torchrrm.recipes.alcor.cases import REPORT, Case, generator_of, rayleigh
from torchrrm.recipes.jobs import Start
from torchrrm.records import replace
from torchrrm.setups.links import LinkSource, draw_configurations

__all__ = ["Control", "LoopScore", "LoopSettings", "draw_runs", "latency_us", "make_loop"]


@dataclass(frozen=True)
class LoopSettings:
    """How loops are scored.

    Attributes:
        runs: independent ones, side by side.
        settle: slots before sum rate and shortfall are counted.
        slots: that are counted.
        chunk: slots that are drawn at once.
        timed: slots of the single run that is timed.
    """

    runs: int = 50
    settle: int = 1000
    slots: int = 2000
    chunk: int = 250
    timed: int = 400


@dataclass(frozen=True)
class Control:
    """Which loop, and how it moves its multipliers.

    Attributes:
        sharing: settings of `TimeSharing`; None for `OnlineDual`.
        step: of `OnlineDual`.
    """

    sharing: SharingSettings | None = None
    step: float = 0.05

    @property
    def name(self) -> str:
        return "OnlineDual" if self.sharing is None else "ALCOR"


def make_loop(
    control: Control, allocator: LinkAllocator, first: Callable[[ErgodicInstance], Tensor] | None = None
) -> Controller[Any]:
    """The loop over an allocator, its demands those of the instance."""
    if control.sharing is not None:
        return TimeSharing(allocator, settings=control.sharing)
    return OnlineDual(allocator, step=control.step, first=first)


def draw_runs(
    source: LinkSource, demand: Float[Tensor, " tx"], runs: int, slots: int, generator: torch.Generator
) -> ErgodicInstance:
    """Runs of a source whose links ask for these rates."""
    drawn = draw_configurations(source, runs, slots=slots, generator=generator)
    return replace(drawn, min_rate_bps_hz=demand.expand(drawn.active.shape))


@dataclass(frozen=True)
class LoopScore:
    """Score of one loop on one case: the job of a worker.

    Attributes:
        case: the demands.
        title: of the loop in tables, which tells jobs of a case apart.
        control: the loop.
        allocator: a name in `torchrrm.recipes.alcor.allocators`.
        start: trained parameters, if the allocator has any.
        first: parameters of the state-augmented policy whose regressor gives the first multipliers, if one does.
        settings: how it is scored.
    """

    case: Case
    title: str
    control: Control
    allocator: str
    start: Start | None
    first: Start | None
    settings: LoopSettings

    @property
    def name(self) -> str:
        words = f"loop-{self.case.name}-{self.title}".replace("+", "plus")
        return "".join(letter if letter.isalnum() or letter in "-" else "_" for letter in words)

    def loop(self) -> Controller[Any]:
        """The loop itself."""
        first = None if self.first is None else regressor(self.first)
        allocator = make_allocator(self.allocator, self.start, self.case.links)
        return make_loop(self.control, allocator, first)

    def __call__(self) -> dict[str, Tensor]:
        """Mean rates `[run tx]` after settling, and blocks until demands are met `[run]`."""
        how, loop = self.settings, self.loop()
        generator = generator_of(REPORT, self.case.links)  # the same channels for every loop of a size
        state, rates = None, []
        with torch.no_grad():
            for first in range(0, how.settle + how.slots, how.chunk):
                slots = min(how.chunk, how.settle + how.slots - first)
                part = draw_runs(rayleigh(self.case.links), self.case.demand, how.runs, slots, generator)
                state = loop.start(part) if state is None else state
                seen, state = loop.track(part, state)
                rates.append(seen.rate_bps_hz)
        rate = torch.cat(rates, dim=-2)
        return {
            "rate": rate[:, how.settle :].mean(-2),
            "blocks": blocks_until_met(rate, self.case.demand),
        }


def latency_us(score: LoopScore) -> float:
    """Microseconds a slot of a single run, the loop around the allocator included; the idle machine is the caller's."""
    loop, slots = score.loop(), score.settings.timed
    generator = generator_of(REPORT, 3, score.case.links)
    instance = draw_runs(rayleigh(score.case.links), score.case.demand, 1, slots, generator)
    with torch.no_grad():
        state = loop.start(instance)
        loop.track(instance.between(0, 4), state)  # compiled code is loaded before
        begin = time.perf_counter()
        loop.track(instance, state)
    return 1e6 * (time.perf_counter() - begin) / slots
