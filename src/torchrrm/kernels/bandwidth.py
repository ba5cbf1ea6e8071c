"""Minimum bandwidth and scheduling of one slice, compiled."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative, log_positive
from torchrrm.kernels.link_rates import curve
from torchrrm.kernels.rows import over_rows

__all__ = [
    "minimum_bandwidth",
    "minimum_bandwidth_batch",
    "peak",
    "schedule",
    "schedule_batch",
    "shannon_bandwidth",
]

_LN2 = math.log(2.0)
_STEPS = 60
_CLOSE = 1e-5  # of a Halley step: the error after it is of third order


@kernel(inline="always")
def shannon_bandwidth(rate, cn0):
    """Bandwidth in Hz of a Shannon rate in bit/s: solves `w ln(1 + c/w) = r ln 2`, without branches.

    With `k = r ln 2 / c` it is `c k / (v - k)` with `v = -W_{-1}(-k e^{-k})`, the root of `v - ln v = k - ln
    k` above 1; the start is between the bounds of [Chatzigeorgiou2013]. Not defined for `k >= 1`, where no
    bandwidth is enough.
    """
    k = rate * _LN2 / cn0
    u = k - 1.0 - log_positive(k)
    v = 1.0 + math.sqrt(2.0 * u) + 0.7 * u
    for _ in range(2):
        v = v * (u + log_positive(v)) / (v - 1.0)
    width = rate * _LN2 / (v - k)
    for _ in range(2):  # polished where the subtraction above has cancelled
        snr = cn0 / width
        log_snr = log1p_nonnegative(snr)
        width += (rate * _LN2 - width * log_snr) / (log_snr - snr / (1.0 + snr))
    return width


@kernel
def peak(low, high, cn0, eavesdropper_cn0, law):
    """Bandwidth between `low` and `high` at which the slope turns negative (weak users at finite blocklength).

    At an SNR above 4 a rate that is negative and falls has not yet passed its valley: `r / sqrt(w)` still
    rises there.
    """
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        rate, slope, _ = curve(middle, cn0, eavesdropper_cn0, law)
        if slope > 0.0 or (rate < 0.0 and 4.0 * middle < cn0):
            low = middle
        else:
            high = middle
    return low


@kernel
def _reaching(rate, limit, cn0, eavesdropper_cn0, law):
    """A bandwidth up to `limit` with at least `rate`: the limit or the peak before it; `inf` if there is none."""
    value, slope, _ = curve(limit, cn0, eavesdropper_cn0, law)
    if value >= rate:
        return limit
    if slope >= 0.0:
        return math.inf
    top = peak(shannon_bandwidth(rate, cn0), limit, cn0, eavesdropper_cn0, law)
    return top if curve(top, cn0, eavesdropper_cn0, law)[0] >= rate else math.inf


@kernel
def _needed(rate, limit, cn0, eavesdropper_cn0, law):
    """Least bandwidth with at least `rate`, by Halley steps in a bracket; `inf` where none up to `limit` has it."""
    if not cn0 > eavesdropper_cn0 or rate * _LN2 >= cn0 - eavesdropper_cn0:
        return math.inf
    low, high = shannon_bandwidth(rate, cn0), limit  # no kind needs less than the Shannon rate does
    if not low < limit:
        return math.inf
    width = low
    for _ in range(_STEPS):
        value, slope, curvature = curve(width, cn0, eavesdropper_cn0, law)
        if value < rate:
            low = width
        else:
            high = width
        excess = value - rate
        step = -2.0 * excess * slope / (2.0 * slope * slope - excess * curvature)
        if slope > 0.0 and abs(step) <= _CLOSE * width:
            return width + step
        width += step
        if not low < width < high:
            if high == limit:  # not yet seen: the rate may be out of reach, or past its peak
                high = _reaching(rate, limit, cn0, eavesdropper_cn0, law)
                if high == math.inf:
                    return high
            width = math.sqrt(low * high)
    return high


@kernel
def minimum_bandwidth(cn0, eavesdropper_cn0, min_rate, limit, active, law):
    """Least bandwidth in Hz for each user's minimum rate; `inf` where inactive or out of reach within `limit`."""
    users = cn0.size
    width = np.full(users, math.inf)
    exponent, loss_factor, _, _, _ = law
    if exponent == 0.0 and loss_factor == 0.0 and not eavesdropper_cn0.any():
        for i in range(users):
            width[i] = shannon_bandwidth(min_rate[i], cn0[i])
        for i in range(users):
            if min_rate[i] * _LN2 >= cn0[i] or not width[i] <= limit:
                width[i] = math.inf
    else:
        for i in range(users):
            if active[i] and min_rate[i] > 0.0:
                width[i] = _needed(min_rate[i], limit, cn0[i], eavesdropper_cn0[i], law)
    for i in range(users):
        if not active[i]:
            width[i] = math.inf
        elif min_rate[i] <= 0.0:
            width[i] = 0.0 if cn0[i] > eavesdropper_cn0[i] else math.inf
    return width


