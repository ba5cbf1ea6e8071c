"""Turning snapshots round: the direction, the station and the pairs that a problem needs.

Each function returns the snapshot as it is if that is what the problem needs, and otherwise a new one whose notes
say what was done or assumed.
"""

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.record import Snapshot

__all__ = ["one_station", "oriented", "strongest_pairs"]

_CHOICE = (
    "state it with --direction uplink (receivers are stations) or --direction downlink (transmitters are)"
)


def oriented(snapshot: Snapshot, direction: Literal["uplink", "downlink"]) -> Snapshot:
    """Return the snapshot with its gains in this direction, turned round by reciprocity if they are in the other.

    Without roles the direction is not known, unless there is one receiver and one transmitter. Numbers of nodes do not
    tell it: a dense network may have more stations than users.

    Raises:
        SnapshotError: if the direction is not known, if the links are of devices, or if there is an eavesdropper in a
            snapshot that must be turned round.
    """
    if snapshot.direction == direction:
        return snapshot
    if snapshot.direction == "device-to-device":
        raise SnapshotError(
            f"direction: must be uplink or downlink, received device-to-device in {snapshot.name}"
        )
    if snapshot.direction == "unknown":
        rx, tx = int((~snapshot.eavesdropper).sum()), snapshot.gain.shape[-1]
        if (rx, tx) == (1, 1):
            return snapshot.with_direction(direction)
        ends = f"{_counted(rx, 'receiver')} and {_counted(tx, 'transmitter')}"
        raise SnapshotError(
            f"direction: {snapshot.name} does not say which of its {ends} are stations; {_CHOICE}"
        )
    return snapshot.reciprocal().with_notes(f"turned round from {snapshot.direction} to {direction}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def one_station(snapshot: Snapshot, station: int | None = None) -> Snapshot:
    """Return the snapshot of one of its stations with all users; eavesdroppers come behind the station.

    Args:
        snapshot: an uplink or a downlink.
        station: index among the stations; None takes the only one.

    Raises:
        SnapshotError: if there is no such station, or if there are several and none is chosen.
    """
    uplink = snapshot.direction == "uplink"
    roles = snapshot.rx_role if uplink else snapshot.tx_role
    stations = [index for index, role in enumerate(roles) if role == "station"]
    count = len(stations)
    if station is None and count != 1:
        rule = f"must be chosen with --station, 0 to {count - 1}" if count else "must be among the receivers"
        raise SnapshotError(
            f"station: {rule}, received none for the {_counted(count, 'station')} of {snapshot.name}"
        )
    if station is not None and not 0 <= station < count:
        raise SnapshotError(f"station: must be 0 to {count - 1}, received {station}")
    order = [stations[station or 0], *(index for index, role in enumerate(roles) if role == "eavesdropper")]
    if order == list(range(len(roles))):
        return snapshot
    part = snapshot.select(**{"rx" if uplink else "tx": torch.tensor(order)})
    return part.with_notes(f"station {station or 0} of {count}, with all users") if count > 1 else part


def strongest_pairs(snapshot: Snapshot) -> Snapshot:
    """Return the links of users and their strongest stations, one user a station, as pairs in every drop.

    Each user chooses the station of the largest gain, of equal ones that of the lowest index; users without a path
    choose none. Each station that was chosen keeps, of its users, the one of the largest gain, of equal ones that of
    the lowest index. The other users and stations are left out and neither receive nor transmit. Pairs are in the
    order of their gains, the strongest first; of several drops each keeps as many as the drop with the fewest has.
    The direction stays: link `k` is from transmitter `k` to receiver `k`.

    Raises:
        SnapshotError: if the direction is unknown (see `oriented`) or from device to device, or if in some drop no
            user has a path to a station.
    """
    known = snapshot if snapshot.direction == "uplink" else oriented(snapshot, "downlink")
    known = known.select(rx=(~known.eavesdropper).nonzero()[:, 0])
    uplink = known.direction == "uplink"
    gain = known.gain.mT if uplink else known.gain  # [*drop user station]
    users, stations = gain.shape[-2:]
    drops = [_pairs(drop) for drop in gain.reshape(-1, users, stations)]
    count = min(len(user) for user, _ in drops)
    if not count:
        raise SnapshotError(
            f"gain: must have a path from a user to a station in every drop of {snapshot.name}"
        )
    ends = [(station, user) if uplink else (user, station) for user, station in drops]
    parts = [known.one_drop(drop).select(rx=rx[:count], tx=tx[:count]) for drop, (rx, tx) in enumerate(ends)]
    note = f"{_counted(count, 'pair')} of users and their strongest stations, one user a station"
    note += f"; left out {_counted(users - count, 'user')} and {_counted(stations - count, 'station')}"
    return _stacked(parts, known.drop_shape).with_notes(note)


def _stacked(parts: list[Snapshot], drop_shape: torch.Size) -> Snapshot:
    """Snapshots of one drop each as one of these drops; kinds are left out, which need not be the same in all."""
    fields: dict[str, Tensor | None] = {}
    for name in ("gain", "channel", "los", "rx_position_m", "tx_position_m"):
        values = [value for part in parts if (value := getattr(part, name)) is not None]
        fields[name] = torch.stack(values).unflatten(0, drop_shape or (1,)) if values else None
        if values and not drop_shape:
            fields[name] = values[0]
    return dataclasses.replace(parts[0], rx_kind="unknown", tx_kind="unknown", **fields)  # pyright: ignore[reportArgumentType]


def _pairs(gain: Tensor) -> tuple[Tensor, Tensor]:
    """Users and stations of the pairs of one drop `[user station]`, the strongest first."""
    best, station = gain.max(dim=-1)
    # A stable sort of the users keeps the lowest index first among equal gains.
    order = torch.sort(best, descending=True, stable=True).indices.tolist()
    pairs: dict[int, int] = {}
    for user in order:
        if float(best[user]) > 0.0:
            pairs.setdefault(int(station[user]), user)
    return torch.tensor(list(pairs.values()), dtype=torch.long), torch.tensor(list(pairs), dtype=torch.long)
