"""Exported policies to try; tracing takes a second each, so a file is made once a run."""

import functools
import json
from typing import Any

import onnx
import torch

from torchrrm.deploy import export
from torchrrm.deploy.header import KEY
from torchrrm.policies import SliceGNN

PROVENANCE = {"recipe": "none", "seed": 0}


def slice_policy(features: str, kind: str = "secrecy-short") -> SliceGNN:
    """A policy of random weights, the same for all kinds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SliceGNN(kind, features).eval()


@functools.cache
def _bytes(folder: Any, features: str) -> bytes:
    path = export(slice_policy(features), folder / f"{features}.onnx", provenance=PROVENANCE)
    return path.read_bytes()


def model_of(folder: Any, features: str, kind: str = "secrecy-short") -> onnx.ModelProto:
    """The exported model; of another kind only what surrounds the network differs."""
    model = onnx.load_from_string(_bytes(folder, features))
    policy = slice_policy(features, kind)
    return write(model, read(model) | {"arguments": policy.arguments, "deployment": policy.deployment})


def read(model: onnx.ModelProto) -> dict[str, Any]:
    """The header."""
    return json.loads({entry.key: entry.value for entry in model.metadata_props}[KEY])


def write(model: onnx.ModelProto, header: Any) -> onnx.ModelProto:
    """The model with another header: a dictionary, or any text."""
    text = header if isinstance(header, str) else json.dumps(header)
    onnx.helper.set_model_props(model, {KEY: text})
    return model


def scale_output(model: onnx.ModelProto, factor: float) -> onnx.ModelProto:
    """The model with its output multiplied."""
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if output == name else output for output in node.output]
    kind = model.graph.output[0].type.tensor_type.elem_type
    model.graph.initializer.append(onnx.helper.make_tensor("factor", kind, [], [factor]))
    model.graph.node.append(onnx.helper.make_node("Mul", ["inner", "factor"], [name]))
    return model
