"""Allocators and instances of linear sharing whose results can be checked by hand."""

from dataclasses import dataclass

import torch
from tests.testing.sharing import Pie, Shares
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    action: Shares
    upper_bound: Tensor | None


class Winner:
    """Everything to the best active user: the optimum of the sum."""

    kind = "trivial"

    def __call__(self, instance: Pie) -> Shares:
        best = torch.where(instance.active, instance.gain, -1.0).argmax(-1, keepdim=True)
        share = torch.zeros_like(instance.gain).scatter(-1, best, instance.budget.unsqueeze(-1))
        return Shares(share=share)

    def solve(self, instance: Pie) -> Solution:
        bound = torch.where(instance.active, instance.gain, 0.0).amax(-1) * instance.budget
        return Solution(self(instance), bound)


class Equal(torch.nn.Module):
    """A module, so a policy; it learned to share equally."""

    def forward(self, instance: Pie) -> Shares:
        count = instance.active.sum(-1, keepdim=True).clamp_min(1)
        return Shares(share=torch.where(instance.active, instance.budget.unsqueeze(-1) / count, 0.0))


def pies(count: int = 4) -> Pie:
    gain = torch.arange(1.0, 1.0 + 3 * count).reshape(count, 3)
    return Pie(gain=gain, budget=torch.full((count,), 3.0), active=torch.ones(count, 3, dtype=torch.bool))
