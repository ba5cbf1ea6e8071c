"""What a policy offers so that it can be exported, whatever its problem."""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from torchrrm.records import axis_names

__all__ = ["Contract", "Exportable", "Port", "export_obstacle"]


class Exportable(Protocol):
    """A policy (an `nn.Module`) that can be exported.

    Its `core` is the network and what belongs to it, from tensors to a record: what runs in an inference
    runtime. What surrounds it (schedules, features) stays outside, where it may be a compiled kernel. The
    names and axes of the exported graph are those of `core`: each argument is annotated with jaxtyping,
    `features: Float[Tensor, "*batch user feature"]`, and the result is a tensor record.

    Attributes:
        arguments: what makes the policy anew, as JSON.
        problem: what the policy serves, a dataclass.
        core_sizes: sizes of the axes that are fixed, such as `{"feature": 12}`, or the name of an axis of the same
            size, such as `{"rx": "tx"}`; all others are free. A policy whose work grows as a power of them may state
            `core_most`, the largest size at which its file is checked; one whose core needs another precision than that
            of its parameters, `core_dtype`.
        deployment: what a session without torch needs around the core, as JSON; its entry `service` names the
            code of `torchrrm.deploy` that reads it.
    """

    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def problem(self) -> Any: ...
    @property
    def core_sizes(self) -> Mapping[str, int | str]: ...
    @property
    def deployment(self) -> Mapping[str, Any]: ...
    @property
    def core(self) -> Callable[..., Any]: ...


@dataclass(frozen=True)
class Port:
    """An input of the exported graph: its axes behind the batch, a name if free and a size if fixed, and its type."""

    axes: tuple[str | int, ...]
    dtype: torch.dtype

    def draw(self, sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
        """A random tensor of free axes of these sizes: reals in 0 to 1, a fifth of the truth values false."""
        shape = [sizes["batch"], *(sizes[axis] if isinstance(axis, str) else axis for axis in self.axes)]
        value = torch.rand(shape, generator=generator, dtype=torch.float64)
        return value > 0.2 if self.dtype is torch.bool else value.to(self.dtype)


@dataclass(frozen=True)
class Contract:
    """Inputs of a policy's core, and the axes of its outputs behind the batch."""

    inputs: dict[str, Port]
    outputs: dict[str, tuple[str | int, ...]]

    @classmethod
    def of(cls, policy: Exportable) -> "Contract":
        """The contract that the annotations of `policy.core` state.

        Raises:
            ValueError: if the policy has no core, or one that is not annotated.
        """
        reason = export_obstacle(policy)
        if reason is not None:
            name = type(policy).__name__
            stated = f", but {reason}" if reason else ""
            raise ValueError(f"policy: must have a core to be exported, received {name}{stated}")
        hints, sizes = typing.get_type_hints(policy.core), policy.core_sizes
        record = hints.pop("return", None)
        if (
            not hints
            or not dataclasses.is_dataclass(record)
            or not all(hasattr(h, "dim_str") for h in hints.values())
        ):
            name = type(policy).__name__
            raise ValueError(
                f"policy: must annotate its core from tensors to a record, received {name} with {hints}"
            )

        def fixed(names: Iterable[str]) -> tuple[str | int, ...]:
            return tuple(sizes.get(name, name) for name in names if not name.startswith("*"))

        inputs = {
            name: Port(fixed(hint.dim_str.split()), _dtype(hint, policy)) for name, hint in hints.items()
        }
        outputs = {name: fixed(names) for name, names in axis_names(cast(type, record)).items()}
        return cls(inputs, outputs)

    @property
    def free_axes(self) -> list[str]:
        """Names of the axes of any size, the batch first."""
        names = dict.fromkeys(
            axis for port in self.inputs.values() for axis in port.axes if isinstance(axis, str)
        )
        return ["batch", *names]

    def draw(self, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random inputs of free axes of these sizes."""
        return tuple(port.draw(sizes, generator) for port in self.inputs.values())


def export_obstacle(policy: Any) -> str | None:
    """Return why a policy cannot be exported: what its class states (`not_exported`), None if it has a core."""
    return None if callable(getattr(policy, "core", None)) else getattr(policy, "not_exported", None) or ""


def _dtype(hint: Any, policy: Exportable) -> torch.dtype:
    """Truth values where the annotation says so; else reals in the precision stated or of the policy's parameters."""
    if "bool" in hint.dtypes:
        return torch.bool
    if hasattr(policy, "core_dtype"):
        return cast(Any, policy).core_dtype
    parameters = cast(nn.Module, policy).parameters()
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
