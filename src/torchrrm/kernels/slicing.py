"""Optimal split of one slice's surplus bandwidth: the compiled form of `torchrrm.solvers.ExactSlicing`.

Each user's rate `r` is increasing up to its useful bandwidth, convex up to one inflection and concave from there
(concave throughout in long blocks). In short blocks it is negative up to one bandwidth `w_0`, and the user counts
with `u = max(r, 0)`. On `[least, most]` the concave envelope of `u` is a chord from `(least, u(least))` to the
bandwidth `start` where it is tangent to `r`, then `r` itself: since `r` is convex, then concave, the excess

    r'(w) (w - least) - (r(w) - u(least)),   positive at `least` where `r(least) < 0` or `r` is convex there,

rises, then falls, and has one zero, `start`. The sum of the envelopes is maximised by one price for bandwidth, and its
value is the bound: no allocation can exceed it. Where a user's demand jumps, its range is split at the middle of
`least` and `start` or, if its rate is negative at `least`, into `{least}` (off) and `[w_0, most]` (on): in between it
counts with nothing.

A data or secrecy rate that is positive rises with the user's channel `c` and falls with the eavesdropper's, since with
`x = c / w` its slope by `x` has the sign of `(1 + x)^2 - 1 - ln(1 + x)` or a larger one. So of two users that may both
be off, exchanging their bandwidths shows that some optimum has the better one on if it has the worse one on. A split
therefore decides all users that are better, or worse, in both channels. See `ExactSlicing` for the argument; names
follow it.
"""

import math

import numpy as np
from numba import njit, prange

from torchrrm.kernels.bandwidth import minimum_bandwidth, peak, schedule
from torchrrm.kernels.link_rates import curve, utility

__all__ = ["solve", "solve_batch"]

_STEPS = 120
_BRANCHES = 400
_BRANCH_TOLERANCE = 1e-5
_FLOOR = 1e-12  # of the slice: smallest bandwidth that a curve is evaluated at
_CREEPING = 3  # steps in a row that may leave more than half of what the last one missed
_SPENT = 1e-10  # of the slice: what demands may leave or exceed, well above their rounding
_CLOSE = 1e-6  # relative size of a Newton step after which the next would be below rounding


@njit(error_model="numpy", cache=True)
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


@njit(inline="always", error_model="numpy")
def _inside(trial, low, high):
    """Whether a Newton step stays clear of the ends of its bracket; at them, steps could go to and fro."""
    return low * (1.0 + _CLOSE) < trial < high * (1.0 - _CLOSE)


@njit(error_model="numpy", cache=True)
def _tangent(low, high, low_value, cn0, eavesdropper_cn0, law):
    """Where the tangent of the concave part passes through `(low, low_value)`; `high` if it does nowhere before."""
    value, slope, _ = curve(high, cn0, eavesdropper_cn0, law)
    if slope * (high - low) >= value - low_value:
        return high
    origin, width = low, min(2.0 * low, math.sqrt(low * high))
    for _ in range(_STEPS):
        value, slope, curvature = curve(width, cn0, eavesdropper_cn0, law)
        excess = slope * (width - origin) - (value - low_value)
        if excess > 0.0:
            low = width
        else:
            high = width
        if high - low <= 1e-13 * high:
            break
        # Newton's step in log scale, where the concave part is.
        ratio = -excess / (width * curvature * (width - origin))
        if curvature < 0.0 and abs(ratio) <= _CLOSE:
            return width * (1.0 + ratio)
        trial = width * math.exp(min(max(ratio, -3.0), 3.0)) if curvature < 0.0 else low
        width = trial if _inside(trial, low, high) else math.sqrt(low * high)
    return high


@njit(error_model="numpy", cache=True)
def _envelope(least, cap, cn0, eavesdropper_cn0, law):
    """Each user's useful bandwidth, the start of its concave part, and the price at which it starts to be served."""
    users = cn0.size
    most, start, entry = cap.copy(), least.copy(), np.empty(users)
    for i in range(users):
        rate, slope, curvature = curve(least[i], cn0[i], eavesdropper_cn0[i], law)
        entry[i] = slope
        if law[1] == 0.0:
            continue  # long blocks: concave and increasing
        if curve(most[i], cn0[i], eavesdropper_cn0[i], law)[1] < 0.0:
            most[i] = peak(least[i], most[i], cn0[i], eavesdropper_cn0[i], law)
        if (rate < 0.0 or curvature > 0.0) and most[i] > least[i]:
            value = max(rate, 0.0)
            start[i] = _tangent(least[i], most[i], value, cn0[i], eavesdropper_cn0[i], law)
            entry[i] = (utility(start[i], cn0[i], eavesdropper_cn0[i], law) - value) / (start[i] - least[i])
    return most, start, entry


