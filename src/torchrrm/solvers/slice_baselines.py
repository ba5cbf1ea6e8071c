"""Allocations of a slice that need no thought: what a method must beat."""

import torch

from torchrrm.problems.slicing import SliceAction, SliceBandwidth, SliceInstance

__all__ = ["EqualSurplus", "OneWinner"]


class EqualSurplus:
    """Each scheduled user gets its minimum bandwidth and an equal share of the surplus: `w_k = w_min,k + S / K`."""

    kind = "trivial"

    def __init__(self, problem: SliceBandwidth):
        self.problem = problem

    def __call__(self, instance: SliceInstance) -> SliceAction:
        schedule = self.problem.schedule(instance)
        share = schedule.surplus_hz / torch.clamp(schedule.active.sum(-1), min=1)
        width = schedule.minimum_bandwidth_hz + share[..., None]
        return SliceAction(bandwidth_hz=torch.where(schedule.active, width, torch.zeros_like(width)))


class OneWinner:
    """The user that gains most from the whole surplus gets it; the others keep their minimum bandwidth."""

    kind = "trivial"

    def __init__(self, problem: SliceBandwidth):
        self.problem = problem

    def __call__(self, instance: SliceInstance) -> SliceAction:
        schedule = self.problem.schedule(instance)
        least, surplus = schedule.minimum_bandwidth_hz, schedule.surplus_hz[..., None]
        gain = self.problem.utility(schedule, least + surplus) - self.problem.utility(schedule, least)
        gain = torch.where(schedule.active, gain, torch.full_like(gain, -torch.inf))
        winner = torch.zeros_like(least).scatter(-1, gain.argmax(-1, keepdim=True), 1.0)
        return SliceAction(
            bandwidth_hz=torch.where(schedule.active, least + winner * surplus, torch.zeros_like(least))
        )
