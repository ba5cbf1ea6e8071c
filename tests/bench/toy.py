"""A problem small enough to check by hand: share a budget between users of different gain."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.base import Evaluation
from torchrrm.records import tensor_record


@tensor_record
class Pie:
    gain: Float[Tensor, "*batch user"]
    budget: Float[Tensor, "*batch"]
    active: Bool[Tensor, "*batch user"]


@tensor_record
class Slices:
    share: Float[Tensor, "*batch user"]


@dataclass(frozen=True)
class Sharing:
    """The sum of gain times share; the shares fit the budget, and each active user has some."""

    name: str = "sharing"

    def evaluate(self, instance: Pie, action: Slices) -> Evaluation:
        utility = torch.where(instance.active, instance.gain * action.share, 0.0)
        hunger = torch.where(instance.active & (action.share <= 0), 1.0, 0.0)
        over = (action.share.sum(-1) - instance.budget) / instance.budget.clamp_min(1e-9)
        return Evaluation(utility.sum(-1), utility, {"budget": over, "hunger": hunger})

    def feasible(self, instance: Pie) -> Tensor:
        return instance.budget > 0


@dataclass(frozen=True)
class Solution:
    action: Slices
    upper_bound: Tensor | None


class Winner:
    """Everything to the best active user: the optimum of the sum."""

    kind = "trivial"

    def __call__(self, instance: Pie) -> Slices:
        best = torch.where(instance.active, instance.gain, -1.0).argmax(-1, keepdim=True)
        share = torch.zeros_like(instance.gain).scatter(-1, best, instance.budget.unsqueeze(-1))
        return Slices(share=share)

    def solve(self, instance: Pie) -> Solution:
        bound = torch.where(instance.active, instance.gain, 0.0).amax(-1) * instance.budget
        return Solution(self(instance), bound)


class Equal(torch.nn.Module):
    """A module, so a policy; it learned to share equally."""

    def forward(self, instance: Pie) -> Slices:
        count = instance.active.sum(-1, keepdim=True).clamp_min(1)
        return Slices(share=torch.where(instance.active, instance.budget.unsqueeze(-1) / count, 0.0))


def pies(count: int = 4) -> Pie:
    gain = torch.arange(1.0, 1.0 + 3 * count).reshape(count, 3)
    return Pie(gain=gain, budget=torch.full((count,), 3.0), active=torch.ones(count, 3, dtype=torch.bool))
