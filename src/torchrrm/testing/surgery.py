"""Cuts of records by the names of their axes, and random actions."""

import inspect
import math
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from torchrrm.records import axis_names, batch_shape, index, map_tensors, replace
from torchrrm.testing.expected import ConformanceError, Expected

__all__ = [
    "Sample",
    "active_like",
    "axis_sizes",
    "draw",
    "draw_action",
    "each",
    "nobody",
    "permutation",
    "reshape_batch",
    "take",
    "user_axes",
]

R = TypeVar("R")
Sample = Callable[..., Any]
"""`sample(batch_size, *, generator) -> instance`."""


def axis_sizes(record: Any) -> dict[str, int]:
    """Size of each named axis."""
    sizes = {}
    for field, names in axis_names(type(record)).items():
        shape = getattr(record, field).shape
        sizes |= dict(zip(names, shape[len(shape) - len(names) :], strict=True))
    return sizes


def user_axes(instance: Any, expected: Expected) -> tuple[tuple[str, ...], ...]:
    """Groups of axes that are permuted together."""
    if expected.axes is not None:
        return expected.axes
    fields = axis_names(type(instance))
    names = fields.get("active", tuple(dict.fromkeys(name for names in fields.values() for name in names)))
    return tuple((name,) for name in names)


def take(record: R, chosen: dict[str, Tensor]) -> R:
    """The chosen entries of named axes, in the order given; axes that the record lacks are passed over."""
    fields = {}
    for field, names in axis_names(type(record)).items():
        tensor = getattr(record, field)
        for axis, name in enumerate(names, start=-len(names)):
            if name in chosen:
                tensor = tensor.index_select(axis, chosen[name])
        fields[field] = tensor
    return type(record)(**fields)


def permutation(instance: Any, expected: Expected, generator: torch.Generator) -> dict[str, Tensor]:
    """A random order of each group of axes, by the names of its axes."""
    sizes = axis_sizes(instance)
    chosen: dict[str, Tensor] = {}
    for group in user_axes(instance, expected):
        order = torch.randperm(sizes[group[0]], generator=generator)
        chosen |= dict.fromkeys(group, order)
    return chosen


def draw(sample: Sample, batch_size: int, generator: torch.Generator) -> Any:
    """Instances of which about a quarter of the users are inactive, where the record has a mask."""
    instance = sample(batch_size, generator=generator)
    if not hasattr(instance, "active"):
        return instance
    kept = torch.rand(instance.active.shape, generator=generator) < 0.75
    return replace(instance, active=instance.active & kept)


def nobody(instance: Any) -> Any:
    """The instance with nobody active."""
    return replace(instance, active=torch.zeros_like(instance.active))


def reshape_batch(record: R, *shape: int) -> R:
    """The record with its batch axes in another shape."""
    size = len(batch_shape(record))
    return map_tensors(lambda tensor: tensor.reshape(*shape, *tensor.shape[size:]), record)


def active_like(instance: Any, names: tuple[str, ...]) -> Tensor | None:
    """The mask as it broadcasts to `[*batch, *names]`; `None` where its axes are not all among them."""
    if not hasattr(instance, "active"):
        return None
    return _broadcast(instance.active, axis_names(type(instance))["active"], names)


def _broadcast(tensor: Tensor, names: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor | None:
    """The tensor `[*batch, *names]` with an axis of size 1 for each wanted one that it lacks."""
    if not set(names) <= set(wanted):
        return None
    batch = tensor.shape[: tensor.ndim - len(names)]
    return tensor.reshape(
        *batch, *(tensor.shape[names.index(n) - len(names)] if n in names else 1 for n in wanted)
    )


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
    truth values are tosses of a coin.
    """
    cls, sizes, batch = _action_type(problem), axis_sizes(instance), batch_shape(instance)
    hints, fields = typing.get_type_hints(cls), {}
    like = next(t for t in vars(instance).values() if t.is_floating_point())
    for name, names in axis_names(cls).items():
        if not set(names) <= sizes.keys():
            raise ConformanceError(f"action: {cls.__name__}.{name} has axes of its own; give draw_action")
        value = _draw_value(hints[name].dtypes, (*batch, *(sizes[axis] for axis in names)), generator)
        if value is None:
            raise ConformanceError(f"action: {cls.__name__}.{name} is no number; give draw_action")
        if value.is_floating_point():
            value = value.to(like)
        elif value.is_complex():
            value = value.to(device=like.device, dtype=like.dtype.to_complex())
        limit = _limit(instance, name, names)
        mask = active_like(instance, names)
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


def _limit(instance: Any, name: str, names: tuple[str, ...]) -> Tensor | None:
    for candidate in (name, f"max_{name}"):
        if hasattr(instance, candidate):
            return _broadcast(getattr(instance, candidate), axis_names(type(instance))[candidate], names)
    return None


def each(record: R) -> list[R]:
    """The single records of a batch."""
    return [index(record, i) for i in range(batch_shape(record)[0])]
