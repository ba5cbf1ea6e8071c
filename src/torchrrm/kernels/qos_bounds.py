"""Upper bounds on the weighted sum rate of interference links while the logarithms of their SINRs are in a box.

The names are those of `qos_ranges`, which shrinks boxes.

**Relaxation.** `ln(1 + e^s)` is convex, so its chord `c s + d` is above it on `[lo, hi]`. With `x = ln p`,
`f_k(x) = ln G_kk + x_k - ln I_k(e^x)` is concave, and

    maximise sum_k w_k (c_k s_k + d_k)   subject to   s_k <= f_k(x),  lo <= s <= hi,  x <= 0

is convex: a geometric program [Chiang2007] that keeps all minimum rates. Links with `lo = -inf`, or with a faint one
far below `hi`, count as `w_k ln(1 + e^{hi_k})` and as silent, which takes nothing from the others. A primal-dual
interior-point method (Section 11.7 of [Boyd2004]) solves it, some 15 steps a box; `s` is eliminated from them,
because its block of the Hessian is diagonal. A barrier method takes five times as many.

**Certificate.** For any `x` and any prices `y >= 0`, with `a_kj` the parts of `I_k` at `x`, the noise being `a_k0`,

    ln I_k(e^x') >= -a_k0 ln a_k0 + sum_j a_kj (ln G_kj + x'_j - ln a_kj)   for all x',

by the inequality of arithmetic and geometric means. So `sum_k (w_k c_k - y_k) s_k + y_k f_k(x')` is at most linear in
`x'` and `s`, and its largest corner in their ranges bounds the box, whether the method converged or not.
`ROUNDING` of all magnitudes is added.

**Cuts.** With the prices of one such bound `B`, any part of the box with `s_k < hi_k - (B - goal) / |w_k c_k - y_k|`,
or `s_k > lo_k + ...` where the difference is negative, is below `goal`. Bound and slopes must be of the same prices.
"""

import math

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.qos_ranges import ROUNDING, noise_and_interference, raise_low, softplus

__all__ = ["FAR", "SLACK", "advance", "begin", "cut", "is_silent", "received", "relax"]

SLACK = 1e-7
"""Of `s` and `x`: what the method may use beyond a box, so that every box has an interior."""
_STEPS = 60  # at most
_CENTRAL, _AHEAD = 0.5, 0.1  # of the mean product: what a step aims at after a short and after a long one
FAR = 6.0
"""Of `ln SINR`: how far below `hi` a faint minimum must be for the relaxation to leave it out."""
_FAINT = -7.0  # ln SINR below which a minimum is faint
_INSIDE = 0.95  # part of the way to where the first constraint or multiplier is zero
_APART = 1e-14  # relative: least distance of `s` and `f`, so that rounding does not make it 0
_SETTLED = 0.1  # part of what the bound is above the goal: the box is split anyway


@kernel
def received(x, gain, m, power, heard, f):
    """`e^x`, `I` and `f` at `x`."""
    for j in range(m):
        power[j] = math.exp(x[j])
    for k in range(m):
        heard[k] = noise_and_interference(k, power, gain, m)
        f[k] = math.log(gain[k, k] / heard[k]) + x[k]


@kernel
def is_silent(lo, hi):
    """Whether the relaxation counts a link as silent: it may be off, or its minimum is faint and far below."""
    return hi > -math.inf and (lo == -math.inf or (lo < _FAINT and hi - lo > FAR))


@kernel
def begin(gap, m, work):
    """Multipliers of all constraints at `x` and `s`, as the central path has them at this gap."""
    rows, each, slack = work.rows, gap / (4.0 * m), work.slack[0]
    received(work.x, work.gain, m, rows[0], rows[1], rows[7])
    for k in range(m):
        rows[2, k] = each / (rows[7, k] - work.s[k])
        rows[12, k] = each / (work.s[k] - work.low[k] + slack)
        rows[13, k] = each / (work.high[k] + slack - work.s[k])
        rows[14, k] = each / (slack - work.x[k])


