"""Logarithm and exponential without branches, so that the compiler turns loops over them into vector instructions.

The ones of the C library are calls, which keep a loop scalar: the effective capacity over 177 nodes then
costs 1.9 us instead of 0.5 us. Both are accurate to a few units in the last place (tests).
"""

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = ["exp_nonpositive", "log1p_nonnegative", "log_positive"]

_FLAGS = {"contract", "nsz", "arcp"}
_SQRT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10


@kernel(inline="always", fastmath=_FLAGS)
def log_positive(y):
    """`ln(y)` for normal `y > 0`: exponent and mantissa apart, then the series of `2 artanh`."""
    bits = np.float64(y).view(np.int64)
    exponent = (bits - _SQRT_HALF_BITS) >> 52
    mantissa = np.int64(bits - (exponent << 52)).view(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    p = 1.0 / 19.0 + z * (1.0 / 21.0)
    p = 1.0 / 17.0 + z * p
    p = 1.0 / 15.0 + z * p
    p = 1.0 / 13.0 + z * p
    p = 1.0 / 11.0 + z * p
    p = 1.0 / 9.0 + z * p
    p = 1.0 / 7.0 + z * p
    p = 1.0 / 5.0 + z * p
    p = 1.0 / 3.0 + z * p
    return exponent * _LN2_HIGH + (exponent * _LN2_LOW + (2.0 * s + 2.0 * s * z * p))


@kernel(inline="always", fastmath=_FLAGS)
def log1p_nonnegative(x):
    """`ln(1 + x)` for finite `x >= 0`, with what `1 + x` has lost to rounding put back."""
    y = 1.0 + x
    return log_positive(y) + (x - (y - 1.0)) / y


@kernel(inline="always", fastmath=_FLAGS)
def exp_nonpositive(x):
    """`exp(x)` for `x <= 1`; below -700 it returns `exp(-700)`, which is 1e-304."""
    x = max(x, -700.0)
    k = np.floor(x * (1.0 / 0.6931471805599453) + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 1.0 / 479001600.0
    p = 1.0 / 39916800.0 + r * p
    p = 1.0 / 3628800.0 + r * p
    p = 1.0 / 362880.0 + r * p
    p = 1.0 / 40320.0 + r * p
    p = 1.0 / 5040.0 + r * p
    p = 1.0 / 720.0 + r * p
    p = 1.0 / 120.0 + r * p
    p = 1.0 / 24.0 + r * p
    p = 1.0 / 6.0 + r * p
    p = 0.5 + r * p
    p = 1.0 + r * p
    p = 1.0 + r * p
    return p * np.int64((np.int64(k) + 1023) << 52).view(np.float64)
