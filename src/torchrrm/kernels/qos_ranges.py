"""Ranges of the SINRs and least powers of interference links while the logarithms of the SINRs are in a box.

Powers `p` are fractions of the limits, gains `G` relative to the noise, rates in nats, links `0 .. n - 1`. With
`I_k = 1 + sum_{j != k} G_kj p_j` and `s_k = ln(G_kk p_k / I_k)` a rate is `ln(1 + e^{s_k})`; a box is `lo <= s <= hi`,
and a minimum rate is its first `lo`. `lo_k = -inf` leaves link `k` free to be off.

`s >= lo` means `p >= F p + u` with `u_k = e^{lo_k} / G_kk` and `F_kj = u_k G_kj`. All such powers are `p = Z (u + m)`
with `Z = (I - F)^-1 >= 0` and margins `m >= 0` [Foschini1993]. The least are `Z u`; `p_j <= 1` limits the margin of
link `k` alone to `t_k = min_j (1 - (Z u)_j) / Z_jk`; and `s_k` is largest where it has all of it and the others have
none.

None of this relies on how exact the computed `Z` is, because two consequences of `Z = (I - F)^-1` are checked
instead: if `q <= F q + u` then `q <= p`; and for any row `z >= 0` with `v = z (I - F)`, `z_k m_k <= sum_i max(v_i, 0)
- z u`. `F` and `u` are smaller by `_EASE` than the box asks for, which is far above rounding, so that the checks
pass. If the box holds powers, all pivots of the elimination are at least `_EASE`; one that is clearly negative proves
that it holds none.

The best powers give a link no more than its minimum if more costs the others more than it gains everywhere in the box,

    w_k G_kk / (I_k (1 + SINR_k)) < sum_j w_j G_jk SINR_j / ((1 + SINR_j) I_j),

since a little less power of it harms no other minimum: then `hi_k` becomes `lo_k` if that is the minimum (`-inf`: the
link is off), and a box whose `lo_k` is above the minimum does not hold the best powers.

`lo` rises to what a better objective than `goal` needs: the other links contribute at most `ln(1 + e^hi)` each.
"""

import math
from typing import NamedTuple

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = [
    "ROUNDING",
    "Work",
    "log_sinr",
    "new_work",
    "noise_and_interference",
    "raise_low",
    "softplus",
    "tighten",
    "weighted_rate",
]

ROUNDING = 1e-13
"""Of the magnitudes that are added."""
_EASE = 1e-8  # of ln SINR: what ranges are wider by, far above rounding and far below tolerances
_ROUNDS = 5  # of raising `lo` and inverting anew


class Work(NamedTuple):
    """Scratch space: of all links in a box, and of those that the relaxation has, which `link` lists.

    Attributes:
        demand, least, margin: `u`, powers that none in the box are below, and `t`; `[link]`.
        matrix, inverse: `I - F` and `Z`.
        link: indices of the links that are not free to be off.
        gain: between these.
        low, high, slope: box of `s` and `w c`.
        first, last: box of `x`.
        x, s, price: point and prices.
        rows: for the interior-point method: 0 powers, 1 interference, 2 and 12 to 14 multipliers, 3 and 4 diagonals, 5
            and 6 gradient, 7 `f`, 8 and 9 direction, 10 a trial, 11 powers, 15 to 18 moves of the multipliers, 19 a
            trial.
        slack: what `s` and `x` may be beyond their ranges, for an interior.
        part, curvature: `a` and the Hessian.
    """

    demand: np.ndarray
    least: np.ndarray
    margin: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray
    link: np.ndarray
    gain: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slope: np.ndarray
    first: np.ndarray
    last: np.ndarray
    x: np.ndarray
    s: np.ndarray
    price: np.ndarray
    rows: np.ndarray
    slack: np.ndarray
    part: np.ndarray
    curvature: np.ndarray


