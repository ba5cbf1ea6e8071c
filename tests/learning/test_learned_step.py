import dataclasses
import math

import pytest
import torch
from tests.learning.toy import seeded, toy_loss, toy_tasks
from torch import nn

from torchrrm.learning import (
    LearnedStep,
    MetaSettings,
    OverSlots,
    PolicyLoss,
    RetrainSettings,
    RunSettings,
    adapt,
    adopt,
    draw_episode,
    meta_gradient,
    meta_train,
    parameters_of,
    retrain,
)
from torchrrm.problems import ErgodicPower, Evaluation, PowerAction, Task, ergodic_instance
from torchrrm.records import tensor_record

SMALL = MetaSettings(
    method="maml",
    inner_steps=2,
    support_tasks=3,
    query_tasks=2,
    support_samples=5,
    query_samples=4,
    vectorised=False,
)


def learned_loss(dtype=torch.float32, step=0.3):
    loss = toy_loss(dtype)
    return dataclasses.replace(loss, policy=LearnedStep(loss.policy, step))


def test_step_is_positive_and_has_no_part_in_what_the_policy_does():
    plain = toy_loss().policy
    policy = LearnedStep(plain, 0.3)
    instance = toy_tasks()[0].sample(4, generator=seeded())
    assert policy.step.item() == pytest.approx(0.3)
    assert torch.equal(policy(instance).share, plain(instance).share)
    with pytest.raises(ValueError, match=r"^step: must be positive and finite, received 0"):
        LearnedStep(toy_loss().policy, 0.0)


def test_a_given_rate_and_a_learned_one_of_that_value_give_the_same():
    learned, given = learned_loss(torch.float64), toy_loss(torch.float64)
    episode = draw_episode(toy_tasks(dtype=torch.float64), SMALL, generator=seeded())
    settings = dataclasses.replace(SMALL, inner_learning_rate=0.3)
    expected, value = meta_gradient(given, parameters_of(given.policy), episode, settings)
    gradients, other = meta_gradient(learned, parameters_of(learned.policy), episode, SMALL)
    torch.testing.assert_close(other, value)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[f"policy.{name}"], gradient)


@pytest.mark.parametrize("vectorised", [False, True])
def test_gradient_of_the_step_agrees_with_finite_differences(vectorised):
    loss, tasks = learned_loss(torch.float64), toy_tasks(dtype=torch.float64)
    settings = dataclasses.replace(SMALL, vectorised=vectorised)
    episode = draw_episode(tasks, settings, generator=seeded())
    parameters = parameters_of(loss.policy)
    gradients, _ = meta_gradient(loss, parameters, episode, settings)

    def meta_loss(log_step):
        total = 0.0
        for support, query in zip(episode.support, episode.query, strict=True):
            theta = adapt(loss, parameters, support.problem, support.instance, math.exp(log_step))
            total += sum(loss(theta, each.problem, each.instance).item() for each in query) / len(query)
        return total / len(episode.support)

    middle, width = math.log(0.3), 1e-5
    slope = (meta_loss(middle + width) - meta_loss(middle - width)) / (2 * width)
    assert gradients["log_step"].item() == pytest.approx(slope, rel=1e-7)
    assert abs(slope) > 1e-4


def test_a_step_is_not_learned_without_second_derivatives():
    loss, settings = learned_loss(), dataclasses.replace(SMALL, first_order=True)
    episode = draw_episode(toy_tasks(), settings, generator=seeded())
    with pytest.raises(ValueError, match=r"^first_order: must be off for a policy in LearnedStep"):
        meta_gradient(loss, parameters_of(loss.policy), episode, settings)


@tensor_record
class Place:
    target: torch.Tensor
    active: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Parabola:
    """`-curvature / 2 |x - target|^2`, whose best step is one over the curvature, from anywhere."""

    curvature: float = 4.0

    def evaluate(self, instance, action, /):
        value = -self.curvature / 2 * (action - instance.target).square().sum(-1)
        return Evaluation(objective=value, utility=value[..., None], violation={})


class Guess(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.ones(2))

    def forward(self, instance):
        return self.x.expand_as(instance.target)


def mean_loss(problem, instance, action):
    return -problem.evaluate(instance, action).objective.mean()


