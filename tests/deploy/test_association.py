"""Association policies in a control loop: what the session does is what torch does, and nobody is lost."""

import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Bool, Float
from tests.deploy.exported import read, scale_output, write
from tests.testing.association import network
from torch import Tensor, nn

from torchrrm.deploy import InferenceSession, export
from torchrrm.deploy.association import AssociationService
from torchrrm.policies import load_pretrained
from torchrrm.policies.hbgnn import NOT_REACHABLE, AssociationScores
from torchrrm.problems import CellInstance, SumRateAssociation, cell_instance
from torchrrm.problems.association import AssociationAction, in_reach, relative_snr
from torchrrm.records import index, map_tensors, replace
from torchrrm.solvers import HungarianWMMSE

GOOD: dict[str, Any] = {"gain": [[1e-9, 1e-11], [1e-11, 1e-9]], "noise_power_w": 1e-13, "max_power_w": 0.1}


class Listener(nn.Module):
    """A small stand-in for a network: who is heard well by few is chosen, and transmits."""

    arguments: ClassVar[dict[str, Any]] = {}
    problem = SumRateAssociation()
    core_sizes: ClassVar[dict[str, int]] = {}
    deployment: ClassVar[dict[str, Any]] = {"service": "association", "kind": "association"}

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.7))

    def core(
        self,
        relative_snr: Float[Tensor, "*batch user bs"],
        active_user: Bool[Tensor, "*batch user"],
        active_bs: Bool[Tensor, "*batch bs"],
    ) -> AssociationScores:
        both = active_user[..., :, None] & active_bs[..., None, :]
        level = torch.where(both, torch.log1p(relative_snr), 0.0)
        mean = level.sum(-2, keepdim=True) / (1.0 + both.sum(-2, keepdim=True))
        score = self.slope * level - 0.5 * mean
        score = torch.where(both & (relative_snr > 0), score, NOT_REACHABLE)
        share = torch.sigmoid(1.0 - 0.3 * mean[..., 0, :])
        return AssociationScores(score=score, share=torch.where(active_bs, share, 0.0))

    def forward(self, instance: CellInstance) -> AssociationAction:
        scores = self.core(relative_snr(instance), instance.active_user, instance.active_bs)
        best, station = scores.score.max(-1)
        station = torch.where(best > NOT_REACHABLE / 2, station, -1)
        return AssociationAction(station=station, power_w=scores.share * instance.max_power_w)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Bytes of an exported policy."""
    path = tmp_path_factory.mktemp("association") / "policy.onnx"
    return export(Listener(), path, provenance={"recipe": "none"}).read_bytes()


def arrays(instance: CellInstance) -> dict[str, Any]:
    return {name: value.numpy() for name, value in vars(instance).items()}


def drawn(*batch: int, users: int = 9, stations: int = 6, dtype: torch.dtype = torch.float64) -> CellInstance:
    """Gains over 50 dB, a third without a path, users and stations that are not active."""
    generator = torch.Generator().manual_seed(users * stations)
    shape = (*batch, users, stations)
    gain = 10 ** -(8 + 5 * torch.rand(shape, generator=generator, dtype=torch.float64))
    gain = torch.where(torch.rand(shape, generator=generator) < 0.7, gain, 0.0).to(dtype)
    return replace(
        cell_instance(gain, macro=torch.arange(stations) < 2),
        active_user=torch.rand(shape[:-1], generator=generator) < 0.8,
        active_bs=torch.rand((*batch, stations), generator=generator) < 0.8,
    )


@pytest.mark.parametrize(("users", "stations"), [(1, 1), (4, 9), (9, 4), (50, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_session_allocates_as_the_policy_does(opened, users, stations, dtype):
    instance = drawn(12, users=users, stations=stations, dtype=dtype)
    allocation = opened.allocate(**arrays(instance))
    with torch.no_grad():
        wanted = Listener()(instance)
    np.testing.assert_array_equal(allocation.action["station"], wanted.station)
    np.testing.assert_allclose(allocation.action["power_w"], wanted.power_w, rtol=1e-5)
    assert allocation.feasible.all()
    assert not allocation.fallback.any()
    reached = in_reach(instance)
    assert np.array_equal(allocation.scheduled, reached)
    assert np.array_equal(allocation.notes["out_of_reach"], instance.active_user & ~reached)
    assert (allocation.action["station"] >= 0).tolist() == reached.tolist()


def test_any_batch_shape_is_as_one_by_one(opened):
    instance = drawn(6)
    together = opened.allocate(**arrays(map_tensors(lambda t: t.reshape(2, 3, *t.shape[1:]), instance)))
    assert together.feasible.shape == together.fallback.shape == together.violation["power"].shape == (2, 3)
    assert together.notes["out_of_reach"].shape == (2, 3, 9)
    for number in range(6):
        alone = opened.allocate(**arrays(index(instance, number)))
        place = np.unravel_index(number, (2, 3))
        for name in ("station", "power_w"):
            np.testing.assert_allclose(alone.action[name], together.action[name][place], rtol=1e-6)


def test_users_and_stations_that_are_not_active_do_not_matter_whatever_they_hold(opened):
    wanted = opened.allocate(**GOOD).action
    gain = np.full((3, 3), np.nan)
    gain[np.ix_([0, 2], [0, 2])] = GOOD["gain"]
    active, limit = [True, False, True], [0.1, np.nan, 0.1]
    found = opened.allocate(
        **GOOD | {"gain": gain, "max_power_w": limit, "active_user": active, "active_bs": active}
    )
    assert found.action["station"].tolist() == [0, -1, 2]
    assert wanted["station"].tolist() == [0, 1]
    np.testing.assert_allclose(found.action["power_w"][[0, 2]], wanted["power_w"], rtol=1e-6)
    assert found.action["power_w"][1] == 0
    assert found.scheduled.tolist() == active
    assert not found.notes["out_of_reach"].any()


def test_who_is_out_of_reach_is_unserved_and_told(opened):
    found = opened.allocate(**GOOD | {"gain": [[1e-9, 1e-11], [0.0, 0.0]]})
    assert found.action["station"].tolist() == [0, -1]
    assert found.notes["out_of_reach"].tolist() == [False, True]
    assert found.scheduled.tolist() == [True, False]
    assert found.feasible
    assert not found.fallback


@pytest.mark.parametrize(
    "change",
    [
        {"active_user": False},
        {"active_bs": False},
        {"gain": np.zeros((0, 3)), "active_user": np.zeros(0, bool)},
    ],
)
def test_nobody_is_a_stated_result(opened, change):
    found = opened.allocate(**GOOD | change)
    assert (found.action["station"] == -1).all()
    assert np.isfinite(found.action["power_w"]).all()
    assert not found.scheduled.any()
    assert found.feasible


def test_refinement_is_that_of_the_solver_and_only_betters(opened):
    instance = replace(drawn(8, users=20, stations=10), active_user=torch.ones(8, 20, dtype=torch.bool))
    plain, better = opened.allocate(**arrays(instance)), opened.allocate(**arrays(instance), refine=5)

    def action(allocation):
        return AssociationAction(**{name: torch.tensor(value) for name, value in allocation.action.items()})

    wanted = HungarianWMMSE().refine(instance, action(plain), 5)
    np.testing.assert_array_equal(better.action["station"], wanted.station)
    np.testing.assert_allclose(better.action["power_w"], wanted.power_w, rtol=1e-9, atol=1e-15)
    before, after = (
        SumRateAssociation().evaluate(instance, action(each)).objective for each in (plain, better)
    )
    assert (after >= before).all()
    assert after.sum() > 1.2 * before.sum()
    assert better.feasible.all()
    assert not better.fallback.any()


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
@pytest.mark.parametrize("refine", [0, 3])
def test_outputs_that_are_not_numbers_fall_back_to_the_strongest_signal(altered, factor, refine):
    instance = drawn(5)
    allocation = altered(lambda model: scale_output(model, factor)).allocate(
        **arrays(instance), refine=refine
    )
    assert allocation.fallback.all()
    assert all(np.isinf(value).all() for value in allocation.refused.values())
    assert allocation.feasible.all()
    ratio = relative_snr(instance)
    strongest = torch.where(in_reach(instance), ratio.argmax(-1), -1)
    assert np.array_equal(allocation.action["station"], strongest)
    assert np.array_equal(allocation.action["power_w"], instance.max_power_w * instance.active_bs)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.floats(-300, 250), st.floats(-30, 30), st.data())
def test_nothing_but_stations_and_powers_within_limits_leaves_a_session(
    opened, users, stations, level, noise, data
):
    values = data.draw(st.lists(st.floats(0, 1), min_size=users * stations, max_size=users * stations))
    gain = 10.0 ** (level / 10) * np.array(values).reshape(users, stations)
    found = opened.allocate(
        gain=gain, noise_power_w=10.0**noise, max_power_w=0.5, refine=data.draw(st.integers(0, 2))
    )
    power, station = found.action["power_w"], found.action["station"]
    assert np.isfinite(power).all()
    assert (power >= 0).all()
    assert (power <= 0.5 * (1 + 1e-6)).all()
    assert ((station >= -1) & (station < stations)).all()
    assert ((station >= 0) == (gain > 0).any(-1)).all()
    assert found.feasible


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": 1.0}, r"gain: must have shape \[\*batch, user, bs\] with a station, received \[\]"),
        ({"gain": np.ones((3, 0))}, r"gain: must have shape .* with a station, received \[3, 0\]"),
        ({"gain": [["a"]]}, r"gain: must be an array of numbers, received one of <U1"),
        ({"gain": [[1.0, np.nan], [1.0, 1.0]]}, r"gain: must be finite and not negative, received nan at \[0, 1\]"),
        ({"gain": [[1.0, 1.0], [-1.0, 1.0]]}, r"gain: must be finite and not negative, received -1.0 at \[1, 0\]"),
        ({"noise_power_w": 0.0}, r"noise_power_w: must be positive and finite, received 0.0 at \[\]"),
        ({"noise_power_w": [1.0, 1.0]}, r"noise_power_w: must have shape \[\], or be one for all, received \[2\]"),
        ({"max_power_w": [1.0]}, r"max_power_w: must have shape \[2\], or be one for all, received \[1\]"),
        ({"max_power_w": [1.0, 0.0]}, r"max_power_w: must be positive and finite, received 0.0 at \[1\]"),
        ({"bandwidth_hz": -1.0}, r"bandwidth_hz: must be positive and finite, received -1.0"),
        ({"active_user": [1, 1]}, r"active_user: must be an array of truth values, received one of int64"),
        ({"active_bs": [True]}, r"active_bs: must have shape \[2\], or be one for all, received \[1\]"),
        ({"refine": -1}, r"refine: must not be negative, received -1"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(opened, change, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        opened.allocate(**GOOD | change)
    assert "\n" not in str(caught.value)


def test_a_policy_of_another_problem_or_size_says_so(altered):
    def of(**deployment):
        return lambda model: write(
            model, read(model) | {"deployment": read(model)["deployment"] | deployment}
        )

    fair = altered(of(kind="fair-association"))
    assert fair.allocate(**GOOD).feasible
    with pytest.raises(ValueError, match=r"^refine: must be 0 of a policy for fair-association, received 2$"):
        fair.allocate(**GOOD, refine=2)
    with pytest.raises(ValueError, match=r"^gain: must be that of 3 users, received 2$"):
        altered(of(users=3, stations=2)).allocate(**GOOD)
    with pytest.raises(ValueError, match=r"^gain: must be that of 4 stations, received 2$"):
        altered(of(stations=4)).allocate(**GOOD)


def test_a_session_of_associations_needs_no_torch(model, tmp_path):
    path = tmp_path / "policy.onnx"
    path.write_bytes(model)
    code = f"""
