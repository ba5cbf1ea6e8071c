"""Algorithm 2 of [He2022USRMNet]: its loss, its multipliers, layer by layer, and runs that go on."""

import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import Bool, Float
from tests.learning.toy import seeded
from torch import Tensor, nn

from torchrrm.learning import (
    CheckpointError,
    LayerwiseSettings,
    RunSettings,
    multitask_loss,
    train_layers,
)
from torchrrm.policies.unrolled import ConstrainedProgram, UPGDNet, onto_budget, unroll
from torchrrm.policies.weights import read_tensors
from torchrrm.records import tensor_record

SETTINGS = LayerwiseSettings(epochs=3, batch_size=4, learning_rate=1e-2, multiplier_rate=0.1)


@tensor_record
class Gains:
    gain: Float[Tensor, "*batch user"]
    active: Bool[Tensor, "*batch user"]


@tensor_record
class Shares:
    x: Float[Tensor, "*batch user 1"]


class Net(nn.Module):
    def __init__(self, positive):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        self.positive = positive

    def forward(self, node):
        return nn.functional.softplus(self.net(node)) if self.positive else self.net(node)


class Sharing(nn.Module):
    """Shares of a budget of 1 with diminishing returns; every user is owed 0.2 of it."""

    def __init__(self, depth=2):
        super().__init__()
        self.arguments = {"depth": depth}
        self.layers = nn.ModuleList(UPGDNet(Net(True), Net(False)) for _ in range(depth))

    def begin(self, instance):
        return Shares(x=torch.full_like(instance.gain, 0.25)[..., None])

    def describe(self, instance, state):
        gain = instance.gain
        return ConstrainedProgram(
            start=state.x,
            objective=lambda x: -torch.log1p(gain * x[..., 0]).sum(-1),
            projections=(onto_budget(0, 1.0, instance.active),),
            coupled=lambda x: {"owed": 0.2 - x[..., 0]},
            features=lambda x: (torch.stack([gain, x[..., 0]], dim=-1),),
            active=instance.active,
        )

    def advance(self, instance, state, x):
        return Shares(x=x)


def policy(depth=2):
    torch.manual_seed(0)
    return Sharing(depth)


def gains(count, seed, users=3):
    gain = 5 * torch.rand(count, users, generator=seeded(seed))
    return Gains(gain=gain, active=torch.ones(count, users, dtype=torch.bool))


def go(made=None, settings=SETTINGS, run=None):
    made = made or policy()
    return made, train_layers(made, gains(10, 1), gains(6, 2), settings, generator=seeded(3), run=run)


def test_the_loss_is_19_by_hand():
    objective = torch.tensor([-1.0, -2.0])
    violation = {"a": torch.tensor([[0.1, 0.0], [0.3, 0.2]]), "b": torch.tensor([[0.0, 1.0], [0.0, 0.0]])}
    multiplier = {"a": torch.tensor([2.0, 4.0]), "b": torch.tensor([0.5])}
    scale = torch.tensor([1.0, -2.0])
    first = (math.exp(-1) + math.exp(-2)) / 2
    second = (2 * 0.1 + 0.5 * 1.0 + 2 * 0.3 + 4 * 0.2) / 2
    wanted = math.exp(-0.5) * first + math.exp(1) * second + math.exp(0.5) + math.exp(-1)
    assert multitask_loss(objective, violation, multiplier, scale).item() == pytest.approx(wanted)


def test_scales_settle_at_the_logarithms_of_the_tasks():
    """Where the loss is least by `s`, `e^s` is the task's value."""
    scale = torch.tensor([math.log(0.25), math.log(3.0)], requires_grad=True)
    loss = multitask_loss(
        torch.tensor([math.log(0.25)]), {"a": torch.tensor([[3.0]])}, {"a": torch.ones(1)}, scale
    )
    assert torch.autograd.grad(loss, scale)[0].abs().max() < 1e-6


@pytest.mark.parametrize("shared", [False, True])
def test_multipliers_move_by_the_mean_of_the_positive_part(shared, tmp_path):
    """One step of one batch, read from its checkpoint; the violation is that before the step of the networks."""
    made, instances = policy(1), gains(10, 1)
    with torch.no_grad():
        program = made.describe(instances, made.begin(instances))
        mean = (0.2 - made.layers[0](program)[..., 0]).clamp_min(0).mean(0)
    settings = replace(SETTINGS, epochs=1, batch_size=10, shared=shared)
    go(made, settings, RunSettings(checkpoint=tmp_path / "run.safetensors"))
    found = read_tensors(tmp_path / "run-layer1.safetensors")[0]["buffers:multiplier_owed"]
    torch.testing.assert_close(found, 0.1 * (mean.mean(0, keepdim=True) if shared else mean))