def test_step_of_a_quadratic_comes_to_one_over_its_curvature():
    @dataclasses.dataclass(frozen=True)
    class Draw:
        target: tuple[float, float]

        def __call__(self, batch_size, *, generator):
            target = torch.tensor(self.target).expand(batch_size, 2)
            return Place(target=target, active=torch.ones_like(target, dtype=torch.bool))

    def draw(generator):
        x, y = torch.randn(2, generator=generator).tolist()
        return Task(Parabola(), Draw((x, y)))

    policy = LearnedStep(Guess(), 0.05)
    settings = MetaSettings(
        method="maml", steps=150, learning_rate=0.04, support_tasks=4, query_tasks=1, support_samples=1,
        query_samples=1,
    )  # fmt: skip
    losses = meta_train(PolicyLoss(policy, mean_loss), draw, settings, generator=seeded())
    assert policy.step.item() == pytest.approx(1 / 4.0, rel=0.02)
    assert losses[-1] < 1e-2 < losses[0]


def test_meta_training_with_the_step_resumes_bit_by_bit(tmp_path):
    settings = dataclasses.replace(SMALL, steps=8, learning_rate=0.01, vectorised=True)
    whole, parts = learned_loss(), learned_loss()
    expected = meta_train(whole, toy_tasks(), settings, generator=seeded())
    run = RunSettings(checkpoint=tmp_path / "meta.safetensors", checkpoint_every=3)
    meta_train(parts, toy_tasks(), dataclasses.replace(settings, steps=5), generator=seeded(), run=run)
    adopt(parts.policy, parameters_of(learned_loss(step=9.0).policy))
    assert torch.equal(meta_train(parts, toy_tasks(), settings, generator=seeded(4), run=run), expected)
    for name, value in parameters_of(whole.policy).items():
        assert torch.equal(value, parameters_of(parts.policy)[name])


class Shares(nn.Module):
    """Powers that know no channel: a sigmoid of one number a link."""

    def __init__(self):
        super().__init__()
        self.score = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, links):
        return PowerAction(power_w=torch.sigmoid(self.score) * links.max_power_w)


def two_links(demand, slots=30):
    def sample(batch_size, *, generator):
        gain = torch.empty(batch_size, slots, 2, 2, dtype=torch.float64).exponential_(generator=generator)
        instance = ergodic_instance(gain, noise_power_w=1.0, max_power_w=30.0)
        least = torch.tensor(demand, dtype=torch.float64).expand(batch_size, 2)
        return dataclasses.replace(instance, min_rate_bps_hz=least)

    return Task(ErgodicPower(), sample)


def test_an_iteration_of_retraining_is_the_printed_update():
    policy, task = OverSlots(Shares()), two_links((0.0, 2.0))
    start = parameters_of(policy)
    settings = RetrainSettings(step=1e-3, iterations=2)
    found = retrain(policy, start, task, settings, generator=seeded())
    generator, theta, average = seeded(), start["power.score"], None
    for iteration in range(2):
        instance = task.sample(1, generator=generator)
        leaf = theta.clone().requires_grad_()
        power = torch.sigmoid(leaf) * 30.0
        rate = ErgodicPower().rate(instance, power.expand(1, 30, 2))[0]
        average = rate.detach() if average is None else 0.7 * average + 0.3 * rate.detach()
        torch.testing.assert_close(found.rate_bps_hz[iteration], rate.detach())
        torch.testing.assert_close(found.average_bps_hz[iteration], average)
        weight = 1.0 + 100.0 * (average < torch.tensor([0.0, 2.0]))
        (gradient,) = torch.autograd.grad((weight * rate).sum(), leaf)
        theta = theta + 1e-3 / (1 + iteration) * gradient
    torch.testing.assert_close(found.parameters["power.score"], theta)
    assert torch.equal(parameters_of(policy)["power.score"], start["power.score"])


def test_retraining_moves_power_to_the_link_that_is_owed():
    policy = OverSlots(Shares())
    settings = RetrainSettings(step=0.05, iterations=60)
    found = retrain(policy, parameters_of(policy), two_links((0.5, 2.5), 200), settings, generator=seeded())
    assert found.rate_bps_hz.shape == found.average_bps_hz.shape == (60, 2)
    assert found.average_bps_hz[0, 1] < 2.0
    assert found.average_bps_hz[-1, 1] > 2.4


@pytest.mark.parametrize(
    ("name", "value"), [("step", 0.0), ("iterations", 0), ("decay", 1.0), ("penalty", -1.0)]
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        RetrainSettings(**{"step": 0.1, name: value})
