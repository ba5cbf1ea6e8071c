"""Closeness of an exported graph to its policy: by its outputs, and by what is decided from them.

Reference is the policy in double precision. Outputs are compared at sizes that the trace has not seen, on inputs of 0
to 1. Rounding may separate them there by more than it does on any network of links or cells, so decisions count:
actions on random instances, and their objectives.
"""

import copy
import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchrrm.deploy.arrays import Array
from torchrrm.deploy.contract import Contract
from torchrrm.deploy.session import SERVICES, Service, open_runtime
from torchrrm.records import axis_names

__all__ = ["Core", "require_close"]

_CHECKED = ((1, 1), (1, 50), (4, 7), (3, 2), (2, 333))
"""Sizes of the batch and of the other free axes at which outputs must agree; none is that of the trace."""
_DRAWN = ((4, 1), (8, 2), (8, 7), (4, 30))
"""Sizes of the batch and of the random instances on which decisions must agree."""
_CLOSENESS = 1e-5
_ROUNDINGS = 4.0
"""Sums over many neighbours round by more: then ONNX Runtime may differ by this many times torch's own error."""
_WRONG = 1e-3
"""Of the largest value: outputs that differ by more are those of another function, whatever is decided from them."""
_NEVER = -1e8


class Core(nn.Module):
    """The core of a policy as a module from tensors to tensors."""

    def __init__(self, policy: Any):
        super().__init__()
        self.policy = policy

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(vars(self.policy.core(*inputs)).values())


@dataclass(frozen=True)
class Outputs:
    """Outputs of the same inputs by name: in double precision, by torch in the policy's, and by ONNX Runtime."""

    exact: Mapping[str, Array]
    rounded: Mapping[str, Array]
    runtime: Mapping[str, Array]