@kernel
def new_work(n):
    """Scratch space for so many links."""
    row, square = np.zeros((20, n)), np.zeros((5, n, n))
    return Work(
        row[0],
        row[1],
        row[2],
        square[0],
        square[1],
        np.zeros(n, np.int64),
        square[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        np.zeros((20, n)),
        np.zeros(1),
        square[3],
        square[4],
    )


@kernel
def softplus(s):
    """`ln(1 + e^s)`."""
    return max(s, 0.0) + math.log1p(math.exp(-abs(s)))


@kernel
def log_sinr(rate):
    """The inverse of `softplus`."""
    return math.log(math.expm1(rate)) if rate < 30.0 else rate


@kernel
def noise_and_interference(k, power, gain, n):
    """`I_k`."""
    heard = 1.0
    for j in range(n):
        if j != k:
            heard += gain[k, j] * power[j]
    return heard


@kernel
def weighted_rate(power, gain, weight, n):
    """Weighted sum rate in nats."""
    total = 0.0
    for k in range(n):
        total += weight[k] * math.log1p(gain[k, k] * power[k] / noise_and_interference(k, power, gain, n))
    return total


@kernel
def _invert(matrix, inverse, n):
    """Eliminate without pivoting: 1 if that came to its end, 0 if a pivot is doubtful, -1 if one is negative."""
    smallest = 1.0
    inverse[:n, :n] = 0.0
    for i in range(n):
        inverse[i, i] = 1.0
    for c in range(n):
        pivot = matrix[c, c]
        if not pivot > 1e-12:
            return -1 if pivot < -1e-9 and smallest > 1e-6 else 0
        smallest = min(smallest, pivot)
        for j in range(n):
            matrix[c, j] /= pivot
            inverse[c, j] /= pivot
        for i in range(n):
            factor = matrix[i, c]
            if i != c and factor != 0.0:
                for j in range(n):
                    matrix[i, j] -= factor * matrix[c, j]
                    inverse[i, j] -= factor * inverse[c, j]
    return 1


@kernel
def _find_least(lo, gain, n, work):
    """Set `demand`, `least` and `inverse`; 1 if they are verified, 0 if they are only `u`, -1 if the box is empty."""
    demand, least, matrix, inverse = work.demand, work.least, work.matrix, work.inverse
    for k in range(n):
        demand[k] = math.exp(lo[k] - _EASE) / gain[k, k]
        if demand[k] > 1.0 + _EASE:
            return -1
        least[k] = demand[k]
        for j in range(n):
            matrix[k, j] = 1.0 if k == j else -demand[k] * gain[k, j]
    found = _invert(matrix, inverse, n)
    if found < 1:
        return found
    for k in range(n):
        least[k] = 0.0
        for j in range(n):
            inverse[k, j] = max(inverse[k, j], 0.0)
            least[k] += inverse[k, j] * demand[j]
    above = False
    for k in range(n):
        most = demand[k] * noise_and_interference(k, least, gain, n) * (1.0 + 0.5 * _EASE)
        if not least[k] <= most:
            least[:n] = demand[:n]
            return 0
        above = above or least[k] > 1.0 + _EASE
    return -1 if above else 1


@kernel
def _find_margins(gain, n, work):
    """Set `margin`; whether the box may hold powers."""
    demand, margin, inverse = work.demand, work.margin, work.inverse
    margin[:n] = math.inf
    for j in range(n):
        cap, size = 0.0, 0.0
        for i in range(n):
            left, lost = inverse[j, i], 0.0
            for k in range(n):
                if k != i:
                    lost += inverse[j, k] * demand[k] * gain[k, i]
            cap += max(left - lost, 0.0)
            size += left + lost
        cap += n * 1e-15 * size + _EASE - work.least[j]
        if cap < 0.0:
            return False
        for k in range(n):
            if inverse[j, k] > 0.0:
                margin[k] = min(margin[k], cap / inverse[j, k])
    return True


@kernel
def _largest(k, gain, n, work):
    """Largest `s_k` of powers in the box, from the margin that link `k` has alone."""
    demand, least, inverse, power = work.demand, work.least, work.inverse, work.rows[0]
    margin = work.margin[k]
    for j in range(n):
        power[j] = least[j] + margin * inverse[j, k]
    power[k] = (demand[k] * noise_and_interference(k, power, gain, n) + margin) * (1.0 - 1e-14 * n)
    heard = noise_and_interference(k, power, gain, n)
    for j in range(n):
        if j != k and power[j] > 0.0:
            most = demand[j] * noise_and_interference(j, power, gain, n) * (1.0 + 0.5 * _EASE)
            if not power[j] <= most:
                heard = noise_and_interference(k, least, gain, n)
                break
    return math.log(gain[k, k] * (demand[k] + margin / heard)) + 2.0 * _EASE


@kernel
def _hold_down(first, lo, hi, gain, weight, n, work):
    """Hold links at their minimum where more costs the others more than it gains; whether the box may hold the best."""
    most = work.rows[0]
    most[:n] = 1.0
    for _ in range(2):
        for k in range(n):
            most[k] = min(most[k], math.exp(hi[k]) * noise_and_interference(k, most, gain, n) / gain[k, k])
    for j in range(n):
        work.rows[1, j] = weight[j] / (1.0 + math.exp(-lo[j])) / noise_and_interference(j, most, gain, n)
    for k in range(n):
        lost = 0.0
        for j in range(n):
            if j != k:
                lost += gain[j, k] * work.rows[1, j]
        heard = noise_and_interference(k, work.least, gain, n) * (1.0 + math.exp(lo[k]))
        if weight[k] * gain[k, k] < lost * heard * (1.0 - 1e-9):
            if lo[k] > first[k] + _EASE:
                return False
            hi[k] = lo[k]
    return True


@kernel
def tighten(first, lo, hi, gain, weight, n, goal, work):
    """Shrink a box, in place, to where powers exist and more than `goal` may be reached; `first` are the minima.

    Returns a bound, -1 if nothing is left, and whether `least`, `margin` and `inverse` of `work` are those of the box.
    """
    total = 0.0
    for turn in range(_ROUNDS):
        known = _find_least(lo, gain, n, work)
        if known < 0 or (known > 0 and not _find_margins(gain, n, work)):
            return -1.0, False
        for k in range(n):
            if known > 0:
                hi[k] = min(hi[k], _largest(k, gain, n, work))
            if hi[k] < lo[k]:
                return -1.0, False
        if not _hold_down(first, lo, hi, gain, weight, n, work):
            return -1.0, False
        total = 0.0
        for k in range(n):
            total += weight[k] * softplus(hi[k])
        total *= 1.0 + ROUNDING
        if total <= goal or turn == _ROUNDS - 1:
            return total, known > 0
        moved = False
        for k in range(n):
            if weight[k] > 0.0:
                moved = raise_low(k, lo, hi, weight, total - goal, total) or moved
        if not moved:
            return total, known > 0
    return total, False


@kernel
def raise_low(k, lo, hi, weight, excess, total):
    """Raise `lo_k` to where the rate of link `k` is at most `excess` below its largest; whether it was below."""
    need = softplus(hi[k]) - (excess + ROUNDING * total) / weight[k]
    if need <= 0.0 or hi[k] == -math.inf:
        return False
    least = min(log_sinr(need) - _EASE, hi[k])
    if least <= lo[k] + _EASE:
        return False
    lo[k] = least
    return True
