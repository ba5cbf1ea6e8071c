"""Scores of interference links: orientation, units, relaxed and hard minima, bad input."""

import math

import pytest
import torch
from tests.testing.links import ERGODIC, LINKS, sample, sample_ergodic

from torchrrm.problems import (
    ErgodicAction,
    ErgodicPower,
    PowerAction,
    WeightedSumRate,
    ergodic_instance,
    link_instance,
)
from torchrrm.problems.links import relative_gain, saturated_gain
from torchrrm.records import replace
from torchrrm.testing import check_problem

PROBLEM = WeightedSumRate()


def test_sum_rate_conforms():
    check_problem(PROBLEM, sample, expected=LINKS)


def test_ergodic_power_conforms():
    def draw_action(instance, *, generator):
        power = torch.rand(instance.gain.shape[:-1], generator=generator).to(instance.gain.dtype)
        power = power * (instance.max_power_w * instance.active)[..., None, :]
        slack = torch.rand(instance.active.shape, generator=generator).to(instance.gain.dtype)
        return ErgodicAction(power_w=power, slack_bps_hz=slack * instance.active)

    check_problem(ErgodicPower(), sample_ergodic, draw_action=draw_action, expected=ERGODIC)


def test_rows_are_receivers():
    """Transmitter 1 disturbs receiver 0 and not the other way round."""
    gain = torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=1.0)
    both = PowerAction(power_w=torch.ones(2, dtype=torch.float64))
    utility = PROBLEM.evaluate(instance, both).utility
    torch.testing.assert_close(utility, torch.tensor([math.log2(1.25), 1.0], dtype=torch.float64))
    transposed = PROBLEM.evaluate(replace(instance, gain=gain.T), both).utility
    assert not torch.allclose(utility, transposed)


def test_relative_gain_is_the_ratio_to_noise(generator):
    instance = sample(3, generator=generator)
    instance = replace(instance, active=torch.tensor([True] * 5 + [False]).expand(3, 6))
    ratio = relative_gain(instance)
    expected = instance.gain[1, 2, 3] * instance.max_power_w[1, 3] / instance.noise_power_w[1]
    torch.testing.assert_close(ratio[1, 2, 3], expected)
    assert not ratio[:, 5].any()
    assert not ratio[:, :, 5].any()


def test_single_precision_survives_physical_units(generator):
    instance = sample(50, generator=generator)
    exact = replace(instance, **{n: v.double() for n, v in vars(instance).items() if n != "active"})
    action = PowerAction(power_w=instance.max_power_w)
    single = PROBLEM.evaluate(instance, action).objective
    double = PROBLEM.evaluate(exact, PowerAction(power_w=exact.max_power_w)).objective
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=0.0)


def test_negative_powers_count_as_none():
    instance = link_instance(torch.tensor([[1.0, 3.0], [2.0, 1.0]]), noise_power_w=1.0, max_power_w=1.0)
    rate = PROBLEM.rate(instance, torch.tensor([-1e-3, 1.0]))
    assert torch.equal(rate, PROBLEM.rate(instance, torch.tensor([0.0, 1.0])))


def test_gains_saturate_by_the_limit_of_the_transmitter():
    """At 150 dB over the noise at full power, with limits of 1 and 10 W: above 1e15 and 1e14."""
    gain = torch.tensor([[1e16, 1e16], [1e14, 1e14]], dtype=torch.float64)
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=torch.tensor([1.0, 10.0]).double())
    assert saturated_gain(instance).tolist() == [[1e15, 1e14], [1e14, 1e14]]
    ratio = torch.tensor([1e15 / (1 + 1e15), 1e15 / (1 + 1e14)], dtype=torch.float64)
    torch.testing.assert_close(PROBLEM.rate(instance, instance.max_power_w), torch.log2(1 + ratio))


def test_least_slack_is_the_best(generator):
    problem, instance = ErgodicPower(slack_penalty=4.0), sample_ergodic(20, generator=generator)
    power = 0.3 * instance.slots().max_power_w
    best = problem.least_slack(instance, power)
    score = problem.evaluate(instance, best)
    assert score.violation["relaxed_min_rate"].max() <= 1e-6
    assert (score.violation["min_rate"] > 0).any()
    more = ErgodicAction(power_w=power, slack_bps_hz=best.slack_bps_hz + 0.01)
    assert (problem.evaluate(instance, more).objective < score.objective).all()


def test_slack_is_priced_and_the_worst_slot_counts():
    """One link alone: `r - alpha / 2 s^2`, and powers of one slot above the limit and of another below 0."""
    gain = torch.ones(4, 1, 1, dtype=torch.float64)
    instance = ergodic_instance(gain, noise_power_w=1.0, max_power_w=2.0, min_rate_bps_hz=1.0)
    power, slack = torch.tensor([[1.0], [3.0], [1.0], [-1.0]]).double(), torch.tensor([0.5]).double()
    score = ErgodicPower(slack_penalty=4.0).evaluate(
        instance, ErgodicAction(power_w=power, slack_bps_hz=slack)
    )
    assert score.objective.item() == pytest.approx((1 + 2 + 1 + 0) / 4 - 4 / 2 * 0.5**2)
    assert score.violation["power"].item() == pytest.approx(0.5)
    assert score.violation["sign"].item() == pytest.approx(0.5)


def test_ergodic_rate_is_the_mean_over_slots(generator):
    instance = sample_ergodic(3, generator=generator)
    power = instance.slots().max_power_w
    each = [PROBLEM.rate(instance.slot(t), power[:, t]) for t in range(4)]
    torch.testing.assert_close(ErgodicPower().rate(instance, power), torch.stack(each).mean(0))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("gain", torch.ones(3, 2), r"gain: expected a square matrix \[rx, tx\], got \[3, 2\]"),
        ("gain", torch.tensor([[1.0, math.nan], [0.0, 1.0]]), r"gain: .* received nan at \[0, 1\]"),
        ("gain", torch.tensor([[0.0, 1.0], [1.0, 1.0]]), r"direct gain: must be positive .* 0.0 at \[0\]"),
        ("noise_power_w", torch.tensor(-1.0), r"noise_power_w: must be positive and finite, received -1.0"),
        ("active", torch.zeros(2, dtype=torch.bool), r"active: must hold at least one active link"),
        ("max_power_w", torch.ones(3), r"max_power_w: expected shape \[2\], got \[3\]"),
        ("weight", torch.tensor([-1.0, 1.0]), r"weight: must be finite and not negative, received -1.0"),
    ],
)
def test_bad_input_is_one_clear_line(field, value, message):
    instance = replace(link_instance(torch.eye(2)), **{field: value})
    with pytest.raises(ValueError, match=message) as error:
        PROBLEM.validate(instance)
    assert "\n" not in str(error.value)


def test_ergodic_instance_is_validated():
    instance = ergodic_instance(torch.eye(2).expand(3, 2, 2))
    assert ErgodicPower().validate(instance) is instance
    with pytest.raises(ValueError, match="min_rate_bps_hz: must be finite"):
        ErgodicPower().validate(replace(instance, min_rate_bps_hz=torch.tensor([1.0, math.inf])))
