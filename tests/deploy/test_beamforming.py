"""Beamforming policies in a control loop: what the session does is what torch does, and no minimum rate is missed."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.exported import read, scale_output, write

from torchrrm.policies import USRMNet, load_pretrained
from torchrrm.problems import MisoInstance, UrllcBeamforming
from torchrrm.problems.beamforming import miso_instance, to_downlink
from torchrrm.records import index, map_tensors, replace, to
from torchrrm.solvers.minimum_power_beamforming import MinimumPowerBeamforming, least_power_w

GOOD = {
    "channel": [[1.0, 0.2j, 0.1], [0.3, 1.0, 0.1j]],
    "noise_power_w": 1.0,
    "max_power_w": 100.0,
    "blocklength": 128,
    "error_probability": 1e-5,
    "payload_bits": 64,
}


def beam_policy() -> USRMNet:
    """The policy that ships."""
    policy = load_pretrained("usrmnet")
    assert isinstance(policy, USRMNet)
    return policy


@pytest.fixture(scope="module")
def model(exports):
    """Bytes of the exported policy that ships, any number of users and antennas."""
    return exports("usrmnet", "urllc").read_bytes()


def arrays(instance: MisoInstance) -> dict:
    return {name: value.numpy() for name, value in vars(instance).items()}


def drawn(*batch: int, users: int = 5, antennas: int = 8, bits: float = 64.0) -> MisoInstance:
    """Rayleigh channels over 20 dB at 20 dB, some users not active, of unequal weight."""
    generator = torch.Generator().manual_seed(users * antennas)
    shape = (*batch, users, antennas)
    channel = torch.randn(shape, dtype=torch.complex128, generator=generator)
    channel = channel * 10 ** -torch.rand(*shape[:-1], 1, generator=generator, dtype=torch.float64)
    active = torch.rand(shape[:-1], generator=generator) > 0.2
    active[..., 0] = True
    weight = 0.1 + torch.rand(shape[:-1], generator=generator, dtype=torch.float64)
    return replace(miso_instance(channel, max_power_w=100.0, payload_bits=bits, weight=weight), active=active)


def worst(violation: torch.Tensor, active: torch.Tensor) -> np.ndarray:
    return torch.where(active, violation, -torch.inf).amax(-1).numpy()


@pytest.mark.parametrize(("users", "antennas"), [(1, 1), (2, 16), (5, 8), (8, 8), (16, 64)])
def test_a_session_allocates_as_the_policy_does(opened, users, antennas):
    instance = drawn(6, users=users, antennas=antennas)
    allocation = opened.allocate(**arrays(instance))
    with torch.no_grad():
        wanted = beam_policy()(instance)
    np.testing.assert_allclose(
        allocation.action["power_w"], wanted.power_w, rtol=1e-4, atol=1e-4 * 100.0 / users
    )
    np.testing.assert_allclose(
        allocation.action["beam"][instance.active], wanted.beam[instance.active], atol=1e-4
    )
    sent = to_downlink(instance, wanted).power_w
    np.testing.assert_allclose(
        allocation.action["downlink_power_w"], sent, rtol=1e-3, atol=1e-4 * 100.0 / users
    )
    assert np.array_equal(allocation.scheduled, instance.active.numpy())
    found = UrllcBeamforming().evaluate(instance, wanted)
    kept = worst(found.violation["min_rate"], instance.active) <= 1e-5
    assert np.array_equal(allocation.feasible, kept)
    assert np.array_equal(allocation.fallback, ~kept)
    assert kept.any()


def test_what_the_station_sends_is_checked_as_the_problem_does(opened):
    instance = drawn(20, bits=300.0)
    allocation = opened.allocate(**arrays(instance))
    with torch.no_grad():
        action = beam_policy()(instance)
    found = UrllcBeamforming().evaluate(instance, action)
    rate = worst(found.violation["min_rate"], instance.active)
    np.testing.assert_allclose(allocation.refused["min_rate"], rate, atol=1e-5)
    assert 0 < allocation.feasible.sum() < 20
    assert (allocation.violation["min_rate"][allocation.feasible] <= 1e-9).all()
    assert (allocation.violation["power"] <= 1e-9).all()


def test_what_would_do_is_told_where_nothing_does(opened):
    instance = drawn(20, bits=300.0)
    allocation = opened.allocate(**arrays(instance))
    needed = allocation.notes["least_power_w"]
    assert np.array_equal(np.isnan(needed), allocation.feasible)
    some = ~allocation.feasible
    np.testing.assert_allclose(needed[some], least_power_w(instance)[some], rtol=1e-6)
    assert (needed[some] > 100.0).all()
    lost = opened.allocate(**GOOD | {"channel": [[1.0, 0.0], [0.0, 0.0]]})
    assert not lost.feasible
    assert lost.notes["least_power_w"] == np.inf


def test_any_batch_shape_is_as_one_by_one(opened):
    instance = drawn(6)
    together = opened.allocate(**arrays(map_tensors(lambda t: t.reshape(2, 3, *t.shape[1:]), instance)))
    assert together.feasible.shape == together.fallback.shape == together.violation["power"].shape == (2, 3)
    for number in range(6):
        alone = opened.allocate(**arrays(index(instance, number)))
        assert alone.feasible.shape == ()
        place = np.unravel_index(number, (2, 3))
        for name in ("power_w", "downlink_power_w", "beam"):
            np.testing.assert_allclose(alone.action[name], together.action[name][place], rtol=1e-5, atol=1e-6)


def test_users_that_are_not_active_do_not_matter_whatever_they_hold(opened):
    wanted = opened.allocate(**GOOD).action
    channel = np.full((3, 3), np.nan, complex)
    channel[[0, 2]] = GOOD["channel"]
    active, weight = [True, False, True], [1.0, -1.0, 1.0]
    found = opened.allocate(**GOOD | {"channel": channel, "weight": weight, "active": active})
    for name in ("power_w", "downlink_power_w", "beam"):
        np.testing.assert_allclose(found.action[name][[0, 2]], wanted[name], atol=1e-5)
        assert not found.action[name][1].any()
    assert found.scheduled.tolist() == active


def test_powers_of_equal_channels_in_other_units_are_the_same(opened):
    wanted = opened.allocate(**GOOD).action["power_w"]
    small = {"channel": 1e-6 * np.array(GOOD["channel"]), "noise_power_w": 1e-15, "max_power_w": 0.1}
    found = opened.allocate(**GOOD | small).action["power_w"]
    np.testing.assert_allclose(1e3 * found, wanted, rtol=1e-5)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_outputs_that_are_not_numbers_fall_back_to_least_powers(altered, factor):
    def broken(model):
        last = model.graph.output[[port.name for port in model.graph.output].index("wanted")]
        model.graph.output.remove(last)
        model.graph.output.insert(0, last)
        return scale_output(model, factor)

    instance = drawn(5, bits=16.0)
    allocation = altered(broken).allocate(**arrays(instance))
    assert allocation.fallback.all()
    assert np.isinf(allocation.refused["min_rate"]).all()
    least = MinimumPowerBeamforming().solve(instance)
    assert np.array_equal(allocation.feasible, least.converged)
    np.testing.assert_allclose(allocation.action["power_w"], least.action.power_w, rtol=1e-9, atol=1e-12)


def test_the_graph_alone_has_beams_of_its_powers_in_two_planes(opened):
    instance = to(drawn(4), dtype=torch.float32)
    _, prepared = opened._service.prepare(**arrays(instance))
    found = opened.run(opened._service.inputs(prepared))
    assert set(found) == {"share", "beam_real", "beam_imag", "wanted"}
    assert all(value.dtype == np.float64 for value in found.values())
    np.testing.assert_allclose(found["share"].sum(-1), 1.0, rtol=1e-5)
    length = (found["beam_real"] ** 2 + found["beam_imag"] ** 2).sum(-1)
    np.testing.assert_allclose(length, instance.active.numpy().astype(float), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.floats(-200, 200), st.floats(-30, 30), st.data())
def test_nothing_but_powers_within_the_limit_leaves_a_session(opened, users, antennas, level, noise, data):
    numbers = st.floats(-1, 1)
    planes = data.draw(
        st.lists(st.tuples(numbers, numbers), min_size=users * antennas, max_size=users * antennas)
    )
    channel = 10.0 ** (level / 20) * np.array([complex(*pair) for pair in planes]).reshape(users, antennas)
    allocation = opened.allocate(
        channel=channel,
        noise_power_w=10.0**noise,
        max_power_w=0.5,
        blocklength=64,
        error_probability=1e-6,
        payload_bits=data.draw(st.sampled_from([0.0, 8.0, 256.0])),
    )
    for name in ("power_w", "downlink_power_w"):
        power = allocation.action[name]
        assert np.isfinite(power).all()
        assert (power >= 0).all()
        assert power.sum() <= 0.5 * (1 + 1e-6)
    assert np.isfinite(allocation.action["beam"]).all()
    assert allocation.feasible == (max(value for value in allocation.violation.values()) <= 1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel": 1.0}, r"channel: must be complex and not empty, of shape .*, received \[\]"),
        ({"channel": np.ones((0, 3))}, r"channel: must be complex and not empty, of shape .*, received \[0, 3\]"),
        ({"channel": [["a"]]}, r"channel: must be an array of complex numbers, received one of <U1"),
        ({"channel": [[1.0, np.nan], [1.0, 1.0]]}, r"channel: must be finite, received \(?nan.* at \[0, 1\]"),
        ({"noise_power_w": -1.0}, r"noise_power_w: must be positive and finite, received -1.0"),
        ({"noise_power_w": [1.0]}, r"noise_power_w: must have shape \[2\], or be one for all, received \[1\]"),
        ({"max_power_w": 0.0}, r"max_power_w: must be positive and finite, received 0.0 at \[\]"),
        ({"max_power_w": [1.0, 1.0]}, r"max_power_w: must have shape \[\], or be one for all, received \[2\]"),
        ({"blocklength": np.nan}, r"blocklength: must be positive and finite, received nan at \[\]"),
        ({"error_probability": 0.5}, r"error_probability: must be below 0.5, received 0.5"),
        ({"error_probability": 0.0}, r"error_probability: must be positive and finite, received 0.0"),
        ({"payload_bits": [-8.0, 8.0]}, r"payload_bits: must be finite and not negative, received -8.0 at \[0\]"),
        ({"weight": [1.0, -2.0]}, r"weight: must be finite and not negative, received -2.0 at \[1\]"),
        ({"active": False}, r"active: must hold at least one active user, received none$"),
        ({"active": [1, 1]}, r"active: must be an array of truth values, received one of int64"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(opened, change, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        opened.allocate(**GOOD | change)
    assert "\n" not in str(caught.value)


def test_the_header_tells_what_the_file_is(model):
    header = read(onnx.load_from_string(model))
    assert header["policy"] == "USRMNet"
    assert header["problem"] == {"class": "UrllcBeamforming", "unit": "nat"}
    assert header["inputs"]["channel_real"] == ["batch", "user", "ant"]
    assert header["provenance"]["settings"]["policy"] == "usrmnet"
    assert USRMNet(**header["arguments"]).depth == beam_policy().depth


def test_a_policy_made_for_a_number_of_users_refuses_others(altered):
    def of_three(model):
        header = read(model)
        return write(model, header | {"deployment": header["deployment"] | {"users": 3}})

    opened = altered(of_three)
    with pytest.raises(ValueError, match=r"^channel: must be that of 3 users, received 2$"):
        opened.allocate(**GOOD)


def test_a_session_of_beams_needs_no_torch(model, tmp_path):
    path = tmp_path / "policy.onnx"
    path.write_bytes(model)
    code = f"""
import sys
sys.modules["torch"] = None
from torchrrm.deploy import InferenceSession
print(InferenceSession({str(path)!r}, policy="USRMNet", kind="urllc").allocate(**{GOOD!r}).feasible)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
