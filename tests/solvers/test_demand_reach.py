"""Demands out of reach are certified, those that can be met never are."""

import torch
from tests.testing.links import rayleigh_slots

from torchrrm.policies import OnlineDual
from torchrrm.problems import ErgodicInstance
from torchrrm.records import replace
from torchrrm.solvers import WMMSE, certify_out_of_reach


def rayleigh(generator: torch.Generator, links: int, slots: int = 40) -> ErgodicInstance:
    return rayleigh_slots(generator, slots=slots, links=links, min_rate_bps_hz=1.0)


def test_one_link_alone_has_a_closed_form(generator):
    instance = rayleigh(generator, 1)
    best = torch.log2(1 + 10**1.5 * instance.gain[..., 0, 0]).mean(-1)
    for share, sign in ((1.1, 1), (0.9, -1)):
        demand = (share * best)[..., None]
        excess = certify_out_of_reach(instance, torch.ones(1, 1, dtype=torch.float64), demand)
        torch.testing.assert_close(excess, torch.full_like(excess, 1 - 1 / share), atol=0.012, rtol=0)
        assert excess.sign() == sign


def test_weights_of_links_without_demands_do_not_count(generator):
    """The other link is off in the bound, however large its weight, so that the closed form of one link holds."""
    instance = rayleigh(generator, 2)
    best = torch.log2(1 + 10**1.5 * instance.gain[..., 0, 0]).mean(-1)
    demand = torch.stack([1.1 * best, torch.zeros_like(best)], -1)
    weight = torch.tensor([[1.0, 1e3]], dtype=torch.float64)
    excess = certify_out_of_reach(instance, weight, demand)
    torch.testing.assert_close(excess, torch.full_like(excess, 1 - 1 / 1.1), atol=0.012, rtol=0)


def test_demands_of_inactive_links_do_not_count(generator):
    instance = replace(rayleigh(generator, 2), active=torch.tensor([[True, False]]))
    best = torch.log2(1 + 10**1.5 * instance.gain[..., 0, 0]).mean(-1)
    demand = torch.stack([1.1 * best, 5 * best], -1)
    excess = certify_out_of_reach(instance, torch.ones(1, 2, dtype=torch.float64), demand)
    torch.testing.assert_close(excess, torch.full_like(excess, 1 - 1 / 1.1), atol=0.012, rtol=0)


def test_what_a_loop_reached_is_never_out_of_reach(generator):
    for links in (4, 12):
        instance = rayleigh(generator, links)
        loop = OnlineDual(WMMSE(30))
        track, _ = loop.track(instance, loop.start(instance))
        demand = track.rate_bps_hz.mean(-2)
        for _ in range(3):
            weight = torch.rand(1, links, generator=generator, dtype=torch.float64)
            assert certify_out_of_reach(instance, weight, demand) <= 0


def test_multipliers_that_grow_certify_what_cannot_be_met(generator):
    instance = rayleigh(generator, 5, slots=600)
    instance = replace(instance, min_rate_bps_hz=torch.full((1, 5), 2.0, dtype=torch.float64))
    loop = OnlineDual(WMMSE(30))
    _, state = loop.track(instance, loop.start(instance))
    assert certify_out_of_reach(instance.between(0, 60), state.multiplier, instance.min_rate_bps_hz) > 0.2


def test_nobody_asks(generator):
    instance = rayleigh(generator, 3)
    zero = torch.zeros(1, 3, dtype=torch.float64)
    assert certify_out_of_reach(instance, zero, zero) == 0
