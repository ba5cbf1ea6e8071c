"""Optimal split of one slice's surplus bandwidth: the compiled form of `torchrrm.solvers.ExactSlicing`.

`torchrrm.kernels.slice_price` bounds what users can reach between given bandwidths. Where a user's demand jumps, its
range is split at the middle of `least` and `start` or, if its rate is negative at `least`, into `{least}` (off) and
`[w_0, most]` (on): in between it counts with nothing.

A data or secrecy rate that is positive rises with the user's channel `c` and falls with the eavesdropper's, since with
`x = c / w` its slope by `x` has the sign of `(1 + x)^2 - 1 - ln(1 + x)` or a larger one. So of two users that may both
be off, exchanging their bandwidths shows that some optimum has the better one on if it has the worse one on. A split
therefore decides all users that are better, or worse, in both channels.
"""

import math

import numpy as np

from torchrrm.kernels.bandwidth import minimum_bandwidth, schedule
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.link_rates import curve
from torchrrm.kernels.rows import over_rows
from torchrrm.kernels.slice_price import FLOOR, STEPS, blur, share, total_utility

__all__ = ["solve", "solve_batch"]

_BRANCHES = 400
_BRANCH_TOLERANCE = 1e-5


@kernel
def _fill(least, cn0, limit):
    """Long-block data rate: `w = max(least, t c)` with the `t` that spends `limit`, lowered until feasible."""
    width = least.copy()
    free, count = np.arange(cn0.size), cn0.size  # users above their least, the first `count`
    remaining, weight = limit, cn0.sum()
    level = remaining / weight
    while True:
        kept = 0
        for k in range(count):
            i = free[k]
            if level * cn0[i] < least[i]:
                remaining -= least[i]
                weight -= cn0[i]
            else:
                free[kept] = i
                kept += 1
        if kept == count:
            break
        count, level = kept, remaining / weight
    for k in range(count):
        width[free[k]] = level * cn0[free[k]]
    return width


@kernel
def _turn(low, high, cn0, eavesdropper_cn0, law):
    """`w_0`: where the rate, negative at `low`, turns positive; `high` if it does not."""
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        if not low < middle < high:
            break
        if curve(middle, cn0, eavesdropper_cn0, law)[0] < 0.0:
            low = middle
        else:
            high = middle
    return high


@kernel
def _switch(user, on, low, cap, cn0, eavesdropper_cn0, law):
    """Turn a user on (raise `low`) or off (lower `cap`), in place, and every user that must follow.

    Of equal users the first counts as the better one.
    """
    sign = 1.0 if on else -1.0
    for i in range(low.size):
        channel, heard = sign * (cn0[i] - cn0[user]), sign * (eavesdropper_cn0[user] - eavesdropper_cn0[i])
        follows = channel >= 0.0 and heard >= 0.0 and law[0] == 0.0
        if channel == 0.0 and heard == 0.0:
            follows = follows and sign * (user - i) > 0.0
        if i == user or (follows and curve(low[i], cn0[i], eavesdropper_cn0[i], law)[0] < 0.0):
            if on:
                low[i] = _turn(low[i], cap[i], cn0[i], eavesdropper_cn0[i], law)
            else:
                cap[i] = low[i]


@kernel
def _halves(user, place, low, cap, cn0, eavesdropper_cn0, law):
    """Both parts of a box that is split at a user's range: `(low, cap)` of the lower and of the upper one."""
    lower, upper, lower_cap, upper_cap = low.copy(), low.copy(), cap.copy(), cap.copy()
    if curve(low[user], cn0[user], eavesdropper_cn0[user], law)[0] < 0.0:
        _switch(user, False, lower, lower_cap, cn0, eavesdropper_cn0, law)
        _switch(user, True, upper, upper_cap, cn0, eavesdropper_cn0, law)
    else:
        lower_cap[user], upper[user] = place, place
    return lower, lower_cap, upper, upper_cap


