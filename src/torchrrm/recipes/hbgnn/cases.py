"""Networks of the tables, and the drops that they are scored on, which nothing was trained or chosen on."""

from dataclasses import dataclass
from typing import Literal

import torch

from torchrrm.channels import bundled_snapshot, hudn_scenario
from torchrrm.problems import CellInstance
from torchrrm.records import index, map_tensors, stack
from torchrrm.setups.association import CellSource, draw_cells, snapshot_cells

__all__ = ["CHOOSE", "PAPER", "REPORT", "TRAIN", "Case", "drops_of", "generator_of", "munich_cases"]

TRAIN, CHOOSE, REPORT = 31_000_000, 32_000_000, 33_000_000
"""Streams of random numbers: to train on, to choose by, and of the tables."""
Where = Literal["paper", "munich_hudn_200m", "munich_hudn_600m"]
_BLOCK = 10  # drops of one generator


@dataclass(frozen=True)
class Case:
    """One kind of network.

    Attributes:
        where: the paper's square, stations and buildings drawn anew for each drop, or a bundled snapshot.
        users: of each drop.
        stations: five of them macro base stations.
    """

    where: Where = "paper"
    users: int = 120
    stations: int = 105

    @property
    def name(self) -> str:
        """In files."""
        return f"{self.where}-{self.users}-{self.stations}"

    @property
    def setting(self) -> str:
        """In rows."""
        place = {
            "paper": "200 m square",
            "munich_hudn_200m": "Munich, 200 m",
            "munich_hudn_600m": "Munich, 600 m",
        }
        return f"{place[self.where]}, {self.users} users, {self.stations} stations"


PAPER = Case()


def munich_cases() -> list[Case]:
    """The bundled networks of Munich."""
    return [Case("munich_hudn_200m"), Case("munich_hudn_600m")]


def generator_of(stream: int, *keys: int) -> torch.Generator:
    """A generator of a stream; streams and keys do not meet."""
    seed = stream
    for key in keys:
        seed = (seed * 1009 + key) % 2**62
    return torch.Generator().manual_seed(seed)


def drops_of(case: Case, count: int, stream: int = REPORT) -> CellInstance:
    """The first drops of a case in single precision: the same whoever asks, fewer being the first of more."""
    if case.where != "paper":
        return index(snapshot_cells(bundled_snapshot(case.where)), slice(count))
    source = CellSource(hudn_scenario(), users=case.users, stations=case.stations)
    parts = range(-(-count // _BLOCK))
    drawn = [
        draw_cells(source, _BLOCK, generator=generator_of(stream, case.users, case.stations, part))
        for part in parts
    ]
    return map_tensors(lambda tensor: tensor.flatten(0, 1)[:count], stack(drawn))
