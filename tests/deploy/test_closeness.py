"""A graph is judged by what is decided from its outputs, against the policy in double precision."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
import torch
from jaxtyping import Bool, Float
from tests.deploy.exported import scale_output
from torch import Tensor, nn

from torchrrm.deploy import export
from torchrrm.deploy.closeness import require_close
from torchrrm.deploy.contract import Contract
from torchrrm.deploy.session import open_runtime
from torchrrm.policies.hbgnn import NOT_REACHABLE, AssociationScores
from torchrrm.problems import CellInstance, LinkInstance, PowerAction, SumRateAssociation, WeightedSumRate
from torchrrm.problems.association import AssociationAction, relative_snr


class StrongestStation(nn.Module):
    """Each user takes its strongest station; stations that are strong at many users lower their power."""

    arguments: ClassVar[dict[str, Any]] = {}
    problem = SumRateAssociation()
    core_sizes: ClassVar[dict[str, int]] = {}
    deployment: ClassVar[dict[str, Any]] = {"service": "association", "kind": "association"}

    def __init__(self, slope: float = 0.7, offset: float = 0.0):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.tensor(slope)), offset

    def core(
        self,
        relative_snr: Float[Tensor, "*batch user bs"],
        active_user: Bool[Tensor, "*batch user"],
        active_bs: Bool[Tensor, "*batch bs"],
    ) -> AssociationScores:
        both = active_user[..., :, None] & active_bs[..., None, :]
        level = torch.where(both, torch.log1p(relative_snr), 0.0)
        score = torch.where(both & (relative_snr > 0), self.offset + self.slope * level, NOT_REACHABLE)
        share = torch.sigmoid(1.0 - 0.1 * level.mean(-2))
        return AssociationScores(score=score, share=torch.where(active_bs, share, 0.0))

    def forward(self, instance: CellInstance) -> AssociationAction:
        scores = self.core(relative_snr(instance), instance.active_user, instance.active_bs)
        station = torch.where(scores.score.amax(-1) > NOT_REACHABLE / 2, scores.score.argmax(-1), -1)
        return AssociationAction(station=station, power_w=scores.share * instance.max_power_w)


class Faint(nn.Module):
    """All links send less than a millionth of their limit."""

    arguments: ClassVar[dict[str, Any]] = {}
    problem = WeightedSumRate()
    core_sizes: ClassVar[dict[str, str]] = {"rx": "tx"}
    deployment: ClassVar[dict[str, Any]] = {"service": "links", "kind": "sum-rate", "condition": None}

    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(1e-6))

    def core(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> PowerAction:
        level = torch.sigmoid(relative_gain.sum(-1))
        return PowerAction(power_w=torch.where(active, self.share * max_power_w * level, 0.0))

    def forward(self, instance: LinkInstance) -> PowerAction:
        return self.core(instance.gain, instance.max_power_w, instance.active)


@pytest.fixture(scope="module")
def strongest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export(StrongestStation(), tmp_path_factory.mktemp("strongest") / "policy.onnx").read_bytes()


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export(Faint(), tmp_path_factory.mktemp("faint") / "policy.onnx").read_bytes()


def add(model: onnx.ModelProto, output: int, value: float) -> onnx.ModelProto:
    """The model with a constant added to an output."""
    name = model.graph.output[output].name
    for node in model.graph.node:
        node.output[:] = ["inner" if given == name else given for given in node.output]
        node.input[:] = ["inner" if given == name else given for given in node.input]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), "added"))
    model.graph.node.append(onnx.helper.make_node("Add", ["inner", "added"], [name]))
    return model


def judge(policy: Any, model: onnx.ModelProto) -> None:
    policy = policy.eval()
    require_close(model.SerializeToString(), policy, Contract.of(policy))


@pytest.mark.parametrize("factor", [1.0, 1 + 2.0**-22, 1.0005])
def test_scores_that_choose_the_same_stations_are_accepted(strongest: bytes, factor: float) -> None:
    """The last factor is far above rounding, and changes no choice."""
    policy: Any = StrongestStation()
    model = scale_output(onnx.load_from_string(strongest), factor)
    judge(policy, model)
    contract = Contract.of(policy)
    sizes = {name: size for size, name in enumerate(contract.free_axes, start=2)}
    drawn = contract.draw(sizes, torch.Generator().manual_seed(0))
    feed = {name: value.numpy() for name, value in zip(contract.inputs, drawn, strict=True)}
    score, other = (
        open_runtime(data, 1).run(None, feed)[0] for data in (strongest, model.SerializeToString())
    )
    assert (score != other).any() == (factor != 1.0)
    np.testing.assert_array_equal(score.argmax(-1), other.argmax(-1))


def in_steps(model: onnx.ModelProto, step: float) -> onnx.ModelProto:
    """The model whose scores are rounded down to multiples of a step."""
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if given == name else given for given in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(step, np.float32), "step"))
    parts = (["Div", "inner", "step", "parts"], ["Floor", "parts", "whole"], ["Mul", "whole", "step", name])
    model.graph.node.extend(onnx.helper.make_node(kind, given, [out]) for kind, *given, out in parts)
    return model


def test_scores_that_choose_other_stations_are_refused(tmp_path: Path) -> None:
    """Scores are 1 and little more: half a thousandth decides."""
    policy = StrongestStation(slope=1e-4, offset=1.0)
    data = export(policy, tmp_path / "policy.onnx").read_bytes()
    with pytest.raises(ValueError, match=r"^policy: must decide the same .*, received another station at"):
        judge(policy, in_steps(onnx.load_from_string(data), 5e-4))


@pytest.mark.parametrize("wrong", [3e-5, -3e-5])
def test_powers_that_differ_by_more_than_rounding_are_refused(strongest: bytes, wrong: float) -> None:
    model = add(onnx.load_from_string(strongest), 1, wrong)
    with pytest.raises(
        ValueError, match=r"^policy: must decide the same .*, received power_w that differs by"
    ):
        judge(StrongestStation(), model)


def test_powers_within_rounding_of_the_limit_that_change_the_objective_are_refused(faint: bytes) -> None:
    model = scale_output(onnx.load_from_string(faint), 1.5)  # by 5e-7 of the limit
    with pytest.raises(ValueError, match=r"^policy: must decide the same .*, received an objective of .*"):
        judge(Faint(), model)
    judge(Faint(), onnx.load_from_string(faint))


def test_outputs_that_differ_by_more_than_any_rounding_are_refused_whatever_is_decided(
    strongest: bytes,
) -> None:
    model = scale_output(onnx.load_from_string(strongest), 1.01)
    with pytest.raises(ValueError, match=r"^policy: must give the same score .*, received a difference of"):
        judge(StrongestStation(), model)
