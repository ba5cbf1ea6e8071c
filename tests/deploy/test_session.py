import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.deploy.exported import model_of, read, scale_output, slice_policy, write
from tests.testing.slices import sample

from torchrrm.deploy import InferenceSession
from torchrrm.kernels import get_threads
from torchrrm.problems import KINDS, SliceAction, SliceInstance
from torchrrm.records import index, map_tensors, to
from torchrrm.solvers import EqualSurplus

GOOD = {
    "cn0_hz": [1e9, 1e8, 1e7],
    "eavesdropper_cn0_hz": [1e6, 1e5, 1e5],
    "min_rate_bps": 1e6,
    "bandwidth_hz": 20e6,
}


def arrays(instance: SliceInstance) -> dict:
    return {name: value.numpy() for name, value in vars(instance).items()}


@pytest.mark.parametrize("features", ["raw", "log", "marginal"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_session_allocates_as_the_policy_does(exported, kind, features, generator):
    problem, policy = KINDS[kind], slice_policy(features, kind)
    session = InferenceSession(exported(features, kind), kind=kind)
    instance = to(sample(40, generator=generator), dtype=torch.float64)
    allocation = session.allocate(**arrays(instance))
    with torch.no_grad():
        wanted = policy(to(instance, dtype=torch.float32)).bandwidth_hz.numpy()
    limit = instance.bandwidth_hz[:, None].numpy()
    np.testing.assert_allclose(allocation.action["bandwidth_hz"] / limit, wanted / limit, atol=2e-5)
    schedule = problem.schedule(instance)
    assert np.array_equal(allocation.scheduled, schedule.active.numpy())
    assert allocation.feasible.all()
    assert not allocation.fallback.any()


@pytest.mark.parametrize("kind", KINDS)
def test_violations_are_those_of_the_problem(exported, kind, generator):
    session = InferenceSession(exported("raw", kind, lambda model: scale_output(model, 0.1)))
    instance = to(sample(40, generator=generator), dtype=torch.float64)
    refused = session.allocate(**arrays(instance)).refused
    with torch.no_grad():
        width = 0.1 * slice_policy("raw", kind)(to(instance, dtype=torch.float32)).bandwidth_hz.double()
    wanted = KINDS[kind].evaluate(instance, SliceAction(bandwidth_hz=width)).violation
    assert refused.keys() == wanted.keys() | {"unscheduled"}
    assert (refused["min_rate"] > 1e-3).any()
    np.testing.assert_allclose(refused["bandwidth"], wanted["bandwidth"], atol=1e-5)
    np.testing.assert_allclose(refused["min_rate"], wanted["min_rate"].amax(-1), atol=1e-4)
    np.testing.assert_allclose(refused["sign"], wanted["sign"].amax(-1), atol=1e-5)


def test_any_batch_shape_is_as_one_by_one(exported, generator):
    session = InferenceSession(exported("marginal"))
    instance = sample(6, generator=generator)
    together = session.allocate(**arrays(map_tensors(lambda t: t.reshape(2, 3, *t.shape[1:]), instance)))
    assert together.feasible.shape == together.fallback.shape == (2, 3)
    assert together.violation["min_rate"].shape == (2, 3)
    assert together.scheduled.shape == together.action["bandwidth_hz"].shape == (2, 3, 7)
    for number in range(6):
        alone = session.allocate(**arrays(index(instance, number)))
        assert alone.feasible.shape == ()
        assert alone.latency_s > 0
        place = np.unravel_index(number, (2, 3))
        width = together.action["bandwidth_hz"][place]
        np.testing.assert_allclose(alone.action["bandwidth_hz"], width, rtol=1e-5, atol=1.0)


def test_inactive_users_get_nothing_and_do_not_matter(exported):
    session = InferenceSession(exported("marginal"))
    wanted = session.allocate(**GOOD).action["bandwidth_hz"]
    padded = GOOD | {"cn0_hz": [1e9, 5e8, 1e8, 1e7], "eavesdropper_cn0_hz": [1e6, 0.0, 1e5, 1e5]}
    found = session.allocate(**padded, active=[True, False, True, True])
    np.testing.assert_allclose(found.action["bandwidth_hz"], np.insert(wanted, 1, 0.0), rtol=1e-6)
    assert found.scheduled.tolist() == [True, False, True, True]


def test_values_for_all_and_defaults(exported):
    session = InferenceSession(exported("log", "data-rate"))
    short = {"cn0_hz": [[1e9, 1e8, 1e7]] * 2, "min_rate_bps": 1000000, "bandwidth_hz": 20e6}
    full = {
        "cn0_hz": np.array(short["cn0_hz"]),
        "min_rate_bps": np.full((2, 3), 1e6),
        "bandwidth_hz": np.full(2, 20e6),
        "eavesdropper_cn0_hz": np.full((2, 3), 1e9),  # who listens does not matter to the data rate
        "active": np.ones((2, 3), bool),
    }
    found, wanted = session.allocate(**short), session.allocate(**full)
    assert np.array_equal(found.action["bandwidth_hz"], wanted.action["bandwidth_hz"])


@pytest.mark.parametrize("features", ["raw", "marginal"])
def test_a_slice_too_small_for_anybody_is_no_error(exported, features):
    allocation = InferenceSession(exported(features)).allocate(**GOOD | {"bandwidth_hz": 1e3})
    assert not allocation.scheduled.any()
    assert not allocation.action["bandwidth_hz"].any()
    assert allocation.feasible
    assert not allocation.fallback


@pytest.mark.parametrize("features", ["raw", "log", "marginal"])
@pytest.mark.parametrize("users", [1, 10, 1000])
def test_single_precision_of_the_network_keeps_the_constraints(exported, features, users, generator):
    session = InferenceSession(exported(features, "data-rate"))
    gain = 10.0 ** (7 + 4 * torch.rand(20, users, generator=generator, dtype=torch.float64))
    allocation = session.allocate(cn0_hz=gain.numpy(), min_rate_bps=1e4, bandwidth_hz=1e8)
    assert not allocation.fallback.any()
    assert allocation.feasible.all()


def nan(model):
    return scale_output(model, float("nan"))


@pytest.mark.parametrize(
    ("alter", "constraint"),
    [
        (nan, "bandwidth"),
        (lambda model: scale_output(model, float("inf")), "sign"),
        (lambda model: scale_output(model, 1.01), "bandwidth"),
        (lambda model: scale_output(model, 0.5), "min_rate"),
        (lambda model: scale_output(model, -1.0), "sign"),
    ],
)
def test_what_violates_a_constraint_is_refused_for_equal_surplus(exported, alter, constraint, generator):
    kind = "data-rate"
    instance = to(sample(20, generator=generator), dtype=torch.float64)
    allocation = InferenceSession(exported("log", kind, alter)).allocate(**arrays(instance))
    assert allocation.fallback.any()
    assert (allocation.refused[constraint][allocation.fallback] > 1e-5).any()
    assert allocation.feasible.all()
    assert (allocation.violation[constraint] <= 1e-5).all()
    wanted = EqualSurplus(KINDS[kind])(instance).bandwidth_hz.numpy()[allocation.fallback]
    np.testing.assert_allclose(allocation.action["bandwidth_hz"][allocation.fallback], wanted, rtol=1e-9)


def test_only_what_is_refused_falls_back(exported):
    """Half the bandwidth is enough where the surplus is large."""
    session = InferenceSession(exported("raw", "data-rate", lambda model: scale_output(model, 0.5)))
    good = session.allocate(cn0_hz=[[1e9, 1e9]] * 2, min_rate_bps=[[1e3] * 2, [1e8] * 2], bandwidth_hz=30e6)
    assert good.fallback.tolist() == [False, True]
    assert good.feasible.tolist() == [True, True]
    assert good.action["bandwidth_hz"].sum(-1) == pytest.approx([15e6, 30e6], rel=1e-6)


def test_nothing_but_finite_feasible_allocations_leaves_a_session(folder):
    path = folder / "drawn.onnx"
    path.write_bytes(model_of(folder, "marginal").SerializeToString())
    session = InferenceSession(path)
    exponent = st.floats(0, 12)

    @given(
        users=st.lists(st.tuples(exponent, exponent, st.floats(0, 9), st.booleans()), min_size=1, max_size=8),
        limit=st.floats(2, 9),
    )
    def drawn(users, limit):
        cn0, heard, rate, active = (np.array(column) for column in zip(*users, strict=True))
        allocation = session.allocate(
            cn0_hz=10**cn0,
            eavesdropper_cn0_hz=10**heard,
            min_rate_bps=10**rate,
            bandwidth_hz=10**limit,
            active=active,
        )
        width = allocation.action["bandwidth_hz"]
        assert np.isfinite(width).all()
        assert allocation.feasible
        assert not width[~allocation.scheduled].any()
        assert not (allocation.scheduled & ~active).any()

    drawn()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cn0_hz": [1e9, np.nan, 1e7]}, r"cn0_hz: must be finite and not negative, received nan at \[1\]"),
        ({"cn0_hz": [1e9, 1e8, -1.0]}, r"cn0_hz: must be finite and not negative, received -1.0 at \[2\]"),
        ({"cn0_hz": 1e9}, r"cn0_hz: must have shape \[\*batch, user\], not empty, received \[\]"),
        ({"cn0_hz": []}, r"cn0_hz: must have shape \[\*batch, user\], not empty, received \[0\]"),
        (
            {"cn0_hz": np.ones((0, 3))},
            r"cn0_hz: must have shape \[\*batch, user\], not empty, received \[0, 3\]",
        ),
        ({"cn0_hz": ["a", "b", "c"]}, r"cn0_hz: must be an array of numbers, received one of <U1"),
        ({"cn0_hz": [[1e9], [1e9, 1e8]]}, r"cn0_hz: must be an array of numbers, received rows of unequal"),
        ({"cn0_hz": [1j, 1j, 1j]}, r"cn0_hz: must be an array of numbers, received one of complex128"),
        (
            {"eavesdropper_cn0_hz": [1e6]},
            r"eavesdropper_cn0_hz: must have shape \[3\], or be one for all, received \[1\]",
        ),
        (
            {"eavesdropper_cn0_hz": None},
            r"eavesdropper_cn0_hz: must be given for the secrecy rate, received none",
        ),
        ({"min_rate_bps": np.inf}, r"min_rate_bps: must be finite and not negative, received inf at \[\]"),
        (
            {"min_rate_bps": [1e6, 1e6]},
            r"min_rate_bps: must have shape \[3\], or be one for all, received \[2\]",
        ),
        ({"bandwidth_hz": 0.0}, r"bandwidth_hz: must be positive and finite, received 0.0 at \[\]"),
        ({"bandwidth_hz": [1e6]}, r"bandwidth_hz: must have shape \[\], or be one for all, received \[1\]"),
        ({"active": [1, 1, 1]}, r"active: must be an array of truth values, received one of int64"),
        ({"active": [True]}, r"active: must have shape \[3\], or be one for all, received \[1\]"),
    ],
)
def test_bad_input_gets_one_line(exported, change, message):
    session = InferenceSession(exported("raw"))
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        session.allocate(**GOOD | change)
    assert "\n" not in str(caught.value)


