"""Greedy allocation of resource blocks: the compiled form of `torchrrm.solvers.GreedyResourceBlocks`."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.link_rates import utility
from torchrrm.kernels.rows import over_rows

__all__ = ["greedy_batch"]


@kernel
def _greedy(least, surplus, block, cn0, eavesdropper_cn0, served, law):
    users = cn0.size
    width, rate, increment = least.copy(), np.zeros(users), np.full(users, -math.inf)
    step = min(block, surplus)
    for i in range(users):
        if served[i]:
            if least[i] > 0.0:
                rate[i] = utility(least[i], cn0[i], eavesdropper_cn0[i], law)
            increment[i] = utility(least[i] + step, cn0[i], eavesdropper_cn0[i], law) - rate[i]
    blocks = int(math.ceil(surplus / block * (1.0 - 1e-12)))
    for block_index in range(blocks):
        winner = np.argmax(increment)
        step = min(block, surplus - block_index * block)
        width[winner] += step
        rate[winner] = utility(width[winner], cn0[winner], eavesdropper_cn0[winner], law)
        following = utility(width[winner] + block, cn0[winner], eavesdropper_cn0[winner], law)
        increment[winner] = following - rate[winner]
    return width


@kernel
def _greedy_rows(first, last, least, surplus, block, cn0, eavesdropper_cn0, served, law, width):
    """Rows `first` to `last` of `greedy_batch`."""
    for row in range(first, last):
        if served[row].any():
            width[row] = _greedy(
                least[row], surplus[row], block, cn0[row], eavesdropper_cn0[row], served[row], law
            )


def greedy_batch(least, surplus, block, cn0, eavesdropper_cn0, served, law):
    """Bandwidths in Hz `[batch user]`: the surplus `[batch]` handed out to the scheduled users block by block."""
    width = least.copy()
    over_rows(_greedy_rows, cn0.shape[0], least, surplus, block, cn0, eavesdropper_cn0, served, law, width)
    return width
