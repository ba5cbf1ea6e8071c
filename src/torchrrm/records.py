"""Tensor records: frozen dataclasses of tensors whose axes have names.

An instance, an action or a state is a record. Its jaxtyping annotations (`Float[Tensor, "*batch user"]`) say
which axis is which, so that stacking and padding need no code of their own for a new record. Records are
pytrees: `torch.func` transforms map over them and `torch.export` accepts them.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, dataclass_transform

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = [
    "active_like",
    "along_axes",
    "axis_names",
    "axis_sizes",
    "batch_shape",
    "index",
    "index_axes",
    "is_compilable",
    "is_plain",
    "map_tensors",
    "mask_axes",
    "pad",
    "replace",
    "stack",
    "tensor_record",
    "to",
    "user_mask",
]

R = TypeVar("R")
C = TypeVar("C", bound=type)

replace = dataclasses.replace


@dataclass_transform(frozen_default=True, kw_only_default=True)
def tensor_record(cls: C) -> C:
    """Make `cls` a frozen, keyword-only dataclass of tensors, registered as a pytree and for `torch.export`."""
    record = dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(cls)
    pytree.register_dataclass(record)
    return typing.cast(C, record)


@functools.cache
def axis_names(cls: type) -> dict[str, tuple[str, ...]]:
    """Names of the axes behind `*batch`, a field: `{"cn0_hz": ("user",), "bandwidth_hz": ()}`."""
    hints = typing.get_type_hints(cls)
    axes = {}
    for field in dataclasses.fields(cls):
        names = str(getattr(hints[field.name], "dim_str", "*batch")).split()
        axes[field.name] = tuple(name for name in names if not name.startswith("*"))
    return axes


def index_axes(cls: type) -> Mapping[str, str]:
    """The axis whose entries a field of integers names, a field: `{"station": "bs"}`, as its `index_of` says.

    -1 names none of them.
    """
    return getattr(cls, "index_of", {})


def _fields(record: Any) -> dict[str, Tensor]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def axis_sizes(record: Any) -> dict[str, int]:
    """Size of each named axis."""
    sizes = {}
    for field, names in axis_names(type(record)).items():
        shape = getattr(record, field).shape
        sizes |= dict(zip(names, shape[len(shape) - len(names) :], strict=True))
    return sizes


def map_tensors(function: Callable[[Tensor], Tensor], record: R) -> R:
    """The record with `function` applied to each tensor."""
    return type(record)(**{name: function(value) for name, value in _fields(record).items()})


def batch_shape(record: Any) -> torch.Size:
    """Leading shape `*batch` that the record's tensors share."""
    name, tensor = next(iter(_fields(record).items()))
    return tensor.shape[: tensor.ndim - len(axis_names(type(record))[name])]


def index(record: R, key: Any) -> R:
    """The record at `key` (an integer, a slice, a mask or an index tensor) of its first batch axis."""
    if not batch_shape(record):
        raise ValueError(
            f"record: must have a batch axis to be indexed, received a single {type(record).__name__}"
        )
    return map_tensors(lambda tensor: tensor[key], record)


def pad(record: R, **sizes: int) -> R:
    """The record with each named axis padded to the given size by zeros (`False` in masks, -1 in indices of an axis).

    A padded user is thus not `active`, and points nowhere. Shapes: `pad(instance, user=50)` turns `[*batch user]`
    into `[*batch 50]`.

    Raises:
        ValueError: if an axis is longer than the size asked for, or if no tensor has an axis of that name.
    """
    axes, indices = axis_names(type(record)), index_axes(type(record))
    unknown = set(sizes) - {name for names in axes.values() for name in names}
    if unknown:
        raise ValueError(f"sizes: must name axes of {type(record).__name__}, received {sorted(unknown)}")
    return type(record)(
        **{
            name: _pad_axes(value, axes[name], sizes, -1 if name in indices else 0)
            for name, value in _fields(record).items()
        }
    )


