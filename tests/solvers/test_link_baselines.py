"""Rules of links that need no thought."""

import torch
from tests.testing.links import sample

from torchrrm.problems import PowerAction, WeightedSumRate, link_instance
from torchrrm.records import replace
from torchrrm.solvers import SOLVERS, WMMSE, MaxPower, StrongestLink


def test_the_winner_is_the_best_of_all_allocations_to_one_link(generator):
    instance = sample(20, generator=generator)
    instance = replace(instance, active=torch.rand(20, 6, generator=generator) < 0.7)
    problem, alone = WeightedSumRate(), torch.eye(6)[:, None] * MaxPower()(instance).power_w
    best = torch.stack([problem.evaluate(instance, PowerAction(power_w=power)).objective for power in alone])
    found = problem.evaluate(instance, StrongestLink()(instance)).objective
    torch.testing.assert_close(found, best.amax(0))


def test_on_rayleigh_channels_it_is_where_the_published_networks_are(generator):
    """Twenty links at 15 dB: 6.72 in Table I of [Behmandpoor2024], WMMSE 7.72."""
    gain = torch.empty(3000, 20, 20).exponential_(generator=generator)
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=10**1.5)
    rates = [WeightedSumRate().evaluate(instance, rule(instance)).objective.mean() for rule in _RULES]
    torch.testing.assert_close(torch.stack(rates), torch.tensor([6.76, 7.75]), atol=0.05, rtol=0)


_RULES = (StrongestLink(), WMMSE(safeguard=False))


def test_it_is_a_trivial_rule_in_no_steps():
    instance = link_instance(torch.tensor([[1.0, 9.0], [9.0, 2.0]]), noise_power_w=1.0, max_power_w=3.0)
    assert SOLVERS["sum-rate"]["one-winner"]().kind == "trivial"
    solution = StrongestLink().solve(instance)
    assert solution.action.power_w.tolist() == [0.0, 3.0]
    assert solution.converged
    assert solution.iterations == 0
