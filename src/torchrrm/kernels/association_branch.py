"""Branch and bound over every association that an optimum may have, and over the powers of its stations.

Signals and interference are relative to the noise, `a[i, j]` of station `j` at user `i` at full power; powers are
shares of the limits, rates in nats. A station's part of the sum rate is the mean over its users, at most what its best
user would have alone. So at any powers the sum rate is at most the best matching of users with stations, and is that
where the other users can be parked at a station that is silent, serves nobody else, or that they do not hear. Hence
with `n` users in reach and `m` stations some optimum is among

- matchings: at most `m - 1` stations with one user each, or all `m` if that leaves no user over or if a station is
  heard by nobody and takes the others;
- covers, where `n > m`: every station transmits and each user is at one, so that stations with many are diluted.

Smaller matchings are larger ones with powers of zero. The users that are served are the links of
`torchrrm.kernels.link_bounds`: weight `1 / N_j`, and the interference of a station is spread evenly over the powers of
its users, which is exact where these are equal. Boxes of powers keep them in equal ranges, so that the bounds of links
are bounds here and become exact as boxes shrink.
"""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative
from torchrrm.kernels.link_ascent import ascend
from torchrrm.kernels.link_bounds import bound_box, decide_by_slope, new_work, weighted_rate
from torchrrm.kernels.link_branch import AUTO, choose_split
from torchrrm.kernels.rows import over_rows

__all__ = ["candidates", "search_batch"]

_DEPTH = 400  # boxes waiting: each split of the deepest adds one
_APART = 0.3  # part of a bound's excess that unequal powers of one station must make for the box to be split for them
_NARROW = 1e-9  # ranges of powers that are not split any more
_PROMISING = 0.9  # of the best sum rate: from better points it is worth to ascend
_INSIDE = 0.01  # least relative distance from the sides at which Newton's steps start


@kernel
def _next(station, at, stations, spare, cover, count):
    """Advance user `at` to its next station that fits, -1 (parked) first; False, and reset, if there is none."""
    old = station[at]
    if old >= 0:
        count[old] -= 1
    elif old == -1:
        count[stations] -= 1
    for j in range(old + 1, stations):
        if j == -1 and count[stations] >= spare:
            continue
        if j >= 0 and not cover and count[j] > 0:
            continue
        station[at] = j
        count[j if j >= 0 else stations] += 1
        return True
    station[at] = -2
    return False


@kernel
def _enumerate(users, stations, spare, cover, found):
    """Write matchings that park `spare` users, or covers of all stations, into `found`; how many there are."""
    station, count, total, at = np.full(users, -2), np.zeros(stations + 1, np.int64), 0, 0
    while at >= 0:
        if at == users:
            full = count[stations] == spare
            for j in range(stations):
                full = full and (not cover or count[j] > 0)
            if full:
                if total < len(found):
                    found[total] = station
                total += 1
            at -= 1
        elif _next(station, at, stations, spare, cover, count):
            at += 1
        else:
            at -= 1
    return total


@kernel
def candidates(users, stations, deaf):
    """Associations `[row user]` of which one is optimal, of users in reach and the stations that reach any.

    `deaf`: whether a further active station reaches nobody.
    """
    crowded = users > stations and not deaf
    links = min(users, stations - 1 if crowded else stations)
    none = np.empty((0, users), np.int64)
    matchings = _enumerate(users, stations, users - links, False, none)
    covers = _enumerate(users, stations, 0, True, none) if crowded else 0
    found = np.empty((matchings + covers, users), np.int64)
    _enumerate(users, stations, users - links, False, found)
    if crowded:
        _enumerate(users, stations, 0, True, found[matchings:])
    return found


