from dataclasses import replace

import torch

from torchrrm.policies import UnrolledPower
from torchrrm.problems.base import largest_violation
from torchrrm.recipes.unrolled_power import UnrolledPowerSettings, feasible_links, train_unrolled_power
from torchrrm.solvers import QosWMMSE

SHORT = UnrolledPowerSettings(draws=200, checks=50)
SHORT = replace(
    SHORT, layers=replace(SHORT.layers, epochs=1), whole=replace(SHORT.whole, steps=40, batch_size=25)
)


def test_a_short_training_beats_where_it_starts_and_keeps_every_rate():
    torch.manual_seed(0)
    policy = UnrolledPower(SHORT.min_rate_bps_hz, depth=1)
    history = train_unrolled_power(policy, SHORT, generator=torch.Generator().manual_seed(1))
    assert history.objective.shape == (1, 1)
    links = feasible_links(SHORT, 60, generator=torch.Generator().manual_seed(2))
    problem = policy.problem
    with torch.no_grad():
        score = problem.evaluate(links, policy(links))
        start = policy.begin(links).safe * links.max_power_w
    first = problem.rate(links, start).sum(-1).mean()
    best = problem.evaluate(links, QosWMMSE(SHORT.min_rate_bps_hz, max_steps=10)(links)).objective.mean()
    assert largest_violation(score).max() < 1e-5
    assert score.objective.mean() > 1.1 * first  # least powers, raised as far as the limits allow
    assert score.objective.mean() > 0.7 * best
