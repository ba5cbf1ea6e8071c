"""Surplus bandwidth of one slice by its price: an allocation and a bound for bandwidths between given ends.

Each user's rate `r` is increasing up to its useful bandwidth, convex up to one inflection and concave from there
(concave throughout in long blocks). In short blocks it is negative up to one bandwidth `w_0`, and the user counts
with `u = max(r, 0)`. On `[least, most]` the concave envelope of `u` is a chord from `(least, u(least))` to the
bandwidth `start` where it is tangent to `r`, then `r` itself: since `r` is convex, then concave, the excess

    r'(w) (w - least) - (r(w) - u(least)),   positive at `least` where `r(least) < 0` or `r` is convex there,

rises, then falls, and has one zero, `start`. The sum of the envelopes is maximised by one price for bandwidth, and its
value is the bound: no allocation between the ends can exceed it. See `torchrrm.solvers.ExactSlicing` for the argument;
names follow it.

A least bandwidth is one that minimum rates need, and known to rounding of the rate by its slope: where a rate is near
its ceiling, to few digits. What less of it would be worth at the price is part of the bound.
"""

import math

import numpy as np

from torchrrm.kernels.bandwidth import peak
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.link_rates import curve, utility

__all__ = ["FLOOR", "ROUNDING", "STEPS", "blur", "share", "total_utility"]

STEPS = 120  # of Newton's method or of halving, at most
_CREEPING = 3  # steps in a row that may leave more than half of what the last one missed
FLOOR = 1e-12  # of the slice: smallest bandwidth that a curve is evaluated at, the least of users without a minimum
ROUNDING = 8 * 2.220446049250313e-16  # of the Shannon rate: what a computed rate may be off by
_SPENT = 1e-10  # of the slice: what demands may leave or exceed, well above their rounding
_CLOSE = 1e-6  # relative size of a Newton step after which the next would be below rounding


@kernel(inline="always")
def _inside(trial, low, high):
    """Whether a Newton step stays clear of the ends of its bracket; at them, steps could go to and fro."""
    return low * (1.0 + _CLOSE) < trial < high * (1.0 - _CLOSE)


@kernel(inline="always")
def blur(width, cn0, slope, curvature):
    """What a bandwidth may be off by that was found as the least one of its rate."""
    error, off = ROUNDING * width * math.log1p(cn0 / width) / math.log(2.0), width
    if slope > 0.0:
        off = min(off, error / slope)
    if curvature < 0.0:
        off = min(off, math.sqrt(-2.0 * error / curvature))
    return off


@kernel
def _tangent(low, high, low_value, cn0, eavesdropper_cn0, law):
    """Where the tangent of the concave part passes through `(low, low_value)`; `high` if it does nowhere before."""
    value, slope, _ = curve(high, cn0, eavesdropper_cn0, law)
    if slope * (high - low) >= value - low_value:
        return high
    origin, width = low, min(2.0 * low, math.sqrt(low * high))
    for _ in range(STEPS):
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


@kernel
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


@kernel
def _demand(price, width, start, most, cn0, eavesdropper_cn0, law):
    """Bandwidth in `[start, most]` whose slope is the price, and the curvature there; `width` is the guess."""
    low, high = start, most
    curvature = -math.inf
    for _ in range(STEPS):
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


@kernel
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


@kernel
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


@kernel
def _price(limit, low, high, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """Prices around the one that spends `limit`; `width` ends as the demand at the upper one."""
    trial, missed, creeping = _first_price(low, high, cn0, eavesdropper_cn0, law, width), math.inf, 0
    for _ in range(STEPS):
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


@kernel
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


@kernel
def _bound(price, limit, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """Value of the dual, an upper bound at any price, raised by what the demands miss of their optimum."""
    bound = price * limit
    for i in range(cn0.size):
        rate, slope, curvature = curve(width[i], cn0[i], eavesdropper_cn0[i], law)
        bound += max(rate, 0.0) - price * width[i]
        if least[i] > FLOOR * limit and price > slope:
            bound += (price - slope) * blur(width[i], cn0[i], slope, curvature)
        if entry[i] > price:
            bound += max((slope - price) * (most[i] - width[i]), (slope - price) * (start[i] - width[i]), 0.0)
    return bound


@kernel
def total_utility(width, cn0, eavesdropper_cn0, law):
    total = 0.0
    for i in range(cn0.size):
        total += utility(width[i], cn0[i], eavesdropper_cn0[i], law)
    return total


@kernel
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


@kernel
def share(least, cap, limit, cn0, eavesdropper_cn0, law):
    """Bandwidths between `least` and `cap`, the bound on any such, and the user (or -1) and place to branch at."""
    most, start, entry = _envelope(least, cap, cn0, eavesdropper_cn0, law)
    width, price, alone = _winner_takes_all(limit, entry, start, most, least, cn0, eavesdropper_cn0, law)
    if alone:
        bound = _bound(price, limit, entry, start, most, least, cn0, eavesdropper_cn0, law, width)
        return width, bound, -1, 0.0
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


@kernel
def _edge(price, entry, start, least):
    """The user, not concave from its least bandwidth on, whose demand jumps at the price; -1 if there is none."""
    edge, distance = -1, math.inf
    for i in range(entry.size):
        if start[i] > least[i] and abs(entry[i] - price) < distance:
            edge, distance = i, abs(entry[i] - price)
    return edge


@kernel
def _spend(edge, price, limit, entry, start, most, least, cn0, eavesdropper_cn0, law, width):
    """The best of three ways to spend what the demand at the price leaves, where the demand of user `edge` jumps."""
    best = width.copy()
    best[edge] = min(width[edge] + limit - width.sum(), most[edge])  # the user at the edge takes it
    best_total = total_utility(best, cn0, eavesdropper_cn0, law)
    inside = np.where(entry > price, entry, -math.inf)
    if inside.max() > 0.0:  # those inside share it
        low, _ = _price(limit, 0.0, price, inside, start, most, least, cn0, eavesdropper_cn0, law, width)
        _settle(limit, low, inside, start, most, least, cn0, eavesdropper_cn0, law, width)
        total = total_utility(width, cn0, eavesdropper_cn0, law)
        if total > best_total:
            best, best_total = width.copy(), total
    for i in range(cn0.size):  # one user takes all
        if entry[i] >= price or i == edge:
            width = least.copy()
            width[i] = min(limit - least.sum() + least[i], most[i])
            total = total_utility(width, cn0, eavesdropper_cn0, law)
            if total > best_total:
                best, best_total = width, total
    return best