@kernel
def _assemble(m, share, work):
    """Set gradient (rows 5, 6), diagonals (rows 3, 4) and Hessian of `x`; return `share` of the mean product."""
    rows, part, hessian = work.rows, work.part, work.curvature
    f, price, a, b, slope_x, slope_s = rows[7], rows[2], rows[3], rows[4], rows[5], rows[6]
    total, slack = 0.0, work.slack[0]
    for k in range(m):
        s, x = work.s[k], work.x[k]
        total += price[k] * (f[k] - s) + rows[12, k] * (s - work.low[k] + slack)
        total += rows[13, k] * (work.high[k] + slack - s) + rows[14, k] * (slack - x)
    each = share * total / (4.0 * m)
    for k in range(m):
        over, below = 1.0 / (f[k] - work.s[k]), 1.0 / (work.s[k] - work.low[k] + slack)
        above, limit = 1.0 / (work.high[k] + slack - work.s[k]), 1.0 / (slack - work.x[k])
        a[k], b[k] = price[k] * over, rows[12, k] * below + rows[13, k] * above
        slope_s[k] = -work.slope[k] + each * (over - below + above)
        slope_x[k] = each * (limit - over)
        hessian[k, :k] = 0.0
        hessian[k, k] = rows[14, k] * limit
        scale = 1.0 / rows[1, k]
        for j in range(m):
            part[k, j] = work.gain[k, j] * rows[0, j] * scale
        part[k, k] = 0.0
    for k in range(m):
        mixed, own, pull = a[k] * b[k] / (a[k] + b[k]), price[k], each / (f[k] - work.s[k])
        hessian[k, k] += mixed
        for j in range(m):
            received_share = part[k, j]
            if received_share == 0.0:
                continue
            slope_x[j] += pull * received_share
            bent = (mixed - own) * received_share
            for i in range(j + 1):
                hessian[j, i] += bent * part[k, i]
            hessian[j, j] += own * received_share
        for j in range(k):
            hessian[k, j] -= mixed * part[k, j]
        for j in range(k + 1, m):
            hessian[j, k] -= mixed * part[k, j]
    return each


@kernel
def _direction(m, work):
    """Newton's direction in rows 8 and 9, and that of `f` in row 5."""
    rows, part, root = work.rows, work.part, work.curvature
    a, b, slope_x, slope_s, dx, ds = rows[3], rows[4], rows[5], rows[6], rows[8], rows[9]
    for k in range(m):
        dx[k] = -slope_x[k]
    for k in range(m):  # H_xs = -a grad f
        moved = slope_s[k] * a[k] / (a[k] + b[k])
        dx[k] -= moved
        for j in range(m):
            dx[j] += moved * part[k, j]
    for i in range(m):  # Cholesky, and forward substitution
        for j in range(i):
            left = root[i, j]
            for k in range(j):
                left -= root[i, k] * root[j, k]
            root[i, j] = left * root[j, j]
        left, right = root[i, i], dx[i]
        for k in range(i):
            left -= root[i, k] * root[i, k]
            right -= root[i, k] * dx[k]
        root[i, i] = 1.0 / math.sqrt(max(left, 1e-300))  # of the root's diagonal, the inverse
        dx[i] = right * root[i, i]
    for i in range(m - 1, -1, -1):
        right = dx[i]
        for k in range(i + 1, m):
            right -= root[k, i] * dx[k]
        dx[i] = right * root[i, i]
    for k in range(m):
        df = dx[k]
        for j in range(m):
            df -= part[k, j] * dx[j]
        ds[k], slope_x[k] = (a[k] * df - slope_s[k]) / (a[k] + b[k]), df


