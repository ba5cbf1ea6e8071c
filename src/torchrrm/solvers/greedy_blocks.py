"""Greedy allocation of resource blocks: the iterative algorithm of the paper."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels.greedy import greedy_batch
from torchrrm.problems.slicing import SliceAction, SliceBandwidth, SliceInstance, SliceSchedule
from torchrrm.problems.slicing.schedule import arrays, is_compilable
from torchrrm.records import replace, tensor_record
from torchrrm.solvers.base import Solution

__all__ = ["GreedyResourceBlocks"]


@tensor_record
class _Split:
    """Each user's bandwidth in Hz, utility and next increment in bit/s, and what is left of the surplus in Hz."""

    width: Float[Tensor, "*batch user"]
    rate: Float[Tensor, "*batch user"]
    increment: Float[Tensor, "*batch user"]
    left: Float[Tensor, "*batch"]


class GreedyResourceBlocks:
    """One resource block at a time to the user whose rate it raises most (Algorithm 1 of [Hao2024]).

    Incremental: only the winner's increment changes from block to block. Where the surplus is not a multiple
    of the block the last winner gets the remainder, which the paper would leave unused. Optimal to the size
    of a block where all rates are concave; the paper calls it optimal throughout, which it is not for
    short-block secrecy.

    Args:
        problem: the kind of slice.
        block_hz: bandwidth of a resource block in Hz.
    """

    def __init__(self, problem: SliceBandwidth, block_hz: float = 10e3):
        if not 0 < block_hz < math.inf:
            raise ValueError(f"block_hz: must be positive and finite, received {block_hz}")
        self.problem = problem
        self.block_hz = block_hz

    def solve(self, instance: SliceInstance) -> Solution[SliceAction]:
        """Allocation after the surplus has been handed out; it gives no bound."""
        schedule = self.problem.schedule(instance)
        blocks = torch.ceil(schedule.surplus_hz / self.block_hz * (1 - 1e-7)) * schedule.active.any(-1)
        width = (
            self._compiled(schedule)
            if is_compilable(instance)
            else self._batched(schedule, int(blocks.max()))
        )
        done = torch.ones(schedule.surplus_hz.shape, dtype=torch.bool, device=width.device)
        return Solution(SliceAction(bandwidth_hz=width), done, blocks.to(torch.int64))

    def __call__(self, instance: SliceInstance) -> SliceAction:
        return self.solve(instance).action

    def _compiled(self, schedule: SliceSchedule) -> Tensor:
        cn0, eavesdropper, _, limit, served, law = arrays(self.problem, schedule)
        least = schedule.minimum_bandwidth_hz.reshape(cn0.shape).numpy().astype(np.float64)
        surplus = np.maximum(limit - least.sum(-1), 0.0)
        width = greedy_batch(least, surplus, self.block_hz, cn0, eavesdropper, served, law)
        return torch.from_numpy(width).reshape(schedule.cn0_hz.shape).to(schedule.cn0_hz.dtype)

    def _batched(self, schedule: SliceSchedule, blocks: int) -> Tensor:
        problem = self.problem
        width = schedule.minimum_bandwidth_hz
        rate = problem.utility(schedule, width)
        first = torch.clamp(schedule.surplus_hz, max=self.block_hz)[..., None]
        increment = problem.utility(schedule, width + first) - rate
        increment = torch.where(schedule.active, increment, torch.full_like(increment, -torch.inf))
        split = _Split(width=width, rate=rate, increment=increment, left=schedule.surplus_hz)
        for _ in range(blocks):
            split = self._grant(schedule, split)
        return torch.where(schedule.active, split.width, torch.zeros_like(width))

    def _grant(self, schedule: SliceSchedule, split: _Split) -> _Split:
        """One block, or what is left of the surplus, to the user of the largest increment in each instance."""
        winner = split.increment.argmax(-1, keepdim=True)
        step = torch.clamp(split.left, max=self.block_hz)
        won = replace(
            schedule,
            cn0_hz=schedule.cn0_hz.gather(-1, winner),
            eavesdropper_cn0_hz=schedule.eavesdropper_cn0_hz.gather(-1, winner),
        )
        width = split.width.gather(-1, winner) + step[..., None]
        rate = self.problem.utility(won, width)
        increment = self.problem.utility(won, width + self.block_hz) - rate
        increment = torch.where(
            schedule.active.gather(-1, winner), increment, torch.full_like(increment, -torch.inf)
        )
        return _Split(
            width=split.width.scatter(-1, winner, width),
            rate=split.rate.scatter(-1, winner, rate),
            increment=split.increment.scatter(-1, winner, increment),
            left=split.left - step,
        )
