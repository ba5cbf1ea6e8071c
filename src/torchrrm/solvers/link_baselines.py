"""Power allocations of links that need no thought: what a method must beat."""

import torch

from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.solvers.base import Solution

__all__ = ["MaxPower", "in_one_go"]


class MaxPower:
    """Each active link transmits at its limit."""

    kind = "trivial"

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Limits, in no steps."""
        return in_one_go(self(instance), instance)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        power = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return PowerAction(power_w=power)


def in_one_go(action: PowerAction, instance: LinkInstance) -> Solution[PowerAction]:
    """The solution of a rule that takes no steps: converged after none."""
    steps = torch.zeros(instance.active.shape[:-1], dtype=torch.int64, device=instance.active.device)
    return Solution(action, steps == 0, steps)