import sys
sys.modules["torch"] = None
from torchrrm.deploy import InferenceSession
session = InferenceSession({str(path)!r}, policy="Listener", kind="association")
print(session.allocate(**{GOOD!r}, refine=2).action["station"].tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[0, 1]\n"), done.stderr


def test_ratios_above_150_db_saturate_as_in_the_problem():
    gain = 10 ** (24 * torch.rand(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    service = AssociationService({"kind": "association"})
    _, prepared = service.prepare(gain=gain, noise_power_w=0.5, max_power_w=2.0)
    wanted = relative_snr(cell_instance(gain, max_power_w=torch.full((2,), 2.0).double(), noise_power_w=0.5))
    assert (wanted == 1e15).any()
    np.testing.assert_allclose(prepared.relative_snr[0], wanted)


@pytest.mark.slow
def test_the_network_itself_is_exported_for_networks_of_other_sizes(exports):
    policy, session = load_pretrained("hbgnn"), InferenceSession(exports("hbgnn", "association"))
    for users, stations in ((9, 5), (4, 7)):
        instance = network(1, users, stations, generator=torch.Generator().manual_seed(users))
        with torch.no_grad():
            wanted = policy(instance)
        found = session.allocate(**{name: value.numpy() for name, value in vars(instance).items()})
        assert found.action["station"].tolist() == wanted.station.tolist()
        np.testing.assert_allclose(found.action["power_w"], wanted.power_w.numpy(), rtol=1e-4, atol=1e-9)
