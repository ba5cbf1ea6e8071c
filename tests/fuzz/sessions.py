"""Target that opens exported files: bytes, or the header of a whole one mutated."""

import json
from pathlib import Path
from typing import Any

from tests.fuzz.draw import Draw, mutated
from tests.fuzz.readers import Run
from tests.fuzz.verdict import refused

from torchrrm.deploy import InferenceSession
from torchrrm.deploy.header import KEY, SCHEMA
from torchrrm.deploy.onnx import OPSET
from torchrrm.policies import SliceGNN

_AXES = {
    "features": ["batch", "user", 2],
    "minimum_bandwidth_hz": ["batch", "user"],
    "surplus_hz": ["batch"],
    "active": ["batch", "user"],
}


def model() -> Any:
    """A file as `export` writes it of a slice policy, whose core gives each user the least bandwidth; made at once."""
    from onnx import TensorProto, helper

    policy = SliceGNN("data-rate", "raw")
    kinds = {name: TensorProto.BOOL if name == "active" else TensorProto.FLOAT for name in _AXES}
    inputs = [helper.make_tensor_value_info(name, kinds[name], axes) for name, axes in _AXES.items()]
    output = helper.make_tensor_value_info("bandwidth_hz", TensorProto.FLOAT, ["batch", "user"])
    node = helper.make_node("Identity", ["minimum_bandwidth_hz"], ["bandwidth_hz"])
    made = helper.make_model(
        helper.make_graph([node], "core", inputs, [output]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    header = {"schema": SCHEMA, "policy": "SliceGNN", "arguments": policy.arguments, "problem": {}}
    header |= {
        "deployment": policy.deployment,
        "inputs": _AXES,
        "outputs": {"bandwidth_hz": ["batch", "user"]},
    }
    header |= {"provenance": {}, "torchrrm": "0"}
    helper.set_model_props(made, {KEY: json.dumps(header)})
    return made


def session(folder: Path) -> Run:
    """An exported file."""
    import onnx

    whole = model()
    told = json.loads(whole.metadata_props[0].value)
    path = folder / "mutated.bin"

    def run(data: bytes) -> None:
        draw = Draw(data)
        if draw.below(8) == 7:
            content = bytearray(whole.SerializeToString())
            for _ in range(1 + draw.below(4)):
                content[int.from_bytes(draw.take(3), "little") % len(content)] = draw.below(256)
            path.write_bytes(content if draw.below(2) else content[: len(content) // 2])
        else:
            header = told
            for _ in range(1 + draw.below(3)):
                header = mutated(header, draw)
            onnx.helper.set_model_props(whole, {KEY: json.dumps(header)})
            path.write_bytes(whole.SerializeToString())
            onnx.helper.set_model_props(whole, {KEY: json.dumps(told)})
        refused(InferenceSession, path)

    return run