@kernel
def _links(received, station, link):
    """Fill in the links of an association: gains, weights, user and station of each; how many, and if any share."""
    gain, weight, user, at = link
    n, shared = 0, False
    for i in range(len(station)):
        if station[i] >= 0:
            user[n], at[n] = i, station[i]
            n += 1
    for k in range(n):
        load = 0
        for i in range(n):
            load += at[i] == at[k]
        shared = shared or load > 1
        weight[k] = 1.0 / load
        for i in range(n):
            gain[i, k] = 0.0 if at[i] == at[k] else received[user[i], at[k]] / load
        gain[k, k] = received[user[k], at[k]]
    return n, shared


@kernel
def _level(k, power, gain, weight, at, n, heard):
    """Best power of the station of link `k` with the loss of the others linearised, by bisection."""
    price, low, high = 0.0, 0.0, 1.0
    for i in range(n):
        heard[i] = 1.0
        for j in range(n):
            heard[i] += gain[i, j] * power[j] if j != i else 0.0
        if at[i] != at[k]:
            signal, load = gain[i, i] * power[i], 1.0 / weight[k]
            price += weight[i] * load * gain[i, k] * signal / (heard[i] * (heard[i] + signal))
    for _ in range(50):
        middle, slope = 0.5 * (low + high), -price
        for i in range(n):
            if at[i] == at[k]:
                slope += weight[i] * gain[i, i] / (heard[i] + gain[i, i] * middle)
        if slope > 0.0:
            low = middle
        else:
            high = middle
    return 1.0 if high == 1.0 else 0.5 * (low + high)


@kernel
def _ascend_shared(power, gain, weight, at, n, sweeps, tolerance, heard):
    """Improve the powers station by station, in place; the sum rate. As `link_ascent.ascend`, with equal powers."""
    total, trial = weighted_rate(power, gain, weight, n), np.empty(n)
    for _ in range(sweeps):
        before = total
        for k in range(n):
            level = _level(k, power, gain, weight, at, n, heard)
            for choice in (level, 0.0, 1.0):
                for i in range(n):
                    trial[i] = choice if at[i] == at[k] else power[i]
                value = weighted_rate(trial, gain, weight, n)
                if value > total:
                    total, power[:n] = value, trial
        if total - before <= tolerance * total:
            break
    return total


@kernel
def _improve(start, link, n, shared, sweeps, tolerance, row, state, best):
    """Ascend from the start and keep the powers and the association if they are the best."""
    gain, weight, _, at = link
    heard = np.empty(n)
    if shared:
        total = _ascend_shared(start, gain, weight, at, n, sweeps, tolerance, heard)
    else:
        total = ascend(start, gain, weight, n, sweeps, tolerance, True, heard)
    if total > state[0]:
        state[0], state[3] = total, row
        best[:] = 0.0
        for k in range(n):
            best[at[k]] = start[k]


@kernel
def _tie(low, high, at, n):
    """Intersect the ranges of links that share a station; False if they have nothing in common."""
    for k in range(n):
        for i in range(k):
            if at[i] == at[k]:
                low[k], high[k] = max(low[k], low[i]), min(high[k], high[i])
    for k in range(n):
        for i in range(k + 1, n):
            if at[i] == at[k]:
                low[k], high[k] = low[i], high[i]
        if low[k] > high[k]:
            return False
    return True


@kernel
def _slopes(low, high, link, n, k):
    """Least and largest slope of the sum rate by the power of the station of link `k`, over the box."""
    gain, weight, _, at = link
    least, most = 0.0, 0.0
    for i in range(n):
        quiet, loud = 1.0, 1.0
        for j in range(n):
            quiet += gain[i, j] * low[j] if j != i else 0.0
            loud += gain[i, j] * high[j] if j != i else 0.0
        weak, strong = gain[i, i] * low[i], gain[i, i] * high[i]
        if at[i] == at[k]:
            least += weight[i] * gain[i, i] / (loud + strong)
            most += weight[i] * gain[i, i] / (quiet + weak)
        else:
            price = weight[i] * gain[i, k] / weight[k]
            least -= price * strong / (quiet * (quiet + strong))
            most -= price * weak / (loud * (loud + weak))
    return least, most


