import pytest
import torch
from tests.solvers import link_oracles as oracles
from tests.testing.forms import traced
from tests.testing.links import LINKS, sample

from torchrrm.problems import LinkInstance, WeightedSumRate, link_instance
from torchrrm.records import index, replace
from torchrrm.solvers import ITLinQ
from torchrrm.testing import check_solver


def draw(count: int, links: int = 9) -> LinkInstance:
    generator = torch.Generator().manual_seed(links)
    gain = 10 ** (6 * torch.rand(count, links, links, generator=generator, dtype=torch.float64) - 3)
    instance = link_instance(gain, noise_power_w=0.1, max_power_w=2.0)
    return replace(instance, active=torch.rand(count, links, generator=generator) < 0.8)


def test_conforms() -> None:
    check_solver(ITLinQ(), WeightedSumRate(), sample, expected=LINKS)
    solver = ITLinQ(m_db=0.0, eta=0.7)
    check_solver(solver, WeightedSumRate(), sample, expected=LINKS)
    check_solver(lambda one: solver(traced(one)), WeightedSumRate(), sample, expected=LINKS)


@pytest.mark.parametrize(("m_db", "eta"), [(25.0, 0.5), (0.0, 0.7), (-10.0, 0.5)])
def test_equals_the_rule_link_by_link(m_db: float, eta: float) -> None:
    instance = draw(50)
    priority = torch.rand(50, 9, generator=torch.Generator().manual_seed(1))
    solver = ITLinQ(m_db, eta)
    for given in (priority, None):
        forms = solver(instance, given), solver(traced(instance), given)
        for i in range(50):
            one = index(instance, i)
            order = one.gain.diagonal() if given is None else given[i]
            on = oracles.itlinq(oracles.relative(one), order.numpy(), 10 ** (m_db / 10), eta)
            single = solver(one, None if given is None else given[i])
            for action in (index(forms[0], i), index(forms[1], i), single):
                assert torch.equal(action.power_w, torch.from_numpy(on) * one.max_power_w)
        assert 0 < (forms[0].power_w > 0).sum() < instance.active.sum()


def test_the_candidate_counts_in_both_directions() -> None:
    # At 10 dB of SNR and M = 0 dB, ratios up to sqrt(10) = 3.16 are tolerated.
    for ratio, on in ((3.1, 2.0), (3.2, 0.0)):
        for gain in ([[10.0, ratio], [0.0, 9.99]], [[10.0, 0.0], [ratio, 9.99]]):
            pair = link_instance(torch.tensor(gain), noise_power_w=2.0, max_power_w=2.0)
            assert ITLinQ(m_db=0.0)(pair).power_w.tolist() == [2.0, on]
            swapped = ITLinQ(m_db=0.0)(pair, torch.tensor([0.0, 1.0]))
            assert swapped.power_w.tolist() == [on, 2.0]


def test_arguments() -> None:
    with pytest.raises(ValueError, match="m_db: must be finite, received inf"):
        ITLinQ(m_db=float("inf"))
    with pytest.raises(ValueError, match="eta: must be finite and not negative, received -1"):
        ITLinQ(eta=-1)
    with pytest.raises(ValueError, match=r"priority: must have shape \[2, 9\], received \[9\]"):
        ITLinQ()(draw(2), torch.ones(9))
