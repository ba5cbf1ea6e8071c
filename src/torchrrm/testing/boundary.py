"""Conformance of an allocator, and of its problem, on records that are no instances of the problem."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems import Allocator, Problem
from torchrrm.records import axis_names, index, replace, tensor_record
from torchrrm.testing.expected import ConformanceError, require
from torchrrm.testing.surgery import Sample, draw

__all__ = ["check_boundary", "malformed"]

_BATCH = 2


@tensor_record
class _Stranger:
    """A record of another problem."""

    number: Float[Tensor, "*batch thing"]


def check_boundary(
    allocator: Allocator[Any, Any],
    problem: Problem[Any, Any],
    sample: Sample,
    *,
    generator: torch.Generator | None = None,
) -> None:
    """Check that an allocator and its problem refuse malformed instances in one line.

    Malformed are records of another type; fields of another shape, kind of numbers or precision than their annotations
    and the other fields say; masks of integers; half precision; and fields that are no tensors. A `ValueError` of one
    line must name the field (of shapes that disagree, one of them), or the type that is expected. It is checked of
    `allocator(instance)`, `problem.evaluate` and, where there is one, `problem.validate`, for single instances and
    batches. `torchrrm.problems.structure.require_record` does it, and `torchrrm.policies.Policy` for policies.

    Raises:
        ConformanceError: naming the first case that is not refused.
    """
    batch = draw(sample, _BATCH, generator or torch.Generator().manual_seed(0))
    with torch.no_grad():
        action = allocator(batch)
        for size, instance, fitting in (("batch", batch, action), ("one", index(batch, 0), index(action, 0))):
            calls: dict[str, Callable[[Any], Any]] = {
                "allocator": allocator,
                "evaluate": lambda broken, fitting=fitting: problem.evaluate(broken, fitting),
            }
            if hasattr(problem, "validate"):
                calls["validate"] = problem.validate  # pyright: ignore[reportAttributeAccessIssue]
            for name, call in calls.items():
                _require_refused(f"{name}, another record", call, _stranger(), (type(batch).__name__,))
                for case, named, broken in malformed(instance):
                    _require_refused(f"{name}, {size}, {case}", call, broken, named)
        _require_refused("action", lambda other: problem.evaluate(batch, other), _stranger(), ("action",))


def malformed(instance: Any) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """The malformed instances: what is wrong, the fields of which one must be named, and the instance."""
    for name, value in vars(instance).items():
        for word, wrong in _other_kinds(value).items():
            yield f"{name} {word}", (name,), replace(instance, **{name: wrong})
        for word, wrong in _other_shapes(instance, name).items():
            yield f"{name} {word}", tuple(vars(instance)), replace(instance, **{name: wrong})


def _other_kinds(value: Tensor) -> dict[str, Any]:
    """The field as no tensor, and in dtypes that its record does not take."""
    found: dict[str, Any] = {"as a list": value.tolist()}
    if value.is_complex():
        found |= {"without imaginary parts": value.real, "integer": value.real.long()}
    elif value.is_floating_point():
        found |= {"complex": value.to(value.dtype.to_complex()), "integer": value.long()}
        found |= {"half": value.half(), "bfloat16": value.bfloat16()}
    else:
        return found | {"int32": value.int(), "real": value.float()}
    single = value.dtype.to_real() == torch.float32
    other = torch.float64 if single else torch.float32
    return found | {"other precision": value.to(other.to_complex() if value.is_complex() else other)}


def _other_shapes(instance: Any, name: str) -> dict[str, Tensor]:
    """The field with one entry or one axis too many or too few, where other fields or the same say so."""
    cls, value = type(instance), getattr(instance, name)
    same = getattr(cls, "same_axis", {})
    entries = {field: [same.get(axis, axis) for axis in axes] for field, axes in axis_names(cls).items()}
    everywhere = [entry for own in entries.values() for entry in own]
    found = {"with one more axis": value[None].expand(3, *value.shape)}
    if value.ndim:
        found["with one axis less"] = value[0]
    leading = value.ndim - len(entries[name])
    for axis in range(value.ndim):
        if axis < leading or everywhere.count(entries[name][axis - leading]) > 1:
            found[f"longer in axis {axis}"] = torch.cat([value, value.narrow(axis, 0, 1)], axis)
    return found


def _stranger() -> Any:
    return _Stranger(number=torch.ones(_BATCH, 3))


def _require_refused(case: str, call: Callable[[Any], Any], broken: Any, named: tuple[str, ...]) -> None:
    """A `ValueError` of one line that has one of these names."""
    try:
        call(broken)
    except ValueError as error:
        told = str(error)
        fits = "\n" not in told and any(name in told for name in named)
        require(fits, "boundary", f"{case}: must be refused by name in one line, received {told!r}")
    except Exception as error:
        raise ConformanceError(f"boundary: {case}: must be a ValueError, received {error!r}") from error
    else:
        raise ConformanceError(f"boundary: {case}: must be refused, received no error")
