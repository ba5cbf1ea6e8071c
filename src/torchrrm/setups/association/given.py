"""A network that somebody brought, or one that was drawn for once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torchrrm.channels import Scenario, Snapshot, UrbanDraw
from torchrrm.problems.association import (
    CellInstance,
)
from torchrrm.setups.association.sources import (
    USUAL_STATIONS,
    USUAL_USERS,
    CellTerms,
    downlink,
    instance_of,
    macros_of,
)
from torchrrm.setups.counts import chosen_ones, random_ones
from torchrrm.setups.places import nodes_m
from torchrrm.setups.workbench import Given

__all__ = ["drawn_cells", "given_cells", "require_places", "some_cells"]


def given_cells(
    snapshot: Snapshot,
    terms: CellTerms,
    *,
    drop: int = 0,
    users: Sequence[int] | None = None,
    stations: Sequence[int] | None = None,
) -> Given[CellInstance]:
    """Users and stations of one drop of a snapshot, all of them by default; an uplink is turned round.

    Raises:
        ValueError: if there is no such drop, user or station.
    """
    down = downlink(snapshot)
    gain = down.gain.reshape(-1, *down.gain.shape[-2:])
    if not 0 <= drop < len(gain):
        raise ValueError(f"drop: must be 0 to {len(gain) - 1}, received {drop}")
    user = chosen_ones("users", users, gain.shape[1])
    station = chosen_ones("stations", stations, gain.shape[2])
    macro = macros_of(down, gain.shape[2])[station]
    noise_power_w = terms.noise_w(down.noise_psd_w_per_hz)
    instance = instance_of(gain[drop][user[:, None], station], macro, terms, noise_power_w)
    notes = [f"{snapshot.name}, drop {drop}"]
    notes += [f"{len(user)} users"] if users is not None else []
    notes += [f"{len(station)} stations"] if stations is not None else []
    notes += ["turned round"] if snapshot.direction == "uplink" else []
    notes += [] if bool(macro.any()) else ["all stations small"]
    place = _place(down.rx_position_m, down.tx_position_m, drop, user, station)
    setting, place = ", ".join(notes), place | {"macro": macro}
    return Given(instance, setting, snapshot.attribution, place, down.notes)


def some_cells(
    snapshot: Snapshot,
    terms: CellTerms,
    *,
    drop: int = 0,
    users: int | None = None,
    stations: int | None = None,
    generator: torch.Generator,
) -> Given[CellInstance]:
    """Random users and stations of one drop of a snapshot, so many; None takes all.

    Raises:
        ValueError: if there are not so many, or no such drop.
    """
    *_, rx, tx = downlink(snapshot).gain.shape
    chosen = {
        name: None if count is None else random_ones(name, count, most, generator)
        for name, count, most in (("users", users, rx), ("stations", stations, tx))
    }
    return given_cells(snapshot, terms, drop=drop, **chosen)


def drawn_cells(
    scenario: Scenario,
    terms: CellTerms,
    *,
    users: int | None = None,
    stations: int | None = None,
    generator: torch.Generator,
) -> Given[CellInstance]:
    """A random drop of a scenario; None takes the paper's numbers.

    Raises:
        ValueError: if a number is not positive.
    """
    users = USUAL_USERS if users is None else users
    stations = USUAL_STATIONS if stations is None else stations
    for name, count in (("users", users), ("stations", stations)):
        if count < 1:
            raise ValueError(f"{name}: must be at least 1, received {count}")
    draw = scenario.sample(transmitters=stations, receivers=users, generator=generator)
    user, station = torch.arange(users), torch.arange(stations)
    macro = macros_of(scenario, stations)
    place = _place(draw.rx_position_m, draw.tx_position_m, 0, user, station) | {"macro": macro}
    if isinstance(draw, UrbanDraw):
        place |= {"building_m": draw.building_m}
    instance = instance_of(draw.gain, macro, terms, terms.noise_w())
    return Given(instance, f"one drop of {users} users, {stations} stations", place=place)


def _place(
    users_m: Tensor | None, stations_m: Tensor | None, drop: int, user: Tensor, station: Tensor
) -> dict[str, Tensor]:
    """Numbers of users and stations, and where they are, as far as that is known."""
    place = {"user": user, "station": station}
    for prefix, position, chosen in (("", users_m, user), ("station_", stations_m, station)):
        if position is not None:
            at = position.reshape(-1, *position.shape[-2:])[drop, chosen]
            place |= {f"{prefix}x_m": at[:, 0], f"{prefix}y_m": at[:, 1]}
    return place


def require_places(given: Given[CellInstance]) -> tuple[Tensor, Tensor]:
    """Positions of users and of stations, `[node 2]`, without which nothing can be drawn.

    Raises:
        ValueError: if those of users or stations are not known.
    """
    users, stations = nodes_m(given.place), nodes_m(given.place, "station_")
    if users is None or stations is None:
        missing = "users" if users is None else "stations"
        raise ValueError(f"map: must have positions of all, received none of {missing}")
    return users, stations
