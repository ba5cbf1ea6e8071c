"""What an allocation of a slice violates, compiled: the constraints of `SliceBandwidth.evaluate` for a control loop."""

import math

import numpy as np
from numba import njit, prange

from torchrrm.kernels.link_rates import curve

__all__ = ["violations"]


@njit(error_model="numpy", cache=True)
def _violations(width, cn0, eavesdropper_cn0, min_rate, limit, served, law):
    total, short, outside, negative = 0.0, -math.inf, 0.0, -math.inf
    for i in range(width.size):
        if not math.isfinite(width[i]):
            return math.inf, math.inf, math.inf, math.inf
        total += width[i]
        negative = max(negative, -width[i] / limit)
        lack = 0.0
        if not served[i]:
            outside = max(outside, abs(width[i]) / limit)
        elif min_rate[i] > 0.0:
            rate = 0.0
            if width[i] > 0.0 and cn0[i] > eavesdropper_cn0[i]:
                rate = curve(width[i], cn0[i], eavesdropper_cn0[i], law)[0]
            lack = (min_rate[i] - rate) / min_rate[i]
        short = max(short, lack)
    return (total - limit) / limit, short, outside, negative


@njit(error_model="numpy", cache=True, parallel=True)
def violations(width, cn0, eavesdropper_cn0, min_rate, limit, served, law):
    """Largest relative violation in each row of `[batch user]` arrays, `[4 batch]`; `inf` where a width is not finite.

    In order: the bandwidth of the slice, the minimum rate of a served user, what others get of the slice, the sign.
    """
    found = np.empty((4, width.shape[0]))
    for row in prange(width.shape[0]):
        of_row = width[row], cn0[row], eavesdropper_cn0[row], min_rate[row], limit[row], served[row]
        found[0, row], found[1, row], found[2, row], found[3, row] = _violations(*of_row, law)
    return found
