"""Branch and bound for the weighted sum rate of interference links under minimum rates, in the units of `qos_ranges`.

A box of `s = ln SINR` is shrunk, relaxed and cut (`qos_bounds`), and split, the largest bound first. The relaxation
keeps all minimum rates, so its powers are candidates; the best are improved by condensation [Chiang2007]: the tangent
of `ln(1 + e^s)` at the last `s` is below it and makes the problem a convex one of the same form, whose solution is at
least as good.

A link without a minimum rate begins with `lo = -inf`. Its box is split where the rate is a part of what it can be at
most: below, it counts as that rate and is silent; above, it has a least SINR. So a link that is off at the optimum is
shown to be so by steps that each leave a part of its rate. Links of faint minima are treated alike, until what the
bound exceeds the goal by hangs on their minima.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.link_branch import BEST, CLOSED, NODES, SIZE, pop, push
from torchrrm.kernels.qos_bounds import FAR, advance, begin, cut, is_silent, received, relax
from torchrrm.kernels.qos_ranges import (
    log_sinr,
    new_work,
    noise_and_interference,
    softplus,
    tighten,
    weighted_rate,
)
from torchrrm.kernels.rows import over_rows

__all__ = ["COLUMNS", "explore_batch"]

COLUMNS = 6
"""Of a search's state: those of `link_branch`, and when to improve on powers again."""
_NEXT, _PAUSE = 4, 5  # boxes before the next attempt, and from the last to this

_BELOW = -30.0  # ln SINR to which a link without a minimum rate may fall in a condensation
_SILENT = 1e-9  # SINR below which it is turned off
_CUTS = 3  # times that a box is shrunk and bounded
_WORTHWHILE = 0.5  # part of a side that cuts leave: a box that they shrink less is not bounded anew
_OFF = 0.2  # part of its largest rate at which the side of a link that may be off is split
_LONGEST = 64.0  # boxes between two attempts to improve on powers
_TANGENTS, _STEPS = 20, 40  # condensations and steps of each, at most


@kernel
def _enter(start, inside, limit, m, work):
    """Set `x` and `s` near the start, as little towards the powers inside as keeps all minima; whether these do.

    Between two points that keep them so do all logarithms of powers. A link that is silent at the start has none.
    """
    part, f = 0.1, work.rows[7]
    while part < 1.7:
        part, fits = min(part, 1.0), True
        for i in range(m):
            goal = inside[work.link[i]] / limit
            ratio = start[i] / goal
            work.x[i] = (
                math.log(goal) + (1.0 - part) * math.log(ratio) if ratio > 0.0 else math.log(part * goal)
            )
        received(work.x, work.gain, m, work.rows[0], work.rows[1], f)
        for i in range(m):
            work.s[i] = work.low[i] + 0.9 * (f[i] - work.low[i])
            fits = fits and f[i] > work.low[i] and work.x[i] < 0.0
        if fits:
            return True
        part *= 2.0
    return False


@kernel
def _condense(power, root, gain, weight, n, work):
    """Improve powers, in place, to ones that keep minima and limits of actions; return their rate, 0 if there are none.

    Links without a minimum that are silent stay so. Powers are in parts of the limit of actions here.
    """
    m, best, inside, first, limit = 0, 0.0, root[1], root[2], root[4, 0]
    rows, start, work.slack[0] = work.rows, np.empty(n), 0.0
    for k in range(n):
        if power[k] > 0.0 or first[k] > -math.inf:
            work.link[m], work.low[m], start[m] = k, max(first[k], _BELOW), power[k] / limit
            work.high[m] = math.log(gain[k, k]) + 1.0
            m += 1
    for k in range(m):
        for j in range(m):
            work.gain[k, j] = gain[work.link[k], work.link[j]] * limit
    for _ in range(_TANGENTS):
        for i in range(m):
            k = work.link[i]
            signal = start[i] * work.gain[i, i]
            work.slope[i] = weight[k] * signal / (signal + noise_and_interference(i, start, work.gain, m))
        if not _enter(start, inside, limit, m, work):
            return best
        length = 0.0
        value = _total(work.x, m, limit, gain, weight, n, work)
        if value > best:
            best, power[:n] = value, rows[11, :n]
        begin(0.1 * value, m, work)
        for _ in range(_STEPS):
            length, gap = advance(m, 0.5 if length < 0.7 else 0.1, work)
            if not gap >= 1e-7 * value:
                break
        total = _total(work.x, m, limit, gain, weight, n, work)
        if not total > best:
            break
        for i in range(m):
            start[i] = math.exp(work.x[i])
        power[:n] = rows[11, :n]
        small = total - best < 1e-6 * best
        best = total
        if small:
            break
    return best


