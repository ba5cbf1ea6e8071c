"""Upper bounds on the weighted sum rate of interference links while their powers are in a box.

Powers are fractions of the limits, gains relative to the noise, rates in nats, links `0 .. n - 1`. With the signal
`S_k = G_kk p_k` and the noise with interference `I_k = 1 + sum_{j != k} G_kj p_j` a link's rate `ln(1 + S_k / I_k)` is
concave in `S_k`, convex in `I_k`, and over the box `[a, b]` the pair fills the rectangle of their ranges. So its
concave envelope there [Tawarmalani2002] is, with `t = (I - I(a)) / (I(b) - I(a))`,

    E(S, I) = max (1 - t) ln(1 + S' / I(a)) + t ln(1 + S'' / I(b))
              over S', S'' in [S(a), S(b)] with (1 - t) S' + t S'' = S,

which no concave bound of a single rate undercuts: neither the mixed monotonic bound `ln(1 + S(b) / I(a))`
[Matthiesen2020], where `E` has its largest value, nor the difference of concave functions with the chord of `ln I`,
`ln(S + I) - (1 - t) ln I(a) - t ln I(b)` [AlShatri2012], which is the same maximum over all real `S', S''`. For any
price `v`,

    E(S, I) <= v S + (1 - t) max_S' [ln(1 + S' / I(a)) - v S'] + t max_S'' [ln(1 + S'' / I(b)) - v S''],

which is linear in the powers: the sum over links is bounded by its largest corner, whatever the prices. The prices come
from projected Newton steps on the sum of the envelopes, where this bound is the one of Frank and Wolfe.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative

__all__ = ["bound_box", "decide_by_slope", "new_work", "weighted_rate"]

ROWS = 12
"""Rows of scratch that `bound_box` works in, beside the curvature."""
_STEPS = 12  # of Newton's method: what they have not closed, branching does
_SETTLED = 0.15  # part of what the value is above the threshold: the box is split anyway
_ROUNDS = 3  # of shrinking a box and bounding it anew
_WORTHWHILE = 0.7  # of a side's length: a box that shrinks less is not bounded anew
_SWEEPS = 8  # of coordinate ascent for one step of Newton's


@kernel
def new_work(links):
    """Scratch space of `bound_box` for so many links: rows of links, and the curvature."""
    return np.empty((ROWS, links)), np.empty((links, links))


@kernel
def weighted_rate(power, gain, weight, n):
    """Weighted sum rate in nats."""
    total = 0.0
    for k in range(n):
        heard = 1.0
        for j in range(n):
            if j != k:
                heard += gain[k, j] * power[j]
        total += weight[k] * log1p_nonnegative(gain[k, k] * power[k] / heard)
    return total


@kernel
def _ranges(low, high, gain, n, rows):
    """Rows 0, 1: `I(a)` and `I(b)`; rows 2, 3: `S(a)` and `S(b)`."""
    for k in range(n):
        least, most = 1.0, 1.0
        for j in range(n):
            if j != k:
                least += gain[k, j] * low[j]
                most += gain[k, j] * high[j]
        rows[0, k], rows[1, k] = least, most
        rows[2, k], rows[3, k] = gain[k, k] * low[k], gain[k, k] * high[k]


@kernel
def decide_by_slope(low, high, gain, weight, n, rows):
    """Shrink the box to where the sum rate's slopes allow a maximum; False if it holds none of `[0, 1]^n`.

    `d/dp_k = w_k G_kk / T_k - sum_j w_j G_jk S_j / (I_j T_j)`, `T = S + I`. Where it has one sign all over the box, the
    maximum is on that side of the box; if that is no side of `[0, 1]^n`, it is outside. Nor is it where all powers
    are below their limits: raising all in proportion raises every SINR.
    """
    _ranges(low, high, gain, n, rows)
    full = False
    for k in range(n):
        full = full or high[k] >= 1.0
    if not full:
        return False
    for k in range(n):
        if high[k] <= low[k]:
            continue
        least = weight[k] * gain[k, k] / (rows[1, k] + rows[3, k])
        most = weight[k] * gain[k, k] / (rows[0, k] + rows[2, k])
        for j in range(n):
            if j != k:
                least -= weight[j] * gain[j, k] * rows[3, j] / (rows[0, j] * (rows[0, j] + rows[3, j]))
                most -= weight[j] * gain[j, k] * rows[2, j] / (rows[1, j] * (rows[1, j] + rows[2, j]))
        if most < 0.0:
            if low[k] > 0.0:
                return False
            high[k] = low[k]
        elif least > 0.0:
            if high[k] < 1.0:
                return False
            low[k] = high[k]
        else:
            continue
        _ranges(low, high, gain, n, rows)
    return True


@kernel
def _price(signal, share, i_low, i_high, s_low, s_high):
    """The price `v` of the signal, and direction in `(S, I)` and size of the envelope's curvature."""
    both = signal + i_low + share * (i_high - i_low)
    if share < 1.0 - 1e-12 and both - i_high < s_low:  # S'' is at its least
        rest = 1.0 - share
        first = min(s_low + max(signal - s_low, 0.0) / rest, s_high)
        if both - i_low <= s_high or first < s_high:
            price = 1.0 / (i_low + first)
            return price, (first - s_low) / (i_high - i_low), price * price / rest
    if share > 1e-12 and both - i_low > s_high:  # S' is at its most
        second = max(s_high - max(s_high - signal, 0.0) / share, s_low)
        price = 1.0 / (i_high + second)
        return price, (s_high - second) / (i_high - i_low), price * price / share
    return 1.0 / both, 1.0, 1.0 / (both * both)


