"""Algorithm 2 of [Zhang2022HBGNN]: the learning rate falls where the windowed mean is no new best."""

import dataclasses

import pytest
import torch
from tests.learning.toy import seeded, toy_loss, toy_tasks

from torchrrm.learning import (
    FineTuneSettings,
    History,
    PolicyLoss,
    RunSettings,
    TrainerSettings,
    WindowedDecay,
    train,
)
from torchrrm.learning.windowed_decay import DecayedRate

SETTINGS = TrainerSettings(
    steps=24, batch_size=4, learning_rate=0.05, decay=WindowedDecay(window=3, factor=0.5)
)


def test_a_sequence_by_hand():
    decayed = DecayedRate(WindowedDecay(window=3, factor=0.9))
    rewards = [1.0, 2.0, 3.0, 1.0, 8.0, 3.0, 0.0, 0.0]
    # means of three: -, -, 2, 2 (no better), 4 (best), 4 (no better), 11/3 (no better), 1 (no better)
    wanted = [1.0, 1.0, 1.0, 0.9, 0.9, 0.81, 0.729, 0.6561]
    assert [decayed.after(reward) for reward in rewards] == pytest.approx(wanted)


def test_defaults_are_those_of_table_i():
    assert (WindowedDecay().window, WindowedDecay().factor) == (100, 0.99)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"window": 0}, "window: must be at least 1, received 0"),
        ({"factor": 0.0}, "factor: must be above 0 and at most 1, received 0.0"),
        ({"factor": 1.1}, "factor: must be above 0 and at most 1, received 1.1"),
    ],
)
def test_bad_settings_are_refused(wrong, line):
    with pytest.raises(ValueError, match=f"^{line}$"):
        WindowedDecay(**wrong)


def test_training_follows_it_on_top_of_its_schedule():
    history = History()
    losses = train(
        toy_loss(),
        toy_tasks(1),
        dataclasses.replace(SETTINGS, schedule="cosine"),
        generator=seeded(),
        run=RunSettings(history=history),
    )
    assert torch.equal(history["loss"], losses)
    decayed, rates = DecayedRate(WindowedDecay(window=3, factor=0.5)), []
    for step, loss in enumerate(losses.tolist()):
        cosine = 0.05 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / 24, dtype=torch.float64)))
        rates.append(float(cosine) * decayed.factor)
        decayed.after(-loss)
    assert history["learning_rate"].tolist() == pytest.approx(rates)
    assert decayed.factor < 1


class Measured:
    """The toy's loss with a measure that only falls."""

    def __init__(self):
        self.loss, self.count = toy_loss().objective, 0

    def __call__(self, problem, instance, action, /):
        return self.loss(problem, instance, action)

    def measures(self, problem, instance, action, /):
        self.count += 1
        assert not torch.is_grad_enabled()
        return {"falling": torch.tensor(-float(self.count))}


def test_it_can_watch_a_measure_of_the_objective():
    history, decay = History(), WindowedDecay(window=2, factor=0.5, measure="falling")
    settings = dataclasses.replace(SETTINGS, steps=5, decay=decay)
    loss = PolicyLoss(toy_loss().policy, Measured())
    train(loss, toy_tasks(1), settings, generator=seeded(), run=RunSettings(history=history))
    assert history.names == ["loss", "learning_rate", "falling"]
    assert history["falling"].tolist() == [-1, -2, -3, -4, -5]
    assert history["learning_rate"].tolist() == pytest.approx([0.05, 0.05, 0.05, 0.025, 0.0125])
    with pytest.raises(
        KeyError, match="name: must be one of loss, learning_rate, falling, received 'rising'"
    ):
        _ = history["rising"]


def test_a_measure_that_is_not_there_is_refused():
    settings = dataclasses.replace(SETTINGS, decay=WindowedDecay(measure="rate"))
    with pytest.raises(ValueError, match=r"^measure: must be one of loss, learning_rate, received 'rate'$"):
        train(toy_loss(), toy_tasks(1), settings, generator=seeded())


def test_measures_of_several_tasks_are_means():
    class Size(Measured):
        def measures(self, problem, instance, action, /):
            return {"size": instance.active.float().sum(-1).mean()}

    history, loss = History(), PolicyLoss(toy_loss().policy, Size())
    settings = TrainerSettings(steps=1, tasks_per_step=None)
    train(loss, toy_tasks(4), settings, generator=seeded(), run=RunSettings(history=history))
    assert history["size"].tolist() == [4.5]  # of 3, 4, 5 and 6 users


def test_a_resumed_run_has_the_same_rates_and_history(tmp_path):
    def go(steps, path=None):
        history, loss = History(), toy_loss()
        settings = dataclasses.replace(SETTINGS, steps=steps)
        run = RunSettings(checkpoint=path, checkpoint_every=5, history=history)
        train(loss, toy_tasks(2), settings, generator=seeded(), run=run)
        return history, loss.policy.state_dict()

    whole, weights = go(24)
    go(9, tmp_path / "run")
    resumed, same = go(24, tmp_path / "run")
    for name in whole.names:
        assert torch.equal(whole[name], resumed[name])
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


def test_a_history_can_be_used_again():
    history = History()
    for _ in range(2):
        settings = TrainerSettings(steps=3, batch_size=2)
        train(toy_loss(), toy_tasks(1), settings, generator=seeded(), run=RunSettings(history=history))
        assert len(history["loss"]) == 3


def test_fine_tuning_has_none():
    with pytest.raises(ValueError, match="decay: must be none"):
        FineTuneSettings(decay=WindowedDecay())
