"""Demands of [Behmandpoor2024] and the channels that its tables stand on; streams of random numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.channels import SCENARIOS
from torchrrm.setups.links import RAYLEIGH_TERMS, LinkSource

__all__ = [
    "CASES",
    "CHOOSE",
    "DIVERSE",
    "FIG1",
    "FIG2",
    "REPORT",
    "TABLE2",
    "TABLE3",
    "TABLE4",
    "TRAIN",
    "Case",
    "generator_of",
    "rayleigh",
]

DIVERSE = (0.2, 0.5, 1.0)
"""Probabilities that a link is on, one drawn for each instance of diverse training."""
TRAIN, CHOOSE, REPORT = 21_000_000, 22_000_000, 23_000_000
"""Streams of random numbers: to train on, to choose settings by, and of the tables."""


def generator_of(stream: int, *keys: int) -> torch.Generator:
    """A generator of a stream; streams and keys do not meet."""
    seed = stream
    for key in keys:
        seed = seed * 1009 + key
    return torch.Generator().manual_seed(seed)


def rayleigh(links: int | tuple[int, int]) -> LinkSource:
    """Channels CN(0, 1) from every transmitter to every receiver, 15 dB (Section IV-A)."""
    return LinkSource(SCENARIOS["rayleigh"](), links=links, terms=RAYLEIGH_TERMS)


@dataclass(frozen=True)
class Case:
    """Mean rates that links ask for.

    Attributes:
        name: in tables.
        demand_bps_hz: of each link.
    """

    name: str
    demand_bps_hz: tuple[float, ...]

    @property
    def links(self) -> int:
        return len(self.demand_bps_hz)

    @property
    def demand(self) -> Tensor:
        """The demands as a tensor `[tx]`."""
        return torch.tensor(self.demand_bps_hz)


def _some(name: str, links: int, asked: Mapping[int, float]) -> Case:
    """A case of users counted from 1, as in the paper, all others asking for nothing."""
    return Case(name, tuple(asked.get(user, 0.0) for user in range(1, links + 1)))


def _each(first: int, last: int, demand: float) -> dict[int, float]:
    return dict.fromkeys(range(first, last + 1), demand)


TABLE2: dict[int, Case] = {
    10: _some("Table II, N = 10", 10, _each(1, 10, 0.25)),
    20: _some("Table II, N = 20", 20, _each(1, 12, 0.1)),
    50: _some("Table II, N = 50", 50, _each(1, 15, 0.05)),
}
TABLE3: dict[int, Case] = {
    10: _some("Table III, N = 10", 10, _each(1, 10, 0.1) | {5: 0.6, 7: 0.8, 9: 1.0}),
    20: _some("Table III, N = 20", 20, _each(1, 10, 0.1) | {5: 0.4, 7: 0.6, 12: 0.2, 19: 0.8}),
    50: _some("Table III, N = 50", 50, _each(20, 30, 0.3)),
}
TABLE4: dict[int, Case] = {
    1: Case("Table IV, u1", (0.5, 0.5, 0.5, 0.5, 0.5)),
    2: Case("Table IV, u2", (0.0, 1.0, 1.5, 2.0, 0.0)),
    3: Case("Table IV, u3", (0.0, 0.0, 0.0, 1.0, 3.0)),
}
CASES: dict[str, Case] = {case.name: case for table in (TABLE4, TABLE2, TABLE3) for case in table.values()}
FIG1 = Case("Fig. 1", (0.5, 0.5, 1.0, 1.0, 2.0))
FIG2 = tuple(
    Case(f"Fig. 2, window {number}", demand)
    for number, demand in enumerate(
        [(0.5, 0.5, 1.0, 1.5, 2.0), (2.0, 1.5, 0.5, 0.5, 1.0), (0.0, 1.0, 1.0, 0.5, 2.5)], start=1
    )
)