def _pad_axes(tensor: Tensor, names: tuple[str, ...], sizes: dict[str, int], filling: int) -> Tensor:
    widths: list[int] = []
    for axis, name in zip(range(-1, -len(names) - 1, -1), reversed(names), strict=True):
        missing = sizes.get(name, tensor.shape[axis]) - tensor.shape[axis]
        if missing < 0:
            raise ValueError(
                f"{name}: must be at least {tensor.shape[axis]} to pad to, received {sizes[name]}"
            )
        widths += [0, missing]
    return torch.nn.functional.pad(tensor, widths, value=filling) if any(widths) else tensor


def stack(records: Sequence[R]) -> R:
    """One record with a new leading batch axis; different sizes are padded to the largest, a named axis each.

    Raises:
        ValueError: if `records` is empty or holds different types.
    """
    if not records or any(type(record) is not type(records[0]) for record in records):
        kinds = sorted({type(record).__name__ for record in records})
        raise ValueError(f"records: must be one or more records of one type, received {kinds or 'none'}")
    axes = axis_names(type(records[0]))
    sizes: dict[str, int] = {}
    for record in records:
        for field, names in axes.items():
            shape = getattr(record, field).shape
            for name, size in zip(names, shape[len(shape) - len(names) :], strict=True):
                sizes[name] = max(sizes.get(name, 0), size)
    padded = [pad(record, **sizes) for record in records]
    return type(records[0])(
        **{name: torch.stack([getattr(record, name) for record in padded]) for name in axes}
    )


def to(record: R, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> R:
    """The record on another device, its floating-point and complex tensors in another precision (of the real parts)."""

    def move(tensor: Tensor) -> Tensor:
        if dtype is not None and tensor.is_complex():
            return tensor.to(device=device, dtype=dtype.to_complex())
        return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

    return map_tensors(move, record)


def user_mask(record: Any) -> Tensor:
    """Which users of an instance take part: its `active`, or `active_user` where others have a mask, too."""
    return record.active if hasattr(record, "active") else record.active_user


def is_plain(*tensors: Tensor) -> bool:
    """Whether a kernel may read the tensors: on a CPU, outside any `torch.func` transform, and not being exported."""
    if False in [tensor.is_cpu for tensor in tensors] or torch.compiler.is_compiling():
        return False
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    if functorch.maybe_current_level() is None:  # outside any transform: control loops ask this often
        return True
    return not any(functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)


def is_compilable(record: Any, *others: Tensor) -> bool:
    """Whether a kernel may serve the record: plain tensors, of which no gradient is asked for."""
    tensors = (*vars(record).values(), *others)
    if not is_plain(*tensors):
        return False
    return not (torch.is_grad_enabled() and True in [tensor.requires_grad for tensor in tensors])


def mask_axes(cls: type) -> dict[str, tuple[str, ...]]:
    """Axes of each mask of a record: `active`, or one mask each for several axes, `active_user` and `active_bs`."""
    fields = axis_names(cls).items()
    return {name: axes for name, axes in fields if name == "active" or name.startswith("active_")}


def active_like(instance: Any, names: tuple[str, ...]) -> Tensor | None:
    """Where all is active, as it broadcasts to `[*batch, *names]`; `None` where no mask's axes are all among them.

    A record's `same_axis` names axes whose entries are those of another, such as the receivers of transmitters.
    """
    masks, same = mask_axes(type(instance)).items(), getattr(type(instance), "same_axis", {})
    fitting = [along_axes(getattr(instance, name), axes, names) for name, axes in masks]
    for other, own in same.items():
        masked = [getattr(instance, name) for name, axes in masks if axes == (own,)]
        fitting += [along_axes(mask, (other,), names) for mask in masked]
    return functools.reduce(_and, fitting, None)


def _and(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right


def along_axes(tensor: Tensor, names: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor | None:
    """The tensor `[*batch, *names]` with an axis of size 1 for each wanted one that it lacks."""
    if not set(names) <= set(wanted):
        return None
    batch = tensor.shape[: tensor.ndim - len(names)]
    return tensor.reshape(
        *batch, *(tensor.shape[names.index(n) - len(names)] if n in names else 1 for n in wanted)
    )
