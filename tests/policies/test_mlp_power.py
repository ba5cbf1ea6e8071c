"""Centralised power network: its size, its numbering of links, its demands, and what batch normalisation asks for."""

from dataclasses import replace

import pytest
import torch
from tests.testing import links

from torchrrm.deploy import InferenceSession, export
from torchrrm.policies import CentralPower, load_policy, save_weights
from torchrrm.policies.mlp_power import channel_level
from torchrrm.problems import LinkInstance
from torchrrm.records import index, to

SIZE = 6  # of the instances of tests.testing.links


def policy(hidden=(16, 12), *, normalised: bool = True, **options) -> CentralPower:
    """Random weights; running averages as training leaves them."""
    torch.manual_seed(0)
    made = CentralPower(SIZE, hidden, **options)
    if normalised:
        with torch.no_grad():
            made.train()(sample(64, seed=9), *([torch.rand(64, SIZE)] if made.demands else []))
    return made.eval()


def sample(count: int = 5, *, seed: int = 0) -> LinkInstance:
    generator = torch.Generator().manual_seed(seed)
    instance = links.sample(count, generator=generator)
    active = torch.rand(count, SIZE, generator=generator) < 0.8
    return replace(instance, active=active)


def renumbered(instance: LinkInstance, order: torch.Tensor) -> LinkInstance:
    return replace(
        instance,
        gain=instance.gain[..., order, :][..., order],
        **{name: getattr(instance, name)[..., order] for name in ("max_power_w", "weight", "active")},
    )


def test_widths_are_those_of_the_paper():
    made = CentralPower(20)
    shapes = [tuple(m.weight.shape) for m in made.modules() if isinstance(m, torch.nn.Linear)]
    assert shapes == [(400, 400), (200, 400), (20, 200)]
    assert sum(isinstance(m, torch.nn.BatchNorm1d) for m in made.modules()) == 2


def test_level_is_a_logarithm_of_order_one():
    ratio = torch.tensor([0.0, 1.0, 1023.0])
    torch.testing.assert_close(channel_level(ratio), torch.tensor([0.0, 0.1, 1.0]))


@pytest.mark.parametrize("demands", [False, True])
@pytest.mark.parametrize("sort", [False, True])
def test_powers_are_within_limits_and_of_active_links_alone(sort, demands):
    made, instance = policy(sort=sort, demands=demands), sample()
    owed = [torch.rand(5, SIZE)] if demands else []
    power = made(instance, *owed).power_w
    assert (power[~instance.active] == 0).all()
    assert (power[instance.active] > 0).all()
    assert (power <= instance.max_power_w).all()
    assert power.std() > 0
    # What is said of links that pause does not matter.
    both = instance.active[:, :, None] & instance.active[:, None, :]
    noise = torch.where(both, instance.gain, torch.nan)
    assert torch.equal(made(replace(instance, gain=noise), *owed).power_w, power)


def test_renumbered_links_get_renumbered_powers_if_sorted():
    instance, order = sample(), torch.tensor([3, 0, 5, 1, 4, 2])
    for sort, same in ((True, True), (False, False)):
        made = policy(sort=sort)
        moved = made(renumbered(instance, order)).power_w
        assert torch.allclose(moved, made(instance).power_w[:, order]) is same
    made, owed = policy(demands=True), torch.rand(5, SIZE)
    moved = made(renumbered(instance, order), demands=owed[:, order]).power_w
    torch.testing.assert_close(moved, made(instance, demands=owed).power_w[:, order])


def test_demands_and_channels_of_each_direction_are_read():
    made, instance, owed = policy(demands=True), sample(), torch.rand(SIZE)
    power = made(instance, demands=owed).power_w
    assert not torch.allclose(made(instance, demands=owed.flip(0)).power_w, power)
    assert not torch.allclose(made(replace(instance, gain=instance.gain.mT), demands=owed).power_w, power)


def test_any_batch_shape_and_precision():
    made, instance = policy(), sample(6)
    whole = made(instance).power_w
    alone = torch.stack([made(index(instance, i)).power_w for i in range(6)])
    torch.testing.assert_close(alone, whole)
    shaped = LinkInstance(**{name: value.unflatten(0, (2, 3)) for name, value in vars(instance).items()})
    torch.testing.assert_close(made(shaped).power_w, whole.unflatten(0, (2, 3)))
    double = made.double()(to(instance, dtype=torch.float64)).power_w
    torch.testing.assert_close(double.float(), whole)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CentralPower(0), "links: must be at least 1, received 0"),
        (lambda: CentralPower(5, (25,))(sample()), "instance: must have 5 links, received 6"),
        (lambda: policy()(sample(), torch.ones(6)), "demands: must be none for a policy that does not read"),
        (lambda: policy(demands=True)(sample()), "demands: must be those of 6 links, received none"),
        (
            lambda: policy(demands=True)(sample(), torch.ones(5)),
            r"demands: must be those of 6 links, received \[5\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_new_policy_serves():
    """Alone, and twice alike: batch normalisation takes its running averages."""
    made, instance = CentralPower(SIZE, (8,)), index(sample(), 0)
    assert not made.training
    assert torch.equal(made(instance).power_w, made(instance).power_w)


@pytest.mark.parametrize("demands", [False, True])
def test_its_exported_graph_serves_the_same_powers_without_torch(tmp_path, demands):
    pytest.importorskip("onnxruntime")
    made, instance, owed = policy(demands=demands), sample(), torch.rand(5, SIZE)
    power = made(instance, *([owed] if demands else [])).power_w.detach()
    session = InferenceSession(export(made, tmp_path / "policy.onnx"), kind="sum-rate")
    fields = {name: value.numpy() for name, value in vars(instance).items()}
    found = session.allocate(**fields, **({"demand_bps_hz": owed.numpy()} if demands else {}))
    assert not found.fallback.any()
    torch.testing.assert_close(torch.from_numpy(found.action["power_w"]).float(), power, rtol=1e-4, atol=1e-7)
    with pytest.raises(ValueError, match="gain: must be that of 6 links, received 2") as caught:
        session.allocate(gain=[[1.0, 0.1], [0.1, 1.0]], noise_power_w=1.0, max_power_w=1.0)
    assert "\n" not in str(caught.value)


def test_weights_are_kept_with_their_running_averages(tmp_path):
    made, instance = policy(sort=False), sample()
    save_weights(tmp_path / "policy.safetensors", made, {})
    loaded = load_policy(str(tmp_path / "policy.safetensors"))
    assert torch.equal(loaded(instance).power_w, made(instance).power_w)