def test_a_step_is_adam_on_the_loss():
    made, other, instances = policy(1), policy(1), gains(10, 1)
    settings = replace(SETTINGS, epochs=1, batch_size=10)
    _, history = go(made, settings)
    scale = nn.Parameter(torch.tensor([1.0, 1.0]))
    adam = torch.optim.Adam([*other.parameters(), scale], lr=1e-2)
    program = other.describe(instances, other.begin(instances))
    x = other.layers[0](program)
    loss = multitask_loss(program.objective(x), program.violation(x), {"owed": torch.zeros(3)}, scale)
    loss.backward()
    adam.step()
    assert history.losses[0, 0].item() == pytest.approx(loss.item(), rel=1e-6)
    for mine, value in zip(made.parameters(), other.parameters(), strict=True):
        assert value.grad is not None
        moved = value.grad.abs() > 1e-6  # Adam's first step is a sign, that of rounding elsewhere
        torch.testing.assert_close(mine[moved], value[moved])
    torch.testing.assert_close(history.scale[0, 0], scale.detach().double())


def test_layers_are_trained_one_after_the_other_and_then_left_alone():
    """The first of two layers ends as the only one of a policy of one."""
    deep, deep_history = go(policy(2))
    single = policy(2)
    single.layers = single.layers[:1]
    before = [value.clone() for value in policy(2).layers[1].parameters()]
    single, history = go(single)
    for one, other in zip(deep.layers[0].parameters(), single.layers[0].parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(deep_history.losses[0], history.losses[0])
    assert not all(torch.equal(a, b) for a, b in zip(before, deep.layers[1].parameters(), strict=True))


def test_history_is_that_of_instances_not_trained_on():
    made, history = go(policy(2))
    checks = gains(6, 2)
    for layer in range(2):
        with torch.no_grad():
            program = made.describe(checks, unroll(made, checks, layer))
            x = made.layers[layer](program)
        violation = program.violation(x)["owed"].double()
        last = history.objective[layer, -1], history.violation[layer, -1], history.kept[layer, -1]
        torch.testing.assert_close(last[0], -program.objective(x).double().mean())
        torch.testing.assert_close(last[1], violation.mean())
        torch.testing.assert_close(last[2], (violation == 0).all(-1).double().mean())
    assert history.losses.shape == (2, 9)
    assert history.scale.shape == (2, 3, 2)
    torch.testing.assert_close(history.loss[1, 2], history.losses[1, 6:].mean())


def test_it_learns_to_keep_what_is_owed():
    settings = LayerwiseSettings(epochs=60, batch_size=32, learning_rate=1e-2, multiplier_rate=0.5)
    made, checks = policy(1), gains(200, 2)
    history = train_layers(made, gains(256, 1), checks, settings, generator=seeded(3))
    assert history.violation[0, -1] < 2e-3
    least = torch.log1p(checks.gain / 3).sum(-1).double().mean()  # equal shares keep it, too
    assert history.objective[0, -1] > 0.99 * least


def test_a_run_that_is_stopped_ends_bit_by_bit_the_same(tmp_path, monkeypatch):
    whole, wanted = go()
    run = RunSettings(checkpoint=tmp_path / "run.safetensors", checkpoint_every=2)
    stopped, steps = policy(), [0]
    forward = UPGDNet.forward

    def count(self, program):
        steps[0] += program.start.shape[0] <= 4
        if steps[0] == 14:  # the fifth step of the second layer
            raise KeyboardInterrupt
        return forward(self, program)

    monkeypatch.setattr(UPGDNet, "forward", count)
    with pytest.raises(KeyboardInterrupt):
        go(stopped, run=run)
    monkeypatch.setattr(UPGDNet, "forward", forward)
    resumed, found = go(policy(), run=run)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])
    for field, value in vars(wanted).items():
        assert torch.equal(value, getattr(found, field)), field


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run = RunSettings(checkpoint=tmp_path / "run.safetensors")
    go(run=run)
    with pytest.raises(CheckpointError, match="multiplier_rate"):
        go(settings=replace(SETTINGS, multiplier_rate=0.2), run=run)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("batch_size", 0), ("multiplier_rate", -1.0)])
def test_bad_settings_are_told(name, value):
    with pytest.raises(ValueError, match=f"{name}: must be"):
        LayerwiseSettings(**{name: value})
