"""Powers as decisions: gains of switching by brute force, and where the loss has its minimum."""

from dataclasses import replace

import torch
from tests.testing import links

from torchrrm.learning import Switching, switching_gain
from torchrrm.problems import LinkInstance, PowerAction, WeightedSumRate, link_instance
from torchrrm.records import to

PROBLEM = WeightedSumRate()


def draw(seed: int = 0) -> tuple[LinkInstance, torch.Tensor]:
    """Links of weights and limits of their own, some paused, and powers."""
    generator = torch.Generator().manual_seed(seed)
    instance = to(links.sample(7, generator=generator), dtype=torch.float64)
    share = torch.rand(7, 6, generator=generator, dtype=torch.float64)
    instance = replace(instance, active=torch.rand(7, 6, generator=generator) < 0.8)
    return instance, share * instance.max_power_w * instance.active


def objective(instance: LinkInstance, power_w: torch.Tensor) -> torch.Tensor:
    return PROBLEM.evaluate(instance, PowerAction(power_w=power_w)).objective


def test_gains_are_differences_of_the_objective():
    instance, power = draw()
    for link in range(6):
        on, off = power.clone(), power.clone()
        on[:, link], off[:, link] = instance.max_power_w[:, link], 0.0
        wanted = objective(instance, on) - objective(instance, off)
        torch.testing.assert_close(switching_gain(instance, power)[:, link], wanted)


def test_paused_links_have_none_whatever_is_said_of_them():
    instance, power = draw()
    both = instance.active[:, :, None] & instance.active[:, None, :]
    odd = replace(
        instance,
        gain=torch.where(both, instance.gain, torch.nan),
        max_power_w=torch.where(instance.active, instance.max_power_w, 0.0),
    )
    gain = switching_gain(odd, power)
    assert torch.equal(gain, switching_gain(instance, power))
    assert (gain[~instance.active] == 0).all()
    share = torch.full_like(power, 0.5).requires_grad_()
    Switching()(PROBLEM, odd, PowerAction(power_w=share * odd.max_power_w)).backward()
    assert share.grad is not None
    assert share.grad.isfinite().all()
    assert (share.grad[~instance.active] == 0).all()


def test_the_gradient_points_to_what_pays():
    instance, power = draw()
    share = (power / instance.max_power_w).clamp(0.1, 0.9).requires_grad_()
    gain = switching_gain(instance, (share * instance.max_power_w).detach())
    loss = Switching()(PROBLEM, instance, PowerAction(power_w=share * instance.max_power_w))
    (slope,) = torch.autograd.grad(loss, share)
    wanted = -gain / torch.where(gain > 0, share, 1 - share).detach() / len(share)
    torch.testing.assert_close(slope, wanted)


def test_it_looks_across_the_valley_in_which_the_sum_rate_is_stuck():
    """The first power of the other link costs more than it gives, and its limit gives more than it costs."""
    instance = link_instance(torch.tensor([[100.0, 20.0], [4.5, 100.0]]), noise_power_w=1.0, max_power_w=1.0)
    power = torch.tensor([1.0, 1e-3], requires_grad=True)
    (rise,) = torch.autograd.grad(objective(instance, power), power)
    assert rise[1] < 0
    assert objective(instance, torch.ones(2)) > objective(instance, power)
    loss = Switching()(PROBLEM, instance, PowerAction(power_w=power))
    (slope,) = torch.autograd.grad(loss, power)
    assert slope[1] < 0
