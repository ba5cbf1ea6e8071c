"""Where the nodes of one instance are, as columns, and some of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from torchrrm import records
from torchrrm.setups.workbench import Given

__all__ = ["nodes_m", "some_active", "station_place", "user_columns"]

I = TypeVar("I")  # noqa: E741


def nodes_m(place: Mapping[str, Tensor], end: str = "") -> Tensor | None:
    """Positions `[node 2]` from the columns whose names begin with `end`; None if they are not known."""
    if f"{end}x_m" not in place:
        return None
    return torch.stack([place[f"{end}{axis}_m"] for axis in "xy"], -1)


def station_place(position_m: Tensor, drop: int) -> dict[str, Tensor]:
    """The place of the first of some stations, `[*drop station 3]`, which serves all."""
    at = position_m.reshape(-1, *position_m.shape[-2:])[drop, :1]
    return {"station_x_m": at[:, 0], "station_y_m": at[:, 1]}


def user_columns(place: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a place tells of the users of one station, without the station's own position."""
    return {name: column for name, column in place.items() if not name.startswith("station_")}


def some_active(given: Given[I], count: int, *, generator: torch.Generator) -> Given[I]:
    """The instance with so many random ones of its users, or links, active, if there are more."""
    instance: Any = given.instance
    order = torch.rand(instance.active.shape, generator=generator).argsort()
    chosen = torch.zeros_like(instance.active).index_fill(0, order[:count], True)
    narrowed = records.replace(instance, active=instance.active & chosen)
    return replace(given, instance=narrowed, setting=f"{given.setting}, {count} of them")