@kernel
def _threshold(width, limit):
    """Largest width that is served, and how many of just that width are: quickselect by sums, linear on average."""
    rest = width[width <= limit]
    largest, count = -1.0, 0
    while rest.size:
        pivot = rest[rest.size // 2]
        below = rest[rest < pivot]
        total = below.sum()
        if total > limit:
            rest = below
            continue
        equal = np.sum(rest == pivot)
        fit = equal if pivot * equal <= limit - total else int((limit - total) / pivot)
        if fit > 0:
            largest, count = pivot, fit
        elif below.size:
            largest = below.max()
            count = np.sum(below == largest)
        if fit < equal:
            break
        limit -= total + pivot * equal
        rest = rest[rest > pivot]
    return largest, count


@kernel
def schedule(width, limit):
    """Which users are served: as many as fit, those that need least first. Returns the mask and the surplus in Hz."""
    total = 0.0
    for i in range(width.size):
        total += width[i]
    if total <= limit:
        return np.ones(width.size, np.bool_), limit - total
    largest, count = _threshold(width, limit)
    served = np.zeros(width.size, np.bool_)
    used = 0.0
    for i in range(width.size):
        if width[i] < largest or (width[i] == largest and count > 0):
            count -= width[i] == largest
            served[i] = True
            used += width[i]
    return served, max(limit - used, 0.0)


@kernel
def _schedule_rows(first, last, cn0, eavesdropper_cn0, min_rate, limit, active, law, served, width, surplus):
    """Rows `first` to `last` of `schedule_batch`."""
    for row in range(first, last):
        width[row] = minimum_bandwidth(
            cn0[row], eavesdropper_cn0[row], min_rate[row], limit[row], active[row], law
        )
        served[row], surplus[row] = schedule(width[row], limit[row])
        for i in range(cn0.shape[1]):
            if not served[row, i]:
                width[row, i] = 0.0


def schedule_batch(cn0, eavesdropper_cn0, min_rate, limit, active, law):
    """Scheduled users and their least bandwidth (0 for the others), `[batch user]`, and the surplus `[batch]`."""
    out = np.zeros(cn0.shape, np.bool_), np.empty(cn0.shape), np.empty(cn0.shape[0])
    over_rows(_schedule_rows, cn0.shape[0], cn0, eavesdropper_cn0, min_rate, limit, active, law, *out)
    return out


@kernel
def _minimum_bandwidth_rows(first, last, cn0, eavesdropper_cn0, min_rate, limit, active, law, width):
    """Rows `first` to `last` of `minimum_bandwidth_batch`."""
    for row in range(first, last):
        width[row] = minimum_bandwidth(
            cn0[row], eavesdropper_cn0[row], min_rate[row], limit[row], active[row], law
        )


def minimum_bandwidth_batch(cn0, eavesdropper_cn0, min_rate, limit, active, law):
    """`minimum_bandwidth` for each row of `[batch user]` arrays."""
    width = np.empty(cn0.shape)
    over_rows(
        _minimum_bandwidth_rows, cn0.shape[0], cn0, eavesdropper_cn0, min_rate, limit, active, law, width
    )
    return width
