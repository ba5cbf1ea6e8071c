"""Power allocations of links that need no thought: what a method must beat."""

import torch

from torchrrm.problems.links import LinkInstance, PowerAction

__all__ = ["MaxPower"]


class MaxPower:
    """Each active link transmits at its limit."""

    kind = "trivial"

    def __call__(self, instance: LinkInstance) -> PowerAction:
        power = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return PowerAction(power_w=power)
