"""One instance and what several allocators make of it: who is served by whom, with how much, at which rate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Places", "Scene", "Service"]


@dataclass(frozen=True)
class Places:
    """Where an instance stands, in metres; heights are not drawn.

    Attributes:
        users_m: `[user, 2 or 3]`.
        stations_m: `[station, 2 or 3]`; None where they are not known.
        macro: `[station]`, which of them are macro base stations; None without such a difference.
        buildings_m: `[building, 2, 2 or 3]`, lower and upper corner of each; None where they are not known.
    """

    users_m: ArrayLike
    stations_m: ArrayLike | None = None
    macro: ArrayLike | None = None
    buildings_m: ArrayLike | None = None


@dataclass(frozen=True)
class Service:
    """What an allocator gives.

    Attributes:
        station: `[user]`, index of each user's station, negative without one.
        amount: `[user]`, what is given to each user; one who gets no more than 0 is not served.
        rate: `[user]`, what each makes of it.
        station_amount: `[station]`, what each station spends; None where only users' amounts tell.
        told: the allocation in a few words.
    """

    station: ArrayLike
    amount: ArrayLike
    rate: ArrayLike
    station_amount: ArrayLike | None = None
    told: str = ""


@dataclass(frozen=True)
class Scene:
    """One instance, allocated by several allocators; a page draws it as a map, or without places as bars.

    Attributes:
        title: of the instance.
        services: what each allocator makes of it, by name; at least one.
        amount: heading of the users' amounts, with the unit.
        rate: heading of the rates, with the unit.
        station_amount: heading of the stations' amounts, with the unit; empty where there are none.
        names: what a station and a user are called, such as transmitter and receiver.
        places: where they are; None where that is not known.
        attribution: whom to name with the data.
    """

    title: str
    services: Mapping[str, Service]
    amount: str
    rate: str
    station_amount: str = ""
    names: tuple[str, str] = ("station", "user")
    places: Places | None = None
    attribution: str = ""

    def __post_init__(self) -> None:
        if not self.services:
            raise ValueError("services: must have at least one entry, received none")
        users = {np.shape(part) for service in self.services.values() for part in _of_users(service)}
        if self.places is not None:
            users.add(np.shape(self.places.users_m)[:1])
        if len(users) > 1 or any(len(shape) != 1 for shape in users):
            raise ValueError(f"services: must have one entry a user each, received shapes {sorted(users)}")
        if self.places is not None and self.places.stations_m is not None:
            self._require_stations(np.shape(self.places.stations_m)[0])

    @property
    def users(self) -> int:
        """How many users there are."""
        return len(np.asarray(next(iter(self.services.values())).amount))

    def _require_stations(self, count: int) -> None:
        for service in self.services.values():
            station = np.asarray(service.station, int)
            if station.size and station.max() >= count:
                raise ValueError(f"station: must be below {count}, received {station.max()}")
            if service.station_amount is not None and np.shape(service.station_amount) != (count,):
                shape = np.shape(service.station_amount)
                raise ValueError(f"station_amount: must have shape {(count,)}, received {shape}")


def _of_users(service: Service) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
    return service.station, service.amount, service.rate
