import dataclasses
import sys

import pytest
import torch
from tests.learning.toy import Draw, SharePolicy, seeded, toy_loss, toy_tasks
from tests.testing.sharing import LinearSharing, LogSharing, Pie, Shares

from torchrrm.learning import (
    CertifiedGap,
    PolicyLoss,
    RunSettings,
    TrainerSettings,
    Unsupervised,
    adopt,
    buffers_of,
    parameters_of,
    slice_bandwidth,
    train,
)
from torchrrm.learning import monitor as monitors
from torchrrm.learning.tasks import draw_batch, draw_tasks, joint_loss, merge
from torchrrm.problems.base import Task
from torchrrm.records import replace

SETTINGS = TrainerSettings(steps=80, batch_size=16, learning_rate=0.02)


def test_unsupervised_loss_is_the_negative_mean_of_the_scaled_objective():
    loss, task = toy_loss(), toy_tasks()[0]
    instance = task.sample(7, generator=seeded())
    instance = replace(instance, budget=torch.arange(1.0, 8.0))  # each by its own scale
    action = loss.policy(instance)
    objective = task.problem.evaluate(instance, action).objective
    value = loss(parameters_of(loss.policy), task.problem, instance)
    torch.testing.assert_close(value, -(objective / instance.budget).sum() / 7)


def test_certified_gap_is_the_logarithm_of_the_mean_gap():
    """Gaps of 0.5, 0 and, of a bound that is exceeded by rounding, 0; a bound of 0 counts as reached."""
    instance = Pie(gain=torch.ones(4, 1), budget=torch.ones(4), active=torch.ones(4, 1, dtype=torch.bool))
    share = torch.tensor([[1.0], [2.0], [2.1], [0.0]])
    loss = CertifiedGap(lambda pies: torch.tensor([2.0, 2.0, 2.0, 0.0]), floor=1e-3)
    value = loss(LinearSharing(), instance, Shares(share=share))
    torch.testing.assert_close(value, torch.log(torch.tensor(1e-3 + 0.5 / 4)))


def test_scale_of_slicing_is_the_bandwidth_of_the_slice():
    class Slice:
        bandwidth_hz = torch.tensor([1e8])

    assert slice_bandwidth(Slice()) is Slice.bandwidth_hz


def test_one_step_of_ascent_is_the_printed_update():
    loss, task = toy_loss(), toy_tasks()[0]
    before = parameters_of(loss.policy)
    settings = TrainerSettings(steps=1, batch_size=5, learning_rate=0.1, optimiser="ascent")
    train(loss, [task], settings, generator=seeded())
    start = toy_loss().policy
    generator = seeded()
    torch.randperm(1, generator=generator)  # the choice of the task
    instance = task.sample(5, generator=generator)
    (task.problem.evaluate(instance, start(instance)).objective / instance.budget).mean().backward()
    for name, value in start.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(parameters_of(loss.policy)[name], before[name] + 0.1 * value.grad)


@pytest.mark.parametrize("tasks_per_step", [1, 3, None])
def test_training_on_several_tasks_improves_each(tasks_per_step):
    loss, start, tasks = toy_loss(), toy_loss(), toy_tasks(4)
    settings = dataclasses.replace(SETTINGS, tasks_per_step=tasks_per_step)
    losses = train(loss, tasks, settings, generator=seeded())
    assert losses.shape == (80,)
    for task in tasks:
        instance = task.sample(200, generator=seeded(5))
        after = loss(parameters_of(loss.policy), task.problem, instance)
        assert after < start(parameters_of(start.policy), task.problem, instance)


def test_each_task_weighs_the_same_whether_merged_or_not():
    loss = toy_loss(torch.float64)
    tasks = toy_tasks(3, torch.float64)
    tasks.append(Task(problem=LogSharing(softness=2.0), sample=Draw(users=2, dtype=torch.float64)))
    batches = [draw_batch(task, 4, generator=seeded(i)) for i, task in enumerate(tasks)]
    merged = merge(batches)
    assert [batch.tasks for batch in merged] == [3, 1]
    parameters = parameters_of(loss.policy)
    alone = torch.stack([loss(parameters, batch.problem, batch.instance) for batch in batches])
    torch.testing.assert_close(joint_loss(loss, parameters, merged), alone.mean())


def test_bind_gives_the_module_of_each_problem():
    seen = []

    def bind(policy, problem):
        seen.append(problem.softness)
        return policy

    loss = dataclasses.replace(toy_loss(), bind=bind)
    tasks = [Task(problem=LogSharing(softness=softness), sample=Draw()) for softness in (1.0, 2.0)]
    train(loss, tasks, TrainerSettings(steps=1, tasks_per_step=None), generator=seeded())
    assert seen == [1.0, 2.0]


