"""Training of HBGNN: what it draws, that it learns, and that a stopped run goes on where it was."""

import random

import pytest
import torch

from torchrrm import learning
from torchrrm.policies import HBGNN
from torchrrm.problems import SumRateAssociation
from torchrrm.recipes.hbgnn.training import (
    TRAININGS,
    Area,
    GrlTraining,
    TrainingSettings,
    draw_area,
    draw_in,
    train_network,
)


def network():
    torch.manual_seed(0)
    return HBGNN(width=16, heads=2, hidden=4, layers=1, steps=2)


@pytest.mark.parametrize("seed", range(12))
def test_random_kinds_are_valid_networks(seed, generator):
    area = draw_area(random.Random(seed))
    cells = SumRateAssociation().validate(draw_in(area, 2, generator=generator))
    assert cells.gain.shape == (2, area.users, area.stations)
    assert 20 <= area.users <= 160
    assert 30 <= area.stations <= 150


def test_the_default_is_the_network_of_the_paper(generator):
    cells = draw_in(Area(), 2, generator=generator)
    assert cells.gain.shape == (2, 120, 105)
    assert cells.max_power_w[0].tolist() == pytest.approx([100.0] * 5 + [0.1] * 100)
    assert (cells.gain > 0).all()


def test_missing_paths_are_missing(generator):
    cells = draw_in(Area(least_snr_db=20.0, blocked=0.5), 2, generator=generator)
    snr = cells.gain * cells.max_power_w[:, None] / cells.noise_power_w[:, None, None]
    assert snr[snr > 0].min() >= 99.0
    assert 0.5 < (snr == 0).float().mean() < 0.95


def test_it_learns(generator):
    losses = train_network(
        network(), TrainingSettings(steps=12, batch_size=2, varied=0.0), generator=generator
    )
    assert losses[-3:].mean() < losses[:3].mean()


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    def train(net, run, steps):
        settings = TrainingSettings(steps=steps, batch_size=2, varied=1.0)
        how = learning.RunSettings(checkpoint=run, checkpoint_every=2, progress=False)
        return train_network(net, settings, generator=torch.Generator().manual_seed(1), run=how)

    whole, stopped = network(), network()
    train(whole, None, 4)
    original = stopped.unroll
    calls = iter(range(100))

    def interrupted(*args):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(stopped, "unroll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, tmp_path / "run", 4)
    resumed = network()
    train(resumed, tmp_path / "run", 4)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_the_job_gives_parameters_of_the_default_network():
    found = GrlTraining(0, TRAININGS["smoke"])()
    HBGNN().load_state_dict(found)
    assert GrlTraining(3).name == "grl-3"


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("batch_size", 0), ("varied", 1.5)])
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        TrainingSettings(**{name: value})
