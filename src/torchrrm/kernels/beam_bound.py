"""Upper bound of the weighted sum rate of short packets over a simplex of power shares, by concave functions.

With the best beams for shares `q`, `SINR_k = q_k / I_k(q)`. The interference function `I_k` does not depend on `q_k`;
it is concave as a minimum over beams of affine functions, and `q_k + I_k = 1 / A_kk` with `A = G (I + Q G)^-1`. So

    r_k = ln(1 + SINR_k) = ln(1 / A_kk) - ln I_k

is a difference of concave functions. Over a simplex with corners `v_i`, `q = sum_i lambda_i v_i`:

*Interference.* `ln I_k` is nowhere below the affine function that it agrees with at the corners, its convex envelope
there ([Horst1996]): `ln I_k >= sum_i lambda_i ln I_k(v_i)`. It varies little where antennas are many, as interference
can be nulled, so that little is lost. The least `I_k` in the simplex, `J_k`, is at a corner.

*Packets.* Their rate `R` is convex in `r`, and its slope at least `m_k = R'(r_lo)` from the least `r_k` in the simplex
on, for which minimum rates, or the beam that is best in the middle, are a bound. Hence

    R(r_k) <= R(ln(1 / A_kk) - ln J_k) - m_k (sum_i lambda_i ln I_k(v_i) - ln J_k),

which is concave where `R'' <= R'`: then `R(ln x)` is concave and increasing in `x`, and `1 / A_kk` is concave. Where
rates are too low for that, the chord of `R` takes its place, `m_k` its slope; the largest `r_k` is at a corner.

*Minimum rates.* `q_k >= nu_k I_k(q)` is relaxed to `q_k >= nu_k sum_i lambda_i I_k(v_i)`.

The concave sum is maximised by a barrier method. Whatever point and multipliers `y >= 0` that ends at, the maximum is
at most `U + max_i (dU_i + (y c)_i) - dU lambda`: that is returned.
"""

import math
from typing import NamedTuple

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = ["CORNER", "GAIN", "LOG_SINR", "Cover", "Terms", "bound_simplex", "corner_of", "packet", "resolve"]

CORNER, GAIN, LOG_SINR = 0, 1, 2
"""Rows of a corner: shares, `1 / I_k`, `ln(1 + SINR_k)`."""
_NARROW = 1e-7  # least width of a chord
_STEPS = 40  # of Newton's method
_FALL = 0.15  # of the barrier, a step
_PENALTY = 30.0  # of missing minimum rates, in weights


class Terms(NamedTuple):
    """One instance: Gram matrix, weights, least SINRs and back-off of its users."""

    gram: np.ndarray
    weight: np.ndarray
    least: np.ndarray
    back_off: float


class Cover(NamedTuple):
    """A concave function of the shares that is nowhere in a simplex below the weighted sum rate."""

    exact: np.ndarray  # whether the packet's rate is used itself, not a chord of it
    height: np.ndarray  # of the chord at 0
    slope: np.ndarray  # of the chord, or the least of the rate
    quiet: np.ndarray  # ln of the least I_k
    tilt: np.ndarray  # of each corner: affine in lambda


@kernel
def packet(log_sinr, back_off):
    """Rate of a packet in nats a channel use."""
    return log_sinr - back_off * math.sqrt(-math.expm1(-2.0 * log_sinr))


@kernel
def resolve(gram, share, matrix, error):
    """Write `A = G (I + Q G)^-1` and the errors `e_k`: `torchrrm.kernels.gram.sweep` for complex matrices."""
    users = share.size
    matrix[:] = gram
    for k in range(users):
        pivot = 1.0 + share[k] * matrix[k, k].real
        error[k] = 1.0 / pivot
        for i in range(users):
            if i == k:
                continue
            factor = matrix[i, k] * (share[k] / pivot)
            for j in range(users):
                if j != k:
                    matrix[i, j] -= factor * matrix[k, j]
            if i < k:
                error[i] += share[i] * (factor * matrix[k, i]).real
            matrix[i, k] = matrix[i, k] / pivot
        for j in range(users):
            matrix[k, j] = matrix[k, j] / pivot if j == k else matrix[j, k].conjugate()


@kernel
def corner_of(gram, share, corner):
    """Write the rows of a corner at these shares."""
    users = share.size
    matrix, error = np.empty((users, users), np.complex128), np.empty(users)
    resolve(gram, share, matrix, error)
    for k in range(users):
        corner[LOG_SINR, k] = -math.log(error[k])
        corner[GAIN, k] = matrix[k, k].real / error[k]
        corner[CORNER, k] = share[k]


