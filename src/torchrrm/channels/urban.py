"""A square of a city: stations on the ground and on roofs, users between buildings, and who sees whom.

Receivers are users, transmitters are stations: macro base stations first, then those of small cells.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.channels.ends import Direction
from torchrrm.channels.topology import Drop
from torchrrm.records import tensor_record

__all__ = ["UrbanDrop", "UrbanSquare", "line_of_sight"]

_MAX_ROUNDS = 1000


@tensor_record
class UrbanDrop(Drop):
    """Positions of one draw, the buildings between them, and which links these leave.

    Attributes:
        building_m: lower and upper corner of each building, a box whose sides are parallel to the axes.
        line_of_sight: whether no building stands between the ends of a link.
    """

    building_m: Float[Tensor, "*batch building 2 3"]
    line_of_sight: Bool[Tensor, "*batch rx tx"]


@dataclass(frozen=True)
class UrbanSquare:
    """Users and stations uniform in a square around the origin, with square buildings at random places.

    The defaults are the area of Section IV of [Zhang2022HBGNN]: 5 macro base stations and small cells (100, of 105
    transmitters) in a square of 200 m with 20 buildings of 20 x 20 x 30 m; a station inside of a building stands on
    its roof. The paper gives no other heights, nor says how places are drawn: heights are those of 3GPP TR 38.901,
    centres of buildings are uniform in the square, so that buildings may overlap and stand out of it, and users are
    uniform in the whole square; one inside of a building sees no station. Buildings are exact boxes
    (`line_of_sight`): a station on a roof, unless at its edge, is hidden from the ground by its own building.

    Stations and buildings are drawn anew each time, or, given `layout_seed`, are always those of the seed, whatever
    the generator, precision and device, and only users move, as they do in the paper.

    Attributes:
        side_m: of the square.
        macro_stations: how many of the transmitters, the first ones, are macro base stations.
        buildings: how many.
        building_side_m: both sides of their footprints.
        building_height_m: from the ground.
        macro_height_m: of macro base stations that are on no roof.
        small_height_m: of the other stations that are on no roof.
        user_height_m: of users.
        users_outdoors: draw users inside of a building again until they are outside.
        layout_seed: of stations and buildings, which then stay.
    """

    side_m: float = 200.0
    macro_stations: int = 5
    buildings: int = 20
    building_side_m: float = 20.0
    building_height_m: float = 30.0
    macro_height_m: float = 25.0
    small_height_m: float = 10.0
    user_height_m: float = 1.5
    users_outdoors: bool = False
    layout_seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("side_m", "building_side_m", "building_height_m"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0.0):
                raise ValueError(f"{name}: must be finite and positive, received {value}")
        for name in ("macro_height_m", "small_height_m", "user_height_m"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0.0):
                raise ValueError(f"{name}: must be finite and at least 0, received {value}")
        for name in ("macro_stations", "buildings"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{name}: must be at least 0, received {value}")

    def macro_mask(self, stations: int) -> Bool[Tensor, " tx"]:
        """Which of so many transmitters are macro base stations: the first ones."""
        return torch.arange(stations) < self.macro_stations

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
    ) -> UrbanDrop:
        """See `Topology.sample`: receivers are users, transmitters stations.

        Raises:
            ValueError: if users are to be outdoors and buildings leave them no room.
        """
        for name, count in (("transmitters", transmitters), ("receivers", receivers)):
            if count < 1:
                raise ValueError(f"{name}: must be at least 1, received {count}")
        if self.layout_seed is None:
            building_m, station_m = self._layout(batch_shape, transmitters, generator, dtype)
        else:
            building_m, station_m = self._fixed_layout(batch_shape, transmitters, generator.device, dtype)
        user_m = self._users(batch_shape, receivers, building_m, generator)
        return UrbanDrop(
            rx_position_m=user_m,
            tx_position_m=station_m,
            building_m=building_m,
            line_of_sight=line_of_sight(user_m, station_m, building_m),
        )

    def _layout(
        self, shape: tuple[int, ...], stations: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "*batch building 2 3"], Float[Tensor, "*batch tx 3"]]:
        """Buildings, and the stations between and on them."""
        centre = self._uniform((*shape, self.buildings), generator, dtype)
        half = 0.5 * self.building_side_m
        low = torch.nn.functional.pad(centre - half, (0, 1), value=0.0)
        high = torch.nn.functional.pad(centre + half, (0, 1), value=self.building_height_m)
        building_m = torch.stack((low, high), dim=-2)
        ground = self._uniform((*shape, stations), generator, dtype)
        macro = self.macro_mask(stations).to(ground.device)
        height = torch.where(macro, self.macro_height_m, self.small_height_m).to(dtype)
        height = torch.where(_inside(ground, building_m), self.building_height_m, height)
        return building_m, torch.cat((ground, height[..., None]), dim=-1)

    def _fixed_layout(
        self, shape: tuple[int, ...], stations: int, device: torch.device, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "*batch building 2 3"], Float[Tensor, "*batch tx 3"]]:
        """The layout of the seed, drawn in one precision on one device for all."""
        generator = torch.Generator().manual_seed(self.layout_seed or 0)
        building_m, station_m = (
            places.to(device=device, dtype=dtype)
            for places in self._layout((), stations, generator, torch.float64)
        )
        return building_m.expand(*shape, *building_m.shape), station_m.expand(*shape, *station_m.shape)

    def _users(
        self, shape: tuple[int, ...], users: int, building_m: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "*batch rx 3"]:
        """Users anywhere, or those inside of buildings drawn again until none is."""
        ground = self._uniform((*shape, users), generator, building_m.dtype)
        for _ in range(_MAX_ROUNDS if self.users_outdoors else 0):
            indoors = _inside(ground, building_m)  # [*batch rx]
            if not indoors.any():
                break
            ground[indoors] = self._uniform((int(indoors.sum()),), generator, ground.dtype)
        else:
            if self.users_outdoors:
                received = f"{self.buildings} of {self.building_side_m:g} m in {self.side_m:g} m"
                raise ValueError(f"buildings: must leave room for users outdoors, received {received}")
        return torch.nn.functional.pad(ground, (0, 1), value=self.user_height_m)

    def _uniform(self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Points `[*shape 2]` of the square."""
        unit = torch.rand((*shape, 2), generator=generator, dtype=dtype, device=generator.device)
        return (unit - 0.5) * self.side_m


