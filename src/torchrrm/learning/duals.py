"""Primal-dual learning of ergodic power control with parameterised multipliers [Huang2024].

The Lagrangian of Eq. (5) of [Huang2024] is maximised over powers `p`, slacks `s` and mean rates `r` and minimised
over the multipliers `lambda` (of `r <= E f`) and `mu` (of `r >= f_min - s`). All are networks: the power net reads
the channel of a slot, the others the configuration. The paper's steps (17) to (21) are taken as corrected: (19) is
no gradient of a scalar as printed and is read as that of `s^T [mu - alpha s]`, the bracket being constant.

Two of the five networks can be eliminated exactly: where `r` is free, `lambda = 1 + mu`, and then `r = E f`. The
default keeps `p`, `s` and `mu`, for which alone Table I lists rates; `literal` keeps all five.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from torchrrm.learning.objectives import Parameters
from torchrrm.policies import ConfigurationGNN, PowerGNN
from torchrrm.policies.control import FairState, ProportionalFair
from torchrrm.problems import ErgodicInstance, WeightedSumRate
from torchrrm.records import map_tensors, replace

__all__ = ["NetRates", "PrimalDualNets", "PrimalDualSettings", "primal_dual", "surrogate", "window"]

_SUM_RATE = WeightedSumRate()


class PrimalDualNets(nn.Module):
    """The networks of one learner.

    Args:
        power: the power net; its condition is the proportional-fairness ratio.
        literal: also learn mean rates and the multipliers that tie them to the channels, as in the paper.
    """

    def __init__(self, power: PowerGNN, *, literal: bool = False):
        super().__init__()
        self.power = power
        self.slack, self.multiplier = ConfigurationGNN(), ConfigurationGNN()
        self.rate = ConfigurationGNN() if literal else None
        self.rate_multiplier = ConfigurationGNN() if literal else None

    def forward(self, instance: ErgodicInstance, state: FairState, settings: "PrimalDualSettings") -> "Roll":
        """Rates of the slots and outputs of the other networks."""
        rate, last = roll_out(self.power, instance, state, settings)
        slack, multiplier = self.slack(instance), self.multiplier(instance)
        if self.rate is None or self.rate_multiplier is None:
            return Roll(rate, slack, multiplier, None, None, last)
        return Roll(rate, slack, multiplier, self.rate(instance), self.rate_multiplier(instance), last)


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
    """Learning rates of the power net, of the slack net (and the rate net), and of the dual nets."""

    power: float = 2e-2
    slack: float = 3e-3
    dual: float = 3e-3

    def of(self, name: str) -> float:
        """Rate of the parameter `name` of `PrimalDualNets`."""
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
        clip_norm: largest norm of the gradient of each step.
    """

    rates: NetRates = NetRates()
    slack_penalty: float = 4.0
    slots: int = 128
    chunk: int = 16
    averaging: float = 0.05
    warm_up: int = 100
    clip_norm: float = 1.0


def window(instance: ErgodicInstance, start: int, slots: int) -> ErgodicInstance:
    """The instance of `slots` slots from `start` on, around the end if need be."""
    length = instance.gain.shape[-3]
    chosen = torch.arange(start, start + slots, device=instance.gain.device) % length
    return replace(instance, gain=instance.gain.index_select(-3, chosen))


def roll_out(
    power: nn.Module, instance: ErgodicInstance, state: FairState, settings: PrimalDualSettings
) -> tuple[Float[Tensor, "*batch tx"], FairState]:
    """Mean rates over the slots, rolled out in the order of time; no gradient goes through the averages."""
    fair = ProportionalFair(power, settings.averaging)
    links, total = instance.slots(), 0.0
    slots = instance.gain.shape[-3]
    for start in range(0, slots, settings.chunk):
        chunk = map_tensors(lambda tensor, s=start: _slots(tensor, s, settings.chunk, instance), links)
        spread = map_tensors(lambda tensor: tensor[..., None, :], state)  # [*batch 1 tx]
        action = fair.decide(chunk, spread)
        rate = _SUM_RATE.rate(chunk, action.power_w)  # [*batch slot tx]
        for slot in rate.detach().unbind(-2):
            state = fair.observe(slot, state)
        total = total + rate.sum(-2)
    return torch.as_tensor(total) / slots, state


def _slots(tensor: Tensor, start: int, count: int, instance: ErgodicInstance) -> Tensor:
    return tensor.narrow(instance.gain.ndim - 3, start, min(count, instance.gain.shape[-3] - start))


def surrogate(roll: Roll, instance: ErgodicInstance, slack_penalty: float) -> Tensor:
    """A scalar whose negative gradient is, for each network, the direction of its step (17) to (21); of the order 1.

    Minus the sum over the links of `stop[lambda]^T E f + s^T stop[mu - alpha s] + mu^T stop[f_min - s - r]`, and in the literal form besides
    `r^T stop[1 + mu - lambda] + lambda^T stop[r - E f]`; else `lambda = 1 + mu` and `r = E f`.
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


def primal_dual(
    nets: PrimalDualNets,
    parameters: Parameters,
    instance: ErgodicInstance,
    settings: PrimalDualSettings,
    epochs: int,
    *,
    generator: torch.Generator,
    after_epoch: Callable[[int, Parameters], None] | None = None,
) -> Parameters:
    """Parameters after `epochs` steps, each on a window of the instance's slots at a random place.

    Args:
        nets: the networks, whose own parameters are left as they are.
        parameters: to begin with.
        instance: one configuration with its samples.
        settings: of the steps.
        epochs: how many.
        generator: draws the windows.
        after_epoch: told the number of epochs and the parameters, before the first and after each.
    """
    length = instance.gain.shape[-3]
    state = ProportionalFair(nets.power, settings.averaging, settings.warm_up).start(instance)
    current = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    if after_epoch is not None:
        after_epoch(0, parameters)
    for epoch in range(epochs):
        place = int(torch.randint(length, (), generator=generator))
        samples = window(instance, place, min(settings.slots, length))
        roll = functional_call(nets, current, (samples, state, settings))
        gradients = torch.autograd.grad(
            surrogate(roll, samples, settings.slack_penalty), list(current.values())
        )
        state = roll.state
        current = _descend(current, gradients, settings)
        if after_epoch is not None:
            after_epoch(epoch + 1, current)
    return {name: value.detach() for name, value in current.items()}


def _descend(parameters: Parameters, gradients: Sequence[Tensor], settings: PrimalDualSettings) -> Parameters:
    """One plain step of each network at its own rate, its gradient clipped by its norm."""
    squares: dict[str, Tensor] = {}
    for name, gradient in zip(parameters, gradients, strict=True):
        net = name.split(".")[0]
        squares[net] = squares.get(net, torch.zeros(())) + gradient.square().sum()
    scale = {
        net: torch.clamp(settings.clip_norm / torch.sqrt(total + 1e-12), max=1.0)
        for net, total in squares.items()
    }
    return {
        name: (value - settings.rates.of(name) * scale[name.split(".")[0]] * gradient)
        .detach()
        .requires_grad_()
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
    }