@kernel
def advance(m, share, work):
    """Take a primal-dual step to `share` of the mean product; return its length and the gap before."""
    rows, x, s, slack = work.rows, work.x, work.s, work.slack[0]
    f, df, dx, ds, x_new = rows[7], rows[5], rows[8], rows[9], rows[10]
    each = _assemble(m, share, work)
    _direction(m, work)
    step, dual = 1.0, 1.0
    for k in range(m):
        end = work.low[k] - slack if ds[k] < 0.0 else work.high[k] + slack
        if ds[k] != 0.0:
            step = min(step, _INSIDE * (end - s[k]) / ds[k])
        if dx[k] > 0.0:
            step = min(step, _INSIDE * (slack - x[k]) / dx[k])
        slacks = (f[k] - s[k], s[k] - work.low[k] + slack, work.high[k] + slack - s[k], slack - x[k])
        moves = (df[k] - ds[k], ds[k], -ds[k], -dx[k])
        for i in range(4):
            row = 2 if i == 0 else 11 + i
            moved = (each - rows[row, k] * moves[i]) / slacks[i] - rows[row, k]
            rows[15 + i, k] = moved
            if moved < 0.0:
                dual = min(dual, -_INSIDE * rows[row, k] / moved)
    before, s_new, fits = rows[11], work.rows[19], False
    before[:m] = f[:m]
    for _ in range(40):
        for k in range(m):
            x_new[k] = x[k] + step * dx[k]
        received(x_new, work.gain, m, rows[0], rows[1], f)
        fits = True
        for k in range(m):  # `f` is concave, so below its tangent: `s` gives way
            least = max((1.0 - _INSIDE) * (before[k] - s[k]), _APART * (1.0 + abs(f[k])))
            s_new[k] = min(s[k] + step * ds[k], f[k] - least)
            fits = fits and s_new[k] - work.low[k] + slack > 0.5 * (1.0 - _INSIDE) * (
                s[k] - work.low[k] + slack
            )
        if fits:
            break
        step *= 0.5
    for k in range(m):
        if fits:
            x[k], s[k] = x_new[k], s_new[k]
        for i in range(4):
            rows[2 if i == 0 else 11 + i, k] += dual * rows[15 + i, k]
    received(x, work.gain, m, rows[0], rows[1], f)
    return min(step, dual), each * 4.0 * m / share


@kernel
def _certify(price, constant, m, work):
    """Upper bound on `constant + sum_k slope_k s_k` in the box, from `x` and these prices, whatever they are."""
    power, heard, coefficient, scale = work.rows[0], work.rows[1], work.rows[3], work.rows[4]
    bound, size = constant, abs(constant)
    for j in range(m):
        coefficient[j], scale[j] = price[j], price[j]
    for k in range(m):
        left = work.slope[k] - price[k]
        term = left * (work.high[k] if left > 0.0 else work.low[k])
        level = math.log(heard[k])
        least = -level / heard[k]  # minus what the parts of I_k add, without what is linear in x'
        most = abs(least)
        for j in range(m):
            if j != k and work.gain[k, j] > 0.0:
                share = work.gain[k, j] * power[j] / heard[k]
                least += share * (work.x[j] - level)  # ln a_kj - ln G_kj
                most += share * (abs(work.x[j]) + level)
                coefficient[j] -= price[k] * share
                scale[j] += price[k] * share
        own = math.log(work.gain[k, k])
        bound += term + price[k] * (own + least)
        size += abs(term) + price[k] * (abs(own) + most)
    for j in range(m):
        bound += coefficient[j] * (work.last[j] if coefficient[j] > 0.0 else work.first[j])
        size += scale[j] * max(abs(work.first[j]), abs(work.last[j]))
    return bound + ROUNDING * size


