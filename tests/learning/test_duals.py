"""Primal-dual learning: directions of the printed steps, rollouts in the order of time, many tasks at once."""

import itertools

import pytest
import torch
from tests.testing.links import configurations
from torch import nn
from torch.func import functional_call

from torchrrm.learning import (
    FirstOrderSettings,
    NetRates,
    PrimalDual,
    PrimalDualSettings,
    duals,
    parameters_of,
)
from torchrrm.learning.adaptation import first_order_gradient
from torchrrm.learning.duals import Roll, roll_out, surrogate, window
from torchrrm.policies import ConfigurationGNN, MetaGNN, ProportionalFair
from torchrrm.policies.control import FairState
from torchrrm.problems import ErgodicPower, PowerAction, ergodic_instance
from torchrrm.records import index, replace, to


@pytest.mark.parametrize("literal", [False, True])
def test_directions_are_those_of_steps_17_to_21(literal, generator):
    alpha, instance = 4.0, index(configurations(1, 2, generator), 0)
    names = ["ergodic", "slack", "multiplier", "rate", "rate_multiplier"]
    values = {name: torch.rand(5, generator=generator).requires_grad_() for name in names}
    f, s, mu, r, la = values.values()
    state = FairState(mean_rate_bps_hz=torch.ones(5))
    roll = Roll(f, s, mu, r if literal else None, la if literal else None, state)
    used = list(values.values())[: 5 if literal else 3]
    got = torch.autograd.grad(surrogate(roll, instance, alpha), used)
    weight, reached = (la, r) if literal else (1 + mu, f)
    wanted = [weight, mu - alpha * s, 1.0 - s - reached]  # ascent of (17), (19) and of mu by minus (21)
    wanted += [1 + mu - la, r - f] if literal else []
    for direction, ascent in zip(got, wanted, strict=True):
        torch.testing.assert_close(-direction, ascent.detach())


def test_chunks_of_one_slot_are_the_deployed_loop(generator):
    instance = configurations(2, 12, generator)
    nets, settings = MetaGNN(), PrimalDualSettings(chunk=1, warm_up=4)
    loop = ProportionalFair(nets.power, settings.averaging, 4)
    with torch.no_grad():
        rate, _ = roll_out(nets.power, instance, loop.start(instance), settings)
        expected = ErgodicPower().rate(instance, loop(instance).power_w)
    torch.testing.assert_close(rate, expected)


def test_windows_go_around_the_end(generator):
    instance = configurations(1, 5, generator)
    found = window(instance, 3, 4)
    assert torch.equal(found.gain[0], instance.gain[0, [3, 4, 0, 1]])


def tiny() -> tuple[MetaGNN, dict[str, torch.Tensor]]:
    """Small networks, and their parameters for one task."""
    torch.manual_seed(0)
    nets = MetaGNN({"widths": [4]})
    return nets, {name: value[None].detach() for name, value in parameters_of(nets).items()}


def test_windows_start_at_every_slot(generator, monkeypatch):
    tasks, starts = configurations(1, 4, generator), []

    def recorded(instance, start, slots):
        starts.append(start)
        return window(instance, start, slots)

    monkeypatch.setattr(duals, "window", recorded)
    nets, start = tiny()
    learner = PrimalDual(nets, PrimalDualSettings(slots=1, chunk=1, warm_up=1))
    learner.adapt(start, tasks, 20, generator=generator)
    assert set(starts) == set(range(4))


def test_many_tasks_at_once_are_each_by_itself(generator):
    tasks = configurations(3, 40, generator)
    torch.manual_seed(0)
    nets = MetaGNN()
    learner = PrimalDual(nets, PrimalDualSettings(slots=16, chunk=8))
    starts = {name: value.expand(3, *value.shape) for name, value in parameters_of(nets).items()}
    together, told = learner.adapt(starts, tasks, 3, generator=torch.Generator().manual_seed(5))
    for i in range(3):
        alone, value = learner.adapt(
            {name: start[i : i + 1] for name, start in starts.items()},
            index(tasks, slice(i, i + 1)),
            3,
            generator=torch.Generator().manual_seed(5),
        )
        torch.testing.assert_close(told[i : i + 1], value)
        for name, parameter in alone.items():
            torch.testing.assert_close(together[name][i], parameter[0], rtol=1e-4, atol=1e-5)