@kernel
def _decide_shared(low, high, link, n):
    """`link_bounds.decide_by_slope` with equal powers of links that share a station."""
    at, full = link[3], False
    for k in range(n):
        full = full or high[k] >= 1.0
    if not full:
        return False
    for k in range(n):
        if high[k] <= low[k]:
            continue
        least, most = _slopes(low, high, link, n, k)
        if (most < 0.0 and low[k] > 0.0) or (least > 0.0 and high[k] < 1.0):
            return False
        if most < 0.0 or least > 0.0:
            end = low[k] if most < 0.0 else high[k]
            for i in range(n):
                if at[i] == at[k]:
                    low[i], high[i] = end, end
    return True


@kernel
def _meet(box, at, n, slope, start):
    """The powers at a box's place, those of one station made equal; how much of the bound that costs, to first order.

    Puts the link and the power of the station that costs most behind the box if that is more than nothing, as
    `choose_split` does for interference.
    """
    low, high, place, most = box[:n], box[n : 2 * n], box[2 * n : 3 * n], 0.0
    for k in range(n):
        total, load, cost = 0.0, 0, 0.0
        for i in range(n):
            if at[i] == at[k]:
                total, load = total + place[i], load + 1
        share = total / load
        start[k] = low[k] + share * (high[k] - low[k])
        for i in range(n):
            cost += slope[i] * (place[i] - share) if at[i] == at[k] else 0.0
        if cost > most and high[k] - low[k] > _NARROW:
            most, box[3 * n] = cost, k
            box[3 * n + 1] = low[k] + min(max(share, 0.1), 0.9) * (high[k] - low[k])
    return most


@kernel
def _judge(box, bound, link, n, shared, row, law, state, best, work):
    """Bound a box, in place shrink it and choose where to split it; ascend from where its bound is attained."""
    gain, weight, _, at = link
    low, high, place = box[:n], box[n : 2 * n], box[2 * n : 3 * n]
    state[2] += 1
    inside = (
        _decide_shared(low, high, link, n) if shared else decide_by_slope(low, high, gain, weight, n, work[0])
    )
    if not inside:
        return 0.0
    for j in range(n):
        place[j] = min(max(place[j], _INSIDE), 1.0 - _INSIDE) if high[j] > low[j] else 0.0
    goal = state[0] * (1.0 + law[0])
    bound = min(bound, bound_box(low, high, place, gain, weight, n, goal, work))
    if bound <= goal or (shared and not _tie(low, high, at, n)):
        return goal  # parts of it were cut off that may hold as much
    start = np.empty(n)
    cost, value = _meet(box, at, n, work[0][8], start), weighted_rate(start, gain, weight, n)
    if cost <= max(_APART * (bound - value), 0.0):
        choose_split(box, gain, weight, n, AUTO, work)
    if value > _PROMISING * state[0]:
        _improve(start, link, n, shared, 30, 1e-5, row, state, best)
    chosen = int(box[3 * n])
    if box[n + chosen] - box[chosen] <= _NARROW:
        state[1] = max(state[1], bound)  # no power is left to split at
        return 0.0
    return bound


@kernel
def _whole(n):
    """The box of all powers."""
    box = np.empty(3 * n + 2)
    box[:n], box[n : 2 * n], box[2 * n : 3 * n], box[3 * n] = 0.0, 1.0, 0.5, -1.0
    return box


@kernel
def _child(parent, side, at, n):
    """A half of a box: the lower or the upper of the power that it is split at, and of those equal to it."""
    box, link, middle = parent.copy(), int(parent[3 * n]), parent[3 * n + 1]
    for k in range(n):
        if at[k] == at[link]:
            where = parent[k] + parent[2 * n + k] * (parent[n + k] - parent[k])
            box[n + k if side == 0 else k] = middle
            width = box[n + k] - box[k]
            box[2 * n + k] = (where - box[k]) / width if width > 0.0 else 0.0
    return box


