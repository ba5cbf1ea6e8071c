import dataclasses

import pytest
import torch

from torchrrm.learning import (
    OverSlots,
    PenalisedRates,
    PolicyLoss,
    RunSettings,
    TrainerSettings,
    buffers_of,
    parameters_of,
    penalised_reward,
    train,
)
from torchrrm.policies import CentralPower
from torchrrm.problems import ErgodicAction, ErgodicInstance, ErgodicPower, Task, ergodic_instance

PROBLEM = ErgodicPower()
LINKS = 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(batch, slots, *, generator, dtype=torch.float64) -> ErgodicInstance:
    gain = torch.empty(batch, slots, LINKS, LINKS, dtype=dtype).exponential_(generator=generator)
    instance = ergodic_instance(gain, noise_power_w=1.0, max_power_w=30.0)
    demand = 2.5 * torch.rand(batch, LINKS, generator=generator, dtype=dtype)
    return dataclasses.replace(instance, min_rate_bps_hz=demand)


def a_policy(dtype=torch.float64, *, demands=False) -> OverSlots:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return OverSlots(CentralPower(LINKS, (8, 6), demands=demands, sort=False).to(dtype))


def test_reward_is_the_printed_formula():
    instance = draw(4, 20, generator=seeded())
    power = 30.0 * torch.rand(4, 20, LINKS, generator=seeded(1), dtype=torch.float64)
    action = ErgodicAction(power_w=power, slack_bps_hz=torch.zeros(4, LINKS, dtype=torch.float64))
    total = 0.0
    for group in range(4):
        for link in range(LINKS):
            mean = 0.0
            for slot in range(20):
                gain, p = instance.gain[group, slot, link], power[group, slot]
                signal = gain[link] * p[link]
                mean += torch.log2(1 + signal / (1.0 + gain @ p - signal)).item() / 20
            total += mean - 100.0 * max(0.0, instance.min_rate_bps_hz[group, link].item() - mean)
    assert PenalisedRates()(PROBLEM, instance, action).item() == pytest.approx(-total / 4, rel=1e-12)


def test_a_demand_is_met_on_average_not_in_every_draw():
    rate = torch.tensor([[0.0], [2.0]])
    demand = torch.tensor([1.0])
    assert penalised_reward(rate.mean(0), demand) == 1.0
    assert penalised_reward(rate, demand).mean() == 1.0 - 50.0


def test_nothing_is_owed_where_nobody_asks_or_nobody_is():
    instance = draw(2, 5, generator=seeded())
    action = a_policy()(instance)
    free = dataclasses.replace(instance, min_rate_bps_hz=torch.zeros_like(instance.min_rate_bps_hz))
    rate = PROBLEM.rate(free, action.power_w)
    torch.testing.assert_close(PenalisedRates()(PROBLEM, free, action), -rate.sum(-1).mean())
    torch.testing.assert_close(PenalisedRates(0.0)(PROBLEM, instance, action), -rate.sum(-1).mean())
    mask = torch.tensor([True, True, False]).expand(2, LINKS)
    paused = dataclasses.replace(instance, active=mask)
    action = a_policy()(paused)
    rate = PROBLEM.rate(paused, action.power_w)[:, :2]
    expected = penalised_reward(rate, instance.min_rate_bps_hz[:, :2])
    torch.testing.assert_close(PenalisedRates()(PROBLEM, paused, action), -expected.mean())


@pytest.mark.parametrize("demands", [False, True])
def test_gradient_agrees_with_finite_differences(demands):
    policy = a_policy(demands=demands)
    instance, loss = draw(3, 12, generator=seeded()), PolicyLoss(policy, PenalisedRates())
    parameters = parameters_of(policy)
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    value = loss(leaves, PROBLEM, instance)
    gradients = torch.autograd.grad(value, list(leaves.values()))
    directions = [torch.randn(v.shape, generator=seeded(2), dtype=v.dtype) for v in leaves.values()]

    def moved(width):
        pairs = zip(leaves.items(), directions, strict=True)
        return loss({name: v.detach() + width * d for (name, v), d in pairs}, PROBLEM, instance).item()

    slope = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-6)


def test_each_slot_is_served_by_itself_and_knows_its_demands():
    instance = draw(2, 6, generator=seeded())
    policy = a_policy(demands=True)
    power = policy(instance).power_w
    assert power.shape == (2, 6, LINKS)
    alone = policy.power(instance.slot(4), instance.min_rate_bps_hz).power_w
    torch.testing.assert_close(power[:, 4], alone)
    other = dataclasses.replace(instance, min_rate_bps_hz=instance.min_rate_bps_hz.flip(-1))
    assert not torch.allclose(policy(other).power_w, power)
    plain = a_policy()
    torch.testing.assert_close(plain(instance).power_w, plain(other).power_w)


def demand_task(slots=64):
    def sample(batch_size, *, generator):
        instance = draw(batch_size, slots, generator=generator, dtype=torch.float32)
        demand = torch.tensor([0.0, 1.0, 1.5]).expand(batch_size, LINKS)
        return dataclasses.replace(instance, min_rate_bps_hz=demand)

    return Task(PROBLEM, sample)


def test_training_meets_demands():
    policy, task = a_policy(torch.float32), demand_task()
    settings = TrainerSettings(steps=150, batch_size=1, learning_rate=1e-2)
    losses = train(PolicyLoss(policy, PenalisedRates()), [task], settings, generator=seeded())
    assert losses[-10:].mean() < 0 < losses[0]
    instance = task.sample(20, generator=seeded(7))
    rate = PROBLEM.rate(instance, policy(instance).power_w).mean(0)
    assert (rate >= torch.tensor([0.0, 0.95, 1.4])).all()


def test_training_resumes_bit_by_bit(tmp_path):
    settings = TrainerSettings(steps=9, batch_size=1, learning_rate=1e-2)
    whole, parts = a_policy(torch.float32), a_policy(torch.float32)
    expected = train(PolicyLoss(whole, PenalisedRates()), [demand_task()], settings, generator=seeded())
    run = RunSettings(checkpoint=tmp_path / "run.safetensors", checkpoint_every=4)
    loss = PolicyLoss(parts, PenalisedRates())
    train(loss, [demand_task()], dataclasses.replace(settings, steps=5), generator=seeded(), run=run)
    losses = train(loss, [demand_task()], settings, generator=seeded(9), run=run)
    assert torch.equal(losses, expected)
    found = parameters_of(parts) | buffers_of(parts)
    assert all(torch.equal(v, found[n]) for n, v in (parameters_of(whole) | buffers_of(whole)).items())


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_penalty_is_checked(value):
    with pytest.raises(ValueError, match=r"^penalty: must be at least 0 and finite, received"):
        PenalisedRates(value)
