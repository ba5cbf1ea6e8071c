"""Cells of the tables, and the draws that they are scored on, which nothing was trained or chosen on."""

from dataclasses import dataclass
from typing import Literal

import torch

from torchrrm.channels import bundled_snapshot, urllc_scenario
from torchrrm.problems import MisoInstance
from torchrrm.recipes.usrmnet.published import Regime, Ring
from torchrrm.records import map_tensors, stack
from torchrrm.setups.beamforming import BeamSource, BeamTerms, draw_beams

__all__ = [
    "CHOOSE",
    "REGIMES",
    "REPORT",
    "RING_REGIME",
    "TEST_RINGS",
    "TRAIN",
    "TRAINED_RING",
    "Case",
    "draws_of",
    "generator_of",
    "hard_cases",
    "map_case",
    "regime_cases",
    "ring_cases",
    "ring_trained",
    "source_of",
]

TRAIN, CHOOSE, REPORT = 31_000_000, 32_000_000, 33_000_000
"""Streams of random numbers: to train on, to choose by, and of the tables."""

REGIMES: tuple[Regime, ...] = ((15, 32, 256), (15, 64, 128), (20, 32, 128), (20, 32, 256))
"""SNR in dB, antennas and blocklength of the blocks of Table I."""
RING_REGIME: Regime = (15, 32, 256)
"""Of Table II."""
TRAINED_RING: Ring = (120, 140)
TEST_RINGS: dict[Ring, tuple[Ring, ...]] = {
    (120, 140): ((100, 120), (140, 160), (160, 180), (180, 200)),
    (100, 140): ((140, 180), (150, 190), (160, 200), (180, 220)),
}
"""Rings that are tested on, by the ring that was trained on.

The second block of Table II has lost its headings: its rings are those whose numbers fit, for users at distances
uniform in the ring, by equal power within 0.5 % (but for the last cell of K = 4, 1.9727, which fits no ring beyond
140 m).
"""

_BLOCK = 50  # draws of one generator
Where = Literal["distance", "area", "munich"]


@dataclass(frozen=True)
class Case:
    """One cell of a table.

    Attributes:
        users: served at once.
        regime: SNR in dB, antennas, blocklength.
        ring: distances of the users in m.
        where: distances or areas uniform, or random users of the Munich snapshot.
    """

    users: int
    regime: Regime = (15, 64, 128)
    ring: Ring = TRAINED_RING
    where: Where = "distance"

    @property
    def cell(self) -> str:
        """Without the number of users: as tables group."""
        snr_db, antennas, blocklength = self.regime
        if self.where == "munich":
            return f"Munich, {antennas} antennas, n = {blocklength}"
        near, far = self.ring
        return f"{near} to {far} m, {snr_db} dB, {antennas} antennas, n = {blocklength}"

    @property
    def name(self) -> str:
        """In rows and files."""
        numbers = "-".join(str(number) for number in (*self.regime, *self.ring, self.users))
        return f"{self.where}-{numbers}"

    @property
    def setting(self) -> str:
        """In rows."""
        return f"{self.cell}, {self.users} users"


def generator_of(stream: int, *keys: int) -> torch.Generator:
    """A generator of a stream; streams and keys do not meet."""
    seed = stream
    for key in keys:
        seed = (seed * 1009 + key) % 2**62
    return torch.Generator().manual_seed(seed)


def source_of(case: Case) -> BeamSource:
    """Where the channels of a case come from, in double precision."""
    snr_db, antennas, blocklength = case.regime
    if case.where == "munich":
        city = bundled_snapshot("munich_miso64")
        return BeamSource(city, users=case.users, antennas=antennas, dtype=torch.float64)
    near, far = map(float, case.ring)
    scenario = urllc_scenario(near, far, uniform=case.where)
    terms = BeamTerms.at_snr(snr_db, blocklength)
    return BeamSource(scenario, users=case.users, antennas=antennas, terms=terms, dtype=torch.float64)


def draws_of(case: Case, count: int, stream: int = REPORT) -> MisoInstance:
    """The first draws of a case: the same whoever asks, fewer being the first of more."""
    keys = (*case.regime, *case.ring, case.users, ("distance", "area", "munich").index(case.where))
    source, parts = source_of(case), range(-(-count // _BLOCK))
    drawn = [draw_beams(source, _BLOCK, generator=generator_of(stream, *keys, part)) for part in parts]
    return map_tensors(lambda tensor: tensor.flatten(0, 1)[:count], stack(drawn))


def regime_cases(users: tuple[int, ...]) -> list[Case]:
    """The cells of Table I."""
    return [Case(count, regime) for regime in REGIMES for count in users]


def ring_cases(trained: Ring, users: int) -> list[Case]:
    """The cells of a row of Table II: 15 dB, 32 antennas, a blocklength of 256."""
    return [Case(users, RING_REGIME, ring) for ring in TEST_RINGS[trained]]


def ring_trained(trained: Ring, users: int) -> Case:
    """The cell that a row of Table II was trained for."""
    return Case(users, RING_REGIME, trained)


def hard_cases(wide_users: tuple[int, ...], munich_users: tuple[int, ...]) -> list[Case]:
    """Wide rings, few antennas for many users, and Munich: where minimum rates bind."""
    wide = [
        Case(users, (15, 64, blocklength), ring, "area")
        for ring, blocklength in (((30, 200), 128), ((50, 300), 128), ((50, 300), 256))
        for users in wide_users
    ]
    loaded = [
        Case(users, (snr_db, 16, 256), TRAINED_RING, "area")
        for snr_db, users in ((15, 10), (20, 10), (20, 12))
    ]
    return [*wide, *loaded, *(Case(users, (0, 64, 256), (0, 0), "munich") for users in munich_users)]


def map_case(users: int, antennas: int) -> Case:
    """A cell of the map of one set of weights: 20 dB, a blocklength of 256."""
    return Case(users, (20, antennas, 256))
