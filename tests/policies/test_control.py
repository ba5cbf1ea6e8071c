"""Control loops: averages, priorities, multipliers, stop and resume."""

import math

import pytest
import torch
from tests.testing.links import sample_ergodic

from torchrrm.kernels.control import dual_step
from torchrrm.policies import EachSlot, OnlineDual, ProportionalFair
from torchrrm.policies.control import DualState, FairState, require_demands
from torchrrm.problems import (
    ErgodicPower,
    LinkInstance,
    PowerAction,
    WeightedSumRate,
    ergodic_instance,
    link_instance,
)
from torchrrm.records import replace
from torchrrm.solvers import WMMSE, ITLinQ, MaxPower


def fading(slots: int, generator: torch.Generator, links: int = 4):
    """Links that disturb each other badly, so that minima do not come by themselves."""
    gain = torch.empty(3, slots, links, links, dtype=torch.float64).exponential_(generator=generator)
    return ergodic_instance(gain, noise_power_w=0.1, max_power_w=1.0, min_rate_bps_hz=0.5)


def test_each_slot_is_the_allocator_slot_by_slot(generator):
    instance = sample_ergodic(3, generator=generator)
    action = EachSlot(WMMSE(max_steps=10))(instance)
    for slot in range(4):
        expected = WMMSE(max_steps=10)(instance.slot(slot)).power_w
        torch.testing.assert_close(action.power_w[:, slot], expected)


def test_warm_up_is_the_moving_average_from_the_first_slot_on(generator):
    instance = fading(30, generator)
    rate = WeightedSumRate().rate(instance.slots(), instance.slots().max_power_w)
    average = rate[:, 0]
    for slot in range(1, 20):
        average = 0.95 * average + 0.05 * rate[:, slot]
    state = ProportionalFair(ITLinQ(), averaging=0.05, warm_up=20).start(instance)
    torch.testing.assert_close(state.mean_rate_bps_hz, average)


def test_priority_is_the_full_power_rate_over_the_average_of_given_rates(generator):
    instance, seen = fading(6, generator), []

    def half_power(links, priority):
        seen.append(priority)
        return PowerAction(power_w=0.5 * links.max_power_w)

    loop = ProportionalFair(half_power, averaging=0.2, warm_up=3)
    average = loop.start(instance).mean_rate_bps_hz
    loop(instance)
    problem = WeightedSumRate()
    for slot, priority in enumerate(seen):
        links = instance.slot(slot)
        torch.testing.assert_close(priority, problem.rate(links, links.max_power_w) / average)
        average = 0.8 * average + 0.2 * problem.rate(links, 0.5 * links.max_power_w)


@pytest.mark.parametrize("slack_penalty", [None, 4.0])
def test_multipliers_follow_the_shortfall(slack_penalty, generator):
    instance, step = fading(5, generator), 0.3
    loop = OnlineDual(MaxPower(), step=step, slack_penalty=slack_penalty)
    _, state = loop.run(instance, loop.start(instance))
    rate = WeightedSumRate().rate(instance.slots(), instance.slots().max_power_w)
    multiplier = torch.zeros(3, 4, dtype=torch.float64)
    for slot in range(5):
        relaxed = 0.0 if slack_penalty is None else multiplier / slack_penalty
        multiplier = (multiplier + step * (0.5 - relaxed - rate[:, slot])).clamp(min=0)
    torch.testing.assert_close(state.multiplier, multiplier)


def test_mean_shortfall_is_bounded_by_the_multipliers(generator):
    instance = fading(100, generator)
    loop = OnlineDual(WMMSE(max_steps=20), step=0.2)
    power, state = loop.run(instance, loop.start(instance))
    short = 0.5 - ErgodicPower().rate(instance, power)
    assert (short <= state.multiplier / (0.2 * 100) + 1e-12).all()


def test_weights_meet_minima_that_sum_rate_misses(generator):
    instance = fading(300, generator)
    far = torch.tensor([1.0, 1.0, 1.0, 0.05])  # the last link is weak
    instance = replace(
        instance, gain=instance.gain * far[:, None], min_rate_bps_hz=0.2 * instance.active.double()
    )
    solver = WMMSE(safeguard=False)  # one link alone in some slots takes multipliers longer to settle
    missed = ErgodicPower().evaluate(instance, EachSlot(solver)(instance)).violation["min_rate"]
    met = ErgodicPower().evaluate(instance, OnlineDual(solver, step=0.2)(instance)).violation["min_rate"]
    assert missed.max() > 0.2
    assert met.max() < 0.1


def test_stopped_loop_goes_on_from_its_state(generator):
    instance = fading(8, generator)
    loop = OnlineDual(WMMSE(max_steps=5), step=0.5)
    whole, last = loop.run(instance, loop.start(instance))
    first = replace(instance, gain=instance.gain[:, :3])
    second = replace(instance, gain=instance.gain[:, 3:])
    begun, state = loop.run(first, loop.start(instance))
    ended, state = loop.run(second, state)
    assert torch.equal(torch.cat([begun, ended], dim=1), whole)
    assert torch.equal(state.multiplier, last.multiplier)


