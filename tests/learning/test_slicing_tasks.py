"""The learners on the problem they were made for: slices of several sizes and kinds."""

import dataclasses

import pytest
import torch
from tests.learning.toy import seeded

from torchrrm import records
from torchrrm.learning import (
    FineTuneSettings,
    MetaSettings,
    PolicyLoss,
    TrainerSettings,
    Unsupervised,
    draw_episode,
    fine_tune,
    meta_gradient,
    parameters_of,
    slice_bandwidth,
    train,
)
from torchrrm.policies import SliceGNN
from torchrrm.problems.base import Task
from torchrrm.problems.slicing import KINDS, SliceInstance


def prepared_task(policy, kind, users, seed):
    """A task that serves scheduled instances from a pool, as a recipe's tasks do."""
    generator, count = seeded(seed), 64
    instance = SliceInstance(
        cn0_hz=10.0 ** (7.0 + 3.0 * torch.rand(count, users, generator=generator)),
        eavesdropper_cn0_hz=10.0 ** (4.0 + 3.0 * torch.rand(count, users, generator=generator)),
        min_rate_bps=torch.full((count, users), 1e6),
        bandwidth_hz=torch.full((count,), 1e8),
        active=torch.ones(count, users, dtype=torch.bool),
    )
    pool = policy.serving(KINDS[kind]).prepare(instance)

    def sample(batch_size, *, generator):
        return records.index(pool, torch.randint(count, (batch_size,), generator=generator))

    return Task(problem=KINDS[kind], sample=sample)


def slice_loss(kind="secrecy", features="log"):
    torch.manual_seed(0)
    return PolicyLoss(SliceGNN(kind, features), Unsupervised(slice_bandwidth), bind=SliceGNN.serving)


@pytest.mark.parametrize("first_order", [False, True])
def test_slices_of_different_sizes_give_the_same_meta_gradient_stacked_or_one_by_one(first_order):
    loss = slice_loss()
    tasks = [prepared_task(loss.policy, "secrecy", users, seed=users) for users in (3, 5, 6, 8, 9, 12)]
    settings = MetaSettings(
        first_order=first_order, inner_steps=2, inner_learning_rate=0.5, support_samples=6
    )
    episode = draw_episode(tasks, settings, generator=seeded())
    parameters = parameters_of(loss.policy)
    stacked, value = meta_gradient(loss, parameters, episode, settings)
    single, other = meta_gradient(loss, parameters, episode, dataclasses.replace(settings, vectorised=False))
    torch.testing.assert_close(value, other)
    torch.testing.assert_close(stacked, single, rtol=1e-3, atol=1e-6)
    assert max(gradient.abs().max() for gradient in single.values()) > 1e-3


def test_one_policy_trains_over_several_kinds_and_adapts_to_another():
    loss = slice_loss("data-rate", "marginal")
    kinds = ("data-rate", "effective-capacity", "secrecy")
    tasks = [prepared_task(loss.policy, kind, 6 + i, seed=i) for i, kind in enumerate(kinds)]
    settings = TrainerSettings(steps=25, batch_size=16, learning_rate=3e-3, tasks_per_step=None)
    losses = train(loss, tasks, settings, generator=seeded())
    assert losses[-5:].mean() < losses[:5].mean()
    new = prepared_task(loss.policy, "secrecy-short", 8, seed=7)
    fixed = new.sample(64, generator=seeded(3))
    result = fine_tune(
        loss,
        parameters_of(loss.policy),
        new,
        FineTuneSettings(steps=5, learning_rate=1e-3),
        generator=seeded(),
        evaluate=lambda parameters: -loss(parameters, new.problem, fixed),
    )
    assert result.curve is not None
    assert result.curve[-1] > result.curve[0]