@kernel
def _total(x, m, limit, gain, weight, n, work):
    """Weighted sum rate at `x` of the links listed, the others silent; powers in row 11."""
    power = work.rows[11]
    power[:n] = 0.0
    for i in range(m):
        power[work.link[i]] = min(math.exp(x[i]), 1.0) * limit
    return weighted_rate(power, gain, weight, n)


@kernel
def _keep(power, root, gain, weight, n, state, best_power, work):
    """Improve powers and keep them if they are the best."""
    total = _condense(power, root, gain, weight, n, work)
    for k in range(n):
        if total > 0.0 and root[2, k] == -math.inf and 0.0 < power[k] < _SILENT / gain[k, k]:
            power[k] = 0.0
            total = weighted_rate(power, gain, weight, n)
    if total > state[BEST]:
        state[BEST] = total
        best_power[:n] = power[:n]


@kernel
def _choose(lo, hi, missed, gain, weight, n, m, work, out):
    """Choose the link whose rate the relaxation exceeds most, and where to split its side.

    `missed`: whether the powers of the relaxation only lack minima that it leaves out.
    """
    chosen, most = -1, -1.0
    if m > 0:
        received(work.x, work.gain, m, work.rows[0], work.rows[1], work.rows[7])
    for i in range(m):
        k, width = work.link[i], hi[work.link[i]] - lo[work.link[i]]
        if width < 1e-9:
            continue
        s = min(max(work.rows[7, i], lo[k]), hi[k])
        least, high = softplus(lo[k]), softplus(hi[k])
        over = weight[k] * (least + (high - least) * (s - lo[k]) / width - softplus(s)) + 1e-9 * width
        if over > most:
            chosen, most = k, over
            # Far below, a chord promises much for no power.
            out[1] = min(max(0.5 * (lo[k] + hi[k]), log_sinr(_OFF * high)), hi[k] - 0.1 * width)
    for k in range(n):
        over = weight[k] * softplus(hi[k]) if is_silent(lo[k], hi[k]) else 0.0
        if over > most and hi[k] > -math.inf and is_silent(lo[k], hi[k]):
            chosen, most = k, over
            out[1] = log_sinr(_OFF * softplus(hi[k]))
    if missed:
        most = -1.0
        for k in range(n):
            if lo[k] > -math.inf and is_silent(lo[k], hi[k]):
                heard, harm = noise_and_interference(k, work.rows[11], gain, n), 0.0
                for j in range(n):
                    harm += weight[j] * gain[j, k] if j != k else 0.0
                if math.exp(lo[k]) * heard / gain[k, k] * harm > most:
                    chosen, most = k, math.exp(lo[k]) * heard / gain[k, k] * harm
                    out[1] = lo[k] + 0.5 * FAR
    if chosen < 0:
        for k in range(n):
            if hi[k] > -math.inf and (chosen < 0 or hi[k] - lo[k] > hi[chosen] - lo[chosen]):
                chosen = k
        out[1] = 0.5 * (lo[chosen] + hi[chosen])
    out[0] = chosen


@kernel
def _judge(lo, hi, bound, root, gain, weight, n, state, best_power, tolerance, works, out):
    """Bound a box, in place shrink it and choose where to split it; improve on the powers of its relaxation."""
    m, total, work = 0, 0.0, works[0]
    for _ in range(_CUTS):
        goal = state[BEST] * (1.0 + tolerance)
        found, known = tighten(root[0], lo, hi, gain, weight, n, goal, work)
        bound, m, total = min(bound, found), 0, 0.0
        if bound <= goal:
            return bound
        if not known:
            break
        bound, last, m = relax(
            lo, hi, bound, goal, state[BEST], tolerance * state[BEST], gain, weight, n, work
        )
        if bound <= goal or m == 0:
            break
        total = _total(work.x, m, 1.0, gain, weight, n, work)
        if (total > state[BEST] and state[NODES] >= state[_NEXT]) or state[NODES] < 3:
            power, before = work.rows[11], state[BEST]
            if state[NODES] == 0:  # the raised powers are better than those of the first program
                power[:n] = 0.01 * root[1, :n] + 0.99 * root[3, :n]
            _keep(power, root, gain, weight, n, state, best_power, works[1])
            state[_PAUSE] = 1.0 if state[BEST] > before else min(max(2.0 * state[_PAUSE], 1.0), _LONGEST)
            state[_NEXT] = state[NODES] + state[_PAUSE]
            goal = state[BEST] * (1.0 + tolerance)
        if bound <= goal or cut(lo, hi, last, goal, weight, n, m, work) > _WORTHWHILE:
            break
    _choose(lo, hi, total > state[BEST] * (1.0 + tolerance), gain, weight, n, m, work, out)
    return bound