def test_frozen_parameters_stay_as_they_are():
    loss = toy_loss()
    frozen = loss.policy.get_parameter("net.0.weight").requires_grad_(False)
    before = frozen.clone()
    train(loss, toy_tasks(), dataclasses.replace(SETTINGS, steps=3), generator=seeded())
    assert torch.equal(frozen, before)
    assert not torch.equal(
        loss.policy.get_parameter("net.2.weight"), toy_loss().policy.get_parameter("net.2.weight")
    )


def test_same_seed_same_run():
    one, other = toy_loss(), toy_loss()
    settings = dataclasses.replace(SETTINGS, steps=10)
    assert torch.equal(
        train(one, toy_tasks(), settings, generator=seeded(1)),
        train(other, toy_tasks(), settings, generator=seeded(1)),
    )


def test_a_function_of_tasks_has_no_all():
    with pytest.raises(ValueError, match="tasks: must be a sequence"):
        train(
            toy_loss(),
            lambda generator: toy_tasks()[0],
            TrainerSettings(tasks_per_step=None),
            generator=seeded(),
        )


def test_drawn_tasks_differ():
    tasks = toy_tasks()
    orders = {
        tuple(map(tasks.index, draw_tasks(tasks, 4, generator=seeded(seed), exclude=tasks[:2])))
        for seed in range(10)
    }
    assert {tuple(sorted(order)) for order in orders} == {(2, 3, 4, 5)}
    assert len(orders) > 1


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("tasks_per_step", 0)])
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        TrainerSettings(**{name: value})
    with pytest.raises(ValueError, match=r"^checkpoint_every: must be"):
        RunSettings(checkpoint_every=0)


def test_tensorboard_holds_each_loss(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, settings = RunSettings(tensorboard=tmp_path), dataclasses.replace(SETTINGS, steps=5)
    losses = train(toy_loss(), toy_tasks(), settings, generator=seeded(), run=run)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses.tolist())


def test_tensorboard_asked_for_and_missing_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    message = r"^tensorboard: needs TensorBoard, pip install 'torchrrm\[tracking\]', received .*$"
    with pytest.raises(ValueError, match=message):
        train(toy_loss(), toy_tasks(), SETTINGS, generator=seeded(), run=RunSettings(tensorboard=tmp_path))


def test_progress_shows_rate_time_and_loss_on_a_terminal_only(capsys, monkeypatch):
    settings = dataclasses.replace(SETTINGS, steps=30)
    train(toy_loss(), toy_tasks(), settings, generator=seeded())
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(monitors, "_is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1")
    train(toy_loss(), toy_tasks(), settings, generator=seeded())
    shown = capsys.readouterr().err
    assert "30/30" in shown
    assert "steps/s" in shown
    assert "loss -" in shown
    train(toy_loss(), toy_tasks(), settings, generator=seeded(), run=RunSettings(progress=False))
    assert capsys.readouterr() == ("", "")


def test_policy_with_no_name_for_its_arguments_trains_too(tmp_path):
    policy = SharePolicy()
    del policy.arguments
    loss = PolicyLoss(policy, Unsupervised(scale=lambda instance: instance.budget))
    run = RunSettings(checkpoint=tmp_path / "run.safetensors")
    losses = train(loss, toy_tasks(), dataclasses.replace(SETTINGS, steps=2), generator=seeded(), run=run)
    assert losses.isfinite().tolist() == [True, True]
    assert run.checkpoint is not None
    assert run.checkpoint.exists()


@pytest.mark.parametrize("mode", [False, True])
def test_running_averages_move_in_training_mode_which_ends_with_it(mode):
    loss = toy_loss(batch_norm=True)
    loss.policy.train(mode)
    before = buffers_of(loss.policy)
    train(loss, toy_tasks(), TrainerSettings(steps=7, batch_size=4), generator=seeded())
    after = buffers_of(loss.policy)
    assert all(part.training is mode for part in loss.policy.modules())
    assert after["net.layers.1.num_batches_tracked"] == 7
    assert not torch.equal(after["net.layers.1.running_mean"], before["net.layers.1.running_mean"])


def test_parameters_and_buffers_are_adopted_together():
    trained, other = toy_loss(batch_norm=True).policy, toy_loss(seed=3, batch_norm=True).policy
    trained(toy_tasks()[0].sample(9, generator=seeded()))
    adopt(other, parameters_of(trained) | buffers_of(trained))
    for name, value in trained.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
