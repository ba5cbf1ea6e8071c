"""What an allocation of a slice violates, compiled: the constraints of `SliceBandwidth.evaluate` for a control loop."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.link_rates import curve
from torchrrm.kernels.rows import over_rows

__all__ = ["violations"]


@kernel
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


@kernel
def _violation_rows(first, last, width, cn0, eavesdropper_cn0, min_rate, limit, served, law, found):
    """Rows `first` to `last` of `violations`."""
    for row in range(first, last):
        of_row = width[row], cn0[row], eavesdropper_cn0[row], min_rate[row], limit[row], served[row]
        found[0, row], found[1, row], found[2, row], found[3, row] = _violations(*of_row, law)


def violations(width, cn0, eavesdropper_cn0, min_rate, limit, served, law):
    """Largest relative violation in each row of `[batch user]` arrays, `[4 batch]`; `inf` where a width is not finite.

    In order: the bandwidth of the slice, the minimum rate of a served user, what others get of the slice, the sign.
    """
    found = np.empty((4, width.shape[0]))
    over_rows(
        _violation_rows, width.shape[0], width, cn0, eavesdropper_cn0, min_rate, limit, served, law, found
    )
    return found
