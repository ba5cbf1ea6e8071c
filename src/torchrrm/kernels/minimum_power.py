"""Least powers that reach minimum rates: the compiled form of `torchrrm.solvers.MinimumPower`.

Powers are fractions of their limits, and rates are met where `p >= F p + u`; see `MinimumPower`, whose names these are.
Ratios to the noise at full power count up to `MOST_RATIO`, as in the objective. With `ease` the minima are `(1 - ease)`
times as large, and the limits `(1 + ease)` times.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.links import MOST_RATIO, at_most
from torchrrm.kernels.rows import over_rows

__all__ = ["minimum_power", "minimum_power_batch"]

_ROUNDING = 1e-9  # of the limit: what the least power may exceed it by
_LEAST_GAIN = 1e-100
_MOST_RATE = 300.0  # bit/s/Hz: above, nothing is feasible, and `2^r` would overflow


@kernel
def _couple(gain, noise_power, max_power, active, min_rate, ease):
    """Matrix `F` and vector `u`, zero in rows of links that ask for nothing or are not active."""
    n = max_power.size
    coupling, demand = np.zeros((n, n)), np.zeros(n)
    for k in range(n):
        if not active[k] or not min_rate[k] > 0.0:
            continue
        sinr = math.expm1((1.0 - ease) * min(min_rate[k], _MOST_RATE) * math.log(2.0))
        direct = (1.0 + ease) * at_most(gain[k, k] * max_power[k] / noise_power, MOST_RATIO)
        scale = sinr / max(direct, _LEAST_GAIN)
        demand[k] = scale
        for j in range(n):
            if j != k and active[j]:
                cross = at_most(gain[k, j] * max_power[j] / noise_power, MOST_RATIO)
                coupling[k, j] = scale * (1.0 + ease) * cross
    return coupling, demand


@kernel
def _solve(coupling, demand, full):
    """Solution of `p = F p + u`, links that are `full` held at 1; whether the matrix is a nonsingular M-matrix.

    Gaussian elimination without pivoting: its pivots are all positive if and only if it is one.
    """
    n = demand.size
    matrix, power = -coupling, demand.copy()
    for k in range(n):
        if full[k]:
            matrix[k, :] = 0.0
            power[k] = 1.0
        matrix[k, k] += 1.0
    for k in range(n):
        if not matrix[k, k] > 0.0:
            return power, False
        for i in range(k + 1, n):
            factor = matrix[i, k] / matrix[k, k]
            if factor != 0.0:
                for j in range(k + 1, n):
                    matrix[i, j] -= factor * matrix[k, j]
                power[i] -= factor * power[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            power[k] -= matrix[k, j] * power[j]
        power[k] /= matrix[k, k]
    return power, True


@kernel
def _saturated(coupling, demand, full):
    """Fixed point of `p = min(F p + u, 1)`, and the linear systems solved; `full` becomes the links at the limit."""
    n = demand.size
    needed, steps = demand + coupling.sum(axis=1), 0
    full[:] = needed >= 1.0
    power = np.ones(n)
    for _ in range(n + 1):
        power, _ = _solve(coupling, demand, full)
        steps += 1
        needed, changed = demand + coupling @ power, False
        for k in range(n):
            if full[k] and not needed[k] >= 1.0:
                full[k] = False
                changed = True
        if not changed:
            break
    return power, steps


@kernel
def minimum_power(gain, noise_power, max_power, active, min_rate, ease):
    """Fractions of the limits `[n]`, whether they do not violate, and the linear systems solved.

    Least powers for the minima or, where these cannot be met, for the eased ones within eased limits or, where those
    cannot be met either, the fixed point of `p = min(F p + u, 1)` without ease. Arguments as in `LinkInstance`,
    `[n n]`, a number, and `[n]`; `min_rate` in bit/s/Hz.
    """
    n = max_power.size
    full = np.zeros(n, np.bool_)
    coupling, demand = _couple(gain, noise_power, max_power, active, min_rate, 0.0)
    power, regular = _solve(coupling, demand, full)
    if regular and (n == 0 or power.max() <= 1.0 + _ROUNDING):
        return np.minimum(power, 1.0), True, 1
    eased, less = _couple(gain, noise_power, max_power, active, min_rate, ease)
    power, regular = _solve(eased, less, full)
    if regular and power.max() <= 1.0 + _ROUNDING:
        return (1.0 + ease) * np.minimum(power, 1.0), True, 2
    power, steps = _saturated(coupling, demand, full)
    return np.minimum(power, 1.0), False, 2 + steps


@kernel
def _minimum_power_rows(
    first, last, gain, noise_power, max_power, active, min_rate, ease, power, feasible, steps
):
    """Rows `first` to `last` of `minimum_power_batch`."""
    for row in range(first, last):
        power[row], feasible[row], steps[row] = minimum_power(
            gain[row], noise_power[row], max_power[row], active[row], min_rate[row], ease
        )


def minimum_power_batch(gain, noise_power, max_power, active, min_rate, ease):
    """`minimum_power` for each row: `[batch n n]`, `[batch]` and `[batch n]` arrays in."""
    rows = noise_power.size
    out = np.empty(max_power.shape), np.empty(rows, np.bool_), np.empty(rows, np.int64)
    over_rows(_minimum_power_rows, rows, gain, noise_power, max_power, active, min_rate, ease, *out)
    return out
