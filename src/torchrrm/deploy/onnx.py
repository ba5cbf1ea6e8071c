"""Export of a policy's core to ONNX, checked against torch before the file is published."""

import copy
import dataclasses
import enum
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchrrm import __version__
from torchrrm.deploy.contract import Contract, Exportable
from torchrrm.deploy.header import KEY, SCHEMA, require
from torchrrm.deploy.session import open_runtime
from torchrrm.files import atomic_write_bytes, to_json

__all__ = ["export"]

OPSET = 18
"""The oldest that torch writes without conversion: read by ONNX Runtime from 1.14 on."""
_TRACED = 3
_CHECKED = ((1, 1), (1, 50), (4, 7), (3, 2), (2, 333))
"""Sizes of the batch and of the other free axes at which the file must agree with torch; none is that of the trace."""
_CLOSENESS = 1e-5
_NEVER = -1e8
_ROUNDINGS = 4.0
"""Sums over many neighbours round by more: then ONNX Runtime may differ by this many times torch's own error."""


def export(
    policy: nn.Module, path: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None
) -> Path:
    """Write the core of a policy (see `Exportable`) as an ONNX file, atomically.

    Batch and named axes are free. The file says in its metadata what it is (see `torchrrm.deploy.header`).
    Before it is published it is run in ONNX Runtime on random inputs of sizes that the trace has not seen,
    one user and masked ones among them, and must agree with torch to 1e-5 of the largest value, or to a few times
    what torch itself loses by rounding.

    Args:
        policy: an `nn.Module` that is `Exportable`; it is left as it is.
        path: file to write; the suffix by convention `.onnx`.
        provenance: where the weights come from: JSON values.

    Raises:
        ValueError: if the policy cannot be exported, if its file disagrees with it, or if the extra is
            missing.
        OSError: if the file cannot be written; an older one is then left untouched.
    """
    require("onnx")
    require("onnxscript")
    require("onnxruntime")
    subject: Any = copy.deepcopy(policy).cpu().eval()
    contract = Contract.of(subject)
    model = _trace(subject, contract)
    _forget_traces(model)
    header = to_json(_header(subject, contract, provenance or {}), header=True)
    model.metadata_props.add(key=KEY, value=header)
    data = model.SerializeToString()
    _check(data, subject, contract)
    return atomic_write_bytes(path, data)


class _Core(nn.Module):
    """The core as a module from tensors to tensors."""

    def __init__(self, policy: Any):
        super().__init__()
        self.policy = policy

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(vars(self.policy.core(*inputs)).values())


def _trace(policy: Any, contract: Contract) -> Any:
    """The model, as its protocol buffer."""
    generator = torch.Generator().manual_seed(0)
    # Sizes of at least 2 that differ, so that no axis is taken for fixed or for another.
    sizes = {name: _TRACED + number for number, name in enumerate(contract.free_axes)}
    axes = {name: torch.export.Dim(name) for name in contract.free_axes}
    shapes = tuple(
        {0: axes["batch"]}
        | {i: axes[name] for i, name in enumerate(port.axes, start=1) if isinstance(name, str)}
        for port in contract.inputs.values()
    )
    try:
        with _quiet():
            program = torch.onnx.export(
                _Core(policy).eval(),
                contract.draw(sizes, generator),
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=list(contract.inputs),
                output_names=list(contract.outputs),
                opset_version=OPSET,
                verbose=False,
            )
    except RuntimeError as error:  # what torch raises for a core that it cannot trace runs over many lines
        name, reason = type(policy).__name__, _one_line(error.__cause__ or error)
        raise ValueError(
            f"policy: must have a core that torch can trace, received {name} ({reason})"
        ) from error
    return cast(Any, program).model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter: it remarks on packages that are not installed and on its own axes; errors are raised."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export")]
    levels = [log.level for log in logs]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for log in logs:
                log.setLevel(logging.CRITICAL)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _forget_traces(model: Any) -> None:
    """Drop the stack traces of nodes and values, which name folders of this machine."""
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in [graph, *values, *(node for body in (graph, *model.functions) for node in body.node)]:
        part.doc_string = ""
        del part.metadata_props[:]


def _header(policy: Exportable, contract: Contract, provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "torchrrm": __version__,
        "policy": type(policy).__name__,
        "arguments": dict(policy.arguments),
        "problem": _described(policy.problem),
        "deployment": dict(policy.deployment),
        "inputs": {name: ["batch", *port.axes] for name, port in contract.inputs.items()},
        "outputs": {name: ["batch", *axes] for name, axes in contract.outputs.items()},
        "provenance": dict(provenance),
    }


def _described(value: Any) -> Any:
    """A problem as JSON: its class and its parameters."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: _described(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": type(value).__name__} | fields
    return value.value if isinstance(value, enum.Enum) else value


def _check(data: bytes, policy: Any, contract: Contract) -> None:
    """Raise unless ONNX Runtime and torch agree at sizes that the trace has not seen."""
    runtime, generator, core = open_runtime(data, threads=1), torch.Generator().manual_seed(1), _Core(policy)
    most: int = getattr(policy, "core_most", max(size for _, size in _CHECKED))
    for batch, size in _CHECKED:
        sizes = {name: min(size, most) + number for number, name in enumerate(contract.free_axes[1:])} | {
            "batch": batch
        }
        inputs = contract.draw(sizes, generator)
        for value in inputs:
            if value.dtype is torch.bool and batch > 1:
                value[0] = False  # nobody there
        feed = {name: value.numpy() for name, value in zip(contract.inputs, inputs, strict=True)}
        try:
            with torch.no_grad():
                wanted = core(*inputs)
            received = [torch.as_tensor(array) for array in runtime.run(None, feed)]
        except Exception as error:  # ONNX Runtime's own errors have no class in common
            reason = f"{type(policy).__name__} and sizes {sizes} ({_one_line(error)})"
            raise ValueError(f"policy: must have a core of any size, received {reason}") from error
        rounding: list[float] | None = None
        for number, (name, found, target) in enumerate(zip(contract.outputs, received, wanted, strict=True)):
            error, scale = _difference(found, target)
            if (
                f"max_{name}" in feed
            ):  # what is a part of a limit is as exact as the limit, not as its own smallness
                scale = max(scale, float(feed[f"max_{name}"].max()))
            if _CLOSENESS * scale < error < math.inf and rounding is None:
                rounding = _rounding(policy, inputs, wanted)
            if not error <= max(_CLOSENESS * scale, _ROUNDINGS * rounding[number] if rounding else 0.0):
                rule = f"policy: must give the same {name} in ONNX Runtime and in torch"
                raise ValueError(
                    f"{rule}, received a difference of {error:.3g} in {scale:.3g} at sizes {sizes}"
                )


def _rounding(policy: Any, inputs: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> list[float]:
    """How far each output of torch is from its value in double precision."""
    exact = _Core(copy.deepcopy(policy).double())
    with torch.no_grad():
        values = exact(*(value.double() if value.is_floating_point() else value for value in inputs))
    return [_difference(value, target.double())[0] for value, target in zip(values, wanted, strict=True)]


def _difference(found: Tensor, target: Tensor) -> tuple[float, float]:
    """Largest difference, infinite where the shapes differ, and largest value.

    Scores of what cannot be chosen must be as low in both, and count no further.
    """
    never = target < _NEVER
    if found.shape != target.shape or not torch.equal(never, found < _NEVER):
        return math.inf, 0.0
    found, target = (torch.where(never, 0.0, value) for value in (found, target))
    return float((found - target).abs().max()), float(target.abs().max())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
