"""All falsifiers by name."""

from functools import partial

from tests.falsify.beams import beamforming, least_beam_power
from tests.falsify.cells import association
from tests.falsify.harness import Round
from tests.falsify.links import sum_rate
from tests.falsify.minima import least_power, qos_bound
from tests.falsify.slices import KINDS, slicing
from tests.falsify.slots import dual_bound, hard_dual_bound, out_of_reach

__all__ = ["BOUNDS"]

BOUNDS: dict[str, Round] = {
    **{f"slicing {kind}": partial(slicing, kind) for kind in KINDS},
    "sum-rate": sum_rate,
    "qos-sum-rate": qos_bound,
    "least powers": least_power,
    "ergodic-power": dual_bound,
    "ergodic-power, hard": hard_dual_bound,
    "demands out of reach": out_of_reach,
    "urllc": beamforming,
    "least beam powers": least_beam_power,
    "association": association,
}
"""What tries to falsify the bounds, and the claims that something is infeasible, by what they are about."""
