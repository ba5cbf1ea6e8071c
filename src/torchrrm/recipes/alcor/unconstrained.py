"""Sum rates without demands: the scores behind Table I and of any number of links."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.problems import LinkInstance, WeightedSumRate
from torchrrm.recipes.alcor.allocators import make_allocator
from torchrrm.recipes.alcor.cases import REPORT, generator_of, rayleigh
from torchrrm.recipes.jobs import Start
from torchrrm.setups.links import draw_links, paused

__all__ = ["SumRates"]

_STREAM = 11


@dataclass(frozen=True)
class SumRates:
    """Sum rates of an allocator on unseen Rayleigh draws, links on with a probability: the job of a worker.

    Attributes:
        title: in tables, and of the job.
        allocator: a name in `torchrrm.recipes.alcor.allocators`.
        start: trained parameters, if it has any.
        links: of every draw.
        kappa: probability that a link is on, independently of the others.
        draws: the same ones for every allocator.
    """

    title: str
    allocator: str
    start: Start | None
    links: int
    kappa: float
    draws: int

    @property
    def name(self) -> str:
        words = f"rates-{self.links}-{self.kappa:g}-{self.title}".replace("+", "plus")
        return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in words)

    def instance(self) -> LinkInstance:
        """The draws."""
        generator = generator_of(REPORT, _STREAM, self.links)
        drawn = draw_links(rayleigh(self.links), self.draws, generator=generator)
        return paused(drawn, self.kappa, generator=generator) if self.kappa < 1 else drawn

    def __call__(self) -> dict[str, Tensor]:
        """Sum rate of each draw in bit/s/Hz, `rate`."""
        allocator, instance = make_allocator(self.allocator, self.start, self.links), self.instance()
        with torch.no_grad():
            rate = WeightedSumRate().evaluate(instance, allocator(instance)).objective
        return {"rate": rate}
