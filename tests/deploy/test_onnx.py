import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from jaxtyping import Bool, Float
from tests.deploy.exported import PROVENANCE, read, slice_policy
from torch import Tensor, nn

from torchrrm import __version__
from torchrrm.deploy import export
from torchrrm.records import tensor_record


def run(path: Path, **inputs: Tensor) -> Any:
    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})


@pytest.mark.parametrize("features", ["raw", "log", "marginal"])
@pytest.mark.parametrize(("batch", "users"), [(1, 1), (3, 1), (1, 50), (7, 11), (2, 1000)])
def test_the_file_computes_what_the_policy_does_at_any_size(exported, features, batch, users, generator):
    policy = slice_policy(features)
    active = torch.rand(batch, users, generator=generator) > 0.3
    active[0] = batch == 1  # a batch has one instance in which nobody is scheduled
    inputs = {
        "features": torch.randn(batch, users, policy.core_sizes["feature"], generator=generator),
        "minimum_bandwidth_hz": 1e6 * torch.rand(batch, users, generator=generator) * active,
        "surplus_hz": 1e7 * torch.rand(batch, generator=generator),
        "active": active,
    }
    with torch.no_grad():
        wanted = policy.core(**inputs).bandwidth_hz
    (received,) = run(exported(features), **inputs)
    assert received.shape == (batch, users)
    assert torch.allclose(torch.from_numpy(received), wanted, rtol=1e-5, atol=1.0)
    assert not received[~active.numpy()].any()


def test_padding_changes_nothing(exported, generator):
    path = exported("marginal")
    inputs = {
        "features": torch.randn(2, 5, 13, generator=generator),
        "minimum_bandwidth_hz": 1e6 * torch.rand(2, 5, generator=generator),
        "surplus_hz": torch.tensor([1e7, 1e6]),
        "active": torch.ones(2, 5, dtype=torch.bool),
    }
    padded = inputs | {
        "features": nn.functional.pad(inputs["features"], (0, 0, 0, 4), value=9.0),
        "minimum_bandwidth_hz": nn.functional.pad(inputs["minimum_bandwidth_hz"], (0, 4)),
        "active": nn.functional.pad(inputs["active"], (0, 4)),
    }
    (wanted,), (received,) = run(path, **inputs), run(path, **padded)
    np.testing.assert_allclose(received[:, :5], wanted, rtol=1e-6)
    assert not received[:, 5:].any()


def test_the_file_says_what_it_is(exported):
    model = onnx.load(exported("log", "secrecy-short"))
    header = read(model)
    policy = slice_policy("log")
    assert header["schema"] == 1
    assert header["torchrrm"] == __version__
    assert header["policy"] == "SliceGNN"
    assert header["arguments"] == policy.arguments
    assert header["provenance"] == PROVENANCE
    assert header["deployment"] == policy.deployment
    assert header["inputs"] == {
        "features": ["batch", "user", 2],
        "minimum_bandwidth_hz": ["batch", "user"],
        "surplus_hz": ["batch"],
        "active": ["batch", "user"],
    }
    assert header["problem"]["class"] == "SliceBandwidth"
    assert header["problem"]["qos"] == "secrecy"
    assert header["problem"]["finite_blocklength"] is True
    assert header["problem"]["fading"] == {"class": "Rayleigh"}
    assert header["outputs"] == {"bandwidth_hz": ["batch", "user"]}
    shapes = {
        port.name: [axis.dim_param or axis.dim_value for axis in port.type.tensor_type.shape.dim]
        for port in [*model.graph.input, *model.graph.output]
    }
    assert shapes == header["inputs"] | header["outputs"]
    onnx.checker.check_model(model, full_check=True)


def test_the_file_names_no_folder_of_the_machine(exported):
    data = exported().read_bytes()
    for folder in (os.getcwd(), sys.prefix, os.path.dirname(torch.__file__)):
        assert os.fsencode(folder) not in data


@tensor_record
class Powers:
    power_w: Float[Tensor, "*batch user"]
    price: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class Links:
    noise_power_w: float = 1e-9


class LinkPolicy(nn.Module):
    """A policy of another problem, with an axis that comes twice and two outputs, in double precision."""

    arguments: dict = {}  # noqa: RUF012
    problem = Links()
    core_sizes: dict = {}  # noqa: RUF012
    deployment = {"service": "links"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def core(self, gain: Float[Tensor, "*batch user user"], active: Bool[Tensor, "*batch user"]) -> Powers:
        heard = (gain * active[..., None, :]).sum(-1) + (gain * active[..., None, :]).sum(-2)
        power = torch.sigmoid(self.weight * heard) * active
        return Powers(power_w=power, price=power.sum(-1))


def test_policies_of_other_problems_plug_in(tmp_path, generator):
    policy = LinkPolicy().train()
    path = export(policy, tmp_path / "links.onnx")
    assert policy.training
    header = read(onnx.load(path))
    assert header["inputs"] == {"gain": ["batch", "user", "user"], "active": ["batch", "user"]}
    assert header["outputs"] == {"power_w": ["batch", "user"], "price": ["batch"]}
    assert header["problem"] == {"class": "Links", "noise_power_w": 1e-9}
    gain = torch.rand(3, 9, 9, generator=generator, dtype=torch.float64)
    active = torch.rand(3, 9, generator=generator) > 0.5
    wanted = policy.core(gain, active)
    power, price = run(path, gain=gain, active=active)
    np.testing.assert_allclose(power, wanted.power_w.detach(), rtol=1e-12)
    np.testing.assert_allclose(price, wanted.price.detach(), rtol=1e-12)


class Bare(nn.Module):
    pass


class Unannotated(LinkPolicy):
    def core(self, gain, active):
        return super().core(gain, active)


class Unstable(LinkPolicy):
    """Computes something else each time, of which the trace knows the first."""

    calls = 0

    def core(self, gain: Float[Tensor, "*batch user user"], active: Bool[Tensor, "*batch user"]) -> Powers:
        self.calls += 1
        action = super().core(gain, active)
        return Powers(power_w=action.power_w * self.calls, price=action.price)


class Sized(LinkPolicy):
    """Is made for one number of users."""

    def core(self, gain: Float[Tensor, "*batch user user"], active: Bool[Tensor, "*batch user"]) -> Powers:
        square = gain.reshape(-1, 16).reshape(-1, 4, 4)
        return super().core(square, active)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Bare, r"must have a core to be exported, received Bare$"),
        (Unannotated, r"must annotate its core from tensors to a record, received Unannotated"),
        (Unstable, r"must give the same power_w in ONNX Runtime and in torch, received a difference of"),
        (Sized, r"must have a core of any size, received Sized and sizes"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line_and_old_files_stay(tmp_path, policy, message):
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match=f"^policy: {message}") as caught:
        export(policy(), path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_where_there_is_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        export(LinkPolicy(), tmp_path / "none" / "policy.onnx")


def test_provenance_is_json(tmp_path):
    with pytest.raises(TypeError):
        export(LinkPolicy(), tmp_path / "policy.onnx", provenance={"when": object()})
    assert not list(tmp_path.iterdir())


def test_export_is_silent_and_repeatable(tmp_path, capfd, recwarn):
    paths = [export(LinkPolicy(), tmp_path / f"{number}.onnx") for number in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"^{name}: must be installed.*pip install 'torchrrm\[deploy\]'$"):
        export(LinkPolicy(), tmp_path / "policy.onnx")