@kernel
def _plant(gain, weight, n, root, queue, state, best_power, work):
    """Begin a search with one box and the given powers."""
    key, slot, box = queue
    lo, hi = box[0, :n], box[0, n : 2 * n]
    slot[0], box[0, 2 * n] = 0, -1.0
    for k in range(n):
        lo[k], hi[k] = root[0, k], math.log(gain[k, k]) + 1e-6
    key[0], _ = tighten(root[0], lo, hi, gain, weight, n, -1.0, work)
    state[SIZE] = 1.0 if key[0] >= 0.0 else 0.0
    state[CLOSED] = 0.0 if key[0] >= 0.0 else -math.inf
    best_power[:n] = root[3, :n]
    state[BEST] = weighted_rate(best_power, gain, weight, n)


@kernel(inline="always")
def _explore(gain, weight, n, root, queue, state, best_power, tolerance, budget):
    """Split boxes, the largest bound first, until the gap is closed or the budget of boxes is spent."""
    key, slot, box = queue
    works, parent = (new_work(n), new_work(n)), np.empty(2 * n + 2)
    spent = 0
    if state[NODES] == 0:
        _plant(gain, weight, n, root, queue, state, best_power, works[0])
    while state[SIZE] > 0 and spent < budget and key[0] > state[BEST] * (1.0 + tolerance):
        bound, size = key[0], int(state[SIZE]) - 1
        pop(key, slot, size + 1)
        parent[:] = box[slot[size]]
        k, whole = int(parent[2 * n]), parent[2 * n] < 0.0
        for side in range(1 if whole else 2):
            child = box[slot[size]]
            child[:] = parent
            if not whole:
                child[n + k if side == 0 else k] = parent[2 * n + 1]
            lo, hi, out = child[:n], child[n : 2 * n], child[2 * n :]
            spent += 1
            found = _judge(lo, hi, bound, root, gain, weight, n, state, best_power, tolerance, works, out)
            state[NODES] += 1
            if found > state[BEST] * (1.0 + tolerance):
                push(key, slot, size, found)
                size += 1
            else:
                state[CLOSED] = max(state[CLOSED], found)
        state[SIZE] = size


@kernel
def _explore_rows(first, last, gain, weight, count, root, queue, state, power, tolerance, budget):
    """Rows `first` to `last` of `explore_batch`."""
    for row in range(first, last):
        n = count[row]
        mine = (queue[0][row], queue[1][row], queue[2][row, :, : 2 * n + 2])
        _explore(gain[row], weight[row], n, root[row], mine, state[row], power[row], tolerance, budget)


def explore_batch(gain, weight, count, root, queue, state, power, tolerance, budget):
    """Up to `budget` boxes for each row, whose queue must have room for as many and two more.

    `gain` `[row link link]`, `weight` `[row link]` and `count`, the number of a row's links, which come first; `root`
    `[row 5 link]`: the least `ln SINR` that the bound is for; powers inside the minima and limits of actions; the
    least `ln SINR` of actions; powers that keep these; and the limit of actions; `queue`: bounds `[row place]`, slots
    `[row place]` and boxes `[row slot 2 n + 2]` of lo, hi, the link to split at or -1, and where; `state` `[row
    COLUMNS]`, first `SIZE`, `BEST`, `CLOSED`, `NODES`; `power` `[row link]`, the best so far; `tolerance`: relative.
    A search begins where `NODES` is 0. Where the minimum rates cannot be reached no box is left and `CLOSED` is
    `-inf`.
    """
    over_rows(_explore_rows, gain.shape[0], gain, weight, count, root, queue, state, power, tolerance, budget)
