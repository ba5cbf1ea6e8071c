"""Target that opens exported files: bytes, or the header of a whole one mutated."""

import json
from pathlib import Path
from typing import Any

import torch
from tests.fuzz.draw import Draw, mutated
from tests.fuzz.readers import Run
from tests.fuzz.verdict import refused

from torchrrm.deploy import InferenceSession, export
from torchrrm.deploy.header import KEY
from torchrrm.policies import SliceGNN, load_pretrained

EXPORTED = ("slice-gnn-marginal", "unfolded-power", "central-power-5")


def exported(folder: Path) -> list[Path]:
    """Files of a few policies that ship, and of one with random weights; made once."""
    for name in EXPORTED:
        if not (folder / f"{name}.onnx").exists():
            export(load_pretrained(name), folder / f"{name}.onnx")
    return sorted(folder.glob("*.onnx"))


def small(folder: Path) -> Path:
    """The smallest one, for tests that cannot wait."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return export(SliceGNN("data-rate", "raw"), folder / "slice.onnx")


def session(folder: Path) -> Run:
    """An exported file."""
    import onnx

    whole = [
        onnx.load_from_string(path.read_bytes()) for path in sorted(folder.glob("*.onnx")) or [small(folder)]
    ]
    headers = [json.loads({entry.key: entry.value for entry in model.metadata_props}[KEY]) for model in whole]
    path = folder / "mutated.bin"

    def run(data: bytes) -> None:
        draw = Draw(data)
        number = draw.below(len(whole))
        model: Any = whole[number]
        if draw.below(8) == 7:
            content = bytearray(model.SerializeToString())
            for _ in range(1 + draw.below(4)):
                content[int.from_bytes(draw.take(3), "little") % len(content)] = draw.below(256)
            path.write_bytes(content if draw.below(2) else content[: len(content) // 2])
        else:
            header = headers[number]
            for _ in range(1 + draw.below(3)):
                header = mutated(header, draw)
            onnx.helper.set_model_props(model, {KEY: json.dumps(header)})
            path.write_bytes(model.SerializeToString())
            onnx.helper.set_model_props(model, {KEY: json.dumps(headers[number])})
        refused(InferenceSession, path)

    return run
