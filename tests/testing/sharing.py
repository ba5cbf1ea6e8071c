"""A toy problem that can be checked by hand: a budget is shared among users of given gains."""

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
class Shares:
    share: Float[Tensor, "*batch user"]


def _evaluation(utility: Tensor, instance: Pie, action: Shares) -> Evaluation:
    """Utilities of the active users, and what their shares exceed the budget by."""
    utility = torch.where(instance.active, utility, 0.0)
    over = (action.share.sum(-1) - instance.budget) / instance.budget.clamp_min(1e-9)
    return Evaluation(utility.sum(-1), utility, {"budget": over})


@dataclass(frozen=True)
class LinearSharing:
    """Sum of `gain share`; each active user must have a share."""

    name: str = "sharing"

    def evaluate(self, instance: Pie, action: Shares) -> Evaluation:
        found = _evaluation(instance.gain * action.share, instance, action)
        hunger = torch.where(instance.active & (action.share <= 0), 1.0, 0.0)
        return Evaluation(found.objective, found.utility, {**found.violation, "hunger": hunger})

    def feasible(self, instance: Pie) -> Tensor:
        return instance.budget > 0


@dataclass(frozen=True)
class LogSharing:
    """Sum of `log(1 + gain share / softness)`, of diminishing returns."""

    softness: float = 1.0

    def evaluate(self, instance: Pie, action: Shares, /) -> Evaluation:
        return _evaluation(torch.log1p(instance.gain * action.share / self.softness), instance, action)
