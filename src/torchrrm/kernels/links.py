"""Interference links in relative units: what the kernels of link solvers start from.

Only active links are kept, the noise is 1 and powers are fractions of the limit. Ratios to the noise above
`MOST_RATIO` count as it, as in `torchrrm.problems.links.relative_gain` and in the objective of every problem of links
and cells: beyond, double precision cannot tell the noise from interference.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative

__all__ = [
    "MOST_RATIO",
    "at_most",
    "gain_ceiling",
    "picked",
    "placed",
    "rank",
    "relative",
    "weighted_sum_rate",
]

MOST_RATIO = 1e15
"""Largest ratio to the noise, 150 dB: no receiver tells more apart, and its square is finite in single precision."""
_PER_NAT = 1.0 / math.log(2.0)


@kernel(inline="always")
def at_most(value, ceiling):
    """The smaller number; NaN stays NaN, which `min` would hide."""
    return ceiling if value > ceiling else value


@kernel
def gain_ceiling(noise_power, max_power):
    """Gain of each transmitter at which its ratio to the noise at full power is `MOST_RATIO`."""
    ceiling = np.empty_like(max_power)
    for k in range(max_power.size):
        ceiling[k] = MOST_RATIO * noise_power / max_power[k]
    return ceiling


@kernel
def rank(value):
    """Place of each value in falling order, each place once; of equal ones the first comes first, NaN last."""
    known = np.empty(value.size)
    for k in range(value.size):
        known[k] = value[k] if value[k] == value[k] else -np.inf
    place = np.zeros(value.size, np.int64)
    for k in range(value.size):
        for j in range(value.size):
            ahead = known[j] > known[k] or (known[j] == known[k] and j < k)
            place[k] += 1 if ahead else 0
    return place


@kernel
def relative(gain, noise_power, max_power, active):
    """Indices of the active links, their gains `[rx tx]` without the direct ones, the transpose, the direct gains."""
    chosen = np.flatnonzero(active)
    links = chosen.size
    cross, across, direct = np.empty((links, links)), np.empty((links, links)), np.empty(links)
    scale = np.empty(links)
    for k in range(links):
        scale[k] = float(max_power[chosen[k]]) / noise_power
    for k in range(links):
        row = gain[chosen[k]]
        for j in range(links):
            ratio = at_most(row[chosen[j]] * scale[j], MOST_RATIO)
            cross[k, j] = ratio
            across[j, k] = ratio
        direct[k] = cross[k, k]
        cross[k, k] = 0.0
        across[k, k] = 0.0
    return chosen, cross, across, direct


@kernel
def picked(value, chosen):
    """The values of the chosen links, in double precision."""
    own = np.empty(chosen.size)
    for k in range(chosen.size):
        own[k] = value[chosen[k]]
    return own


@kernel
def placed(amplitude, chosen, max_power):
    """Powers in W of all links from the amplitudes of the chosen ones; the others are silent."""
    power = np.zeros_like(max_power)
    for k in range(chosen.size):
        power[chosen[k]] = amplitude[k] * amplitude[k] * max_power[chosen[k]]
    return power


@kernel
def weighted_sum_rate(across, direct, weight, amplitude):
    """Weighted sum rate in bit/s/Hz at powers `amplitude ** 2`; `across` is the transposed gain."""
    heard = np.ones(direct.size)
    for j in range(direct.size):
        heard += across[j] * amplitude[j] ** 2
    total = 0.0
    for k in range(direct.size):
        total += weight[k] * log1p_nonnegative(direct[k] * amplitude[k] ** 2 / heard[k])
    return total * _PER_NAT
