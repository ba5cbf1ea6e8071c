"""State-augmented power control: what it is made of, and what may be changed about it."""

import pytest
import torch
from tests.testing.links import sample_ergodic

from torchrrm.policies import OnlineDual, Refined, StateAugmented
from torchrrm.solvers import WMMSE


def policy() -> StateAugmented:
    torch.manual_seed(0)
    return StateAugmented(widths=(16, 16), step=0.3)


def test_it_is_an_online_dual_over_its_power_net_from_its_first_multipliers(generator):
    made, instance = policy(), sample_ergodic(3, generator=generator)
    loop = OnlineDual(made.power, step=0.3, first=made.first)
    assert torch.equal(made(instance).power_w, loop(instance).power_w)
    assert torch.equal(made.controller.start(instance).multiplier, made.first(instance))


def test_refined_slots_are_wmmse_from_its_powers(generator):
    made, instance = policy(), sample_ergodic(3, generator=generator)
    loop = OnlineDual(Refined(made.power, WMMSE(), 4), step=0.3, first=made.first)
    with torch.no_grad():
        assert torch.equal(made.set_to(refine_steps=4)(instance).power_w, loop(instance).power_w)


def test_changed_settings_share_the_networks_and_leave_the_policy_as_it_was():
    made = policy()
    other = made.set_to(step=0.1, slack_penalty=4.0)
    assert other.power is made.power
    assert (other.step, other.slack_penalty, made.step, made.slack_penalty) == (0.1, 4.0, 0.3, None)
    with pytest.raises(
        ValueError, match="changed: must be step, slack_penalty or refine_steps, received widths"
    ):
        made.set_to(widths=(8,))


def test_minima_may_be_relaxed(generator):
    made, instance = policy().set_to(slack_penalty=4.0), sample_ergodic(3, generator=generator)
    loop = OnlineDual(made.power, step=0.3, slack_penalty=4.0, first=made.first)
    assert torch.equal(made(instance).power_w, loop(instance).power_w)


def test_new_minima_need_no_training(generator):
    """More asked for, more multipliers: the weights follow while it runs."""
    made, instance = policy(), sample_ergodic(3, generator=generator)
    loop = made.controller
    _, state = loop.run(instance, loop.start(instance))
    more = OnlineDual(made.power, 50.0, step=0.3, first=made.first)
    _, raised = more.run(instance, more.start(instance))
    assert (raised.multiplier >= state.multiplier).all()
    assert raised.multiplier.min() > 1.0