@kernel
def _explore(link, n, shared, row, root, law, state, best, work):
    """Split the box of an association, depth first, until no part of it may hold anything better."""
    stack, bounds, size = np.empty((_DEPTH, 3 * n + 2)), np.empty(_DEPTH), 1
    stack[0], bounds[0] = _whole(n), root
    bounds[0] = _judge(stack[0], root, link, n, shared, row, law, state, best, work)
    while size > 0:
        size -= 1
        bound, parent = bounds[size], stack[size].copy()
        spent = state[2] >= law[1] or size + 2 > _DEPTH
        if bound <= state[0] * (1.0 + law[0]) or spent:
            state[1] = max(state[1], bound)
            continue
        for side in range(2):
            child = _child(parent, side, link[3], n)
            found = _judge(child, bound, link, n, shared, row, law, state, best, work)
            if found > state[0] * (1.0 + law[0]):
                stack[size], bounds[size] = child, found
                size += 1
            else:
                state[1] = max(state[1], found)


@kernel(inline="always")
def _search(received, deaf, tolerance, max_boxes):
    """Best association and powers, and `[sum rate, bound, boxes]`."""
    users, stations = received.shape
    found = candidates(users, stations, deaf)
    link = np.empty((users, users)), np.empty(users), np.empty(users, np.int64), np.empty(users, np.int64)
    state, best, work = np.zeros(4), np.zeros(stations), new_work(users)
    law, bounds = (tolerance, max_boxes), np.empty(len(found))
    for row in range(len(found)):
        n, shared = _links(received, found[row], link)
        bounds[row] = 0.0
        for k in range(n):
            bounds[row] += link[1][k] * log1p_nonnegative(link[0][k, k])
        if bounds[row] > state[0] * (1.0 + tolerance):
            if not shared:
                _improve(np.ones(n), link, n, shared, 10, 1e-3, row, state, best)
            bounds[row] = _judge(_whole(n), bounds[row], link, n, shared, row, law, state, best, work)
    for row in np.argsort(-bounds):
        if bounds[row] <= state[0] * (1.0 + tolerance):
            state[1] = max(state[1], bounds[row])
            continue
        n, shared = _links(received, found[row], link)
        _explore(link, n, shared, row, bounds[row], law, state, best, work)
    station = found[int(state[3])].copy() if len(found) else np.full(users, -1)
    return station, best, state


@kernel
def _search_rows(first, last, received, tolerance, max_boxes, station, power, state):
    """Rows `first` to `last` of `search_batch`."""
    for row in range(first, last):
        values = received[row]
        users, stations, active = (
            (values > 0.0).sum(1) > 0,
            (values > 0.0).sum(0) > 0,
            (values >= 0.0).sum(0) > 0,
        )
        user, bs = np.flatnonzero(users), np.flatnonzero(stations)
        station[row], power[row], state[row] = -1, 0.0, 0.0
        if len(user) == 0:
            continue
        compact = np.empty((len(user), len(bs)))
        for i in range(len(user)):
            for j in range(len(bs)):
                compact[i, j] = values[user[i], bs[j]]
        chosen, share, found = _search(compact, len(bs) < active.sum(), tolerance, max_boxes)
        for i in range(len(user)):
            station[row, user[i]] = bs[chosen[i]] if chosen[i] >= 0 else -1
        for j in range(len(bs)):
            power[row, bs[j]] = share[j]
        state[row, 0], state[row, 1], state[row, 2] = found[0], max(found[0], found[1]), found[2]


def search_batch(received, tolerance, max_boxes, station, power, state):
    """Search each row: `received` `[row user bs]` in its active users and stations, and -1 elsewhere.

    Writes `station` `[row user]`, -1 where parked, `power` `[row bs]` and `state` `[row 3]`: the sum rate, the
    certified bound on it, and how many boxes were bounded. A row whose `max_boxes` are spent keeps the bound it has.
    """
    over_rows(_search_rows, received.shape[0], received, tolerance, max_boxes, station, power, state)
