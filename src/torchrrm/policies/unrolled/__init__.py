"""Networks unrolled from one description of a constrained program: UPGDNet of [He2022USRMNet].

A new problem is one function that returns its `ConstrainedProgram`, and two networks of any kind.
"""

from torchrrm.policies.unrolled.description import ConstrainedProgram, Projection, Variables
from torchrrm.policies.unrolled.projections import (
    at_least,
    at_most,
    half_space,
    onto_budget,
    onto_level,
    sum_at_most,
)
from torchrrm.policies.unrolled.upgd import Unrolled, UPGDNet, unroll

__all__ = [
    "ConstrainedProgram",
    "Projection",
    "UPGDNet",
    "Unrolled",
    "Variables",
    "at_least",
    "at_most",
    "half_space",
    "onto_budget",
    "onto_level",
    "sum_at_most",
    "unroll",
]
