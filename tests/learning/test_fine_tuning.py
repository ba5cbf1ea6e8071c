import dataclasses

import pytest
import torch
from tests.learning.toy import Draw, seeded, toy_loss, toy_tasks
from tests.testing.sharing import LogSharing

from torchrrm.learning import FineTuneSettings, fine_tune, fine_tune_many, parameters_of
from torchrrm.problems.base import Task

SETTINGS = FineTuneSettings(steps=6, learning_rate=0.05, samples=8)


def scorer(loss, task):
    fixed = task.sample(64, generator=seeded(123))
    return lambda parameters: -loss(parameters, task.problem, fixed)


def test_fine_tuning_improves_the_score_and_changes_neither_policy_nor_start():
    loss, task = toy_loss(), toy_tasks()[3]
    start = parameters_of(loss.policy)
    kept = {name: value.clone() for name, value in start.items()}
    settings = dataclasses.replace(SETTINGS, steps=40)
    result = fine_tune(loss, start, task, settings, generator=seeded(), evaluate=scorer(loss, task))
    assert result.losses.shape == (40,)
    assert result.curve is not None
    assert result.curve.shape == (41,)
    assert result.curve[0] == scorer(loss, task)(kept)
    assert result.curve[-1] == scorer(loss, task)(result.parameters)
    assert result.curve[-1] > result.curve[0] + 0.01
    for name, value in kept.items():
        assert torch.equal(value, start[name])
        assert torch.equal(value, parameters_of(loss.policy)[name])


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("optimiser", ["adam", "ascent"])
def test_many_runs_at_once_give_what_each_gives_alone(optimiser, clip_norm):
    # In float64: the output's bias has gradient 0, and Adam makes full steps of what rounding leaves of it.
    dtype = torch.float64
    loss, tasks = toy_loss(dtype), toy_tasks(4, dtype)
    starts = [parameters_of(toy_loss(dtype, seed).policy) for seed in range(4)]
    settings = dataclasses.replace(SETTINGS, optimiser=optimiser, clip_norm=clip_norm)
    scorers = [scorer(loss, task) for task in tasks]
    generators = [seeded(seed) for seed in range(4)]
    many = fine_tune_many(loss, starts, tasks, settings, generators=generators, evaluate=scorers)
    assert many.curve is not None
    for i in range(4):
        one = fine_tune(loss, starts[i], tasks[i], settings, generator=seeded(i), evaluate=scorers[i])
        torch.testing.assert_close(many.losses[:, i], one.losses)
        torch.testing.assert_close(many.curve[:, i], one.curve)
        for name, value in one.parameters.items():
            torch.testing.assert_close(many.parameters[name][i], value, rtol=1e-7, atol=1e-7)


def test_no_epochs_leave_the_parameters_as_they_are():
    loss, task = toy_loss(), toy_tasks()[0]
    start, settings = parameters_of(loss.policy), dataclasses.replace(SETTINGS, steps=0)
    result = fine_tune(loss, start, task, settings, generator=seeded())
    torch.testing.assert_close(result.parameters, start)
    assert result.losses.shape == (0,)
    assert result.curve is None
    many = fine_tune_many(loss, [start] * 3, [task] * 3, settings, generators=[seeded()] * 3)
    assert len(many.losses) == 0
    torch.testing.assert_close(many.parameters["net.0.weight"][2], start["net.0.weight"])


def test_runs_must_agree_in_number_and_problem():
    loss, task = toy_loss(), toy_tasks()[0]
    start = parameters_of(loss.policy)
    with pytest.raises(ValueError, match="must be one a run"):
        fine_tune_many(loss, [start], [task, task], SETTINGS, generators=[seeded()])
    other = Task(problem=LogSharing(softness=3.0), sample=Draw())
    with pytest.raises(ValueError, match="tasks: must be of one problem"):
        fine_tune_many(loss, [start] * 2, [task, other], SETTINGS, generators=[seeded()] * 2)


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"^samples: must be"):
        FineTuneSettings(samples=0)
