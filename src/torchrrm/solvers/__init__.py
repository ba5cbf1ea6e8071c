"""Solvers: allocators that are algorithms.

`SOLVERS` maps names to classes, for the command line and the conformance tests.
"""

from torchrrm.solvers.base import IterativeSolver, Solution
from torchrrm.solvers.exact_slicing import ExactSlicing
from torchrrm.solvers.greedy_blocks import GreedyResourceBlocks
from torchrrm.solvers.slice_baselines import EqualSurplus, OneWinner

__all__ = [
    "SOLVERS",
    "EqualSurplus",
    "ExactSlicing",
    "GreedyResourceBlocks",
    "IterativeSolver",
    "OneWinner",
    "Solution",
]

SOLVERS: dict[str, type] = {
    "exact": ExactSlicing,
    "greedy-blocks": GreedyResourceBlocks,
    "equal-surplus": EqualSurplus,
    "one-winner": OneWinner,
}
