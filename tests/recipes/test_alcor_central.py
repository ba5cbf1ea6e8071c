"""Training of the centralised policy: what it draws, what it returns, and that it learns."""

import pytest
import torch

from torchrrm.problems import WeightedSumRate
from torchrrm.recipes.alcor.central import CentralTraining, rayleigh_task


def test_links_are_on_with_a_probability_of_each_instance(generator):
    instance = rayleigh_task(200, (0.2, 1.0)).sample(300, generator=generator)
    share = instance.active.float().mean(-1)
    assert ((share == 1.0) | ((share - 0.2).abs() < 0.15)).all()
    assert (share == 1.0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert instance.gain.mean() == pytest.approx(1.0, abs=0.01)
    assert rayleigh_task(5).sample(3, generator=generator).active.all()


def test_trained_by_both_objectives_it_is_better_than_new(generator):
    job = CentralTraining(4, (16, 16), seed=1, steps=60, batch_size=64, learning_rate=1e-2)
    assert job.name == "central-4-16-16-diverse-1"
    found = job()
    assert torch.equal(found["score.layers.0.weight"], job()["score.layers.0.weight"])
    assert found["score.layers.1.num_batches_tracked"] == 60
    instance = rayleigh_task(4).sample(500, generator=generator)
    scores = [
        WeightedSumRate().evaluate(instance, policy(instance)).objective.mean()
        for policy in (job.trained(found), job.policy())
    ]
    assert scores[0] > 1.1 * scores[1]


def test_parts_are_parts():
    with pytest.raises(ValueError, match=r"switching: must lie in \[0, 1\], received 1.5"):
        CentralTraining(switching=1.5)
    assert (
        CentralTraining(switching=0.0, diverse=False, sort=False).name
        == "central-20-400-200-unsorted-sum-rate-0"
    )
