"""The slice policy: feasible by construction, blind to order and padding, one set of weights for all kinds."""

import numpy as np
import pytest
import torch
from tests.kernels import cases
from tests.testing.slices import one_slice

from torchrrm.channels import hml_scenario
from torchrrm.policies import PreparedSlice, SliceGNN
from torchrrm.problems import KINDS, QoS, SliceBandwidth, SliceInstance, slice_instance
from torchrrm.records import index, map_tensors, pad, replace, stack

FEATURES = ("raw", "log", "marginal")


def slices(problem: SliceBandwidth, users: int, count: int = 4, rate: float = 10e6) -> SliceInstance:
    generator = torch.Generator().manual_seed(users)
    draw = hml_scenario().sample(count, transmitters=users, receivers=2, generator=generator)
    gain = draw.large_scale_gain if problem.qos is QoS.EFFECTIVE_CAPACITY else draw.gain
    return slice_instance(gain[:, 0], gain[:, 1], min_rate_bps=rate)


def policy_of(kind: str, features: str) -> SliceGNN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SliceGNN(KINDS[kind], features)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("users", "rate"), [(1, 10e6), (2, 10e6), (50, 10e6), (1000, 1e5)])
def test_no_weights_violate_a_constraint(kind: str, features: str, users: int, rate: float) -> None:
    problem, instance = KINDS[kind], slices(KINDS[kind], users, 2, rate)
    with torch.no_grad():
        action = policy_of(kind, features)(instance)
        violation = problem.evaluate(instance, action).violation
    assert violation["bandwidth"].max() <= 1e-6
    assert violation["min_rate"].max() <= 1e-5
    assert violation["sign"].max() <= 0


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", ["data-rate", "secrecy-short"])
def test_order_and_padding_of_users(kind: str, features: str) -> None:
    policy, instance = policy_of(kind, features), slices(KINDS[kind], 12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = map_tensors(lambda tensor: tensor[..., order] if tensor.ndim == 2 else tensor, instance)
    with torch.no_grad():
        width = policy(instance).bandwidth_hz
        torch.testing.assert_close(policy(shuffled).bandwidth_hz, width[:, order], rtol=1e-5, atol=10.0)
        padded = policy(pad(instance, user=20)).bandwidth_hz
    torch.testing.assert_close(padded[:, :12], width, rtol=1e-5, atol=10.0)
    assert not padded[:, 12:].any()


@pytest.mark.parametrize("features", FEATURES)
def test_gradients_reach_every_layer(features: str) -> None:
    policy, instance = policy_of("data-rate", features), slices(KINDS["data-rate"], 10)
    objective = policy.problem.evaluate(instance, policy(instance)).objective
    objective.mean().backward()
    weights = [value for name, value in policy.named_parameters() if name.endswith("weight")]
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in weights)


def test_one_set_of_weights_serves_all_kinds() -> None:
    policy = policy_of("data-rate", "marginal")
    for problem in KINDS.values():
        other = policy.serving(problem)
        assert other.problem is problem
        assert all(a is b for a, b in zip(policy.parameters(), other.parameters(), strict=True))
    assert policy.problem is KINDS["data-rate"]


def test_preparation_is_done_once() -> None:
    policy, instance = policy_of("secrecy", "log"), slices(KINDS["secrecy"], 8)
    prepared = policy.prepare(instance)
    assert isinstance(prepared, PreparedSlice)
    assert policy.prepare(prepared) is prepared
    torch.testing.assert_close(policy(prepared).bandwidth_hz, policy(instance).bandwidth_hz)


@pytest.mark.parametrize("features", FEATURES)
def test_slices_that_nobody_fits_in_get_nothing(features: str) -> None:
    instance = slices(KINDS["secrecy"], 5)
    tiny = replace(instance, bandwidth_hz=torch.full_like(instance.bandwidth_hz, 10.0))
    assert not policy_of("secrecy", features)(tiny).bandwidth_hz.any()


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
def test_features_and_gradients_are_finite_for_any_slice(kind: str, features: str) -> None:
    """180 dB of SNR, 1 bit/s to 1 Gbit/s, 1 kHz to 1 GHz, in float32."""
    rng = np.random.default_rng(0)
    drawn = [one_slice(cases.extreme(rng, 7, "secrecy" in kind), torch.float32) for _ in range(40)]
    instance, policy = stack(drawn), policy_of(kind, features)
    assert torch.isfinite(policy.prepare(instance).features).all()
    result = policy.problem.evaluate(instance, policy(instance))
    (result.objective / instance.bandwidth_hz).mean().backward()
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in policy.parameters())


@pytest.mark.parametrize("features", FEATURES)
def test_batches_of_any_shape(features: str) -> None:
    policy, instance = policy_of("secrecy", features), slices(KINDS["secrecy"], 6, 6)
    width = policy(instance).bandwidth_hz
    grid = policy(map_tensors(lambda tensor: tensor.reshape(2, 3, *tensor.shape[1:]), instance)).bandwidth_hz
    torch.testing.assert_close(grid.reshape(6, 6), width, rtol=1e-5, atol=10.0)
    torch.testing.assert_close(policy(index(instance, 4)).bandwidth_hz, width[4], rtol=1e-5, atol=10.0)


def test_arguments_rebuild_the_policy() -> None:
    policy, instance = policy_of("secrecy", "log"), slices(KINDS["secrecy"], 5)
    twin = SliceGNN(**policy.arguments)
    twin.load_state_dict(policy.state_dict())
    assert torch.equal(twin(instance).bandwidth_hz, policy(instance).bandwidth_hz)


def test_the_papers_network_has_the_papers_layers() -> None:
    widths = [
        tuple(value.shape)
        for name, value in policy_of("secrecy", "raw").named_parameters()
        if "weight" in name
    ]
    assert widths == [(32, 2), (64, 32), (64, 64), (32, 64), (1, 32)]


def test_bad_arguments_are_told() -> None:
    with pytest.raises(ValueError, match="features: must be one of"):
        SliceGNN("secrecy", "phase")
    with pytest.raises(ValueError, match="problem: must be one of"):
        SliceGNN("latency")
