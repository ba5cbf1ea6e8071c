"""Demands on mean rates as a penalty: the reward that the benchmarks of [Behmandpoor2024] are trained for."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchrrm.problems import ErgodicAction, ErgodicInstance, Problem

__all__ = ["DEMAND_PENALTY", "OverSlots", "PenalisedRates", "penalised_reward"]

DEMAND_PENALTY = 100.0
"""`L` of Eq. (10) of [Behmandpoor2024]."""


def penalised_reward(
    rate: Float[Tensor, "*batch tx"], demand: Float[Tensor, "*batch tx"], penalty: float = DEMAND_PENALTY
) -> Float[Tensor, "*batch"]:
    """`sum_i r_i - L sum_i max(0, u_i - r_i)` of mean rates and demands: Eq. (10) of [Behmandpoor2024].

    >>> penalised_reward(torch.tensor([2.0, 0.5]), torch.tensor([1.0, 1.0]), penalty=10.0)
    tensor(-2.5000)
    """
    return rate.sum(-1) - penalty * torch.clamp(demand - rate, min=0).sum(-1)


@dataclass(frozen=True)
class PenalisedRates:
    """Negative reward of Eq. (10) of [Behmandpoor2024], for an `ErgodicPower`: `-mean_j reward(r_j, u_j)`.

    Element `j` of a batch is one vector of demands, its `min_rate_bps_hz`, with as many draws of the channel as it
    has slots, whose mean stands for the expectation. That mean is taken within the maximum: a demand is to be met
    on average, not in every draw. A batch of one element with 1000 slots is the paper's batch of 1000; several
    elements are several vectors of demands.

    The mean of fewer draws scatters about the demand, and the mean of a maximum is at least the maximum of the
    mean: demands that are just met then still cost something, which keeps rates a little above them.

    Attributes:
        penalty: `L`, per bit/s/Hz of shortfall.
    """

    penalty: float = DEMAND_PENALTY

    def __post_init__(self) -> None:
        if not 0 <= self.penalty < float("inf"):
            raise ValueError(f"penalty: must be at least 0 and finite, received {self.penalty}")

    def __call__(
        self, problem: Problem[Any, Any], instance: ErgodicInstance, action: ErgodicAction, /
    ) -> Float[Tensor, ""]:
        # Without slack a link's utility is its mean rate.
        rate = problem.evaluate(instance, action).utility
        demand = torch.where(instance.active, instance.min_rate_bps_hz, 0.0)
        return -penalised_reward(rate, demand, self.penalty).mean()


class OverSlots(nn.Module):
    """A policy of one slot as one of many: it serves every slot by itself, and the demands are hard, without slack.

    Args:
        power: the policy; its parameters are found under `power.`. One whose attribute `demands` is true is given
            the demands besides, as in `CentralPower(demands=True)`.
    """

    def __init__(self, power: nn.Module):
        super().__init__()
        self.power = power

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of the policy, which tell runs apart."""
        return dict(getattr(self.power, "arguments", {}))

    def forward(self, instance: ErgodicInstance) -> ErgodicAction:
        """Powers of all slots at once."""
        demand = instance.min_rate_bps_hz
        reads_demands = bool(getattr(self.power, "demands", False))
        action = self.power(instance.slots(), *([demand[..., None, :]] if reads_demands else []))
        return ErgodicAction(power_w=action.power_w, slack_bps_hz=torch.zeros_like(demand))