@kernel
def _branch(least, limit, cn0, eavesdropper_cn0, law):
    """Optimum of a sum of curves that are not all concave: splits the range of the user whose demand jumps."""
    users = cn0.size
    least_of, cap_of = np.empty((_BRANCHES + 2, users)), np.empty((_BRANCHES + 2, users))
    bound_of = np.empty(_BRANCHES + 2)
    least_of[0], cap_of[0], bound_of[0], waiting = least, least + (limit - least.sum()), math.inf, 1
    best, best_total, closed = least, -math.inf, -math.inf
    for _ in range(_BRANCHES):
        if waiting == 0:
            break
        waiting -= 1
        low, cap, above = least_of[waiting].copy(), cap_of[waiting].copy(), bound_of[waiting]
        width, bound, user, place = share(low, cap, limit, cn0, eavesdropper_cn0, law)
        bound, total = min(bound, above), total_utility(width, cn0, eavesdropper_cn0, law)
        if total > best_total:
            best, best_total = width, total
        if user < 0 or bound <= best_total * (1.0 + _BRANCH_TOLERANCE):
            closed = max(closed, bound)
            continue
        lower, lower_cap, upper, upper_cap = _halves(user, place, low, cap, cn0, eavesdropper_cn0, law)
        least_of[waiting], cap_of[waiting], bound_of[waiting] = lower, lower_cap, bound
        waiting += 1
        if upper.sum() <= limit:
            least_of[waiting], bound_of[waiting] = upper, bound
            cap_of[waiting] = np.minimum(upper_cap, upper + (limit - upper.sum()))
            waiting += 1
    for i in range(waiting):
        closed = max(closed, bound_of[i])
    return best, max(closed, best_total)


@kernel
def solve(cn0, eavesdropper_cn0, min_rate, limit, active, law):
    """Optimal bandwidth of each user in Hz (0 if not scheduled) and the upper bound on the sum rate in bit/s."""
    needed = minimum_bandwidth(cn0, eavesdropper_cn0, min_rate, limit, active, law)
    served, _ = schedule(needed, limit)
    width = np.zeros(cn0.size)
    chosen = np.flatnonzero(served)
    if chosen.size == 0:
        return width, 0.0
    least = np.maximum(needed[chosen], FLOOR * limit)
    limit = max(limit, least.sum())
    cn0, eavesdropper_cn0 = cn0[chosen], eavesdropper_cn0[chosen]
    if law[0] > 0.0 or law[1] > 0.0 or eavesdropper_cn0.any():
        width[chosen], bound = _branch(least, limit, cn0, eavesdropper_cn0, law)
    else:
        optimal = _fill(least, cn0, limit)
        width[chosen], bound = (
            optimal,
            _linear_bound(optimal, least, limit, cn0, eavesdropper_cn0, law),
        )
    return width, bound


@kernel
def _linear_bound(width, least, limit, cn0, eavesdropper_cn0, law):
    """Bound of a concave sum by its tangent plane: the value plus what the steepest user could gain."""
    value, steepest, spent, blurred, held = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(cn0.size):
        rate, slope, curvature = curve(width[i], cn0[i], eavesdropper_cn0[i], law)
        value += rate
        steepest = max(steepest, slope)
        spent += slope * (width[i] - least[i])
        off = blur(width[i], cn0[i], slope, curvature) if least[i] > FLOOR * limit else 0.0
        blurred, held = blurred + off, held + slope * off
    return value + max(steepest * (limit - least.sum()) - spent, 0.0) + max(steepest * blurred - held, 0.0)


@kernel
def _solve_rows(first, last, cn0, eavesdropper_cn0, min_rate, limit, active, law, width, bound):
    """Rows `first` to `last` of `solve_batch`."""
    for row in range(first, last):
        width[row], bound[row] = solve(
            cn0[row], eavesdropper_cn0[row], min_rate[row], limit[row], active[row], law
        )


def solve_batch(cn0, eavesdropper_cn0, min_rate, limit, active, law):
    """`solve` for each row: `[batch user]` arrays in, bandwidths `[batch user]` and bounds `[batch]` out."""
    out = np.empty(cn0.shape), np.empty(cn0.shape[0])
    over_rows(_solve_rows, cn0.shape[0], cn0, eavesdropper_cn0, min_rate, limit, active, law, *out)
    return out
