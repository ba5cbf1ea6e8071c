"""Power allocations of links that need no thought: what a method must beat."""

import torch

from torchrrm.problems.links import LinkInstance, PowerAction, relative_gain
from torchrrm.solvers.base import Solution

__all__ = ["MaxPower", "StrongestLink", "in_one_go"]


class MaxPower:
    """Each active link transmits at its limit."""

    kind = "trivial"
    reads_weights = False

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Limits, in no steps."""
        return in_one_go(self(instance), instance)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        power = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return PowerAction(power_w=power)


class StrongestLink:
    """One winner: the active link whose weighted rate is largest alone transmits at its limit, the others are silent.

    Of equal weights and limits it is the one with the largest direct gain. At a high SNR among many links of equal
    mean gains it is hard to beat: the centralised networks of Table I of [Behmandpoor2024] are at this rule.
    """

    kind = "trivial"

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """The winner, in no steps."""
        return in_one_go(self(instance), instance)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        snr = relative_gain(instance).diagonal(dim1=-2, dim2=-1)
        rate = torch.where(instance.active, instance.weight * torch.log1p(snr), -1.0)
        winner = torch.zeros_like(rate).scatter(-1, rate.argmax(-1, keepdim=True), 1.0)
        limit = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return PowerAction(power_w=winner * limit)


def in_one_go(action: PowerAction, instance: LinkInstance) -> Solution[PowerAction]:
    """The solution of a rule that takes no steps: converged after none."""
    steps = torch.zeros(instance.active.shape[:-1], dtype=torch.int64, device=instance.active.device)
    return Solution(action, steps == 0, steps)
