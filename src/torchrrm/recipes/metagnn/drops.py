"""Configurations of the recipe: those to train on, and those of the tables, which nothing was trained or chosen on."""

import torch

from torchrrm.channels import bundled_snapshot, metagnn_scenario
from torchrrm.problems import ErgodicInstance
from torchrrm.setups.links import LinkSource, draw_configurations

__all__ = ["CITY", "SQUARE", "generator_of", "report_set", "source_of", "training_draw"]

SQUARE, CITY = "square", "munich"
TRAIN, WATCH, ADAPT, REPORT = 11_000_000, 12_000_000, 13_000_000, 14_000_000
LEAST, MOST = 4, 20
"""Numbers of links that are trained for."""


def generator_of(stream: int, *keys: int) -> torch.Generator:
    """A generator of a stream; streams and keys do not meet."""
    seed = stream
    for key in keys:
        seed = seed * 1009 + key
    return torch.Generator().manual_seed(seed)


def source_of(where: str, links: int) -> LinkSource:
    """Configurations of the paper's square, or pairs of the streets of Munich under Rayleigh fading."""
    return LinkSource(metagnn_scenario() if where == SQUARE else bundled_snapshot("munich_d2d"), links)


def training_draw(tasks: int, generator: torch.Generator, slots: int) -> ErgodicInstance:
    """New configurations of the square, all of one random number of links."""
    links = int(torch.randint(LEAST, MOST + 1, (), generator=generator))
    return draw_configurations(source_of(SQUARE, links), tasks, slots=slots, generator=generator)


def report_set(
    where: str, links: int, count: int, slots: tuple[int, int], stream: int = REPORT
) -> tuple[ErgodicInstance, ErgodicInstance]:
    """Unseen configurations: their slots to learn from, and others to be scored on."""
    generator = generator_of(stream, links, int(where == CITY))
    drawn = draw_configurations(source_of(where, links), count, slots=sum(slots), generator=generator)
    return drawn.between(0, slots[0]), drawn.between(slots[0], sum(slots))
