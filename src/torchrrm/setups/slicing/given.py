"""One slice that somebody brought: the users of a cell."""

import torch
from torch import Tensor

from torchrrm.channels.snapshot import Snapshot
from torchrrm.problems import (
    SliceInstance,
)
from torchrrm.setups.places import station_place
from torchrrm.setups.slicing.sources import SliceTerms, station_uplink
from torchrrm.setups.workbench import Given

__all__ = ["cell_slice", "given_cell", "positions"]


def cell_slice(
    snapshot: Snapshot, terms: SliceTerms, *, drop: int = 0, eavesdropper: int = 0
) -> SliceInstance:
    """All users of one drop of a snapshot as one slice, heard by one of its eavesdroppers.

    Raises:
        ValueError: if there is no such drop or eavesdropper, or if the snapshot is not of one station (see
            `station_uplink`).
    """
    snapshot = station_uplink(snapshot)
    gain = snapshot.gain.reshape(-1, *snapshot.gain.shape[-2:])  # [drop rx tx]
    if not 0 <= drop < len(gain):
        raise ValueError(f"drop: must be 0 to {len(gain) - 1}, received {drop}")
    listeners = snapshot.eavesdropper.nonzero()[:, 0]
    if not 0 <= eavesdropper < max(1, len(listeners)):
        raise ValueError(f"eavesdropper: must be 0 to {len(listeners) - 1}, received {eavesdropper}")
    station = gain[drop, 0]
    listened = gain[drop, listeners[eavesdropper]] if len(listeners) else torch.zeros_like(station)
    return terms.instance(station, listened, snapshot.noise_psd_w_per_hz)


def positions(snapshot: Snapshot, drop: int) -> Tensor | None:
    """Positions of the users of a drop, `[user 3]`, if the snapshot has them."""
    if snapshot.tx_position_m is None:
        return None
    return snapshot.tx_position_m.reshape(-1, *snapshot.tx_position_m.shape[-2:])[drop]


def given_cell(
    snapshot: Snapshot, terms: SliceTerms, *, drop: int = 0, eavesdropper: int = 0
) -> Given[SliceInstance]:
    """`cell_slice` as commands take it."""
    snapshot = station_uplink(snapshot)
    cell = cell_slice(snapshot, terms, drop=drop, eavesdropper=eavesdropper)
    users, stations = positions(snapshot, drop), snapshot.rx_position_m
    place = {} if users is None else {"x_m": users[:, 0], "y_m": users[:, 1]}
    if stations is not None:
        place |= station_place(stations, drop)
    return Given(cell, f"{snapshot.name}, drop {drop}", snapshot.attribution, place, snapshot.notes)
