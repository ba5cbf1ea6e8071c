import dataclasses
import importlib.resources
import json
import struct

import pytest
import safetensors.torch
import torch
from torch import nn

from torchrrm.policies import weights
from torchrrm.policies.weights import (
    WeightsError,
    list_pretrained,
    load_policy,
    load_pretrained,
    load_weights,
    save_weights,
    write_tensors,
)


class Scorer(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width: must be at least 1, received {width}")
        self.arguments = {"width": width}
        self.net = nn.Linear(2, width)
        self.register_buffer("shift", torch.arange(3))


REGISTRY = {"scorer": Scorer}
PROVENANCE = {"commit": "0" * 40, "seed": 3, "recipe": "toy", "settings": {"steps": 10}, "date": "2026-01-01"}


def saved(tmp_path, width=4):
    path = tmp_path / "scorer.safetensors"
    policy = Scorer(width)
    save_weights(path, policy, PROVENANCE)
    return path, policy


def test_policy_comes_back_as_it_was(tmp_path):
    path, policy = saved(tmp_path, width=7)
    loaded = load_policy(path, REGISTRY)
    assert isinstance(loaded, Scorer)
    assert loaded.arguments == {"width": 7}
    assert not loaded.training
    for name, value in policy.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_file_says_what_it_is_and_where_it_comes_from(tmp_path):
    path, policy = saved(tmp_path)
    found = load_weights(path)
    assert dataclasses.replace(found, tensors={}) == weights.Weights(
        policy="Scorer", arguments={"width": 4}, provenance=PROVENANCE, tensors={}
    )
    assert found.tensors.keys() == policy.state_dict().keys()
    with safetensors.safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["torchrrm"])["schema"] == 1


def test_same_weights_give_the_same_bytes(tmp_path):
    path, policy = saved(tmp_path)
    before = path.read_bytes()
    save_weights(path, policy, PROVENANCE)
    assert path.read_bytes() == before


def test_tied_weights_are_kept(tmp_path):
    policy = Scorer()
    policy.twin = policy.net
    save_weights(tmp_path / "tied", policy, {})
    assert load_weights(tmp_path / "tied").tensors.keys() >= {"net.weight", "twin.weight"}


def header_of(path, change):
    tensors, header = weights.read_tensors(path)
    change(header, tensors)
    write_tensors(path, tensors, header)


def bad_files(path, kind):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("these are no weights")
    elif kind == "cut header":
        path.write_bytes(data[: 8 + length // 2])
    elif kind == "cut tensors":
        path.write_bytes(data[:-5])
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "foreign":
        safetensors.torch.save_file({"net.weight": torch.zeros(4, 2)}, path)
    elif kind == "broken header":
        safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"torchrrm": "{"})
    elif kind == "list header":
        safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"torchrrm": "[1]"})
    elif kind == "schema":
        header_of(path, lambda header, tensors: header.update(schema=99))
    elif kind == "policy":
        header_of(path, lambda header, tensors: header.update(policy="Other"))
    elif kind == "unknown argument":
        header_of(path, lambda header, tensors: header.update(arguments={"depth": 2}))
    elif kind == "wrong argument":
        header_of(path, lambda header, tensors: header.update(arguments={"width": -1}))
    elif kind == "no arguments":
        header_of(path, lambda header, tensors: header.update(arguments=None))
    elif kind == "shape":
        header_of(path, lambda header, tensors: header.update(arguments={"width": 5}))
    elif kind == "absent tensor":
        header_of(path, lambda header, tensors: tensors.pop("net.bias"))
    elif kind == "extra tensor":
        header_of(path, lambda header, tensors: tensors.update(more=torch.zeros(1)))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "must be an existing file"),
        ("empty", "must be a whole safetensors file"),
        ("text", "must be a whole safetensors file"),
        ("cut header", "must be a whole safetensors file"),
        ("cut tensors", "must be a whole safetensors file"),
        ("folder", "must be a whole safetensors file"),
        ("foreign", "must be written by torchrrm"),
        ("broken header", "must be a whole safetensors file"),
        ("list header", "must be written by torchrrm"),
        ("schema", "must hold weights of schema 1, received .* of 99"),
        ("policy", "must hold weights of Scorer, received Other"),
        ("unknown argument", r"must hold arguments of Scorer, received .*depth"),
        ("wrong argument", r"must hold arguments of Scorer, received .*width: must be at least 1"),
        ("no arguments", "must say its arguments"),
        ("shape", r"must fit Scorer, received .*: net.bias must have shape \(5,\), received \(4,\)"),
        ("absent tensor", "must fit Scorer, received .*: net.bias is missing"),
        ("extra tensor", "must fit Scorer, received .*: more is not expected"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, kind, message):
    path, _ = saved(tmp_path)
    bad_files(path, kind)
    with pytest.raises(WeightsError, match=f"^path: {message}") as caught:
        load_policy(path, REGISTRY)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_pickle_is_never_loaded(tmp_path):
    path = tmp_path / "scorer.pt"
    torch.save(Scorer().state_dict(), path)
    with pytest.raises(WeightsError, match="must be a whole safetensors file"):
        load_weights(path)


def test_policies_without_arguments_are_not_saved_and_old_files_stay(tmp_path):
    path, _ = saved(tmp_path)
    before = path.read_bytes()
    with pytest.raises(WeightsError, match=r"^policy: must expose"):
        save_weights(path, nn.Linear(1, 1), {})
    with pytest.raises(TypeError):
        save_weights(path, Scorer(), {"when": object()})
    assert path.read_bytes() == before


def test_shipped_weights_are_listed_and_loaded_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    (tmp_path / "pretrained").mkdir()
    save_weights(tmp_path / "pretrained" / "small.safetensors", Scorer(2), PROVENANCE)
    (tmp_path / "pretrained" / "notes.txt").write_text("not weights")
    assert list_pretrained() == ["small"]
    loaded = load_pretrained("small", REGISTRY)
    assert loaded.arguments == {"width": 2}
    with pytest.raises(WeightsError, match=r"^name: must be one of small, received large$"):
        load_pretrained("large", REGISTRY)


def test_what_ships_can_be_read():
    folder = importlib.resources.files("torchrrm.policies").joinpath("pretrained")
    for name in list_pretrained():
        with importlib.resources.as_file(folder.joinpath(f"{name}.safetensors")) as path:
            assert load_weights(path).provenance
