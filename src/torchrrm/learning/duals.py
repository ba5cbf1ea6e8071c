"""Primal-dual learning of ergodic power control with parameterised multipliers [Huang2024].

The Lagrangian of Eq. (5) of [Huang2024] is maximised over powers `p`, slacks `s` and mean rates `r` and minimised
over the multipliers `lambda` (of `r <= E f`) and `mu` (of `r >= f_min - s`). All are networks: the power net reads
the channel of a slot, the others the configuration. The paper's steps (17) to (21) are taken as corrected: (19) is
no gradient of a scalar as printed and is read as that of `s^T [mu - alpha s]`, the bracket being constant.

Two of the five networks can be eliminated exactly: where `r` is free, `lambda = 1 + mu`, and then `r = E f`. The
default keeps `p`, `s` and `mu`, for which alone Table I lists rates; `literal` keeps all five.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from torchrrm.learning.objectives import Parameters
from torchrrm.learning.optimisers import clip
from torchrrm.policies import MetaGNN
from torchrrm.policies.control import FairState, ProportionalFair
from torchrrm.problems import ErgodicInstance, LinkInstance, PowerAction, WeightedSumRate
from torchrrm.records import map_tensors, replace

__all__ = ["NetRates", "PrimalDual", "PrimalDualSettings", "surrogate", "window"]

_SUM_RATE = WeightedSumRate()


@dataclass(frozen=True)
class Roll:
    """What the networks say about a window of slots.

    Attributes:
        ergodic: mean rate of each link over the window, `E f`, in bit/s/Hz.
        slack: `s`.
        multiplier: `mu`.
        rate: `r`, of the literal form.
        rate_multiplier: `lambda`, of the literal form.
        state: moving averages after the window.
    """

    ergodic: Float[Tensor, "*batch tx"]
    slack: Float[Tensor, "*batch tx"]
    multiplier: Float[Tensor, "*batch tx"]
    rate: Float[Tensor, "*batch tx"] | None
    rate_multiplier: Float[Tensor, "*batch tx"] | None
    state: FairState


@dataclass(frozen=True)
class NetRates:
    """Learning rates of the power net, of the slack net (and the rate net), and of the dual nets.

    The defaults are the inner rates of Table I of [Huang2024].
    """

    power: float = 2e-2
    slack: float = 3e-3
    dual: float = 3e-3

    def of(self, name: str) -> float:
        """Rate of a parameter of `MetaGNN` by its name."""
        net = name.split(".")[0]
        return {"power": self.power, "slack": self.slack, "rate": self.slack}.get(net, self.dual)


@dataclass(frozen=True)
class PrimalDualSettings:
    """How a learner steps; the defaults are Table I of [Huang2024], inner loop.

    Attributes:
        rates: of the networks.
        slack_penalty: `alpha`.
        slots: of a window, the samples of one step (epoch).
        chunk: slots whose priorities are computed from one moving average, so that they run at once. Deployed
            policies see an average that moves in every slot.
        averaging: `beta` of the moving average.
        warm_up: slots at full power that it begins with.
        through_averages: let gradients go through the moving averages, so that a network learns what its powers
            make of later priorities; the public code of [NaderiAlizadeh2023] takes them as given.
        clip_norm: largest norm of the gradient of each step.
    """

    rates: NetRates = NetRates()
    slack_penalty: float = 4.0
    slots: int = 128
    chunk: int = 16
    averaging: float = 0.05
    warm_up: int = 100
    through_averages: bool = True
    clip_norm: float = 1.0


class _Rolled(nn.Module):
    """The networks as a function of a window: what `functional_call` calls with parameters of its own."""

    def __init__(self, nets: MetaGNN):
        super().__init__()
        self.nets = nets

    def forward(self, instance: ErgodicInstance, state: FairState, settings: PrimalDualSettings) -> Roll:
        nets = self.nets
        ergodic, last = roll_out(nets.power, instance, state, settings)
        slack, multiplier = nets.slack(instance), nets.multiplier(instance)
        if nets.rate is None or nets.rate_multiplier is None:
            return Roll(ergodic, slack, multiplier, None, None, last)
        return Roll(ergodic, slack, multiplier, nets.rate(instance), nets.rate_multiplier(instance), last)


def window(instance: ErgodicInstance, start: int, slots: int) -> ErgodicInstance:
    """The instance of `slots` slots from `start` on, around the end if need be."""
    length = instance.gain.shape[-3]
    chosen = torch.arange(start, start + slots, device=instance.gain.device) % length
    return replace(instance, gain=instance.gain.index_select(-3, chosen))


def roll_out(
    power: nn.Module, instance: ErgodicInstance, state: FairState, settings: PrimalDualSettings
) -> tuple[Float[Tensor, "*batch tx"], FairState]:
    """Mean rates over the slots, rolled out in the order of time."""
    fair = ProportionalFair(power, settings.averaging)
    links, total = instance.slots(), 0.0
    slots = instance.gain.shape[-3]
    full = _SUM_RATE.rate(links, links.max_power_w)  # [*batch slot tx], of all slots at once
    for start in range(0, slots, settings.chunk):
        chunk = map_tensors(lambda tensor, s=start: _slots(tensor, s, settings.chunk, instance), links)
        spread = map_tensors(lambda tensor: tensor[..., None, :], state)  # [*batch 1 tx]
        ratio = fair.ratio(_slots(full, start, settings.chunk, instance), spread)
        action = power(chunk, ratio)
        rate = _SUM_RATE.rate(chunk, action.power_w)  # [*batch slot tx]
        state = fair.observe_many(rate if settings.through_averages else rate.detach(), state)
        total = total + rate.sum(-2)
    return torch.as_tensor(total) / slots, state


def _slots(tensor: Tensor, start: int, count: int, instance: ErgodicInstance) -> Tensor:
    return tensor.narrow(instance.gain.ndim - 3, start, min(count, instance.gain.shape[-3] - start))


def surrogate(roll: Roll, instance: ErgodicInstance, slack_penalty: float) -> Tensor:
    """A scalar whose negative gradient is, for each network, the direction of its step (17) to (21); of the order 1.

    Minus the sum over the links of `stop[lambda] E f + s stop[mu - alpha s] + mu stop[f_min - s - r]`, and in
    the literal form besides `r stop[1 + mu - lambda] + lambda stop[r - E f]`; else `lambda = 1 + mu` and `r = E f`.
    """
    mu, slack = roll.multiplier.detach(), roll.slack.detach()
    weight = 1 + mu if roll.rate_multiplier is None else roll.rate_multiplier.detach()
    reached = roll.ergodic if roll.rate is None else roll.rate
    value = weight * roll.ergodic + roll.slack * (mu - slack_penalty * slack)
    value = value + roll.multiplier * (instance.min_rate_bps_hz - slack - reached.detach())
    if roll.rate is not None and roll.rate_multiplier is not None:
        value = value + roll.rate * (1 + mu - weight)
        value = value + roll.rate_multiplier * (roll.rate - roll.ergodic).detach()
    return -torch.where(instance.active, value, 0.0).sum()


class PrimalDual:
    """Learns powers, slacks and multipliers of configurations by primal-dual steps; an `InnerLearner`.

    Several configurations learn at once, each with parameters of its own, stacked along a leading axis and mapped
    by `vmap`. Each epoch is one step on a window of the configurations' slots at a random place; the moving averages
    of rates go on from epoch to epoch. Steps are plain, each network's at its own rate.

    Args:
        nets: the networks, whose own parameters are left as they are.
        settings: of the steps.
        outer: rates of a meta-learner's outer loop; Table I of [Huang2024].
    """

    def __init__(
        self, nets: MetaGNN, settings: PrimalDualSettings | None = None, outer: NetRates | None = None
    ):
        self.nets, self.settings = nets, settings or PrimalDualSettings()
        self._rolled = _Rolled(nets)
        self.outer = outer or NetRates(power=1e-2, slack=1e-3, dual=1e-3)

    def rates(self, name: str) -> tuple[float, float]:
        """See `InnerLearner.rates`."""
        return self.settings.rates.of(name), self.outer.of(name)

    def adapt(
        self,
        parameters: Parameters,
        tasks: ErgodicInstance,
        epochs: int,
        *,
        generator: torch.Generator,
        after_epoch: Callable[[int, Parameters], None] | None = None,
    ) -> tuple[Parameters, Float[Tensor, " task"]]:
        """Parameters after `epochs` steps, and minus the relaxed objective per link of the last window.

        Args:
            parameters: to begin with, `[task ...]`.
            tasks: configurations with their samples, of one batch axis `[task]`.
            epochs: how many.
            generator: draws the windows.
            after_epoch: told the number of epochs and the parameters, before the first and after each.
        """
        state = self._fair.start(tasks)
        value = torch.zeros(tasks.active.shape[0])
        if after_epoch is not None:
            after_epoch(0, parameters)
        for epoch in range(epochs):
            gradients, value, state = self._direction(parameters, tasks, state, generator)
            parameters = {
                name: torch.sub(start, gradients[name], alpha=self.settings.rates.of(name))
                for name, start in parameters.items()
            }
            if after_epoch is not None:
                after_epoch(epoch + 1, parameters)
        return parameters, value

    def gradient(
        self, parameters: Parameters, tasks: ErgodicInstance, *, generator: torch.Generator
    ) -> Parameters:
        """See `InnerLearner.gradient`."""
        return self._direction(parameters, tasks, self._fair.start(tasks), generator)[0]

    def deployed(self, parameters: Parameters) -> ProportionalFair:
        """The power nets `[task ...]` at work, one on each configuration of an instance `[task]`."""
        power = {
            name.removeprefix("power."): v for name, v in parameters.items() if name.startswith("power.")
        }

        def allocate(links: LinkInstance, priority: Tensor) -> PowerAction:
            def one(theta: Parameters, links: LinkInstance, priority: Tensor) -> Tensor:
                return functional_call(self.nets.power, theta, (links, priority)).power_w

            return PowerAction(power_w=vmap(one)(power, links, priority))

        return ProportionalFair(allocate, self.settings.averaging, self.settings.warm_up)

    @property
    def _fair(self) -> ProportionalFair:
        return ProportionalFair(self.nets.power, self.settings.averaging, self.settings.warm_up)

    def _direction(
        self, parameters: Parameters, tasks: ErgodicInstance, state: FairState, generator: torch.Generator
    ) -> tuple[Parameters, Tensor, FairState]:
        """Clipped gradients, minus the objectives and the moving averages after a window."""
        length, settings = tasks.gain.shape[-3], self.settings
        place = int(torch.randint(length, (), generator=generator))
        samples = window(tasks, place, min(settings.slots, length))

        def one(
            theta: Parameters, samples: ErgodicInstance, state: FairState
        ) -> tuple[Tensor, Tensor, FairState]:
            named = {f"nets.{name}": value for name, value in theta.items()}
            roll = functional_call(self._rolled, named, (samples, state, settings))
            loss = surrogate(roll, samples, settings.slack_penalty)
            return loss, _loss(roll, samples, settings.slack_penalty), roll.state

        # Plain autograd through the mapped networks: faster than `torch.func.grad` within `vmap`.
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        loss, value, state = vmap(one)(leaves, samples, state)
        found = torch.autograd.grad(loss.sum(), list(leaves.values()), materialize_grads=True)
        gradients = dict(zip(leaves, found, strict=True))
        return (
            vmap(lambda each: _clipped(each, settings.clip_norm))(gradients),
            value.detach(),
            map_tensors(torch.Tensor.detach, state),
        )


def _clipped(gradients: Parameters, norm: float) -> Parameters:
    """The gradients of each network by itself scaled down to the norm."""
    nets = dict.fromkeys(name.split(".")[0] for name in gradients)
    clipped: Parameters = {}
    for net in nets:
        clipped |= clip({name: g for name, g in gradients.items() if name.split(".")[0] == net}, norm)
    return clipped


def _loss(roll: Roll, task: ErgodicInstance, slack_penalty: float) -> Tensor:
    """Minus the objective of Eq. (4) of [Huang2024] with the least slack, per active link."""
    rate = roll.ergodic.detach()
    short = torch.clamp(task.min_rate_bps_hz - rate, min=0)
    value = torch.where(task.active, rate - slack_penalty / 2 * short.square(), 0.0)
    return -value.sum() / task.active.sum()
