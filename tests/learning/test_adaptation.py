import dataclasses

import pytest
import torch
from tests.learning.toy import Draw, seeded, toy_loss, toy_tasks
from tests.testing.sharing import LogSharing
from torch.func import grad

from torchrrm.learning import (
    MetaSettings,
    RunSettings,
    adapt,
    adopt,
    draw_episode,
    meta_gradient,
    meta_train,
    parameters_of,
)
from torchrrm.learning.tasks import joint_loss
from torchrrm.problems.base import Task

SMALL = MetaSettings(
    inner_steps=2,
    inner_learning_rate=0.3,
    support_tasks=3,
    query_tasks=2,
    support_samples=5,
    query_samples=4,
    vectorised=False,
)


def meta_loss(loss, parameters, episode, settings):
    """The definition, written down step by step without torch.func transforms over the whole."""
    total = torch.zeros((), dtype=torch.float64)
    for support, query in zip(episode.support, episode.query, strict=True):
        theta = adapt(loss, parameters, support.problem, support.instance, settings.inner_learning_rate)
        total += sum(loss(theta, batch.problem, batch.instance) for batch in query) / len(query)
    return total / len(episode.support)


@pytest.mark.parametrize("vectorised", [False, True])
@pytest.mark.parametrize("method", ["hml", "maml"])
def test_second_order_gradient_is_the_derivative_of_the_meta_loss(method, vectorised):
    loss, tasks = toy_loss(torch.float64), toy_tasks(dtype=torch.float64)
    settings = dataclasses.replace(SMALL, method=method, vectorised=vectorised)
    episode = draw_episode(tasks, settings, generator=seeded())
    parameters = parameters_of(loss.policy)
    gradients, value = meta_gradient(loss, parameters, episode, settings)
    assert value.item() == pytest.approx(meta_loss(loss, parameters, episode, settings).item(), rel=1e-12)
    directions = {
        name: torch.randn(v.shape, generator=seeded(1), dtype=v.dtype) for name, v in parameters.items()
    }
    width = 1e-5
    ahead, behind = (
        meta_loss(loss, {n: v + s * width * directions[n] for n, v in parameters.items()}, episode, settings)
        for s in (1.0, -1.0)
    )
    slope = torch.stack([(gradients[name] * directions[name]).sum() for name in gradients]).sum()
    assert slope.item() == pytest.approx(((ahead - behind) / (2 * width)).item(), rel=1e-7)


@pytest.mark.parametrize("vectorised", [False, True])
def test_first_order_gradient_is_the_mean_query_gradient_at_the_adapted_parameters(vectorised):
    loss, tasks = toy_loss(torch.float64), toy_tasks(dtype=torch.float64)
    settings = dataclasses.replace(SMALL, first_order=True, vectorised=vectorised)
    episode = draw_episode(tasks, settings, generator=seeded())
    parameters = parameters_of(loss.policy)
    gradients, _ = meta_gradient(loss, parameters, episode, settings)
    shares = []
    for support, query in zip(episode.support, episode.query, strict=True):
        theta = adapt(loss, parameters, support.problem, support.instance, settings.inner_learning_rate)
        shares.append(grad(lambda final, query=query: joint_loss(loss, final, query))(theta))
    for name, value in gradients.items():
        torch.testing.assert_close(value, sum(share[name] for share in shares) / 3, rtol=1e-10, atol=1e-12)
    second, _ = meta_gradient(loss, parameters, episode, dataclasses.replace(settings, first_order=False))
    assert any(not torch.allclose(second[name], gradients[name], rtol=1e-3) for name in gradients)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("method", ["hml", "maml"])
