"""The distributed policy's training, and the settings in which it is measured."""

import math

import pytest
import torch

from torchrrm.policies import LocalPower
from torchrrm.problems import PowerAction, WeightedSumRate
from torchrrm.recipes.alcor.local import (
    LocalTraining,
    fading_links,
    held_rates,
    late_rounds,
    own_gain_rule,
    slot_rates,
)
from torchrrm.records import replace
from torchrrm.setups.links import draw_configurations, draw_links

PROBLEM = WeightedSumRate()


@pytest.fixture
def links(generator):
    return draw_links(fading_links(6, math.inf), 5, generator=generator)


@pytest.mark.parametrize(
    "job",
    [
        LocalTraining(6, False, 0, rounds=2, steps=4, links_per_step=60),
        LocalTraining((2, 6), True, 1, weighted=True, rounds=2, steps=4, links_per_step=60),
        LocalTraining(7, True, 2, scenario="seven-cells", rounds=2, steps=2, links_per_step=60),
    ],
)
def test_training_gives_parameters_and_statistics_and_can_be_repeated(job, links):
    with torch.random.fork_rng():
        state = job()
        again = job()
    assert all(torch.equal(value, again[name]) for name, value in state.items())
    assert set(state) == set(job.policy().state_dict())
    assert state["score.layers.1.num_batches_tracked"] == job.rounds * job.steps // 2
    policy = job.trained(state)
    assert not policy.training
    assert torch.isfinite(policy(links).power_w).all()


ON = (False, True)


def test_names_tell_jobs_apart():
    jobs = [LocalTraining(n, d, s, w) for n in (5, (5, 50)) for d in ON for s in (0, 1) for w in ON]
    assert len({job.name for job in jobs}) == len(jobs)


def test_an_unknown_scenario_is_told():
    with pytest.raises(
        ValueError, match=r"^scenario: must be one of rayleigh, seven-cells, received 'mars'$"
    ):
        LocalTraining(5, True, 0, scenario="mars")


def test_training_raises_the_rate(generator):
    job = LocalTraining(10, True, 0, rounds=3, steps=40, links_per_step=400)
    test = draw_links(fading_links(10, math.inf), 200, generator=generator)
    rate, told = held_rates(job.trained(job()), test, 3)
    assert rate[-1] > rate[0] + 1.0
    assert told[0] == 0
    assert ((told[1:] > 0) & (told[1:] <= 20)).all()


def test_late_rounds_weigh_more(links, generator):
    shares = torch.rand(5, 3, 6, generator=generator)
    powers = shares * links.max_power_w[:, None]
    weighted = replace(links, weight=links.weight * 4.0)
    rates = [PROBLEM.evaluate(links, PowerAction(power_w=powers[:, r])).objective.mean() for r in range(3)]
    expected = -(rates[0] + 2 * rates[1] + 3 * rates[2]) / 6
    for instance in (links, weighted):
        torch.testing.assert_close(late_rounds(PROBLEM, instance, PowerAction(power_w=powers)), expected)
    nobody = replace(links, active=torch.zeros_like(links.active))
    assert late_rounds(PROBLEM, nobody, PowerAction(power_w=0 * powers)) == 0.0


def test_held_rates_are_those_of_slots_that_stay(links):
    torch.manual_seed(0)
    policy = LocalPower().eval()
    rate, _ = held_rates(policy, links, 4)
    last = PROBLEM.evaluate(links, PowerAction(power_w=policy.rollout(links, 4)[:, -1])).objective.mean()
    torch.testing.assert_close(rate[-1], last)
    slow = draw_configurations(fading_links(6, 1e-9), 5, slots=5, generator=torch.Generator().manual_seed(1))
    held, _ = held_rates(policy, slow.slot(0), 4)
    torch.testing.assert_close(slot_rates(policy, slow), held, rtol=1e-3, atol=1e-3)


def test_doppler_is_that_of_a_slot():
    drawn = draw_configurations(
        fading_links(2, 0.1), 4000, slots=2, generator=torch.Generator().manual_seed(3)
    ).gain
    correlation = torch.corrcoef(drawn[:, :, 0, 1].T)[0, 1]
    amplitude = torch.special.bessel_j0(torch.tensor(0.2 * math.pi))  # that of powers is its square
    torch.testing.assert_close(correlation, amplitude.square(), rtol=0, atol=0.05)


def test_own_gain_rule_reads_nothing_else(generator):
    links = draw_links(fading_links(20, math.inf), 4000, generator=generator)
    action = own_gain_rule(links, 0.107)
    assert 0.10 < (action.power_w > 0).double().mean() < 0.115
    others = links.gain.roll(1, 0)
    own = torch.eye(20, dtype=torch.bool)
    changed = own_gain_rule(replace(links, gain=torch.where(own, links.gain, others)), 0.107)
    assert torch.equal(changed.power_w, action.power_w)
    assert 4.9 < PROBLEM.evaluate(links, action).objective.mean() < 5.15