@kernel
def _linearise(place, low, high, gain, weight, n, rows, curvature):
    """Value of the surrogate at the relative place in the box, and at `low` that of its tangent plane.

    Leaves the slopes in row 4, the curvature (negated Hessian), and each link's share of the value in row 6.
    """
    value = 0.0
    for k in range(n):
        rows[4, k] = 0.0
        for j in range(k + 1):
            curvature[k, j] = 0.0
    for k in range(n):
        i_low, i_high, s_low, s_high = rows[0, k], rows[1, k], rows[2, k], rows[3, k]
        signal = s_low + place[k] * (s_high - s_low)
        width = i_high - i_low
        flat = width <= 1e-9 * i_low
        share = 0.0
        if not flat:
            for j in range(n):
                if j != k:
                    share += gain[k, j] * (high[j] - low[j]) * place[j]
            share = min(share / width, 1.0)
        if flat:
            price, lean, bend = 1.0 / (signal + i_low), 0.0, 1.0 / (signal + i_low) ** 2
        else:
            price, lean, bend = _price(signal, share, i_low, i_high, s_low, s_high)
        first = min(max(1.0 / price - i_low, s_low), s_high)
        second = min(max(1.0 / price - i_high, s_low), s_high)
        quiet = log1p_nonnegative(first / i_low) - price * first
        loud = log1p_nonnegative(second / i_high) - price * second
        rows[6, k] = weight[k] * (quiet + share * (loud - quiet) + price * signal)
        value += rows[6, k]
        tilt = 0.0 if flat else weight[k] * (loud - quiet) / width
        for j in range(n):
            if j == k:
                rows[4, j] += weight[k] * price * (s_high - s_low)
                rows[5, j] = s_high - s_low
            else:
                step = gain[k, j] * (high[j] - low[j])
                rows[4, j] += tilt * step
                rows[5, j] = lean * step
        bend *= weight[k]
        for i in range(n):
            part = bend * rows[5, i]
            for j in range(i + 1):
                curvature[i, j] += part * rows[5, j]
    level = value
    for j in range(n):
        level -= rows[4, j] * place[j]
    return value, level


@kernel
def _largest(share, level, other, n, rows):
    """Largest value over the box of the mean of the planes `level`, row 8 and `other`, row 4."""
    total = level + share * (other - level)
    for j in range(n):
        total += max(rows[8, j] + share * (rows[4, j] - rows[8, j]), 0.0)
    return total


