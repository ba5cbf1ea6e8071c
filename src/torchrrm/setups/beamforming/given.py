"""Users that somebody brought: of a station with many antennas."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torchrrm import records
from torchrrm.channels import Scenario, Snapshot
from torchrrm.problems.beamforming import (
    MisoInstance,
)
from torchrrm.setups.beamforming.sources import (
    BeamSource,
    BeamTerms,
    draw_beams,
    instance_of,
    station_cell,
    station_channel,
)
from torchrrm.setups.counts import chosen_ones, random_ones
from torchrrm.setups.places import station_place
from torchrrm.setups.workbench import Given

__all__ = ["drawn_beams", "given_beams", "random_users"]


def given_beams(
    snapshot: Snapshot,
    terms: BeamTerms,
    *,
    drop: int = 0,
    frequency: int = 0,
    users: Sequence[int] | None = None,
    antennas: int | None = None,
) -> Given[MisoInstance]:
    """Users of one drop of a snapshot at one of its frequencies, of equal weights; all of them by default.

    Raises:
        ValueError: if there is no such drop, frequency, user or antenna, or if it is no snapshot of one station.
    """
    cell = station_cell(snapshot)
    channel = station_channel(cell)
    drops, frequencies, count, most = channel.shape
    for name, value, end in (("drop", drop, drops), ("frequency", frequency, frequencies)):
        if not 0 <= value < end:
            raise ValueError(f"{name}: must be 0 to {end - 1}, received {value}")
    chosen = chosen_ones("users", users, count)
    if antennas is not None and not 1 <= antennas <= most:
        raise ValueError(f"antennas: must be 1 to {most}, received {antennas}")
    taken = channel[drop, frequency, chosen, :antennas]
    instance = instance_of(taken, terms, torch.ones(len(chosen), dtype=torch.bool))
    setting = f"{snapshot.name}, drop {drop}, frequency {frequency}"
    place = {"user": chosen} | _place(cell, drop, chosen)
    return Given(instance, setting, snapshot.attribution, place, cell.notes)


def drawn_beams(
    scenario: Scenario,
    terms: BeamTerms,
    *,
    users: int,
    antennas: int | None = None,
    generator: torch.Generator,
) -> Given[MisoInstance]:
    """A random drop of a scenario."""
    source = BeamSource(scenario, users, antennas, terms)
    instance = records.index(draw_beams(source, 1, generator=generator), 0)
    setting = f"one drop of {users} users, {instance.channel.shape[-1]} antennas"
    return Given(instance, setting, place={"user": torch.arange(users)})


def random_users(snapshot: Snapshot, count: int, *, generator: torch.Generator) -> list[int]:
    """Indices of random users of a snapshot of one station, in ascending order."""
    return random_ones("users", count, station_channel(snapshot).shape[2], generator)


def _place(cell: Snapshot, drop: int, users: Tensor) -> dict[str, Tensor]:
    """Positions of the users as columns, and of the station, where the snapshot has them."""
    ends = (cell.rx_position_m, cell.tx_position_m)
    position, station = ends if cell.direction == "downlink" else ends[::-1]
    place: dict[str, Tensor] = {}
    if position is not None:
        chosen = position.reshape(-1, *position.shape[-2:])[drop, users]
        place |= {"x_m": chosen[:, 0], "y_m": chosen[:, 1]}
    if station is not None:
        place |= station_place(station, drop)
    return place