def test_each_network_moves_at_its_rate(generator):
    tasks = configurations(1, 8, generator)
    rates = NetRates(power=1e-1, slack=1e-2, dual=1e-3)
    nets, start = tiny()
    learner = PrimalDual(nets, PrimalDualSettings(rates=rates, slots=4, chunk=2, warm_up=2))
    gradient = learner.gradient(start, tasks, generator=torch.Generator().manual_seed(1))
    moved, _ = learner.adapt(start, tasks, 1, generator=torch.Generator().manual_seed(1))
    for name, value in start.items():
        torch.testing.assert_close(moved[name], value - rates.of(name) * gradient[name])


def test_each_network_is_clipped_by_itself():
    gradients = {
        "power.a": torch.tensor([3.0, 0.0]),
        "power.b": torch.tensor([0.0, 4.0]),
        "slack.a": torch.tensor([0.5, 0.0]),
    }
    clipped = duals._clipped(gradients, 1.0)
    torch.testing.assert_close(clipped["power.a"], torch.tensor([0.6, 0.0]))
    torch.testing.assert_close(clipped["power.b"], torch.tensor([0.0, 0.8]))
    torch.testing.assert_close(clipped["slack.a"], torch.tensor([0.5, 0.0]))


def test_moving_averages_go_on_from_epoch_to_epoch(generator):
    seen = []

    class Recorded(PrimalDual):
        def _direction(self, parameters, tasks, state, generator):
            found = super()._direction(parameters, tasks, state, generator)
            seen.append((state, found[2]))
            return found

    nets, start = tiny()
    learner = Recorded(nets, PrimalDualSettings(slots=4, chunk=2, warm_up=2))
    learner.adapt(start, configurations(1, 8, generator), 3, generator=generator)
    for (_, after), (before, _) in itertools.pairwise(seen):
        assert torch.equal(before.mean_rate_bps_hz, after.mean_rate_bps_hz)


def test_deployed_networks_average_as_in_learning():
    nets, start = tiny()
    loop = PrimalDual(nets, PrimalDualSettings(averaging=0.3, warm_up=7)).deployed(start)
    assert (loop.averaging, loop.warm_up) == (0.3, 7)


class Scaled(nn.Module):
    """Powers that one parameter sets, by the priorities."""

    def __init__(self, level: torch.Tensor):
        super().__init__()
        self.level = level

    def forward(self, links, priority):
        return PowerAction(power_w=links.max_power_w * torch.sigmoid(self.level * priority))


@pytest.mark.parametrize("through", [True, False])
def test_gradients_go_through_the_moving_averages_if_asked_for(through, generator):
    instance = to(configurations(1, 6, generator), dtype=torch.float64)
    settings = PrimalDualSettings(chunk=2, warm_up=1, averaging=0.5, through_averages=through)

    def rates(level):
        net = Scaled(level)
        state = ProportionalFair(net, 0.5, 1).start(instance)
        return roll_out(net, instance, state, settings)[0]

    level = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(rates(level).sum(), level)
    step = 1e-6
    with torch.no_grad():
        difference = (rates(level + step).sum() - rates(level - step).sum()) / (2 * step)
    assert torch.isclose(gradient, difference, rtol=1e-6) == through