def test_own_demands_and_first_multipliers(generator):
    instance = fading(3, generator)
    loop = OnlineDual(
        MaxPower(), torch.tensor([0.0, 1.0, 2.0, 3.0]), first=lambda links: 0.0 * links.active + 7.0
    )
    state = loop.start(instance)
    assert state.min_rate_bps_hz[1].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert state.multiplier[1].tolist() == [0.0, 7.0, 7.0, 7.0]


def test_multipliers_scale_the_weights_of_the_links():
    """The weights are `w (1 + mu)`, not `1 + mu`."""
    seen = []

    def full_power(links: LinkInstance) -> PowerAction:
        seen.append(links.weight)
        return PowerAction(power_w=links.max_power_w)

    links = link_instance(torch.eye(3), weight=torch.tensor([1.0, 2.0, 3.0]))
    state = DualState(multiplier=torch.tensor([0.0, 1.0, 0.5]), min_rate_bps_hz=torch.ones(3))
    OnlineDual(full_power).decide(links, state)
    assert seen[0].tolist() == [1.0, 4.0, 4.5]


@pytest.mark.parametrize("slack_penalty", [None, 4.0])
def test_steps_of_both_forms_agree(slack_penalty, generator):
    """Of any multipliers, at the ceiling and of links without a minimum, which have none."""
    loop = OnlineDual(MaxPower(), step=2.0, slack_penalty=slack_penalty, ceiling=5.0)
    multiplier = 6.0 * torch.rand(50, 4, generator=generator, dtype=torch.float64)
    rate, least = 4.0 * torch.rand(2, 50, 4, generator=generator, dtype=torch.float64)
    least = least * (torch.rand(50, 4, generator=generator) < 0.7)
    state = loop.observe(rate, DualState(multiplier=multiplier, min_rate_bps_hz=least))
    relaxed = 0.0 if slack_penalty is None else 1 / slack_penalty
    for own, minima, reached, expected in zip(
        multiplier.numpy(), least.numpy(), rate.numpy(), state.multiplier, strict=True
    ):
        dual_step(own, minima, reached, 2.0, relaxed, 5.0)
        torch.testing.assert_close(torch.from_numpy(own), expected)
    assert not state.multiplier[least == 0].any()


def test_priorities_of_links_without_a_rate_so_far_are_finite():
    loop = ProportionalFair(ITLinQ())
    state = FairState(mean_rate_bps_hz=torch.tensor([0.0, 0.5]))
    assert loop.ratio(torch.tensor([2.0, 2.0]), state).tolist() == pytest.approx([2000.0, 4.0])


def test_demands_of_inactive_links_are_not_read():
    instance = replace(
        ergodic_instance(torch.eye(3).expand(2, 3, 3)), active=torch.tensor([True, False, True])
    )
    assert require_demands(2.0, instance).tolist() == [2.0, 0.0, 2.0]
    assert require_demands(torch.tensor([1.0, math.nan, 3.0]), instance).tolist() == [1.0, 0.0, 3.0]


def test_changed_minima_reset_the_multipliers(generator):
    """The multipliers of the old minima say nothing about the new ones."""
    instance = fading(20, generator)
    minima = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64).expand(3, 4)
    loop = OnlineDual(MaxPower(), step=1.0, first=lambda links: 7.0 * links.min_rate_bps_hz)
    _, state = loop.run(instance, loop.start(instance))
    changed = loop.retarget(state, replace(instance, min_rate_bps_hz=minima))
    assert torch.equal(changed.multiplier, 7.0 * minima)
    assert torch.equal(changed.min_rate_bps_hz, minima)


@pytest.mark.parametrize("solver", [MaxPower(), WMMSE(max_steps=5)], ids=["torch", "compiled"])
def test_multipliers_of_infeasible_minima_stop_at_the_ceiling(solver, generator):
    instance = fading(20, generator)
    loop = OnlineDual(solver, torch.tensor([0.0, 1e3, 1e3, 1e3]), step=1.0, ceiling=5.0)
    _, state = loop.run(instance, loop.start(instance))
    assert state.multiplier.tolist() == [[0.0, 5.0, 5.0, 5.0]] * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OnlineDual(MaxPower(), step=0.0), "step: must be positive and finite, received 0.0"),
        (lambda: OnlineDual(MaxPower(), slack_penalty=0.0), "slack_penalty: must be positive, received 0.0"),
        (lambda: ProportionalFair(ITLinQ(), averaging=0.0), r"averaging: must lie in \(0, 1\], received 0.0"),
        (lambda: ProportionalFair(ITLinQ(), warm_up=0), "warm_up: must be at least 1 slot, received 0"),
    ],
)
def test_bad_settings_are_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message):
        make()
