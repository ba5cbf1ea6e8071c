"""Solvers: allocators that are algorithms.

`SOLVERS` maps the name of a problem and of a solver to its class, for the command line and the conformance tests.
"""

from torchrrm.solvers.base import IterativeSolver, Solution
from torchrrm.solvers.exact_slicing import ExactSlicing
from torchrrm.solvers.greedy_blocks import GreedyResourceBlocks
from torchrrm.solvers.link_baselines import MaxPower
from torchrrm.solvers.slice_baselines import EqualSurplus, OneWinner

__all__ = [
    "SOLVERS",
    "EqualSurplus",
    "ExactSlicing",
    "GreedyResourceBlocks",
    "IterativeSolver",
    "MaxPower",
    "OneWinner",
    "Solution",
]

SOLVERS: dict[str, dict[str, type]] = {
    "slicing": {
        "exact": ExactSlicing,
        "greedy-blocks": GreedyResourceBlocks,
        "equal-surplus": EqualSurplus,
        "one-winner": OneWinner,
    },
    "sum-rate": {
        "max-power": MaxPower,
    },
    "ergodic-power": {},
}
