"""Rules of one slot that a compiled control loop can call: each a named tuple of what the rule needs.

`decide(rule, gain, noise_power, max_power, weight, active)` gives powers in W; which kernel runs is settled by the
type of the rule when a loop is compiled.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from torchrrm.kernels import wmmse

__all__ = ["WmmseRule", "decide"]


class WmmseRule(NamedTuple):
    """`torchrrm.kernels.wmmse.solve` with these starts `[rank start]`, steps and tolerance."""

    start: np.ndarray
    steps: int
    tol: float


def decide(rule: Any, gain: Any, noise_power: Any, max_power: Any, weight: Any, active: Any) -> Any:
    """Powers in W of one slot; known to compiled code only."""
    raise TypeError(f"rule: must be called in compiled code, received {type(rule).__name__}")


@overload(decide)
def _decide(rule, gain, noise_power, max_power, weight, active):
    if getattr(rule, "instance_class", None) is WmmseRule:

        def solve(rule, gain, noise_power, max_power, weight, active):
            return wmmse.solve(
                gain, noise_power, max_power, weight, active, rule.start, rule.steps, rule.tol
            )[0]

        return solve
    return None
