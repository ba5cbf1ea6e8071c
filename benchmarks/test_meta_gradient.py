"""Meta-gradient with the sizes of Table II of [Hao2024]: support tasks vmapped, or one after the other."""

import dataclasses

import pytest
import torch

from torchrrm import records
from torchrrm.learning import (
    MetaSettings,
    PolicyLoss,
    Unsupervised,
    draw_episode,
    meta_gradient,
    parameters_of,
    slice_bandwidth,
)
from torchrrm.policies import SliceGNN
from torchrrm.problems.base import Task
from torchrrm.problems.slicing import KINDS, SliceInstance

PROBLEM = KINDS["secrecy"]


def prepared_task(policy, users, count=256):
    generator = torch.Generator().manual_seed(users)
    instance = SliceInstance(
        cn0_hz=10.0 ** (7.0 + 4.0 * torch.rand(count, users, generator=generator)),
        eavesdropper_cn0_hz=10.0 ** (5.0 + 4.0 * torch.rand(count, users, generator=generator)),
        min_rate_bps=torch.full((count, users), 3e6),
        bandwidth_hz=torch.full((count,), 1e8),
        active=torch.ones(count, users, dtype=torch.bool),
    )
    pool = policy.prepare(instance)

    def sample(batch_size, *, generator):
        return records.index(pool, torch.randint(count, (batch_size,), generator=generator))

    return Task(problem=PROBLEM, sample=sample)


@pytest.fixture(scope="module")
def setting():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = SliceGNN(PROBLEM, "log")
    tasks = [prepared_task(policy, users) for users in range(10, 31)]
    return PolicyLoss(policy, Unsupervised(slice_bandwidth)), tasks


@pytest.mark.parametrize("vectorised", [True, False], ids=["vmapped", "sequential"])
@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("inner_steps", [1, 5])
def test_meta_gradient(benchmark, setting, inner_steps, first_order, vectorised):
    loss, tasks = setting
    settings = MetaSettings(inner_steps=inner_steps, first_order=first_order)
    episode = draw_episode(tasks, settings, generator=torch.Generator().manual_seed(0))
    benchmark.group = f"{inner_steps} inner steps, {'first' if first_order else 'second'} order"
    settings = dataclasses.replace(settings, vectorised=vectorised)
    benchmark(meta_gradient, loss, parameters_of(loss.policy), episode, settings)
