"""Topologies: where transmitters and receivers stand.

A topology draws positions in metres, `z` upward. Which node means what is the topology's to say: in a cell
the users transmit, receiver 0 is the station and further receivers eavesdrop; in paired and in cellular links
receiver `k` belongs to transmitter `k`.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.channels.ends import Direction
from torchrrm.records import tensor_record

__all__ = ["CellularLinks", "Colocated", "DiscCell", "Drop", "PairedLinks", "SquareCell", "Topology"]

_MAX_ROUNDS = 1000
_MOST_CELLS = 2**16  # along a side, so that cells of many drops are counted in 64 bits


@tensor_record
class Drop:
    """Positions of one draw of a topology, in metres."""

    rx_position_m: Float[Tensor, "*batch rx 3"]
    tx_position_m: Float[Tensor, "*batch tx 3"]


class Topology(Protocol):
    """A random source of positions."""

    @property
    def direction(self) -> Direction:
        """Which end of a link is the station."""
        ...

    def sample(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Drop:
        """Positions `[*batch rx 3]` and `[*batch tx 3]`, on the generator's device."""
        ...


@dataclass(frozen=True)
class SquareCell:
    """Users uniform in a square whose centre, the origin, holds the base station.

    Transmitters are users, receiver 0 is the station, every further receiver is an eavesdropper, uniform in
    the same square at the users' height. The defaults are the cell of Section V-A of [Hao2024]: coordinates
    in [-100, 100] m and no heights.
    """

    side_m: float = 200.0
    station_height_m: float = 0.0
    user_height_m: float = 0.0

    def __post_init__(self) -> None:
        _require_at_least("side_m", self.side_m, 0.0, strict=True)
        _require_at_least("station_height_m", self.station_height_m, 0.0)
        _require_at_least("user_height_m", self.user_height_m, 0.0)

    @property
    def direction(self) -> Direction:
        """See `Topology.direction`."""
        return "uplink"

    def sample(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int = 1,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Drop:
        """See `Topology.sample`."""
        _require_counts(transmitters, receivers)
        shape = (*batch_shape, transmitters + receivers - 1)
        ground = (_uniform((*shape, 2), generator, dtype) - 0.5) * self.side_m
        return _cell_drop(ground, transmitters, self.station_height_m, self.user_height_m)


@dataclass(frozen=True)
class DiscCell:
    """Users uniform in an annulus around the base station at the origin; nodes as in `SquareCell`.

    The radii bound the horizontal distance to the station: `inner_radius_m <= r <= outer_radius_m`. Areas are uniform,
    or distances, in which case users are denser towards the station.
    """

    outer_radius_m: float
    inner_radius_m: float = 0.0
    station_height_m: float = 0.0
    user_height_m: float = 0.0
    uniform: Literal["area", "distance"] = "area"

    def __post_init__(self) -> None:
        _require_at_least("inner_radius_m", self.inner_radius_m, 0.0)
        _require_at_least("outer_radius_m", self.outer_radius_m, self.inner_radius_m, strict=True)
        _require_at_least("station_height_m", self.station_height_m, 0.0)
        _require_at_least("user_height_m", self.user_height_m, 0.0)
        if self.uniform not in ("area", "distance"):
            raise ValueError(f"uniform: must be 'area' or 'distance', received {self.uniform!r}")

    @property
    def direction(self) -> Direction:
        """See `Topology.direction`."""
        return "uplink"

    def sample(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int = 1,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Drop:
        """See `Topology.sample`."""
        _require_counts(transmitters, receivers)
        shape = (*batch_shape, transmitters + receivers - 1)
        ground = _polar(self._radius_m(_uniform(shape, generator, dtype)), _uniform(shape, generator, dtype))
        return _cell_drop(ground, transmitters, self.station_height_m, self.user_height_m)

    def _radius_m(self, uniform: Tensor) -> Tensor:
        """Distances, of numbers uniform in [0, 1]."""
        if self.uniform == "distance":
            return self.inner_radius_m + (self.outer_radius_m - self.inner_radius_m) * uniform
        inner, outer = self.inner_radius_m**2, self.outer_radius_m**2
        return torch.sqrt(inner + (outer - inner) * uniform)


@dataclass(frozen=True)
class PairedLinks:
    """Transmitters uniform in a square, each with its receiver around it.

    Receiver `k` is at a distance uniform in `[min_distance_m, max_distance_m]` from transmitter `k`. The
    direction is uniform, so a receiver near the border may stand outside the square. Transmitters stand at
    least `min_transmitter_spacing_m` apart: whoever is too close to an earlier one is drawn again. The
    distances are horizontal. Nodes are devices; with another `direction` one end is a station, whatever its height.
    """

    side_m: float = 500.0
    min_distance_m: float = 10.0
    max_distance_m: float = 50.0
    transmitter_height_m: float = 0.0
    receiver_height_m: float = 0.0
    min_transmitter_spacing_m: float = 0.0
    direction: Direction = "device-to-device"

    def __post_init__(self) -> None:
        _require_at_least("side_m", self.side_m, 0.0, strict=True)
        _require_at_least("min_distance_m", self.min_distance_m, 0.0)
        _require_at_least("max_distance_m", self.max_distance_m, self.min_distance_m)
        _require_at_least("transmitter_height_m", self.transmitter_height_m, 0.0)
        _require_at_least("receiver_height_m", self.receiver_height_m, 0.0)
        _require_at_least("min_transmitter_spacing_m", self.min_transmitter_spacing_m, 0.0)
        if self.direction not in (known := get_args(Direction)):
            raise ValueError(f"direction: must be one of {', '.join(known)}, received {self.direction!r}")

    def sample(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Drop:
        """See `Topology.sample`; as many receivers as transmitters.

        Raises:
            ValueError: if the square has no room for so many transmitters at their spacing.
        """
        _require_pairs(transmitters, receivers)
        shape = (*batch_shape, transmitters)
        tx = self._transmitters(shape, generator, dtype)
        span = self.max_distance_m - self.min_distance_m
        distance = self.min_distance_m + span * _uniform(shape, generator, dtype)
        rx = tx + _polar(distance, _uniform(shape, generator, dtype))
        return Drop(
            rx_position_m=_raise_to(rx, self.receiver_height_m),
            tx_position_m=_raise_to(tx, self.transmitter_height_m),
        )

    def _transmitters(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Float[Tensor, "*batch tx 2"]:
        """Uniform in the square; those too close to an earlier one are drawn again until none is."""
        place = (_uniform((*shape, 2), generator, dtype) - 0.5) * self.side_m
        if self.min_transmitter_spacing_m == 0.0 or not place.numel():
            return place
        drops = place.view(-1, shape[-1], 2)
        pending = torch.arange(len(drops), device=place.device)
        for _ in range(_MAX_ROUNDS if self._has_room(shape[-1]) else 0):
            crowded = _too_close(drops[pending], self.min_transmitter_spacing_m)  # [pending tx]
            drop, tx = crowded.nonzero(as_tuple=True)
            if not len(drop):
                return place
            fresh = (_uniform((len(drop), 2), generator, dtype) - 0.5) * self.side_m
            drops[pending[drop], tx] = fresh
            pending = pending[crowded.any(dim=-1)]
        raise ValueError(
            f"min_transmitter_spacing_m: must leave room for {shape[-1]} transmitters in a square of "
            f"{self.side_m:g} m, received {self.min_transmitter_spacing_m:g}"
        )

    def _has_room(self, transmitters: int) -> bool:
        """Whether discs of the spacing's diameter could be packed at all, by the density of the hexagonal packing."""
        discs = transmitters * math.pi / 4.0 * self.min_transmitter_spacing_m**2
        return discs <= math.pi / math.sqrt(12.0) * (self.side_m + self.min_transmitter_spacing_m) ** 2


@dataclass(frozen=True)
class CellularLinks:
    """Downlinks of hexagonal cells: transmitters at the centres, each with its receiver in the cell around it.

    A cell is a regular hexagon with corners at `radius_m`, so that neighbouring centres are `sqrt(3) radius_m`
    apart and cells tile the plane; cell 0 is at the origin, the rings follow. Receivers are uniform by area in
    their cell, at least `min_distance_m` from its centre, so `radius_m` is their largest distance. Link `k` is
    of cell `k mod cells`: cells have equal numbers of links to within one, those of the first links, too, and
    the transmitters of a cell stand at the same place. Positions are on the ground.

    The defaults are those of Section IV-B of [Behmandpoor2024], which prints the number of cells and the two
    distances, but neither the shape of a cell nor the distance of centres.

    Attributes:
        rings: of cells around the one at the origin: one ring makes 7 cells, two make 19.
        min_distance_m: from a receiver to its transmitter; within the circle that fits into a cell.
        radius_m: of the circle around a cell.
    """

    rings: int = 1
    min_distance_m: float = 50.0
    radius_m: float = 500.0

    def __post_init__(self) -> None:
        if self.rings < 0:
            raise ValueError(f"rings: must be at least 0, received {self.rings}")
        _require_at_least("radius_m", self.radius_m, 0.0, strict=True)
        _require_at_least("min_distance_m", self.min_distance_m, 0.0)
        inner_m = 0.5 * math.sqrt(3.0) * self.radius_m
        if self.min_distance_m >= inner_m:
            raise ValueError(
                f"min_distance_m: must be below {inner_m:g}, the inner radius, received {self.min_distance_m:g}"
            )

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return 1 + 3 * self.rings * (self.rings + 1)

    def centres_m(self, *, dtype: torch.dtype = torch.float64) -> Float[Tensor, "cell 2"]:
        """Centres of the cells, ring by ring from the origin outwards."""
        steps = range(-self.rings, self.rings + 1)
        # The third of the hexagonal lattice's coordinates is minus the sum of the other two.
        places = [(a, b) for a in steps for b in steps if abs(a + b) <= self.rings]
        places.sort(key=lambda place: max(abs(place[0]), abs(place[1]), abs(sum(place))))
        first, second = torch.tensor(places, dtype=dtype).T
        site_m = math.sqrt(3.0) * self.radius_m
        return site_m * torch.stack((first + 0.5 * second, 0.5 * math.sqrt(3.0) * second), dim=-1)

    @property
    def direction(self) -> Direction:
        """See `Topology.direction`."""
        return "downlink"

    def sample(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Drop:
        """See `Topology.sample`; as many receivers as transmitters."""
        _require_pairs(transmitters, receivers)
        cell = torch.arange(transmitters) % self.cells
        centre = self.centres_m(dtype=dtype)[cell].to(generator.device)  # [tx 2]
        rx = centre + self._around((*batch_shape, receivers), generator, dtype)
        return Drop(rx_position_m=_raise_to(rx, 0.0), tx_position_m=_raise_to(centre.expand_as(rx), 0.0))

    def _around(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Float[Tensor, "*batch rx 2"]:
        """Offsets from the centre, uniform in the hexagon; those too close are drawn again."""
        place = torch.zeros(math.prod(shape), 2, dtype=dtype, device=generator.device)
        pending = torch.arange(len(place), device=place.device)
        while len(pending):
            place[pending] = self._in_hexagon(len(pending), generator, dtype)
            distance = torch.hypot(place[pending, 0], place[pending, 1])
            pending = pending[distance < self.min_distance_m]
        return place.view(*shape, 2)

    def _in_hexagon(self, points: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Points `[point 2]`: three rhombi of sides from the centre to every second corner make the hexagon.

        Centres are neighbours across sides, in the directions 0, 60, ... degrees, so corners are at 30, 90, ...
        """
        turn = torch.randint(3, (points,), generator=generator, device=generator.device) / 3.0
        along, across = _uniform((2, points), generator, dtype) * self.radius_m
        turn = turn.to(dtype) + 1.0 / 12.0
        return _polar(along, turn) + _polar(across, turn + 1.0 / 3.0)


@dataclass(frozen=True)
class Colocated:
    """Everybody at the origin: for channels without geometry."""

    @property
    def direction(self) -> Direction:
        """See `Topology.direction`."""
        return "unknown"

    def sample(
        self,
        *batch_shape: int,
        transmitters: int,
        receivers: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Drop:
        """See `Topology.sample`."""
        _require_counts(transmitters, receivers)
        return Drop(
            rx_position_m=torch.zeros(*batch_shape, receivers, 3, dtype=dtype, device=generator.device),
            tx_position_m=torch.zeros(*batch_shape, transmitters, 3, dtype=dtype, device=generator.device),
        )


def _uniform(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)


def _too_close(place: Float[Tensor, "drop tx 2"], spacing_m: float) -> Bool[Tensor, "drop tx"]:
    """Which points are closer than the spacing to one of a lower index of their drop.

    Points are sorted into square cells of at least that side, so that only those of a cell and of its
    neighbours are compared: time and memory grow with the points, not with their pairs.
    """
    drops, count, _ = place.shape
    points = place.reshape(-1, 2)
    place_from_corner = points - points.amin(dim=0)
    side_m = max(spacing_m, float(place_from_corner.max()) / _MOST_CELLS)
    cell = torch.floor(place_from_corner / side_m).long()
    width = int(cell.max()) + 2  # an empty row and column keep the last cells from neighbouring the first
    drop = torch.arange(drops, device=place.device).repeat_interleave(count)
    key, order = ((drop * width + cell[:, 0]) * width + cell[:, 1]).sort()
    crowded = torch.zeros(drops * count, dtype=torch.bool, device=place.device)
    for step in (0, 1, width - 1, width, width + 1):
        # Half of the neighbours, for each pair is met from its other end otherwise.
        first = torch.searchsorted(key, key + step)
        if not step:
            first = torch.arange(len(key), device=key.device) + 1
        met = torch.searchsorted(key, key + step, right=True) - first
        one = torch.arange(len(key), device=key.device).repeat_interleave(met)
        start = (met.cumsum(dim=0) - met)[one]
        other = first[one] + torch.arange(len(one), device=key.device) - start
        one, other = order[one], order[other]
        offset = points[one] - points[other]
        near = torch.hypot(offset[:, 0], offset[:, 1]) < spacing_m
        crowded[torch.maximum(one, other)[near]] = True
    return crowded.view(drops, count)


def _polar(radius: Tensor, turn: Tensor) -> Tensor:
    """Points `[*batch n 2]` at `radius` and at the angle of `turn` in [0, 1)."""
    angle = 2.0 * math.pi * turn
    return torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)


def _raise_to(ground: Tensor, height_m: float) -> Tensor:
    """Points `[*batch n 3]` above points `[*batch n 2]` of the ground."""
    return torch.nn.functional.pad(ground, (0, 1), value=height_m)


def _cell_drop(ground: Tensor, transmitters: int, station_height_m: float, user_height_m: float) -> Drop:
    """The station at the origin; users first, then eavesdroppers, from ground positions `[*batch n 2]`."""
    mobile = _raise_to(ground, user_height_m)
    station = _raise_to(torch.zeros_like(ground[..., :1, :]), station_height_m)
    users, eavesdroppers = mobile[..., :transmitters, :], mobile[..., transmitters:, :]
    return Drop(rx_position_m=torch.cat((station, eavesdroppers), dim=-2), tx_position_m=users)


def _require_counts(transmitters: int, receivers: int) -> None:
    for name, count in (("transmitters", transmitters), ("receivers", receivers)):
        if count < 1:
            raise ValueError(f"{name}: must be at least 1, received {count}")


def _require_pairs(transmitters: int, receivers: int) -> None:
    _require_counts(transmitters, receivers)
    if receivers != transmitters:
        raise ValueError(
            f"receivers: must equal the number of transmitters {transmitters}, received {receivers}"
        )


def _require_at_least(name: str, value: float, bound: float, *, strict: bool = False) -> None:
    if not math.isfinite(value) or value < bound or (strict and value == bound):
        relation = "above" if strict else "at least"
        raise ValueError(f"{name}: must be finite and {relation} {bound}, received {value}")
