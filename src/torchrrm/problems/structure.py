"""Structure of records: types, shapes and dtypes, checked against their annotations.

The jaxtyping annotation of a field (`gain: Float[Tensor, "*batch rx tx"]`) states its kind of numbers and its axes. A
record class may add, as class variables, `same_axis` (axes of the same entries, such as receivers and transmitters),
`may_be_empty` (axes that may have no entries) and `holds` (what the record is, for messages).
"""

import functools
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from torchrrm.records import axis_names

__all__ = ["require_action", "require_record", "require_tensor"]

R = TypeVar("R")
Form = tuple[torch.Size, torch.dtype]

_DTYPES: Mapping[str, tuple[torch.dtype, ...]] = {
    "float": (torch.float32, torch.float64),
    "complex": (torch.complex64, torch.complex128),
    "int": (torch.int64,),
    "bool": (torch.bool,),
}
_NAMED = {"float": "float32", "complex": "complex64", "int": "int64", "bool": "bool"}


class _Field(NamedTuple):
    """Annotation of a field.

    Attributes:
        name: of the field.
        axes: names of its axes behind `*batch`.
        entries: the same, axes of the same entries by one name.
        batched: whether it has leading batch axes.
        kind: of its numbers, a key of `_DTYPES`, if the annotation states one.
    """

    name: str
    axes: tuple[str, ...]
    entries: tuple[str, ...]
    batched: bool
    kind: str | None


def require_record(record: Any, expected: type[R], name: str = "instance") -> R:
    """Return the record if it has the expected type and its fields fit their annotations and each other.

    `Float` is float32 or float64, one of them for all fields, `Complex` is of the same precision, `Int` is int64.
    Axes of one name have one size and are not empty, and leading batch shapes are equal. Shapes and dtypes are read,
    values are not; a structure that has passed before costs 1 to 2 us.

    Args:
        record: the record.
        expected: its type or a base class.
        name: of the argument, for the message.

    Raises:
        ValueError: naming the field, the rule and what was received.
    """
    if not isinstance(record, expected):
        raise ValueError(f"{name}: expected {_described(expected)}, got {_described(type(record))}")
    if torch.compiler.is_compiling():  # sizes are symbols then
        return record
    _require_forms(type(record), _forms(record))
    return record


def require_action(action: Any, expected: type[R], instance: Any, problem_of: type) -> R:
    """Return the action if it and the instance pass `require_record` and its axes are as long as the instance's.

    Batch shapes may differ.

    Args:
        action: the action.
        expected: its type or a base class.
        instance: what it is for.
        problem_of: type of the instance or a base class.

    Raises:
        ValueError: naming the field, the rule and what was received.
    """
    if not (isinstance(action, expected) and isinstance(instance, problem_of)):
        require_record(instance, problem_of)
        require_record(action, expected, "action")
    if not torch.compiler.is_compiling():
        _require_fitting(type(action), _forms(action), type(instance), _forms(instance))
    return action


