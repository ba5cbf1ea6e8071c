import pytest
import torch

from torchrrm.channels import SCENARIOS
from torchrrm.problems import WeightedSumRate
from torchrrm.recipes.alcor.unfolded import UnfoldedSettings, UnfoldedTraining, looped_weights
from torchrrm.records import replace
from torchrrm.setups.links import LinkSource, LinkTerms, draw_links
from torchrrm.solvers import WMMSE, GreedyLinks

SMALL = UnfoldedSettings(instances=((5, 200), (20, 300)), steps=400, batch_size=64)


@pytest.fixture(scope="module")
def result() -> dict[str, torch.Tensor]:
    return UnfoldedTraining(settings=SMALL)()


def test_the_same_seed_gives_the_same_parameters(result: dict[str, torch.Tensor]) -> None:
    few = UnfoldedSettings(instances=((4, 20),), steps=3, batch_size=8)
    one, same, other = (UnfoldedTraining(seed, few)() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert set(one) == set(result)
    assert UnfoldedTraining(3).name == "unfolded-3"


@pytest.mark.parametrize("weighted", [False, True])
@torch.no_grad()
def test_a_lower_price_buys_more_rate(result: dict[str, torch.Tensor], weighted: bool) -> None:
    generator = torch.Generator().manual_seed(77)
    source = LinkSource(SCENARIOS["rayleigh"](), 20, LinkTerms.at_snr(15))
    drawn = draw_links(source, 400, generator=generator)
    if weighted:
        drawn = replace(drawn, weight=looped_weights(drawn.weight.shape, generator=generator))
    policy, rates = UnfoldedTraining(settings=SMALL).trained(result), []
    for price in (3e-2, 1e-3, 3e-5):
        policy.price = price
        rates.append(WeightedSumRate().evaluate(drawn, policy(drawn)).objective.mean())
    assert rates[0] < rates[1] <= rates[2] * (1 + 1e-6)
    greedy, wmmse = (
        WeightedSumRate().evaluate(drawn, solver(drawn)).objective.mean()
        for solver in (GreedyLinks(4, 32), WMMSE(40, starts=4, safeguard=False))
    )
    assert rates[1] > 0.99 * greedy
    assert rates[1] > 1.02 * wmmse


def test_weights_of_a_control_loop() -> None:
    weight = looped_weights(torch.Size([2000, 10]), generator=torch.Generator().manual_seed(0))
    assert (weight == 1).float().mean() == pytest.approx(2 / 3, abs=0.02)
    assert weight.mean() == pytest.approx(4 / 3, abs=0.03)
    assert weight.min() >= 1
