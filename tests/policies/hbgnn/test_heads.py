"""Temperature and probabilities."""

import pytest
import torch

from torchrrm.policies.hbgnn import straight_through, temperature_of, tempered_softmax


def test_temperature_is_that_of_theorem_5_with_its_sign_put_right():
    x = torch.linspace(0.51, 0.999, 50, dtype=torch.float64)
    expected = (x * (1 - x) / (2 * x - 1)).clamp(0.05, 1.0)
    torch.testing.assert_close(temperature_of(x), expected)
    torch.testing.assert_close(temperature_of(1 - x), expected)


@pytest.mark.parametrize(
    ("probability", "temperature"), [(0.5, 1.0), (1.0, 0.05), (0.0, 0.05), (0.9, 0.1125)]
)
def test_temperature_is_clamped(probability, temperature):
    assert temperature_of(torch.tensor(probability)).item() == pytest.approx(temperature)


@pytest.mark.parametrize("function", [tempered_softmax, straight_through])
def test_probabilities_are_of_stations_in_reach(function, generator):
    score = torch.randn(3, 6, 4, generator=generator)
    reach = torch.rand(3, 6, 4, generator=generator) < 0.5
    reach[:, 0] = False
    chance = function(score, reach, 0.3)
    torch.testing.assert_close(chance.sum(-1), reach.any(-1).float())
    assert not chance[~reach].any()


def test_colder_is_surer(generator):
    score, reach = torch.randn(5, 4, generator=generator), torch.ones(5, 4, dtype=torch.bool)
    warm, cold = tempered_softmax(score, reach, 1.0), tempered_softmax(score, reach, 0.1)
    assert (cold.amax(-1) > warm.amax(-1)).all()


def test_straight_through_is_one_station_exactly_with_the_gradient_of_the_softmax(generator):
    score = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    reach, value = (
        torch.ones(5, 4, dtype=torch.bool),
        torch.randn(5, 4, generator=generator, dtype=torch.float64),
    )
    hard = straight_through(score, reach, 0.7)
    assert set(hard.detach().round(decimals=12).flatten().tolist()) == {0.0, 1.0}
    assert (hard.argmax(-1) == score.argmax(-1)).all()
    (found,) = torch.autograd.grad((hard * value).sum(), score)
    (expected,) = torch.autograd.grad((tempered_softmax(score, reach, 0.7) * value).sum(), score)
    torch.testing.assert_close(found, expected)


def test_gumbel_draws_as_often_as_scores_say(generator):
    score = torch.tensor([0.5, -0.3, 1.0]).expand(20_000, 1, 3).contiguous()
    drawn = straight_through(score, torch.ones_like(score, dtype=torch.bool), generator=generator)
    torch.testing.assert_close(drawn.mean(0)[0], torch.softmax(score[0, 0], -1), rtol=0, atol=0.015)