class Forms:
    """A policy in double precision, in its own, and as a graph."""

    def __init__(self, data: bytes, policy: Any, contract: Contract):
        self.contract, self.policy = contract, policy
        self._runtime = open_runtime(data, threads=1)
        self._rounded, self._exact = Core(policy), Core(copy.deepcopy(policy).double())

    def run(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Run all three on inputs of the precision that the graph reads."""
        names = list(self.contract.outputs)
        feed = {name: inputs[name] for name in self.contract.inputs}
        with torch.no_grad():
            rounded = self._rounded(*feed.values())
            exact = self._exact(*(v.double() if v.is_floating_point() else v for v in feed.values()))
        found = self._runtime.run(names, {name: value.numpy() for name, value in feed.items()})
        return Outputs(
            exact={name: value.numpy() for name, value in zip(names, exact, strict=True)},
            rounded={name: value.numpy() for name, value in zip(names, rounded, strict=True)},
            runtime=dict(zip(names, found, strict=True)),
        )


def require_close(data: bytes, policy: Any, contract: Contract) -> None:
    """Raise unless a graph decides what its policy does.

    No output may be further than 1e-3 of its largest value from that in double precision. Actions on random instances
    must be the same, and their objectives (see `decision_fault`). Of a policy that no session serves, outputs must be
    within 1e-5 of their largest value, or within 4 times the error of torch.

    Args:
        data: the model, serialised.
        policy: in the mode that serves, on the processor.
        contract: of the policy.

    Raises:
        ValueError: if they differ, or if the graph or the policy cannot be run at these sizes.
    """
    forms = Forms(data, policy, contract)
    most: int = getattr(policy, "core_most", max(size for _, size in _CHECKED))
    generator, fault = torch.Generator().manual_seed(1), None
    for batch, size in _CHECKED:
        sizes = {name: min(size, most) + number for number, name in enumerate(contract.free_axes[1:])}
        fault = _output_fault(forms, sizes | {"batch": batch}, generator) or fault
    service = _service(policy)
    if service is not None:
        fault = decision_fault(forms, service)
    if fault is not None:
        raise ValueError(f"policy: {fault}")


def _output_fault(forms: Forms, sizes: Mapping[str, int], generator: torch.Generator) -> str | None:
    """Return the first output that differs by more than rounding may, None if there is none.

    Raises:
        ValueError: if one differs by more than any rounding, or if these sizes cannot be run.
    """
    names = forms.contract.inputs
    inputs = dict(zip(names, forms.contract.draw(sizes, generator), strict=True))
    for value in inputs.values():
        if value.dtype is torch.bool and sizes["batch"] > 1:
            value[0] = False  # nobody there
    try:
        outputs = forms.run(inputs)
    except Exception as error:  # ONNX Runtime's own errors have no class in common
        reason = f"{type(forms.policy).__name__} and sizes {dict(sizes)} ({_one_line(error)})"
        raise ValueError(f"policy: must have a core of any size, received {reason}") from error
    for name in outputs.exact:
        error, scale = _difference(outputs.runtime[name], outputs.exact[name])
        if f"max_{name}" in inputs:  # a part of a limit is as exact as the limit, not as its own smallness
            scale = max(scale, float(inputs[f"max_{name}"].max()))
        rounding, _ = _difference(outputs.rounded[name], outputs.exact[name])
        if error <= max(_CLOSENESS * scale, _ROUNDINGS * rounding):
            continue
        rule = f"must give the same {name} in ONNX Runtime and in torch"
        fault = f"{rule}, received a difference of {error:.3g} in {scale:.3g} at sizes {dict(sizes)}"
        if error <= _WRONG * scale:
            return fault
        raise ValueError(f"policy: {fault}")
    return None


def _difference(found: Array, target: Array) -> tuple[float, float]:
    """Largest difference, infinite where the shapes differ, and largest value.

    Scores of what cannot be chosen must be as low in both, and count no further.
    """
    never = target < _NEVER
    if found.shape != target.shape or not np.array_equal(never, found < _NEVER):
        return math.inf, 0.0
    found, target = (np.where(never, 0.0, value.astype(np.float64)) for value in (found, target))
    return float(np.abs(found - target).max()), float(np.abs(target).max())


def _service(policy: Any) -> Service | None:
    """Return what surrounds the policy in a session, None if its instances or actions are not known."""
    try:
        if not all(dataclasses.is_dataclass(record) for record in _record_types(policy)):
            return None  # generic, such as `Refined`
        return SERVICES[policy.deployment["service"]](policy.deployment)
    except (AttributeError, KeyError):  # of a problem that no session serves
        return None


def _record_types(policy: Any) -> tuple[type, type]:
    """Types of instance and action: the annotations of `forward`."""
    hints = typing.get_type_hints(type(policy).forward)
    return next(iter(hints.values())), hints["return"]


def decision_fault(forms: Forms, service: Service) -> str | None:
    """Return how a graph decides otherwise than its policy in double precision, None if it decides the same.

    On random instances, choices (such as stations) must be the same, but where a change of the outputs within their
    tolerance makes another one, or torch does. Other parts of an action must be within 1e-5 of their limit, objectives
    within 1e-5 relative, or within 4 times the error of torch.
    """
    rng = np.random.default_rng(2)
    most: int = getattr(forms.policy, "core_most", max(size for _, size in _DRAWN))
    for batch, size in _DRAWN:
        instance = service.draw(batch, min(size, most), rng)
        fault = _fault_on(forms, service, instance)
        if fault is not None:
            return f"must decide the same in ONNX Runtime and in torch, received {fault}"
    return None


def _fault_on(forms: Forms, service: Service, instance: Mapping[str, Any]) -> str | None:
    _, prepared = service.prepare(**instance)
    ports, given = forms.contract.inputs, service.inputs(prepared)
    outputs = forms.run({name: torch.as_tensor(given[name]).to(ports[name].dtype) for name in ports})
    exact, rounded, found = (
        service.action(prepared, values) for values in (outputs.exact, outputs.rounded, outputs.runtime)
    )
    nudged = service.action(prepared, _nudged(outputs))
    tied = np.zeros(len(next(iter(exact.values()))), np.bool_)
    for name in axis_names(_record_types(forms.policy)[1]):
        if name not in exact:
            continue
        target, value = exact[name], found[name]
        if target.dtype.kind == "i":
            other = value != target
            wrong = other & (rounded[name] == target) & (nudged[name] == target)
            if wrong.any():
                return f"another {name} at {np.argwhere(wrong)[0].tolist()} of {list(target.shape)}"
            tied |= other.reshape(len(tied), -1).any(-1)
            continue
        limit = np.max(instance.get(f"max_{name}", instance.get(name, 1.0)))
        error = np.abs(value - target).max(initial=0.0)
        if not error <= max(_CLOSENESS * limit, _ROUNDINGS * np.abs(rounded[name] - target).max(initial=0.0)):
            return f"{name} that differs by {error:.3g} of at most {limit:.3g}"
    return _objective_fault(forms.policy, instance, (exact, rounded, found), ~tied)


def _nudged(outputs: Outputs) -> dict[str, Array]:
    """Outputs in double precision, moved by their tolerance towards those of ONNX Runtime."""
    moved = {}
    for name, target in outputs.exact.items():
        _, scale = _difference(target, target)
        rounding, _ = _difference(outputs.rounded[name], target)
        step = max(_CLOSENESS * scale, _ROUNDINGS * rounding)
        moved[name] = target + step * np.sign(outputs.runtime[name] - target)
    return moved


def _objective_fault(
    policy: Any, instance: Mapping[str, Any], actions: tuple[Mapping[str, Array], ...], compared: Array
) -> str | None:
    """Return how objectives differ in the instances that are compared, of actions in the order of `Outputs`."""
    kinds = _record_types(policy)

    def record(kind: Any, values: Mapping[str, Any]) -> Any:
        return kind(**{name: torch.as_tensor(values[name]) for name in axis_names(kind)})

    given = record(kinds[0], instance)
    values = [
        policy.problem.evaluate(given, record(kinds[1], action)).objective.numpy() for action in actions
    ]
    exact, rounded, found = (value[compared] for value in values)
    allowed = np.maximum(_CLOSENESS * np.abs(exact), _ROUNDINGS * np.abs(rounded - exact).max(initial=0.0))
    error = np.abs(found - exact)
    bad = np.flatnonzero(~(error <= allowed))
    if not len(bad):
        return None
    return f"an objective of {found[bad[0]]:.8g} in place of {exact[bad[0]]:.8g}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