def test_inactive_links_count_in_neither_the_surrogate_nor_the_loss():
    task = ergodic_instance(torch.eye(3).expand(2, 3, 3), min_rate_bps_hz=torch.tensor([1.0, 2.0, 9.0]))
    task = replace(task, active=torch.tensor([True, True, False]))
    rate = torch.tensor([1.5, 1.0, 7.0], requires_grad=True)
    slack, multiplier = torch.tensor([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]).requires_grad_().unbind()
    roll = Roll(rate, slack, multiplier, None, None, FairState(mean_rate_bps_hz=torch.ones(3)))
    (gradient,) = torch.autograd.grad(surrogate(roll, task, 4.0), rate)
    torch.testing.assert_close(-gradient, torch.tensor([2.0, 3.0, 0.0]))
    # The first link has more than its minimum, the second lacks 1: -(1.5 + 1.0 - 4 / 2) / 2.
    torch.testing.assert_close(duals._loss(roll, task, 4.0), torch.tensor(-0.25))


def test_learning_raises_the_penalised_rate(generator):
    tasks = configurations(2, 200, generator)
    torch.manual_seed(0)
    nets = MetaGNN()
    learner = PrimalDual(nets, PrimalDualSettings(slots=50))
    starts = {name: value.expand(2, *value.shape) for name, value in parameters_of(nets).items()}
    learned, _ = learner.adapt(starts, tasks, 40, generator=generator)
    problem = ErgodicPower()
    with torch.no_grad():
        before, after = (
            problem.evaluate(tasks, learner.deployed(p)(tasks)).objective for p in (starts, learned)
        )
    assert (after > before + 0.05).all()


def test_each_network_has_its_rate():
    rates = NetRates(power=1.0, slack=2.0, dual=3.0)
    found = {name.split(".")[0]: rates.of(name) for name in parameters_of(MetaGNN(literal=True))}
    assert found == {"power": 1.0, "slack": 2.0, "rate": 2.0, "multiplier": 3.0, "rate_multiplier": 3.0}


def test_configuration_networks_start_positive_and_rise_from_zero(generator):
    torch.manual_seed(0)
    net, tasks = ConfigurationGNN(), configurations(50, 1, generator)
    assert (net(tasks) > 0).all()
    with torch.no_grad():
        net.score.head.bias.sub_(100.0)
    assert not net(tasks).any()
    (-net(tasks).sum()).backward()  # asks for more
    assert net.score.head.bias.grad == -250.0
    net.zero_grad()
    net(tasks).sum().backward()  # asks for less
    assert net.score.head.bias.grad == 0.0


class Quadratic:
    """Learner of `|theta - task|^2 / 2` by plain steps."""

    def adapt(self, parameters, tasks, epochs, *, generator):
        value = parameters["theta"]
        for _ in range(epochs):
            value = value - 0.1 * (value - tasks)
        return {"theta": value}, (value - tasks).square().sum(-1) / 2

    def gradient(self, parameters, tasks, *, generator):
        return {"theta": parameters["theta"] - tasks}

    def rates(self, name):
        return 0.1, 0.05


def test_reptile_is_equation_33_and_first_order_maml_the_gradient_at_the_end(generator):
    tasks, theta = torch.randn(4, 3, generator=generator), torch.randn(3, generator=generator)
    end = tasks + (theta - tasks) * 0.9**7
    reptile = FirstOrderSettings(method="reptile", tasks=4, inner_steps=7)
    fomaml = FirstOrderSettings(method="fomaml", tasks=4, inner_steps=7)
    for settings, wanted in (
        (reptile, 0.05 / 4 * ((end - theta) / 0.1).sum(0)),
        (fomaml, -0.05 / 4 * (end - tasks).sum(0)),
    ):
        found, told = first_order_gradient(
            Quadratic(), {"theta": theta}, tasks, settings, generator=generator
        )
        torch.testing.assert_close(-found["theta"], wanted)
        torch.testing.assert_close(told, ((end - tasks).square().sum(-1) / 2).mean())


def test_rolled_networks_are_those_of_the_policy(generator):
    """The parameters of `adapt` are the policy's own, by name."""
    nets = MetaGNN()
    tasks = configurations(1, 6, generator)
    deployed = PrimalDual(nets).deployed({name: v[None] for name, v in parameters_of(nets).items()})
    with torch.no_grad():
        power = deployed(tasks).power_w
        torch.testing.assert_close(power, functional_call(nets, parameters_of(nets), (tasks,)).power_w)
