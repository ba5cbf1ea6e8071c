"""Training over multipliers as they occur."""

import pytest
import torch
from tests.testing.links import configurations

from torchrrm.learning import (
    RegressionSettings,
    RunSettings,
    collect,
    mean_weight,
    regress_first,
    weighted_task,
)
from torchrrm.policies import ConfigurationGNN, OnlineDual
from torchrrm.solvers import WMMSE

LOOP = OnlineDual(WMMSE(max_steps=10), step=0.3)


def test_trajectories_are_those_of_the_loop(generator):
    instance = configurations(3, 10, generator)
    found = collect(LOOP, instance, 2)
    _, last = LOOP.run(instance, LOOP.start(instance))
    assert found.multiplier.shape == (3, 2, 5)
    assert torch.equal(found.multiplier[:, 1], last.multiplier)
    track, _ = LOOP.track(instance, LOOP.start(instance))
    torch.testing.assert_close(found.settled, track.multiplier[:, 5:].mean(1))
    with pytest.raises(ValueError, match="moments: must be 1 to the number of slots 10, received 11"):
        collect(LOOP, instance, 11)


def test_weights_are_one_plus_multipliers_that_occurred(generator):
    instance = configurations(3, 10, generator)
    found = collect(LOOP, instance, 4)
    drawn = weighted_task(instance, found, jitter=0.0).sample(50, generator=generator)
    occurred = (1 + found.multiplier).reshape(-1, 5)
    distance = (drawn.weight[:, None] - occurred).abs().amax(-1).amin(-1)
    assert distance.max() < 1e-4
    torch.testing.assert_close(mean_weight(drawn), drawn.weight.sum(-1))
    again = weighted_task(instance, found).sample(50, generator=torch.Generator().manual_seed(1))
    same = weighted_task(instance, found).sample(50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.gain, same.gain)


def test_regressor_learns_settled_multipliers(generator):
    instance = configurations(30, 20, generator)
    groups = [(instance, collect(LOOP, instance, 2))]
    torch.manual_seed(0)
    net = ConfigurationGNN(edges="local", outgoing=True, widths=(32, 32), init_mean=1e-3)
    settings = RegressionSettings(steps=80, learning_rate=3e-3)
    losses = regress_first(net, groups, settings, generator=generator, run=RunSettings(progress=False))
    assert losses[-5:].mean() < 0.7 * losses[:5].mean()
