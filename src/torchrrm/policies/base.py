"""Base class of policies: the boundary between instances and trained parameters."""

import functools
import inspect
import typing
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchrrm.problems.structure import require_record
from torchrrm.records import axis_names, to

__all__ = ["Policy"]


class Policy(nn.Module):
    """An allocator with trained parameters, which checks its instances and takes them in any precision.

    The type of the instance is the annotation of the first argument of `forward`. An instance of another precision than
    the parameters is converted to theirs, with the other arguments, and the action to that of the instance. Numbers
    that single precision does not hold are then 0 or infinite.

    Attributes:
        any_precision: whether `forward` serves instances of any precision itself.
        not_exported: why the policy has no `core` that `torchrrm.deploy` could export; None if it has one.
    """

    any_precision: ClassVar[bool] = False
    not_exported: ClassVar[str | None] = None
    _first: tuple[nn.Module, str] | None = None

    def __call__(self, instance: Any, *arguments: Any, **keywords: Any) -> Any:
        """Return the action.

        Raises:
            ValueError: naming the expected type or the field, the rule and what was received.
        """
        require_record(instance, _instance_type(type(self)))
        given: torch.dtype = getattr(instance, _leading_field(type(instance))).dtype.to_real()
        own = self.precision
        if self.any_precision or own == given:
            return super().__call__(instance, *arguments, **keywords)
        values = [_converted(value, own) for value in (instance, *arguments)]
        named = {name: _converted(value, own) for name, value in keywords.items()}
        return _converted(super().__call__(*values, **named), given)

    @property
    def precision(self) -> torch.dtype:
        """That of the parameters."""
        if self._first is None:  # kept, since the search takes longer than some kernels
            self._first = next(
                (module, name)
                for module in self.modules()
                for name, value in module._parameters.items()
                if value is not None and value.is_floating_point()
            )
        module, name = self._first
        return typing.cast(Tensor, module._parameters[name]).dtype


def _converted(value: Any, dtype: torch.dtype) -> Any:
    """A tensor or a record in another precision; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    return to(value, dtype=dtype) if hasattr(type(value), "__dataclass_fields__") else value


@functools.cache
def _instance_type(cls: type[Policy]) -> type:
    first = list(inspect.signature(cls.forward).parameters)[1]
    return typing.get_type_hints(cls.forward)[first]


@functools.cache
def _leading_field(cls: type) -> str:
    """Name of the first field of real or complex numbers."""
    hints = typing.get_type_hints(cls)
    kinds = ("float32", "complex64")
    return next(name for name in axis_names(cls) if any(kind in hints[name].dtypes for kind in kinds))