def require_tensor(name: str, value: Any, kind: str | None = None) -> Tensor:
    """Return the value if it is a tensor, of numbers of that kind: `float`, `complex`, `int` or `bool`.

    Raises:
        ValueError: naming the rule and what was received.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name}: expected a torch.Tensor, got {type(value).__name__}")
    if kind is not None:
        _require_dtype(name, value.dtype, _DTYPES[kind])
    return value


def _described(cls: type) -> str:
    """Name of a type, with what it holds if the class states it."""
    holds = getattr(cls, "holds", None)
    return cls.__name__ if holds is None else f"{cls.__name__} ({holds})"


def _forms(record: Any) -> tuple[Form, ...]:
    """Shape and dtype of each field."""
    try:
        return tuple([(value.shape, value.dtype) for value in vars(record).values()])
    except AttributeError:
        for field, value in vars(record).items():
            require_tensor(field, value)
        raise


@functools.cache
def _annotated(cls: type) -> tuple[_Field, ...]:
    hints, same = typing.get_type_hints(cls), getattr(cls, "same_axis", {})
    fields = []
    for name, axes in axis_names(cls).items():
        dtypes = getattr(hints[name], "dtypes", ())
        kind = next((kind for kind, dtype in _NAMED.items() if dtype in dtypes), None)
        batched = str(getattr(hints[name], "dim_str", "*batch")).startswith("*")
        fields.append(_Field(name, axes, tuple(same.get(axis, axis) for axis in axes), batched, kind))
    return tuple(fields)


@functools.lru_cache(maxsize=4096)
def _require_forms(cls: type, forms: tuple[Form, ...]) -> None:
    """Check shapes and dtypes of all fields; remembered where they pass."""
    _require_dtypes(cls, forms)
    sizes: dict[str, int] = {}
    batch: tuple[int, ...] | None = None
    for field, (shape, _) in zip(_annotated(cls), forms, strict=True):
        split = len(shape) - len(field.axes)
        if split < 0 or (split and not field.batched):
            leading = ("*batch",) if batch is None else batch
            named = [*(leading if field.batched else ()), *(sizes.get(axis, axis) for axis in field.axes)]
            raise ValueError(
                f"{field.name}: expected shape [{', '.join(map(str, named))}], got {list(shape)}"
            )
        if field.batched and batch is None:
            batch = tuple(shape[:split])
        _require_axes(field, tuple(shape[split:]), shape, getattr(cls, "may_be_empty", ()))
        for entry, size in zip(field.entries, shape[split:], strict=True):
            sizes.setdefault(entry, int(entry) if entry.isdigit() else size)
        fitting = (*(batch if field.batched and batch else ()), *(sizes[entry] for entry in field.entries))
        if tuple(shape) != fitting:
            raise ValueError(f"{field.name}: expected shape {list(fitting)}, got {list(shape)}")


@functools.lru_cache(maxsize=4096)
def _require_fitting(
    cls: type, forms: tuple[Form, ...], instance: type, instance_forms: tuple[Form, ...]
) -> None:
    """Check an instance, an action, and that named axes of both are as long; remembered where they pass."""
    _require_forms(instance, instance_forms)
    _require_forms(cls, forms)
    sizes, same = {}, getattr(instance, "same_axis", {})
    for field, (shape, _) in zip(_annotated(instance), instance_forms, strict=True):
        sizes |= dict(zip(field.axes, shape[len(shape) - len(field.axes) :], strict=True))
    for field, (shape, _) in zip(_annotated(cls), forms, strict=True):
        own = shape[len(shape) - len(field.axes) :]
        fitting = [sizes.get(same.get(axis, axis), size) for axis, size in zip(field.axes, own, strict=True)]
        if list(own) != fitting:
            named = ", ".join(map(str, ("*batch", *fitting)))
            raise ValueError(f"{field.name}: expected shape [{named}], got {list(shape)}")


def _require_axes(
    field: _Field, sizes: tuple[int, ...], shape: torch.Size, may_be_empty: tuple[str, ...]
) -> None:
    """Axes of one field: those of the same entries are as long, and none is empty that must not be."""
    pair = [number for number, entry in enumerate(field.entries) if field.entries.count(entry) == 2]
    if len({sizes[number] for number in pair}) > 1:
        named = ", ".join(field.axes[number] for number in pair)
        raise ValueError(f"{field.name}: expected a square matrix [{named}], got {list(shape)}")
    for axis, size in zip(field.axes, sizes, strict=True):
        if not size and axis not in may_be_empty:
            raise ValueError(f"{field.name}: expected at least one {axis}, got shape {list(shape)}")


def _require_dtypes(cls: type, forms: tuple[Form, ...]) -> None:
    """Each field is of its kind, and all real and complex ones of the precision of the first."""
    first: tuple[str, torch.dtype] | None = None
    for field, (_, dtype) in zip(_annotated(cls), forms, strict=True):
        if field.kind is None:
            continue
        _require_dtype(field.name, dtype, _DTYPES[field.kind])
        if field.kind in ("float", "complex"):
            real = dtype.to_real()
            first = (field.name, real) if first is None else first
            if real != first[1]:
                wanted = first[1] if field.kind == "float" else first[1].to_complex()
                raise ValueError(f"{field.name}: expected {wanted} as {first[0]}, got {dtype}")


def _require_dtype(name: str, dtype: Any, allowed: tuple[torch.dtype, ...]) -> None:
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{name}: expected a torch.Tensor, got an array of {dtype}")
    if dtype not in allowed:
        wanted = " or ".join("bool" if kind is torch.bool else str(kind) for kind in allowed)
        raise ValueError(f"{name}: expected {wanted}, got {dtype}")