@kernel
def _least_levels(terms, corner, low):
    """Write bounds on `ln(1 + SINR_k)` from below: minimum rates, and the beams that are best in the middle."""
    users = terms.weight.size
    middle, matrix, error = np.zeros(users), np.empty((users, users), np.complex128), np.empty(users)
    for i in range(users):
        middle += corner[i, CORNER] / users
    resolve(terms.gram, middle, matrix, error)
    for k in range(users):
        own = matrix[k, k].real
        noise, ratio = own * error[k], math.inf
        for j in range(users):
            noise -= middle[j] * abs(matrix[k, j]) ** 2 if j != k else 0.0
        for i in range(users):
            heard = max(noise, 0.0)
            for j in range(users):
                heard += corner[i, CORNER, j] * abs(matrix[k, j]) ** 2 if j != k else 0.0
            ratio = min(ratio, corner[i, CORNER, k] * own * own / heard)
        low[k] = math.log1p(max(ratio * (1.0 - 1e-9), terms.least[k]))


@kernel
def _bends(level, back_off):
    """Whether from this `ln(1 + SINR)` on the rate rises and is concave in `1 + SINR`: `0 <= R'' <= R'`."""
    missing = math.exp(-2.0 * level)
    root = math.sqrt(-math.expm1(-2.0 * level))
    if not root > 0.0:
        return False
    return back_off * (missing / root * 3.0 + missing * missing / root**3) <= 1.0


@kernel
def _cover(terms, corner):
    """The concave function of a simplex, whose corners are rows of `corner`."""
    users = terms.weight.size
    low, quiet, height, slope = np.empty(users), np.empty(users), np.empty(users), np.empty(users)
    exact, tilt = np.empty(users, np.bool_), np.zeros(users)
    _least_levels(terms, corner, low)
    for k in range(users):
        high, least, quiet[k] = 0.0, math.inf, math.inf
        for i in range(users):
            high = max(high, corner[i, LOG_SINR, k])
            quiet[k] = min(quiet[k], -math.log(corner[i, GAIN, k]))
            least = min(least, corner[i, CORNER, k])
        first = min(low[k], high)
        own = min(math.log1p(least * math.exp(-quiet[k])), first)
        exact[k] = _bends(own, terms.back_off)
        if exact[k]:
            missing = math.exp(-2.0 * first)
            slope[k] = 1.0 - terms.back_off * missing / math.sqrt(-math.expm1(-2.0 * first))
        else:
            if high - first < _NARROW:
                first, high = max(first - _NARROW, 0.0), high + _NARROW
            top, bottom = packet(high, terms.back_off), packet(first, terms.back_off)
            slope[k] = max((top - bottom) / (high - first), 0.0)
            height[k] = max(top, bottom) - slope[k] * high
        for i in range(users):
            tilt[i] += terms.weight[k] * slope[k] * (math.log(corner[i, GAIN, k]) + quiet[k])
    return Cover(exact, height, slope, quiet, tilt)


@kernel
def _value(terms, cover, share, matrix, slope, curve):
    """The concave function without its tilt; writes its gradient and minus its Hessian in the shares."""
    users, value = share.size, 0.0
    error, own = np.empty(users), np.empty(users)
    resolve(terms.gram, share, matrix, error)
    slope[:] = 0.0
    curve[:] = 0.0
    for k in range(users):
        level = -math.log(matrix[k, k].real) - cover.quiet[k]
        steep, bend, rate = cover.slope[k], 0.0, cover.height[k] + cover.slope[k] * level
        if cover.exact[k]:
            missing = math.exp(-2.0 * level)
            root = math.sqrt(-math.expm1(-2.0 * level))
            rate = level - terms.back_off * root
            steep = 1.0 - terms.back_off * missing / root
            bend = terms.back_off * (2.0 * missing / root + missing * missing / root**3)
        part = terms.weight[k]
        value += part * rate
        steep, bend = part * steep, part * bend
        for j in range(users):
            own[j] = (matrix[k, j].real ** 2 + matrix[k, j].imag ** 2) / matrix[k, k].real
            slope[j] += steep * own[j]
        scale = 2.0 * steep / matrix[k, k].real
        for i in range(users):
            for j in range(users):
                curve[i, j] += scale * (matrix[k, i] * matrix[i, j] * matrix[j, k]).real
                curve[i, j] -= (steep + bend) * own[i] * own[j]
    return value


@kernel
def _relaxed(terms, corner, row):
    """Write relaxed minimum rates, `row lambda >= 0`, that not all corners meet; their number, -1 if one is lost."""
    users, count = terms.weight.size, 0
    for k in range(users):
        if not terms.least[k] > 0.0:
            continue
        least, most = math.inf, -math.inf
        for i in range(users):
            value = corner[i, CORNER, k] * corner[i, GAIN, k] / terms.least[k] - 1.0
            value *= 1.0 / corner[i, GAIN, k]
            row[count, i] = value
            least, most = min(least, value), max(most, value)
        scale = max(most, -least)
        if most < -1e-12 * scale or scale == 0.0:
            return -1
        if least < 0.0:
            row[count] /= scale
            count += 1
    return count


