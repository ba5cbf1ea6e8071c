"""Export of a policy's core to ONNX, checked against torch before the file is published."""

import copy
import dataclasses
import enum
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from torchrrm import __version__
from torchrrm.deploy.closeness import Core, require_close
from torchrrm.deploy.contract import Contract, Exportable
from torchrrm.deploy.header import KEY, SCHEMA, require
from torchrrm.files import atomic_write_bytes

__all__ = ["export"]

OPSET = 18
"""The oldest that torch writes without conversion: read by ONNX Runtime from 1.14 on."""
_TRACED = 3


def export(
    policy: nn.Module, path: str | os.PathLike[str], *, provenance: Mapping[str, Any] | None = None
) -> Path:
    """Write the core of a policy (see `Exportable`) as an ONNX file, atomically.

    Batch and named axes are free. The file says in its metadata what it is (see `torchrrm.deploy.header`).
    Before it is published it is run in ONNX Runtime on random inputs of sizes that the trace has not seen,
    one user and masked ones among them, and must agree with the policy in double precision, by its outputs or by what
    is decided from them (see `torchrrm.deploy.closeness.require_close`).

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
    header = json.dumps(_header(subject, contract, provenance or {}), sort_keys=True)
    model.metadata_props.add(key=KEY, value=header)
    data = model.SerializeToString()
    require_close(data, subject, contract)
    return atomic_write_bytes(path, data)


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
                Core(policy).eval(),
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


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
