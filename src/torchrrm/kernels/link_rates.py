"""Rate, slope and curvature of one link by bandwidth, compiled: the formulae of `torchrrm.rates` in scalar float64.

A `law` is the tuple `(exponent_per_bit, loss_factor, leakage_factor, gain, weight)`. With an exponent of 0
the curve is the secrecy rate (the data rate, if the eavesdropper hears nothing); with a positive one it is
the effective capacity over the nodes.

At small bandwidths the rate of short blocks is negative. A user counts with `utility`, `max(rate, 0)`, in the
problem's objective and in all that solvers maximise or bound.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import exp_nonpositive, log1p_nonnegative
from torchrrm.kernels.rows import over_rows

__all__ = ["curve", "curves", "utility"]

_LOG2E = 1.0 / math.log(2.0)
_LEAST = 1e-305  # of `cn0`: least bandwidth that has a rate
_FLAGS = {"contract", "nsz", "arcp", "reassoc"}
_FAINT = 1e-4  # mean SNR from which the difference of logarithm and share keeps enough digits
_SHALLOW = 0.9  # mean of `exp(-theta r)` up to which its logarithm loses no more than a digit


@kernel(inline="always")
def _excess(share, log_ratio):
    """`-ln(1 - q) - q` given `-ln(1 - q)`, by its series where the difference would cancel."""
    if share > 0.02:
        return log_ratio - share
    q = share
    series = 1 / 2 + q * (1 / 3 + q * (1 / 4 + q * (1 / 5 + q * (1 / 6 + q * (1 / 7 + q * (1 / 8 + q / 9))))))
    return q * q * series


@kernel(inline="always")
def _dispersion(width, cn0):
    """`sqrt(w V)` with its first and second derivative by bandwidth."""
    s = cn0 / (width + cn0)
    root = math.sqrt(width)
    h = s * math.sqrt(s / (2.0 - s)) * (3.0 - 2.0 * s) * 0.5
    bend = (1.0 - s) * (1.5 - 2.0 * s / (3.0 - 2.0 * s) + 0.5 * s / (2.0 - s)) + 0.5
    return root * math.sqrt(s * (2.0 - s)), h / root, -h * bend / (width * root)


@kernel
def _secrecy(width, cn0, eavesdropper_cn0, loss_factor, leakage_factor):
    s = cn0 / (width + cn0)
    t = eavesdropper_cn0 / (width + eavesdropper_cn0)
    q = (cn0 - eavesdropper_cn0) / (width + cn0)
    log_ratio = log1p_nonnegative((cn0 - eavesdropper_cn0) / (width + eavesdropper_cn0))
    rate = _LOG2E * width * log_ratio
    slope = _LOG2E * (_excess(q, log_ratio) + q * t)
    curvature = -_LOG2E * q * (s + t) / (width + eavesdropper_cn0)
    if loss_factor != 0.0:
        loss, loss_slope, loss_curvature = _dispersion(width, cn0)
        rate -= loss_factor * loss
        slope -= loss_factor * loss_slope
        curvature -= loss_factor * loss_curvature
    if leakage_factor != 0.0 and eavesdropper_cn0 > 0.0:
        loss, loss_slope, loss_curvature = _dispersion(width, eavesdropper_cn0)
        rate -= leakage_factor * loss
        slope -= leakage_factor * loss_slope
        curvature -= leakage_factor * loss_curvature
    return rate, slope, curvature


@kernel
def _value_and_slope(total, mean, width, cn0, exponent, loss_factor, gain, weight):
    """`-ln(total) / exponent` and the mean slope, by another pass over the nodes where one of them cancels.

    The value does where exponents are small, the slope where SNRs are.
    """
    if total < _SHALLOW and cn0 > _FAINT * width:
        return -math.log(total) / exponent, mean
    missing, slope, root = 0.0, 0.0, math.sqrt(width)
    for i in range(gain.size):
        snr = cn0 * gain[i] / width
        log_snr, share = math.log1p(snr), snr / (1.0 + snr)
        rate = _LOG2E * width * log_snr - loss_factor * root * math.sqrt(share * (2.0 - share))
        steep = 0.5 * share * math.sqrt(share / (2.0 - share)) * (3.0 - 2.0 * share)
        decay = weight[i] * math.expm1(-exponent * rate)
        missing += decay
        slope += (weight[i] + decay) * (_LOG2E * _excess(share, log_snr) - loss_factor * steep / root)
    if total < _SHALLOW:
        return -math.log(total) / exponent, slope / total
    return -math.log1p(missing) / exponent, slope / (1.0 + missing)


@kernel(fastmath=_FLAGS)
def _capacity(width, cn0, exponent, gain, weight):
    """Effective capacity of long blocks: one pass over the nodes."""
    total, mean, square, bend = 0.0, 0.0, 0.0, 0.0
    scale, inverse = exponent * width * _LOG2E, 1.0 / width
    for i in range(gain.size):
        snr = cn0 * gain[i] * inverse
        log_snr = log1p_nonnegative(snr)
        share = snr / (1.0 + snr)
        slope = log_snr - share  # cancels at low SNR, see `_value_and_slope`
        tilted = weight[i] * exp_nonpositive(-scale * log_snr)
        total += tilted
        mean += tilted * slope
        square += tilted * slope * slope
        bend += tilted * share * share
    mean, square, bend = (
        _LOG2E * mean / total,
        _LOG2E * _LOG2E * square / total,
        _LOG2E * inverse * bend / total,
    )
    bent = exponent * (square - mean * mean)
    value, mean = _value_and_slope(total, mean, width, cn0, exponent, 0.0, gain, weight)
    return value, mean, -bend - bent


@kernel(fastmath=_FLAGS)
def _short_capacity(width, cn0, exponent, loss_factor, gain, weight):
    """Effective capacity of short blocks: one pass over the nodes."""
    total, mean, square, bend = 0.0, 0.0, 0.0, 0.0
    inverse, root = 1.0 / width, math.sqrt(width)
    inverse_root = 1.0 / root
    for i in range(gain.size):
        snr = cn0 * gain[i] * inverse
        log_snr = log1p_nonnegative(snr)
        s = snr / (1.0 + snr)
        h = s * math.sqrt(s / (2.0 - s)) * (3.0 - 2.0 * s) * 0.5
        turn = (1.0 - s) * (1.5 - 2.0 * s / (3.0 - 2.0 * s) + 0.5 * s / (2.0 - s)) + 0.5
        rate = _LOG2E * width * log_snr - loss_factor * root * math.sqrt(s * (2.0 - s))
        slope = _LOG2E * (log_snr - s) - loss_factor * h * inverse_root
        tilted = weight[i] * exp_nonpositive(-exponent * rate)
        total += tilted
        mean += tilted * slope
        square += tilted * slope * slope
        bend += tilted * (loss_factor * h * turn * inverse * inverse_root - _LOG2E * s * s * inverse)
    mean, square, bend = mean / total, square / total, bend / total
    bent = exponent * (square - mean * mean)
    value, mean = _value_and_slope(total, mean, width, cn0, exponent, loss_factor, gain, weight)
    return value, mean, bend - bent


@kernel(inline="always")
def curve(width, cn0, eavesdropper_cn0, law):
    """Rate, slope and curvature in bit/s, per Hz and Hz^2, at a positive bandwidth; `cn0 > eavesdropper_cn0`."""
    exponent, loss_factor, leakage_factor, gain, weight = law
    if exponent == 0.0:
        return _secrecy(width, cn0, eavesdropper_cn0, loss_factor, leakage_factor)
    if loss_factor == 0.0:
        return _capacity(width, cn0, exponent, gain, weight)
    return _short_capacity(width, cn0, exponent, loss_factor, gain, weight)


@kernel(inline="always")
def utility(width, cn0, eavesdropper_cn0, law):
    """What a user adds to the objective in bit/s, `max(rate, 0)`, at a positive bandwidth; `cn0 > eavesdropper_cn0`."""
    return max(curve(width, cn0, eavesdropper_cn0, law)[0], 0.0)


@kernel
def _curve_rows(first, last, width, cn0, eavesdropper_cn0, law, rate, slope, curvature):
    """Rows `first` to `last` of `curves`."""
    for i in range(first, last):
        if width[i] > _LEAST * cn0[i] and cn0[i] > eavesdropper_cn0[i]:
            rate[i], slope[i], curvature[i] = curve(width[i], cn0[i], eavesdropper_cn0[i], law)


def curves(width, cn0, eavesdropper_cn0, law):
    """`curve` for each element of flat arrays; zeros without bandwidth or where the eavesdropper hears as well.

    So little bandwidth that the SNR would overflow counts as none.
    """
    out = np.zeros(width.size), np.zeros(width.size), np.zeros(width.size)
    over_rows(_curve_rows, width.size, width, cn0, eavesdropper_cn0, law, *out)
    return out
