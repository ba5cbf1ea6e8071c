"""Power policies in a control loop: what the session does is what torch does."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.deploy.exported import read, scale_output, write
from tests.testing.links import sample
from torch import nn

from torchrrm.deploy import InferenceSession, export
from torchrrm.deploy.links import PowerService
from torchrrm.policies import PowerGNN
from torchrrm.problems import LinkInstance, PowerAction, WeightedSumRate, link_instance, relative_gain
from torchrrm.records import index, map_tensors, replace, to
from torchrrm.solvers import MaxPower

GOOD = {
    "gain": [[1e-9, 1e-11, 2e-11], [1e-10, 1e-9, 1e-12], [3e-11, 1e-12, 2e-9]],
    "noise_power_w": 1e-13,
    "max_power_w": 0.01,
}


def power_policy(condition: str = "weight") -> PowerGNN:
    """A policy of random weights, larger than at first, so that powers differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = PowerGNN(condition, widths=(16, 16)).eval()  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        last_layer(policy).weight.mul_(30.0)
    return policy


def last_layer(policy: nn.Module) -> nn.Linear:
    return [module for module in policy.modules() if isinstance(module, nn.Linear)][-1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Bytes of an exported policy by what it reads; tracing takes a second."""
    folder, made = tmp_path_factory.mktemp("links"), {}
    for condition in ("weight", "priority"):
        made[condition] = export(power_policy(condition), folder / f"{condition}.onnx").read_bytes()
    return made


@pytest.fixture
def session(files, tmp_path):
    """`session(condition, alter)` runs an exported policy, altered."""

    def opened(condition="weight", alter=lambda model: model):
        path = tmp_path / "policy.onnx"
        path.write_bytes(alter(onnx.load_from_string(files[condition])).SerializeToString())
        return InferenceSession(path)

    return opened


def arrays(instance: LinkInstance) -> dict:
    return {name: value.numpy() for name, value in vars(instance).items()}


def drawn(count: int, generator: torch.Generator) -> LinkInstance:
    """Instances some of whose links are not active."""
    instance = to(sample(count, generator=generator), dtype=torch.float64)
    active = torch.rand(count, 6, generator=generator) > 0.3
    active[:, 0] = True
    return replace(instance, active=active)


def test_a_session_allocates_as_the_policy_does(session, generator):
    instance = drawn(40, generator)
    allocation = session().allocate(**arrays(instance))
    with torch.no_grad():
        wanted = power_policy()(to(instance, dtype=torch.float32)).power_w.numpy()
    assert np.ptp(wanted[instance.active]) > 1e-3
    np.testing.assert_allclose(allocation.action["power_w"], wanted, rtol=1e-4, atol=1e-7)
    assert np.array_equal(allocation.scheduled, instance.active.numpy())
    assert allocation.feasible.all()
    assert not allocation.fallback.any()


def test_a_policy_of_priorities_reads_them_and_not_the_weights(session, generator):
    instance = drawn(10, generator)
    priority = 0.1 + 10 * torch.rand(10, 6, generator=generator, dtype=torch.float64)
    opened, policy = session("priority"), power_policy("priority")
    given = arrays(instance) | {"weight": 7.0}
    found = opened.allocate(**given, priority=priority.numpy()).action["power_w"]
    with torch.no_grad():
        single = to(instance, dtype=torch.float32)
        wanted, first = policy(single, priority.float()).power_w, policy(single).power_w
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(opened.allocate(**given).action["power_w"], first, rtol=1e-4, atol=1e-7)


def test_violations_are_those_of_the_problem(session, generator):
    instance = drawn(40, generator)
    refused = session(alter=lambda model: scale_output(model, 1.7)).allocate(**arrays(instance)).refused
    with torch.no_grad():
        power = 1.7 * power_policy()(to(instance, dtype=torch.float32)).power_w.double()
    wanted = WeightedSumRate().evaluate(instance, PowerAction(power_w=power)).violation
    worst = torch.where(instance.active, wanted["power"], -torch.inf).amax(-1)
    assert (refused["power"] > 0.1).any()
    np.testing.assert_allclose(refused["power"], worst, atol=1e-4)
    np.testing.assert_allclose(refused["sign"], wanted["sign"].amax(-1), atol=1e-4)
    assert not refused["inactive"].any()


def test_any_batch_shape_is_as_one_by_one(session, generator):
    opened, instance = session(), drawn(6, generator)
    together = opened.allocate(**arrays(map_tensors(lambda t: t.reshape(2, 3, *t.shape[1:]), instance)))
    assert together.feasible.shape == together.fallback.shape == together.violation["power"].shape == (2, 3)
    for number in range(6):
        alone = opened.allocate(**arrays(index(instance, number)))
        assert alone.feasible.shape == ()
        power = together.action["power_w"][np.unravel_index(number, (2, 3))]
        np.testing.assert_allclose(alone.action["power_w"], power, rtol=1e-5, atol=1e-9)


def test_inactive_links_get_nothing_and_do_not_matter_whatever_they_hold(session):
    opened = session()
    wanted = opened.allocate(**GOOD).action["power_w"]
    gain = np.full((4, 4), np.nan)
    kept = np.ix_([0, 2, 3], [0, 2, 3])
    gain[kept] = GOOD["gain"]
    limit, active = [0.01, -1.0, 0.01, 0.01], [True, False, True, True]
    found = opened.allocate(gain=gain, noise_power_w=1e-13, max_power_w=limit, active=active)
    np.testing.assert_allclose(found.action["power_w"], np.insert(wanted, 1, 0.0), rtol=1e-5)
    assert found.scheduled.tolist() == active


def test_weights_that_are_not_numbers_fall_back_to_full_power(files, tmp_path, generator):
    policy = power_policy()
    with torch.no_grad():
        last_layer(policy).bias.fill_(float("nan"))
    path = tmp_path / "nan.onnx"
    with pytest.raises(ValueError, match="received a difference of nan"):
        export(policy, path)
    path.write_bytes(scale_output(onnx.load_from_string(files["weight"]), float("nan")).SerializeToString())
    instance = drawn(5, generator)
    allocation = InferenceSession(path).allocate(**arrays(instance))
    assert allocation.fallback.all()
    assert allocation.feasible.all()
    assert np.isinf(allocation.refused["power"]).all()
    np.testing.assert_array_equal(allocation.action["power_w"], MaxPower()(instance).power_w)


@pytest.mark.parametrize(("factor", "constraint"), [(float("inf"), "power"), (-1.0, "sign"), (1e6, "power")])
def test_what_violates_a_limit_is_refused(session, generator, factor, constraint):
    instance = drawn(5, generator)
    allocation = session(alter=lambda model: scale_output(model, factor)).allocate(**arrays(instance))
    assert allocation.fallback.all()
    assert (allocation.refused[constraint] > 0).all()
    assert (allocation.violation[constraint] <= 0).all()
    np.testing.assert_array_equal(allocation.action["power_w"], MaxPower()(instance).power_w)


def test_power_of_a_link_that_is_not_active_is_refused(session):
    def adding(model):
        name = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["inner" if output == name else output for output in node.output]
        model.graph.initializer.append(onnx.helper.make_tensor("stray", onnx.TensorProto.FLOAT, [], [1e-6]))
        model.graph.node.append(onnx.helper.make_node("Add", ["inner", "stray"], [name]))
        return model

    allocation = session(alter=adding).allocate(**GOOD, active=[True, False, True])
    assert allocation.fallback
    assert allocation.refused["inactive"] == pytest.approx(1e-4)
    assert allocation.action["power_w"].tolist() == [0.01, 0.0, 0.01]


def test_nothing_but_finite_powers_within_limits_leaves_a_session(files, tmp_path):
    path = tmp_path / "drawn.onnx"
    path.write_bytes(files["weight"])
    opened = InferenceSession(path)
    level = st.floats(-300, 300)

    @given(st.integers(1, 4), level, level, st.floats(-30, 30), st.data())
    def tried(links, direct, across, noise, data):
        gain = np.full((links, links), 10.0**across)
        np.fill_diagonal(gain, 10.0**direct)
        active = np.array(data.draw(st.lists(st.booleans(), min_size=links, max_size=links)))
        active[0] = True
        allocation = opened.allocate(gain=gain, noise_power_w=10.0**noise, max_power_w=0.5, active=active)
        power = allocation.action["power_w"]
        assert allocation.feasible
        assert np.isfinite(power).all()
        assert (power >= 0).all()
        assert (power <= 0.5 * (1 + 1e-6)).all()
        assert not power[~active].any()

    tried()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": np.ones((2, 3))}, r"gain: must be square and not empty, of shape .*, received \[2, 3\]"),
        ({"gain": 1e-9}, r"gain: must be square and not empty, of shape .*, received \[\]"),
        ({"gain": np.ones((0, 0))}, r"gain: must be square and not empty, of shape .*, received \[0, 0\]"),
        ({"gain": [[1.0, np.nan], [1.0, 1.0]]}, r"gain: must be finite and not negative, received nan at \[0, 1\]"),
        ({"gain": [[1.0, 1.0], [-1.0, 1.0]]}, r"gain: must be finite and not negative, received -1.0 at \[1, 0\]"),
        ({"gain": [[1.0, 1.0], [1.0, 0.0]]}, r"direct gain: must be positive and finite, received 0.0 at \[1\]"),
        ({"gain": [["a"]]}, r"gain: must be an array of numbers, received one of <U1"),
        ({"noise_power_w": -1e-13}, r"noise_power_w: must be positive and finite, received -1e-13 at \[\]"),
        ({"max_power_w": [0.01, np.inf, 0.01]}, r"max_power_w: must be positive and finite, received inf at \[1\]"),
        ({"max_power_w": [0.01]}, r"max_power_w: must have shape \[3\], or be one for all, received \[1\]"),
        ({"weight": [1.0, -2.0, 1.0]}, r"weight: must be finite and not negative, received -2.0 at \[1\]"),
        ({"priority": np.nan}, r"priority: must be finite and not negative, received nan at \[0\]"),
        ({"active": False}, r"active: must hold at least one active link, received none$"),
        ({"active": [1, 1, 1]}, r"active: must be an array of truth values, received one of int64"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(session, change, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        session().allocate(**GOOD | change)
    assert "\n" not in str(caught.value)


def test_who_is_idle_in_a_batch_is_told(session):
    with pytest.raises(ValueError, match=r"^active: .*, received none at \[1\]$"):
        session().allocate(**GOOD | {"gain": [GOOD["gain"]] * 2, "active": [[True] * 3, [False] * 3]})


def test_a_file_of_an_unknown_condition_is_refused(session):
    def other(model):
        return write(model, read(model) | {"deployment": {"service": "links", "condition": "hunger"}})

    with pytest.raises(ValueError, match=r"^path: must tell what the links service needs.*condition"):
        session(alter=other)


def test_a_session_of_links_needs_no_torch(files, tmp_path):
    path = tmp_path / "policy.onnx"
    path.write_bytes(files["weight"])
    code = f"""
import sys
sys.modules["torch"] = None
from torchrrm.deploy import InferenceSession
print(InferenceSession({str(path)!r}, kind="sum-rate").allocate(**{GOOD!r}).feasible)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_ratios_above_150_db_saturate_as_in_the_problem():
    gain = 10 ** (24 * torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    _, prepared = PowerService({"condition": None}).prepare(gain=gain, noise_power_w=0.5, max_power_w=2.0)
    wanted = relative_gain(link_instance(gain, noise_power_w=0.5, max_power_w=2.0))
    assert (wanted == 1e15).any()
    np.testing.assert_allclose(prepared.relative_gain[0], wanted)
