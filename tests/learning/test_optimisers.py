import math

import pytest
import torch
from tests.learning.toy import seeded
from torch.func import grad_and_value

from torchrrm.learning import DescentSettings, adam, ascent
from torchrrm.learning.optimisers import clip, gradient_and_value, rate_at


def bowl(parameters):
    return (parameters["a"] ** 4).sum() + (parameters["b"] * parameters["a"][0]).cos().sum()


def start(dtype=torch.float32):
    generator = seeded()
    return {name: torch.randn(3, generator=generator, dtype=dtype) for name in ("a", "b")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["adam", "ascent"])
def test_steps_equal_those_of_torch_optim(name, dtype):
    parameters = start(dtype)
    leaves = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    rate = 0.05
    if name == "adam":
        optimiser, oracle = adam(), torch.optim.Adam(leaves.values(), lr=rate)
    else:
        optimiser, oracle = ascent(), torch.optim.SGD(leaves.values(), lr=rate)
    state = optimiser.init(parameters)
    for _ in range(50):
        oracle.zero_grad()
        bowl(leaves).backward()
        oracle.step()
        gradients, _ = gradient_and_value(bowl, parameters)
        parameters, state = optimiser.update(gradients, state, parameters, rate)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    for key, value in parameters.items():
        torch.testing.assert_close(value, leaves[key].detach(), rtol=tolerance, atol=tolerance)


def test_stacked_parameters_take_their_own_steps():
    optimiser, one, two = adam(), start(), {name: -2.0 * value for name, value in start().items()}
    together = {name: torch.stack([one[name], two[name]]) for name in one}

    def run(parameters, gradient):
        state = optimiser.init(parameters)
        for _ in range(10):
            parameters, state = optimiser.update(gradient(parameters), state, parameters, 0.1)
        return parameters

    def gradient(parameters):
        return gradient_and_value(bowl, parameters)[0]

    stacked = run(together, torch.func.vmap(torch.func.grad(bowl)))
    for i, single in enumerate((run(one, gradient), run(two, gradient))):
        torch.testing.assert_close({name: value[i] for name, value in stacked.items()}, single)


def test_update_changes_nothing_it_is_given():
    optimiser, parameters = adam(), start()
    state = optimiser.init(parameters)
    gradients, _ = gradient_and_value(bowl, parameters)
    before = {name: value.clone() for name, value in (parameters | state).items()}
    optimiser.update(gradients, state, parameters, 0.1)
    assert all(torch.equal(value, before[name]) for name, value in (parameters | state).items())


def test_gradient_and_value_agrees_with_torch_func():
    ours, value = gradient_and_value(bowl, start())
    theirs, expected = grad_and_value(bowl)(start())
    torch.testing.assert_close((ours, value), (theirs, expected))


def test_parameters_that_the_loss_does_not_use_have_zero_gradient():
    gradients, _ = gradient_and_value(lambda parameters: parameters["a"].sum(), start())
    assert torch.equal(gradients["b"], torch.zeros(3))


def test_clip_bounds_the_norm_over_all_gradients_and_keeps_the_direction():
    gradients = {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}
    clipped = clip(gradients, 1.0)
    torch.testing.assert_close(clipped, {"a": torch.tensor([0.6]), "b": torch.tensor([0.8])})
    assert clip(gradients, None) is gradients
    torch.testing.assert_close(clip(gradients, 6.0), gradients)
    zero = {"a": torch.zeros(2)}
    torch.testing.assert_close(clip(zero, 1.0), zero)


def test_cosine_schedule_falls_from_the_learning_rate_to_zero():
    settings = DescentSettings(steps=100, learning_rate=0.2, schedule="cosine")
    rates = [rate_at(settings, step) for step in range(101)]
    assert rates[0] == 0.2
    assert rates[50] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.0, abs=1e-15)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("optimiser", "sgd"),
        ("schedule", "step"),
        ("clip_norm", 0.0),
    ],
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        DescentSettings(**{name: value})
