"""Meta-learning of the step too [Nagabandi2019], and retraining that goes on with that step.

Meta-learning by MAML looks for initial parameters from which one step of a rate given in advance leads far. The rate
may be learned with them: Eq. (11) of [Behmandpoor2024],

    maximise over theta and psi > 0   E_u reward(theta + psi grad reward(theta, u), u).

`meta_train` does so for a policy wrapped in `LearnedStep`. Its one step is seldom enough, so `retrain` goes on from
there with psi / (1 + k).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from torchrrm.learning.objectives import Parameters
from torchrrm.learning.optimisers import gradient_and_value
from torchrrm.learning.penalty import DEMAND_PENALTY, penalised_reward
from torchrrm.problems import ErgodicAction, ErgodicInstance, ErgodicPower, Task

__all__ = ["LearnedStep", "RetrainSettings", "Retrained", "learned_step", "retrain"]

_LOG_STEP = "log_step"


class LearnedStep(nn.Module):
    """A policy with the step of its adaptation as one more parameter: `psi = exp(log_step)`, which stays positive.

    It is in the scale of `psi` that an optimiser then moves: Adam of rate 1e-3 changes it by at most about 0.1 % a
    step, whatever its size, so that parameters and step need no rates of their own.

    Deviation: [Behmandpoor2024] descends `psi` itself, with a rate of 5e-6 beside 1e-4 for the parameters.

    Args:
        policy: to be adapted; its parameters are found under `policy.`.
        step: the first `psi`.
    """

    def __init__(self, policy: nn.Module, step: float):
        super().__init__()
        if not 0 < step < math.inf:
            raise ValueError(f"step: must be positive and finite, received {step}")
        self.policy = policy
        self.log_step = nn.Parameter(torch.tensor(math.log(step), dtype=next(policy.parameters()).dtype))

    @property
    def step(self) -> Float[Tensor, ""]:
        """`psi`."""
        return self.log_step.detach().exp()

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of the policy, which tell runs apart."""
        return dict(getattr(self.policy, "arguments", {}))

    def forward(self, instance: Any) -> Any:
        """What the policy makes of the instance; the step has no part in it."""
        return self.policy(instance)


def learned_step(parameters: Parameters) -> Float[Tensor, ""] | None:
    """`psi` among the parameters of a `LearnedStep`, with its gradient; None for those of any other policy."""
    return parameters[_LOG_STEP].exp() if _LOG_STEP in parameters else None


@dataclass(frozen=True)
class RetrainSettings:
    """How a policy is retrained while it runs; decay and penalty are those of [Behmandpoor2024].

    Attributes:
        step: `psi` of the first iteration; iteration `k`, counted from 0, takes `psi / (1 + k)`.
        iterations: how many.
        decay: of the exponential average of the rates.
        penalty: `L` of Eq. (10).
    """

    step: float
    iterations: int = 100
    decay: float = 0.7
    penalty: float = DEMAND_PENALTY

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise ValueError(f"step: must be positive and finite, received {self.step}")
        if self.iterations < 1:
            raise ValueError(f"iterations: must be at least 1, received {self.iterations}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay: must be at least 0 and below 1, received {self.decay}")
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"penalty: must be at least 0 and finite, received {self.penalty}")


@dataclass(frozen=True)
class Retrained:
    """Result of retraining.

    Attributes:
        parameters: after the last iteration, by name.
        rate_bps_hz: mean over the draws of each iteration, before its update.
        average_bps_hz: exponential average of these.
    """

    parameters: Parameters
    rate_bps_hz: Float[Tensor, "iteration tx"]
    average_bps_hz: Float[Tensor, "iteration tx"]


def retrain(
    policy: nn.Module,
    parameters: Parameters,
    task: Task[ErgodicInstance, ErgodicAction],
    settings: RetrainSettings,
    *,
    generator: torch.Generator,
) -> Retrained:
    """Ascend the reward of Eq. (10) of [Behmandpoor2024] for given demands, one step on new draws an iteration.

        r_k = mean rates of the draws of iteration k,   m_k = decay m_(k-1) + (1 - decay) r_k,   m_0 = r_0,
        theta_(k+1) = theta_k + psi / (1 + k) sum_i (1 + L [m_k,i < u_i]) grad r_k,i.

    The average, which scatters less than few draws do, says who is short; the gradient is that of the draws' own
    rates. That of `m_k` itself would be smaller by the factor `1 - decay`, of which a step that was learned without
    such an average knows nothing.

    Args:
        policy: maps an `ErgodicInstance` to an action, `OverSlots` for one; it is in its own mode throughout and
            its parameters are not changed.
        parameters: to begin with.
        task: its instances' minima are the demands, their slots the draws of an iteration (50 in the paper).
        settings: of the retraining.
        generator: draws the channels.
    """
    rates: list[Tensor] = []
    averages: list[Tensor] = []
    for iteration in range(settings.iterations):
        instance = task.sample(1, generator=generator)

        def loss(theta: Parameters, instance: ErgodicInstance = instance) -> Tensor:
            action = functional_call(policy, theta, (instance,))
            rate = _ERGODIC.rate(instance, action.power_w)[0]
            last = averages[-1] if averages else rate.detach()
            average = torch.lerp(rate.detach(), last, settings.decay)
            rates.append(rate.detach())
            averages.append(average)
            felt = average + (rate - rate.detach())  # the value of the average, the gradient of the rate
            return -penalised_reward(felt, instance.min_rate_bps_hz[0], settings.penalty)

        gradients, _ = gradient_and_value(loss, parameters)
        step = settings.step / (1 + iteration)
        parameters = {name: value - step * gradients[name] for name, value in parameters.items()}
    return Retrained(parameters, torch.stack(rates), torch.stack(averages))


_ERGODIC = ErgodicPower()