def header_with(**changes):
    return lambda model: write(model, read(model) | changes)


def without_header(model):
    del model.metadata_props[:]
    return model


def renamed(model):
    model.graph.input[1].name = "least"
    for node in model.graph.node:
        node.input[:] = ["least" if name == "minimum_bandwidth_hz" else name for name in node.input]
    return model


def in_half(model):
    """The same inputs, of a precision that no policy has."""
    ports = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT16, s) for n, s in SHAPES.items()]
    output = onnx.helper.make_tensor_value_info("bandwidth_hz", onnx.TensorProto.FLOAT16, ["batch", "user"])
    node = onnx.helper.make_node("Identity", ["minimum_bandwidth_hz"], ["bandwidth_hz"])
    graph = onnx.helper.make_graph([node], "half", ports, [output])
    other = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return write(other, read(model))


SHAPES = {
    "features": ["batch", "user", 2],
    "minimum_bandwidth_hz": ["batch", "user"],
    "surplus_hz": ["batch"],
    "active": ["batch", "user"],
}


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (without_header, "must be exported by torchrrm, received .* without its header"),
        (lambda model: write(model, "{"), "must have a header of schema 1, received .* of no"),
        (lambda model: write(model, "[]"), "must have a header of schema 1, received .* of no"),
        (header_with(schema=9), "must have a header of schema 1, received .* of 9"),
        (header_with(policy=None), "must have a whole header, received .* whose policy is None"),
        (
            header_with(deployment={"service": "dreams"}),
            "must need a service of slicing, links, beams, association, received .* of dreams",
        ),
        (header_with(deployment={"service": "slicing"}), "must tell what the slicing service needs"),
        (header_with(inputs={}), "must have the graph that its header states"),
        (renamed, "must have the graph that its header states"),
        (in_half, "must take reals and truth values"),
    ],
)
def test_files_of_something_else_are_refused_in_one_line(exported, alter, message):
    path = exported(alter=alter)
    with pytest.raises(ValueError, match=f"^path: {message}") as caught:
        InferenceSession(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused_in_one_line(exported, part):
    path = exported()
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(
        ValueError, match=r"^path: must be (a whole \.onnx file|exported by torchrrm)"
    ) as caught:
        InferenceSession(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused_in_one_line(tmp_path):
    (tmp_path / "text.onnx").write_text("this is no network\n" * 100)
    with pytest.raises(ValueError, match=r"^path: must be a whole \.onnx file, received .*text\.onnx"):
        InferenceSession(tmp_path / "text.onnx")


@pytest.mark.parametrize("name", ["none.onnx", ""])
def test_paths_without_a_file_are_refused_in_one_line(name, tmp_path):
    with pytest.raises(ValueError, match=r"^path: must be a readable \.onnx file, received"):
        InferenceSession(tmp_path / name)


def test_a_file_of_another_policy_is_refused(exported):
    path = exported("raw", "secrecy")
    session = InferenceSession(path, policy="SliceGNN", kind="secrecy")
    assert session.header["arguments"]["features"] == "raw"
    with pytest.raises(ValueError, match=r"^kind: must be that of .*, secrecy, received data-rate$"):
        InferenceSession(path, kind="data-rate")
    with pytest.raises(ValueError, match=r"^policy: must be that of .*, SliceGNN, received Other$"):
        InferenceSession(path, policy="Other")


def test_threads(exported):
    before = get_threads()
    session = InferenceSession(exported(), threads=1)
    session.allocate(**GOOD)
    assert get_threads() == before
    with pytest.raises(ValueError, match=r"^threads: must be 1 to \d+ on this machine, received 0$"):
        InferenceSession(exported(), threads=0)


def test_a_missing_extra_is_named(exported, monkeypatch):
    path = exported()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ValueError, match=r"^onnxruntime: must be installed.*pip install 'torchrrm\[deploy\]'$"
    ):
        InferenceSession(path)


def test_a_session_needs_no_torch(exported):
    code = f"""
import sys
sys.modules["torch"] = None
sys.modules["onnx"] = None
from torchrrm.deploy import InferenceSession
from torchrrm.kernels import get_threads
session = InferenceSession({str(exported("marginal"))!r})
allocation = session.allocate(**{GOOD!r})
print(allocation.feasible, allocation.action["bandwidth_hz"].sum())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    feasible, total = done.stdout.split()
    assert feasible == "True"
    assert float(total) == pytest.approx(20e6, rel=1e-6)