@njit(error_model="numpy", cache=True)
def _demand(price, width, start, most, cn0, eavesdropper_cn0, law):
    """Bandwidth in `[start, most]` whose slope is the price, and the curvature there; `width` is the guess."""
    low, high = start, most
    curvature = -math.inf
    for _ in range(_STEPS):
        _, slope, curvature = curve(width, cn0, eavesdropper_cn0, law)
        if slope > price:
            low = width
        else:
            high = width
        if high - low <= 1e-15 * high:
            break
        # Newton's step in log scale: slopes are nearly straight lines there.
        ratio = (price - slope) / (width * curvature)
        if abs(ratio) <= _CLOSE and curvature < 0.0:
            return min(max(width * (1.0 + ratio), start), most), curvature
        trial = width * math.exp(min(max(ratio, -3.0), 3.0)) if curvature < 0.0 else low
        if trial >= most:
            if curve(most, cn0, eavesdropper_cn0, law)[1] >= price:
                return most, -math.inf
        elif trial <= start and curve(start, cn0, eavesdropper_cn0, law)[1] <= price:
            return start, -math.inf
        width = trial if _inside(trial, low, high) else math.sqrt(low * high)
    return width, curvature


@njit(error_model="numpy", cache=True)
def _at_price(price, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """Fill `width` with each user's bandwidth at the price; returns their sum and its derivative by price."""
    total, slope = 0.0, 0.0
    for i in range(cn0.size):
        if entry[i] <= price:
            width[i] = least[i]
        else:
            guess = min(max(width[i], start[i]), most[i])
            width[i], curvature = _demand(price, guess, start[i], most[i], cn0[i], eavesdropper_cn0[i], law)
            slope += 1.0 / curvature
        total += width[i]
    return total, slope


@njit(error_model="numpy", cache=True)
def _first_price(low, high, cn0, eavesdropper_cn0, law, width):
    """The price at which demands, taken as powers of it through guesses of them, keep the sum of the guesses."""
    weighted, weight = 0.0, 0.0
    for i in range(cn0.size):
        _, slope, curvature = curve(width[i], cn0[i], eavesdropper_cn0[i], law)
        if curvature < 0.0 and slope > 0.0:
            weighted += slope / curvature * math.log(slope)
            weight += slope / curvature
    price = math.exp(weighted / weight) if weight < 0.0 else low
    return price if low < price < high else 0.5 * (low + high)


@njit(error_model="numpy", cache=True)
def _price(limit, low, high, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """Prices around the one that spends `limit`; `width` ends as the demand at the upper one."""
    trial, missed, creeping = _first_price(low, high, cn0, eavesdropper_cn0, law, width), math.inf, 0
    for _ in range(_STEPS):
        total, slope = _at_price(trial, entry, start, most, least, cn0, eavesdropper_cn0, law, width)
        if abs(limit - total) <= _SPENT * limit:
            return trial, trial
        if total > limit:
            low = trial
        else:
            high = trial
        if high - low <= 1e-15 * high:
            break
        # Newton's steps may creep to a jump from one side; then the bracket is halved.
        creeping = creeping + 1 if abs(limit - total) > 0.5 * missed else 0
        missed = abs(limit - total)
        step = low
        if (
            slope < 0.0 and creeping < _CREEPING
        ):  # in log scale on both axes: demand is nearly a power of the price
            ratio = math.log(limit / total) * total / (slope * trial)
            step = trial * math.exp(min(max(ratio, -5.0), 5.0))
        trial = step if low < step < high else 0.5 * (low + high)
    _at_price(high, entry, start, most, least, cn0, eavesdropper_cn0, law, width)
    return low, high


@njit(error_model="numpy", cache=True)
def _settle(limit, low, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """Bring the demand at the upper price to `limit`, through the demand at the lower one where curves are concave.

    A curve may be straight to rounding (at 100 dB of SNR and more); then its user takes any bandwidth at one
    price.
    """
    total = width.sum()
    if limit - total > _SPENT * limit:
        more = width.copy()
        _at_price(low, entry, start, most, least, cn0, eavesdropper_cn0, law, more)
        more = np.where(start > least, width, np.maximum(more, width))
        room = more.sum() - total
        if room > 0.0:
            width += min((limit - total) / room, 1.0) * (more - width)
    else:
        spent = total - least.sum()
        if spent > 0.0:
            width += (limit - total) / spent * (width - least)


@njit(error_model="numpy", cache=True)
def _bound(price, limit, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """Value of the dual, an upper bound at any price, raised by what the demands miss of their optimum."""
    bound = price * limit
    for i in range(cn0.size):
        rate, slope, _ = curve(width[i], cn0[i], eavesdropper_cn0[i], law)
        bound += max(rate, 0.0) - price * width[i]
        if entry[i] > price:
            bound += max((slope - price) * (most[i] - width[i]), (slope - price) * (start[i] - width[i]), 0.0)
    return bound


@njit(error_model="numpy", cache=True)
def _total(width, cn0, eavesdropper_cn0, law):
    total = 0.0
    for i in range(cn0.size):
        total += utility(width[i], cn0[i], eavesdropper_cn0[i], law)
    return total


@njit(error_model="numpy", cache=True)
def _winner_takes_all(limit, entry, start, most, least, cn0, eavesdropper_cn0, law):
    """The allocation in which the first user in price takes all, its price, and whether nobody else would pay that."""
    first = np.argmax(entry)
    width = least.copy()
    width[first] += limit - least.sum()
    if width[first] > most[first]:
        return width, 0.0, False
    price = entry[first]
    if most[first] > start[first]:
        price = max(curve(most[first], cn0[first], eavesdropper_cn0[first], law)[1], 0.0)
    for i in range(cn0.size):
        if i != first and entry[i] > price:
            return width, price, False
    return width, price, True


@njit(error_model="numpy", cache=True)
def _share(least, cap, limit, cn0, eavesdropper_cn0, law):
    """Bandwidths between `least` and `cap`, the bound on any such, and the user (or -1) and place to branch at."""
    most, start, entry = _envelope(least, cap, cn0, eavesdropper_cn0, law)
    width, price, alone = _winner_takes_all(limit, entry, start, most, least, cn0, eavesdropper_cn0, law)
    if alone:
        return width, _total(width, cn0, eavesdropper_cn0, law), -1, 0.0
    width = np.minimum(least + (limit - least.sum()) / cn0.size, most)
    low, price = _price(
        limit, price, entry.max(), entry, start, most, least, cn0, eavesdropper_cn0, law, width
    )
    bound = _bound(price, limit, entry, start, most, least, cn0, eavesdropper_cn0, law, width)
    _settle(limit, low, entry, start, most, least, cn0, eavesdropper_cn0, law, width)
    edge = _edge(price, entry, start, least)
    if edge < 0 or limit - width.sum() <= _SPENT * limit:
        return width, bound, -1, 0.0
    width = _spend(edge, price, limit, entry, start, most, least, cn0, eavesdropper_cn0, law, width)
    return width, bound, edge, 0.5 * (least[edge] + start[edge])


@njit(error_model="numpy", cache=True)
def _turn(low, high, cn0, eavesdropper_cn0, law):
    """`w_0`: where the rate, negative at `low`, turns positive; `high` if it does not."""
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        if not low < middle < high:
            break
        if curve(middle, cn0, eavesdropper_cn0, law)[0] < 0.0:
            low = middle
        else:
            high = middle
    return high


@njit(error_model="numpy", cache=True)
def _edge(price, entry, start, least):
    """The user, not concave from its least bandwidth on, whose demand jumps at the price; -1 if there is none."""
    edge, distance = -1, math.inf
    for i in range(entry.size):
        if start[i] > least[i] and abs(entry[i] - price) < distance:
            edge, distance = i, abs(entry[i] - price)
    return edge


@njit(error_model="numpy", cache=True)
def _spend(edge, price, limit, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """The best of three ways to spend what the demand at the price leaves, where the demand of user `edge` jumps."""
    best = width.copy()
    best[edge] = min(width[edge] + limit - width.sum(), most[edge])  # the user at the edge takes it
    best_total = _total(best, cn0, eavesdropper_cn0, law)
    inside = np.where(entry > price, entry, -math.inf)
    if inside.max() > 0.0:  # those inside share it
        low, _ = _price(limit, 0.0, price, inside, start, most, least, cn0, eavesdropper_cn0, law, width)
        _settle(limit, low, inside, start, most, least, cn0, eavesdropper_cn0, law, width)
        total = _total(width, cn0, eavesdropper_cn0, law)
        if total > best_total:
            best, best_total = width.copy(), total
    for i in range(cn0.size):  # one user takes all
        if entry[i] >= price or i == edge:
            width = least.copy()
            width[i] = min(limit - least.sum() + least[i], most[i])
            total = _total(width, cn0, eavesdropper_cn0, law)
            if total > best_total:
                best, best_total = width, total
    return best


@njit(error_model="numpy", cache=True)
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


@njit(error_model="numpy", cache=True)
def _halves(user, place, low, cap, cn0, eavesdropper_cn0, law):
    """Both parts of a box that is split at a user's range: `(low, cap)` of the lower and of the upper one."""
    lower, upper, lower_cap, upper_cap = low.copy(), low.copy(), cap.copy(), cap.copy()
    if curve(low[user], cn0[user], eavesdropper_cn0[user], law)[0] < 0.0:
        _switch(user, False, lower, lower_cap, cn0, eavesdropper_cn0, law)
        _switch(user, True, upper, upper_cap, cn0, eavesdropper_cn0, law)
    else:
        lower_cap[user], upper[user] = place, place
    return lower, lower_cap, upper, upper_cap


@njit(error_model="numpy", cache=True)
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
        width, bound, user, place = _share(low, cap, limit, cn0, eavesdropper_cn0, law)
        bound, total = min(bound, above), _total(width, cn0, eavesdropper_cn0, law)
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


@njit(error_model="numpy", cache=True)
def solve(cn0, eavesdropper_cn0, min_rate, limit, active, law):
    """Optimal bandwidth of each user in Hz (0 if not scheduled) and the upper bound on the sum rate in bit/s."""
    needed = minimum_bandwidth(cn0, eavesdropper_cn0, min_rate, limit, active, law)
    served, _ = schedule(needed, limit)
    width = np.zeros(cn0.size)
    chosen = np.flatnonzero(served)
    if chosen.size == 0:
        return width, 0.0
    least = np.maximum(needed[chosen], _FLOOR * limit)
    limit = max(limit, least.sum())
    cn0, eavesdropper_cn0 = cn0[chosen], eavesdropper_cn0[chosen]
    if law[0] > 0.0 or law[1] > 0.0 or eavesdropper_cn0.any():
        width[chosen], bound = _branch(least, limit, cn0, eavesdropper_cn0, law)
    else:
        optimal = _fill(least, cn0, limit)
        width[chosen], bound = (
            optimal,
            _linear_bound(optimal, least, limit - least.sum(), cn0, eavesdropper_cn0, law),
        )
    return width, bound


@njit(error_model="numpy", cache=True)
def _linear_bound(width, least, surplus, cn0, eavesdropper_cn0, law):
    """Bound of a concave sum by its tangent plane: the value plus what the steepest user could gain."""
    value, steepest, spent = 0.0, 0.0, 0.0
    for i in range(cn0.size):
        rate, slope, _ = curve(width[i], cn0[i], eavesdropper_cn0[i], law)
        value += rate
        steepest = max(steepest, slope)
        spent += slope * (width[i] - least[i])
    return value + max(steepest * surplus - spent, 0.0)


@njit(error_model="numpy", cache=True, parallel=True)
def solve_batch(cn0, eavesdropper_cn0, min_rate, limit, active, law):
    """`solve` for each row: `[batch user]` arrays in, bandwidths `[batch user]` and bounds `[batch]` out."""
    width = np.empty(cn0.shape)
    bound = np.empty(cn0.shape[0])
    for row in prange(cn0.shape[0]):
        width[row], bound[row] = solve(
            cn0[row], eavesdropper_cn0[row], min_rate[row], limit[row], active[row], law
        )
    return width, bound