@kernel
def _solve(system, side):
    """Solve a symmetric positive definite system in place, for all columns of `side`; a pivot is kept positive."""
    size = len(system)
    for k in range(size):
        pivot = max(system[k, k], 1e-300)
        for i in range(k + 1, size):
            factor = system[i, k] / pivot
            if factor != 0.0:
                for j in range(k + 1, size):
                    system[i, j] -= factor * system[k, j]
                for j in range(side.shape[1]):
                    side[i, j] -= factor * side[k, j]
    for k in range(size - 1, -1, -1):
        for j in range(side.shape[1]):
            total = side[k, j]
            for i in range(k + 1, size):
                total -= system[k, i] * side[i, j]
            side[k, j] = total / max(system[k, k], 1e-300)


@kernel
def _move(barrier, slope, curve, row, state, slack):
    """One damped Newton step of the barrier function from `state`, `lambda` and the excess of missing rates.

    Returns the decrement, in units of the barrier's weight.
    """
    size, count = state.size, len(row)
    users = size - 1
    system, side = np.zeros((size, size)), np.zeros((size, 2))
    for i in range(users):
        side[i, 0] = slope[i] + barrier / state[i]
        side[i, 1] = 1.0
        for j in range(users):
            system[i, j] = curve[i, j]
        system[i, i] += barrier / state[i] ** 2
    side[users, 0] = barrier / state[users] - slope[users]
    system[users, users] = barrier / state[users] ** 2
    for r in range(count):
        first = barrier / slack[r]
        second = first / slack[r]
        for i in range(size):
            mine = row[r, i] if i < users else 1.0
            side[i, 0] += first * mine
            for j in range(size):
                system[i, j] += second * mine * (row[r, j] if j < users else 1.0)
    force = side[:, 0].copy()
    _solve(system, side)
    level = side[:users, 0].sum() / side[:users, 1].sum()
    step = side[:, 0] - level * side[:, 1]
    decrement = math.sqrt(max((force * step).sum(), 0.0) / barrier)
    most = 1.0 if decrement < 0.7 else 1.0 / (0.3 + decrement)
    for i in range(size):
        if step[i] < 0.0:
            most = min(most, -0.95 * state[i] / step[i])
    for r in range(count):
        change = (row[r] * step[:users]).sum() + step[users]
        if change < 0.0:
            most = min(most, -0.95 * slack[r] / change)
    state += most * step
    state[:users] /= state[:users].sum()
    return decrement


@kernel
def bound_simplex(terms, corner, goal, accuracy, place):
    """Certified bound of a simplex `[corner row user]`, minus infinity if it holds no feasible shares.

    It is found until it is at most `goal`, or within `accuracy` or a tenth of the excess over the goal of the concave
    function's maximum; `place` `[user]` gets the weights of the corners there.
    """
    users = terms.weight.size
    row = np.empty((users, users))
    count = _relaxed(terms, corner, row)
    place[:] = 1.0 / users
    if count < 0:
        return -math.inf
    cover, row, point = _cover(terms, corner), row[:count], corner[:, CORNER].copy()
    matrix, slope, curve = np.empty_like(terms.gram), np.empty(users), np.empty((users, users))
    state, bend, slack = np.ones(users + 1), np.empty(users + 1), np.empty(count)
    state[:users] = place
    scale = terms.weight.sum() + 1e-300
    barrier, best = 0.05 * scale, math.inf
    bend[users] = _PENALTY * scale
    for _ in range(_STEPS):
        inside = True
        for r in range(count):
            slack[r] = (row[r] * state[:users]).sum()
            inside = inside and slack[r] >= 0.0
            slack[r] += state[users]
        value = _value(terms, cover, state[:users] @ point, matrix, slope, curve)
        value += (cover.tilt * state[:users]).sum()
        bend[:users] = point @ slope + cover.tilt
        most = -math.inf
        for i in range(users):
            most = max(most, bend[i] + (row[:, i] * (barrier / slack)).sum())
        found = value + most - (bend[:users] * state[:users]).sum()
        if found < best:
            best = found
            place[:] = state[:users]
        if best <= goal or (inside and best - value <= max(accuracy, 0.1 * (value - goal))):
            break
        curved = point @ curve @ point.T
        if _move(barrier, bend, curved, row, state, slack) < 1.0:
            barrier *= _FALL
    return best