@kernel
def _begin_box(lo, hi, gain, weight, n, work):
    """Set the relaxation of a box in `work`: its links, their chords and ranges; how many, and the constant."""
    m, constant, work.slack[0] = 0, 0.0, SLACK
    for k in range(n):
        if lo[k] == -math.inf or is_silent(lo[k], hi[k]):
            constant += weight[k] * softplus(hi[k])
            continue
        work.link[m], work.low[m], work.high[m] = k, lo[k], hi[k]
        least, most = softplus(lo[k]), softplus(hi[k])
        slope = (most - least) / (hi[k] - lo[k]) if hi[k] - lo[k] > 1e-6 else 0.0
        work.slope[m] = weight[k] * slope
        constant += weight[k] * max(least - slope * lo[k], most - slope * hi[k])
        work.last[m] = 1.0
        m += 1
    for k in range(m):
        for j in range(m):
            work.gain[k, j] = gain[work.link[k], work.link[j]]
    for _ in range(3):
        for k in range(m):
            heard = noise_and_interference(k, work.last, work.gain, m)
            most = math.exp(work.high[k]) * heard / work.gain[k, k] * (1.0 + 1e-12)
            work.last[k] = min(work.last[k], most)
    for k in range(m):
        work.first[k] = math.log(work.least[work.link[k]]) - 1e-12
        work.last[k] = max(min(math.log(work.last[k]) + 1e-12, 0.0), work.first[k])
    return m, constant * (1.0 + ROUNDING)


@kernel
def _enter(m, work):
    """Set `x` and `s` to a point inside: each link's margin in proportion to what it could have alone."""
    power, step = work.rows[0], work.rows[3]
    room = 1.0
    for k in range(m):
        power[k], step[k] = work.least[work.link[k]], 0.0
        for j in range(m):
            step[k] += work.inverse[work.link[k], work.link[j]] * work.margin[work.link[j]]
        if step[k] > 0.0:
            room = min(room, max(1.0 + 0.5 * SLACK - power[k], 0.0) / step[k])
    for k in range(m):
        work.x[k] = math.log(power[k] + 0.5 * room * step[k])
    received(work.x, work.gain, m, power, work.rows[1], work.rows[7])
    for k in range(m):
        top, bottom = min(work.rows[7, k], work.high[k] + SLACK), work.low[k] - SLACK
        if not (top > bottom and work.x[k] < SLACK):
            return False
        work.s[k] = 0.5 * (bottom + top)
    return True


@kernel
def relax(lo, hi, known, goal, best, finest, gain, weight, n, work):
    """Bound a box that `tighten` shrank: the bound, at most `known`, that of `work.price`, and the relaxation's links.

    Stops at `goal`, where splitting pays more, or within a part of `finest`; powers `e^x` are in `work.x`. Without a
    point inside the number of links is 0.
    """
    m, constant = _begin_box(lo, hi, gain, weight, n, work)
    if m == 0 or not _enter(m, work):
        return known, math.inf, 0
    bound, last, length, prices = known, math.inf, 0.0, work.rows[2]
    begin(max(known - goal, 0.2 * best, 1e-300), m, work)
    for _ in range(_STEPS):
        length, _ = advance(m, _CENTRAL if length < 0.7 else _AHEAD, work)
        found, value = _certify(prices, constant, m, work), constant
        for k in range(m):
            value += work.slope[k] * min(work.rows[7, k], work.high[k])
        if found < last:
            last = found
            work.price[:m] = prices[:m]
        bound = min(bound, last)
        if bound <= goal or last - value <= max(_SETTLED * (value - goal), 0.05 * finest):
            break
    return bound, last, m


@kernel
def cut(lo, hi, bound, goal, weight, n, m, work):
    """Drop what cannot reach `goal` by the prices whose bound this is; the least part of a side that is left."""
    left, excess = 1.0, bound - goal
    for i in range(m):
        k, slope = work.link[i], work.slope[i] - work.price[i]
        width = hi[k] - lo[k]
        if abs(slope) * width > excess:
            kept = excess / abs(slope) * (1.0 + 1e-9) + 2.0 * SLACK
            if kept < width:
                left = min(left, kept / width)
                if slope > 0.0:
                    lo[k] = hi[k] - kept
                else:
                    hi[k] = lo[k] + kept
    for k in range(n):
        if is_silent(lo[k], hi[k]) and weight[k] > 0.0 and raise_low(k, lo, hi, weight, excess, bound):
            left = 0.0
    return left
