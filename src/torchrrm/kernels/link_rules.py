"""Rules of one slot that a compiled control loop can call: each a named tuple of what the rule needs.

`decide(rule, gain, noise_power, max_power, weight, active)` gives powers in W; which kernel runs is settled by the
type of the rule when a loop is compiled.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from torchrrm.kernels import link_greedy, unfolded, wmmse

__all__ = ["GreedyRule", "UnfoldedRule", "WmmseRule", "decide"]


class WmmseRule(NamedTuple):
    """`torchrrm.kernels.wmmse.solve` with these starts `[rank start]`, steps, tolerance and safeguard."""

    start: np.ndarray
    steps: int
    tol: float
    safeguard: bool


class GreedyRule(NamedTuple):
    """`torchrrm.kernels.link_greedy.solve` with this breadth, starts and steps."""

    breadth: int
    starts: int
    steps: int


class UnfoldedRule(NamedTuple):
    """`torchrrm.kernels.unfolded.solve` with these parameters, price, breadth, starts and steps.

    Parallel loops take no tuple within a tuple.
    """

    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    price: float
    breadth: int
    starts: int
    steps: int


def decide(rule: Any, gain: Any, noise_power: Any, max_power: Any, weight: Any, active: Any) -> Any:
    """Powers in W of one slot; known to compiled code only."""
    raise TypeError(f"rule: must be called in compiled code, received {type(rule).__name__}")


@overload(decide)
def _decide(rule, gain, noise_power, max_power, weight, active):
    return _SOLVES.get(getattr(rule, "instance_class", None))


def _wmmse(rule, gain, noise_power, max_power, weight, active):
    how = rule.start, rule.steps, rule.tol, rule.safeguard
    return wmmse.solve(gain, noise_power, max_power, weight, active, how[0], how[1], how[2], how[3])[0]


def _greedy(rule, gain, noise_power, max_power, weight, active):
    return link_greedy.solve(
        gain, noise_power, max_power, weight, active, rule.breadth, rule.starts, rule.steps
    )


def _unfolded(rule, gain, noise_power, max_power, weight, active):
    net = (rule.hidden_weight, rule.hidden_bias, rule.weight, rule.bias)
    effort = (rule.price, rule.breadth, rule.starts, rule.steps)
    return unfolded.solve(gain, noise_power, max_power, weight, active, net, *effort)


_SOLVES = {WmmseRule: _wmmse, GreedyRule: _greedy, UnfoldedRule: _unfolded}