def test_vectorised_tasks_give_what_sequential_ones_give(method, first_order):
    loss, tasks = toy_loss(), toy_tasks()
    settings = dataclasses.replace(SMALL, method=method, first_order=first_order)
    episode = draw_episode(tasks, settings, generator=seeded())
    parameters = parameters_of(loss.policy)
    one_by_one, value = meta_gradient(loss, parameters, episode, settings)
    stacked, other = meta_gradient(loss, parameters, episode, dataclasses.replace(settings, vectorised=True))
    torch.testing.assert_close(other, value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(stacked, one_by_one, rtol=1e-4, atol=1e-6)


def test_inner_loop_is_plain_gradient_ascent_on_the_objective():
    loss, task = toy_loss(torch.float64), toy_tasks(dtype=torch.float64)[0]
    first, second = task.sample(5, generator=seeded(1)), task.sample(5, generator=seeded(2))
    support = type(first)(**{
        field.name: torch.stack([getattr(first, field.name), getattr(second, field.name)])
        for field in dataclasses.fields(first)
    })  # fmt: skip
    adapted = adapt(loss, parameters_of(loss.policy), task.problem, support, 0.3)
    optimiser = torch.optim.SGD(loss.policy.parameters(), lr=0.3)
    for instance in (first, second):
        optimiser.zero_grad()
        evaluation = task.problem.evaluate(instance, loss.policy(instance))
        (-(evaluation.objective / instance.budget).mean()).backward()
        optimiser.step()
    torch.testing.assert_close(adapted, parameters_of(loss.policy))


def users(batch):
    return batch.instance.gain.shape[-1]


@pytest.mark.parametrize("as_function", [False, True])
def test_query_tasks_of_hml_differ_from_the_support_tasks_and_those_of_maml_are_them(as_function):
    tasks, generator = toy_tasks(), seeded()

    def draw(generator):
        return tasks[int(torch.randint(len(tasks), (), generator=generator))]

    source = draw if as_function else tasks
    for _ in range(20):
        hml = draw_episode(source, SMALL, generator=generator)
        support = {users(batch) for batch in hml.support}
        assert len(support) == 3
        for row in hml.query:
            queried = {users(batch) for batch in row}
            assert len(queried) == 2
            assert not queried & support
        maml = draw_episode(source, dataclasses.replace(SMALL, method="maml"), generator=generator)
        for batch, row in zip(maml.support, maml.query, strict=True):
            assert all(users(other) == users(batch) for other in row)
            assert all(not torch.isin(other.instance.gain, batch.instance.gain).any() for other in row)


def test_episode_has_the_printed_numbers_of_samples():
    episode = draw_episode(toy_tasks(), SMALL, generator=seeded())
    assert [batch.instance.gain.shape[:2] for batch in episode.support] == [(2, 5)] * 3
    assert [batch.instance.gain.shape[0] for row in episode.query for batch in row] == [4] * 6


def test_too_few_tasks_are_refused():
    with pytest.raises(ValueError, match=r"tasks: must offer 5 different ones, received 4$"):
        draw_episode(toy_tasks(4), SMALL, generator=seeded())
    draw_episode(toy_tasks(4), dataclasses.replace(SMALL, method="maml"), generator=seeded())
    only = toy_tasks(1)[0]
    with pytest.raises(ValueError, match="keeps repeating"):
        draw_episode(lambda generator: only, SMALL, generator=seeded())


def test_tasks_of_different_problems_run_one_by_one_only():
    tasks = [Task(problem=LogSharing(softness=1.0 + i), sample=Draw(users=3 + i)) for i in range(6)]
    loss = toy_loss()
    episode = draw_episode(tasks, SMALL, generator=seeded())
    meta_gradient(loss, parameters_of(loss.policy), episode, SMALL)
    with pytest.raises(ValueError, match="vectorised: must be off"):
        meta_gradient(loss, parameters_of(loss.policy), episode, dataclasses.replace(SMALL, vectorised=True))


@pytest.mark.parametrize("method", ["hml", "maml"])
def test_meta_training_improves_what_one_inner_step_reaches(method):
    loss = toy_loss()
    settings = dataclasses.replace(SMALL, method=method, steps=60, learning_rate=0.02, vectorised=True)
    losses = meta_train(loss, toy_tasks(), settings, generator=seeded())
    assert losses.shape == (60,)
    check = dataclasses.replace(SMALL, method=method, query_samples=200)
    episode = draw_episode(toy_tasks(), check, generator=seeded(9))
    _, trained = meta_gradient(loss, parameters_of(loss.policy), episode, check)
    start = toy_loss()
    _, untrained = meta_gradient(start, parameters_of(start.policy), episode, check)
    assert trained < untrained - 0.005


def test_meta_training_resumes_bit_by_bit(tmp_path):
    settings = dataclasses.replace(SMALL, steps=12, learning_rate=0.01, vectorised=True)
    whole, parts = toy_loss(), toy_loss()
    expected = meta_train(whole, toy_tasks(), settings, generator=seeded())
    run = RunSettings(checkpoint=tmp_path / "meta.safetensors", checkpoint_every=5)
    meta_train(parts, toy_tasks(), dataclasses.replace(settings, steps=7), generator=seeded(), run=run)
    adopt(parts.policy, parameters_of(toy_loss(seed=5).policy))
    losses = meta_train(parts, toy_tasks(), settings, generator=seeded(77), run=run)
    assert torch.equal(losses, expected)
    for name, value in parameters_of(whole.policy).items():
        assert torch.equal(value, parameters_of(parts.policy)[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [("method", "reptile"), ("inner_steps", 0), ("inner_learning_rate", 0.0), ("query_samples", 0)],
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        dataclasses.replace(SMALL, **{name: value})
