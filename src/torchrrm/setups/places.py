"""Where the nodes of one instance are, as columns, and some of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from torchrrm import records
from torchrrm.setups.workbench import Given

__all__ = ["first_of", "nodes_m", "some_of", "station_place", "user_columns"]

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


def some_of(given: Given[I], count: int, *axes: str, generator: torch.Generator) -> Given[I]:
    """The instance with so many random ones of the nodes that these axes of its tensors count, or of its pairs."""
    instance: Any = given.instance
    names = records.axis_names(type(instance))
    field, where = next((field, found.index(axes[0])) for field, found in names.items() if axes[0] in found)
    nodes = getattr(instance, field).shape[where]
    chosen = torch.randperm(nodes, generator=generator)[:count].sort().values
    parts = {name: _chosen(getattr(instance, name), found, axes, chosen) for name, found in names.items()}
    place = {
        name: column if name.startswith("station_") else column[chosen]
        for name, column in given.place.items()
    }
    setting = given.setting if count >= nodes else f"{given.setting}, {count} of {nodes}"
    return replace(given, instance=type(instance)(**parts), setting=setting, place=place)


def _chosen(tensor: Tensor, names: tuple[str, ...], axes: tuple[str, ...], chosen: Tensor) -> Tensor:
    for place, name in enumerate(names):
        if name in axes:
            tensor = tensor.index_select(place, chosen)
    return tensor


def first_of(drawn: I, setting: str) -> Given[I]:
    """The first of some instances, of which no places are known."""
    return Given(records.index(drawn, 0), f"{setting}, first instance")
