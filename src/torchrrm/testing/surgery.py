"""Cuts of records by the names of their axes, and random actions."""

import inspect
import math
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from torchrrm.records import (
    active_like,
    along_axes,
    axis_names,
    axis_sizes,
    batch_shape,
    index,
    index_axes,
    map_tensors,
    mask_axes,
    replace,
)
from torchrrm.testing.expected import ConformanceError, Expected

__all__ = [
    "Sample",
    "draw",
    "draw_action",
    "each",
    "emptied",
    "mask_of",
    "permutation",
    "reshape_batch",
    "take",
    "user_axes",
]

R = TypeVar("R")
Sample = Callable[..., Any]
"""`sample(batch_size, *, generator) -> instance`."""


def mask_of(instance: Any, shape: torch.Size) -> str | None:
    """The mask that a value of that shape belongs to, by which it is renumbered and padded."""
    found = [name for name in mask_axes(type(instance)) if getattr(instance, name).shape == shape]
    if len(found) > 1:
        raise ConformanceError(f"sample: axes of different masks must differ in size, received {list(shape)}")
    return found[0] if found else None


def user_axes(instance: Any, expected: Expected) -> tuple[tuple[str, ...], ...]:
    """Groups of axes that are permuted together."""
    if expected.axes is not None:
        return expected.axes
    fields = mask_axes(type(instance)) or axis_names(type(instance))
    return tuple((name,) for name in dict.fromkeys(name for names in fields.values() for name in names))


def take(record: R, chosen: dict[str, Tensor]) -> R:
    """The chosen entries of named axes, in the order given; axes that the record lacks are passed over.

    Indices of such an axis are renumbered; those of entries that were left out become -1.
    """
    fields, indices = {}, index_axes(type(record))
    for field, names in axis_names(type(record)).items():
        tensor = getattr(record, field)
        for axis, name in enumerate(names, start=-len(names)):
            if name in chosen:
                tensor = tensor.index_select(axis, chosen[name])
        if indices.get(field) in chosen:
            tensor = _renumbered(tensor, chosen[indices[field]])
        fields[field] = tensor
    return type(record)(**fields)


def _renumbered(indices: Tensor, chosen: Tensor) -> Tensor:
    """Where the entries that indices name are among the chosen ones; -1 where they are not."""
    matches = indices[..., None] == chosen
    return torch.where(matches.any(-1), matches.int().argmax(-1), -1)


def permutation(instance: Any, expected: Expected, generator: torch.Generator) -> dict[str, Tensor]:
    """A random order of each group of axes, by the names of its axes."""
    sizes = axis_sizes(instance)
    chosen: dict[str, Tensor] = {}
    for group in user_axes(instance, expected):
        order = torch.randperm(sizes[group[0]], generator=generator)
        chosen |= dict.fromkeys(group, order)
    return chosen


def draw(sample: Sample, batch_size: int, generator: torch.Generator) -> Any:
    """Instances of which about a quarter of each mask's entries are inactive, such as users and stations."""
    instance = sample(batch_size, generator=generator)
    masks = {name: getattr(instance, name) for name in mask_axes(type(instance))}
    kept = {name: torch.rand(mask.shape, generator=generator) < 0.75 for name, mask in masks.items()}
    return replace(instance, **{name: mask & kept[name] for name, mask in masks.items()})


def emptied(instance: Any) -> dict[str, Any]:
    """The instance with nobody active; with several masks, also with nobody in one of them; by what it is."""
    nobody = {name: torch.zeros_like(getattr(instance, name)) for name in mask_axes(type(instance))}
    if not nobody:
        return {}
    alone = {f"no {name}": {name: mask} for name, mask in nobody.items()} if len(nobody) > 1 else {}
    cases = {"nobody active": nobody} | alone
    return {case: replace(instance, **masks) for case, masks in cases.items()}


def reshape_batch(record: R, *shape: int) -> R:
    """The record with its batch axes in another shape."""
    size = len(batch_shape(record))
    return map_tensors(lambda tensor: tensor.reshape(*shape, *tensor.shape[size:]), record)


def _action_type(problem: Any) -> type:
    parameters = list(inspect.signature(problem.evaluate).parameters)
    hints = typing.get_type_hints(problem.evaluate)
    found = hints.get(parameters[1]) if len(parameters) > 1 else None
    if not isinstance(found, type):
        raise ConformanceError(
            "action: evaluate must annotate its action with a record type, or draw_action be given"
        )
    return found


def draw_action(problem: Any, instance: Any, generator: torch.Generator) -> Any:
    """A random action of the type that `problem.evaluate` is annotated with; zero for inactive users.

    Reals are uniform in 0.05 to 1 times the instance's field of the same name, or of that with `max_` before
    it (a limit), where there is one; complex numbers have such absolute values and phases that are uniform;
    truth values are tosses of a coin; indices are those of random active entries, -1 where there is none and for
    inactive users.
    """
    cls, sizes, batch = _action_type(problem), axis_sizes(instance), batch_shape(instance)
    hints, fields = typing.get_type_hints(cls), {}
    like = next(t for t in vars(instance).values() if t.is_floating_point())
    for name, names in axis_names(cls).items():
        if not set(names) <= sizes.keys():
            raise ConformanceError(f"action: {cls.__name__}.{name} has axes of its own; give draw_action")
        mask, shape = active_like(instance, names), (*batch, *(sizes[axis] for axis in names))
        if name in index_axes(cls):
            index = _draw_index(instance, index_axes(cls)[name], shape, generator)
            fields[name] = index if mask is None else torch.where(mask, index, -1)
            continue
        value = _draw_value(hints[name].dtypes, shape, generator)
        if value is None:
            raise ConformanceError(f"action: {cls.__name__}.{name} is no number; give draw_action")
        if value.is_floating_point():
            value = value.to(like)
        elif value.is_complex():
            value = value.to(device=like.device, dtype=like.dtype.to_complex())
        limit = _limit(instance, name, names)
        value = value if limit is None else value * limit
        fields[name] = value if mask is None else value * mask
    return cls(**fields)


def _draw_value(kinds: Sequence[str], shape: tuple[int, ...], generator: torch.Generator) -> Tensor | None:
    """Random values of a kind that an annotation names, in double precision; `None` of a kind that is not known."""
    size = torch.rand(shape, generator=generator, dtype=torch.float64) * 0.95 + 0.05
    if "bool" in kinds:
        return size > 0.5
    if any(kind.startswith("float") for kind in kinds):
        return size
    if any(kind.startswith("complex") for kind in kinds):
        return torch.polar(size, 2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64))
    return None


def _draw_index(instance: Any, axis: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random entries of the axis that are active, -1 where none is."""
    batch, score = batch_shape(instance), torch.rand(*shape, axis_sizes(instance)[axis], generator=generator)
    mask = active_like(instance, (axis,))
    if mask is not None:
        among = mask.reshape(*batch, *(1,) * (len(shape) - len(batch)), -1)
        score = torch.where(among, score, -1.0)
    best, index = score.max(-1)
    return torch.where(best >= 0, index, -1)


def _limit(instance: Any, name: str, names: tuple[str, ...]) -> Tensor | None:
    for candidate in (name, f"max_{name}"):
        if hasattr(instance, candidate):
            return along_axes(getattr(instance, candidate), axis_names(type(instance))[candidate], names)
    return None


def each(record: R) -> list[R]:
    """The single records of a batch."""
    return [index(record, i) for i in range(batch_shape(record)[0])]