@kernel
def _combine(level, other, best, n, rows):
    """Replace the plane `level`, row 8 by its best mean with the plane `other`, row 4: its level and largest value.

    Both are above the surrogate, and so is any mean of theirs. Planes from both sides of an edge of the surrogate,
    which it has where powers are on sides of the box, bound it closely together and loosely alone.
    """
    chosen, found = 0.0, best
    total = _largest(1.0, level, other, n, rows)
    if total < found:
        chosen, found = 1.0, total
    for j in range(n):  # piecewise linear in the share
        change = rows[8, j] - rows[4, j]
        share = rows[8, j] / change if change != 0.0 else 0.0
        if 0.0 < share < 1.0:
            total = _largest(share, level, other, n, rows)
            if total < found:
                chosen, found = share, total
    for j in range(n):
        rows[8, j] += chosen * (rows[4, j] - rows[8, j])
    return level + chosen * (other - level), found


@kernel
def _newton(place, n, rows, curvature):
    """Newton's step within `[0, 1]`, in row 7: sweeps of coordinate ascent on the quadratic model, row 5 its slopes."""
    slope, step = rows[5], rows[7]
    for i in range(n):
        slope[i], step[i] = rows[4, i], 0.0
        for j in range(i):
            curvature[j, i] = curvature[i, j]
    for _ in range(_SWEEPS):
        moved = 0.0
        for i in range(n):
            bend = curvature[i, i]
            aim = -place[i] if slope[i] < 0.0 else 1.0 - place[i]
            if abs(slope[i]) < bend * abs(aim - step[i]):
                aim = step[i] + slope[i] / bend
            change = min(max(aim, -place[i]), 1.0 - place[i]) - step[i]
            if change != 0.0:
                step[i] += change
                moved = max(moved, abs(change))
                for j in range(n):
                    slope[j] -= curvature[j, i] * change
        if moved < 1e-3:
            break


@kernel
def _shrink(excess, low, high, n, slope):
    """Cut off the box where the linear bound is below the threshold, `excess` below its largest corner."""
    shrunk = 1.0
    for j in range(n):
        steep = abs(slope[j])
        if steep > excess and high[j] > low[j]:
            width = (high[j] - low[j]) * (excess / steep)
            shrunk = min(shrunk, excess / steep)
            if slope[j] > 0.0:
                low[j] = high[j] - width
            else:
                high[j] = low[j] + width
    return shrunk


@kernel
def _climb(low, high, place, gain, weight, n, threshold, work):
    """Bound by the planes on the way to the surrogate's maximum over the box; the slopes of their mean in row 8."""
    rows, curvature = work
    _ranges(low, high, gain, n, rows)
    best, last, level = math.inf, -math.inf, 0.0
    for step in range(_STEPS):
        value, other = _linearise(place, low, high, gain, weight, n, rows, curvature)
        if step == 0:
            level = other
            for j in range(n):
                rows[8, j] = rows[4, j]
            best = _largest(0.0, level, other, n, rows)
        else:
            level, best = _combine(level, other, best, n, rows)
        if best <= threshold or best - value <= max(_SETTLED * (value - threshold), 1e-7 * best):
            break
        if value < last:  # too far: half the way
            for j in range(n):
                place[j] = 0.5 * (place[j] + rows[9, j])
            continue
        last = value
        _newton(place, n, rows, curvature)
        for j in range(n):
            rows[9, j] = place[j]
            place[j] = min(max(place[j] + rows[7, j], 0.0), 1.0)
    return best


@kernel
def bound_box(low, high, place, gain, weight, n, threshold, work):
    """Bound on the weighted sum rate (nats) in the box `[low, high]`, and where in it the surrogate is largest.

    `place`, relative in the box, is where the search starts and ends. Stops once the bound is at most `threshold`, or
    can no longer get there. `low` and `high` shrink to what may hold more than `threshold`.
    """
    rows = work[0]
    _ranges(low, high, gain, n, rows)
    best = 0.0
    for k in range(n):
        best += weight[k] * log1p_nonnegative(rows[3, k] / rows[0, k])
    if best <= threshold:
        return best
    for _ in range(_ROUNDS):
        bound = _climb(low, high, place, gain, weight, n, threshold, work)
        best = min(best, bound)
        if best <= threshold:
            return best
        for j in range(n):
            rows[10, j] = low[j] + place[j] * (high[j] - low[j])
        shrunk = _shrink(bound - threshold, low, high, n, rows[8])
        for j in range(n):
            width = high[j] - low[j]
            place[j] = min(max((rows[10, j] - low[j]) / width, 0.0), 1.0) if width > 0.0 else 0.0
        if shrunk > _WORTHWHILE:
            break
    return best