def line_of_sight(
    rx_position_m: Float[Tensor, "*batch rx 3"],
    tx_position_m: Float[Tensor, "*batch tx 3"],
    building_m: Float[Tensor, "*batch building 2 3"],
) -> Bool[Tensor, "*batch rx tx"]:
    """Which straight lines between receivers and transmitters meet no building.

    By the slab method: the line `rx + t (tx - rx)` is between the two planes of a box along an axis for an interval
    of `t`, and in the box in the intersection of the three intervals. A link is blocked if that has a length within
    `0 <= t <= 1`, so touching a wall, an edge or a roof from outside, as a station's foot does, is none; who is
    inside of a building sees nobody.

    One building after the other is held against all links, so the memory is that of a few tensors `[*batch rx tx]`.

    Args:
        rx_position_m: receivers, in metres, `z` upward.
        tx_position_m: transmitters.
        building_m: lower and upper corner of each box.
    """
    starts = rx_position_m[..., :, None, :].unbind(-1)  # x, y and z, [*batch rx 1] each
    ends = tx_position_m[..., None, :, :].unbind(-1)  # [*batch 1 tx]
    # Of a line along a plane it is infinite, and t is: of one within a plane NaN, which compares as no contact.
    slopes = [(end - start).reciprocal() for start, end in zip(starts, ends, strict=True)]
    seen = torch.ones_like(slopes[0], dtype=torch.bool)
    for box in building_m[..., None, None].unbind(
        -5
    ):  # corners [*batch 2 3 1 1] of one building in each drop
        enter, leave = torch.zeros_like(slopes[0]), torch.ones_like(slopes[0])
        for axis, (start, slope) in enumerate(zip(starts, slopes, strict=True)):
            one = (box[..., 0, axis, :, :] - start) * slope
            other = (box[..., 1, axis, :, :] - start) * slope
            enter = torch.maximum(enter, torch.minimum(one, other))
            leave = torch.minimum(leave, torch.maximum(one, other))
        seen &= ~(enter < leave)
    return seen


def _inside(
    ground_m: Float[Tensor, "*batch n 2"], building_m: Float[Tensor, "*batch building 2 3"]
) -> Bool[Tensor, "*batch n"]:
    """Which points of the ground are within a footprint, its border included."""
    low, high = building_m[..., None, :, :, :2].unbind(-2)  # [*batch 1 building 2]
    point = ground_m[..., :, None, :]
    return ((low <= point) & (point <= high)).all(dim=-1).any(dim=-1)
