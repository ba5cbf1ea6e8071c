"""Branch and bound for the weighted sum rate of interference links, in the units of `link_bounds`."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative
from torchrrm.kernels.link_ascent import ascend
from torchrrm.kernels.link_bounds import bound_box, decide_by_slope, new_work, weighted_rate
from torchrrm.kernels.rows import over_rows

__all__ = [
    "AUTO",
    "BEST",
    "CLOSED",
    "LINEAR",
    "LOG",
    "NODES",
    "SIZE",
    "choose_split",
    "explore_batch",
    "plant_batch",
    "pop",
    "push",
    "settle_batch",
    "sow_batch",
]

LINEAR, LOG, AUTO = 0, 1, 2
"""Scales on which a power is halved."""
SIZE, BEST, CLOSED, NODES = 0, 1, 2, 3
"""Columns of a search's state: boxes waiting, best sum rate in nats, largest bound of a closed box, boxes bounded."""
_INSIDE = 0.01  # least relative distance from the sides at which Newton's steps start
_NEAR = 0.98  # of the best sum rate: from better points it is worth to ascend


@kernel
def push(key, slot, size, bound):
    """Rank a box, which is in `slot[size]`."""
    place, mine = size, slot[size]
    while place > 0:
        above = (place - 1) // 2
        if key[above] >= bound:
            break
        key[place], slot[place] = key[above], slot[above]
        place = above
    key[place], slot[place] = bound, mine


@kernel
def pop(key, slot, size):
    """Take the box of the largest bound out: its slot moves to `slot[size - 1]`, which is free then."""
    freed, bound, mine = slot[0], key[size - 1], slot[size - 1]
    place, below = 0, 1
    while below < size - 1:
        if below + 1 < size - 1 and key[below + 1] > key[below]:
            below += 1
        if key[below] <= bound:
            break
        key[place], slot[place] = key[below], slot[below]
        place, below = below, 2 * below + 1
    key[place], slot[place] = bound, mine
    slot[size - 1] = freed


@kernel
def _improve(start, gain, weight, n, state, power, scratch):
    """Ascend from the start and keep the better powers."""
    scratch[1, :] = start
    total = ascend(scratch[1], gain, weight, n, 30, 1e-5, True, scratch[2])
    if total > state[BEST]:
        state[BEST] = total
        power[:n] = scratch[1]


@kernel
def choose_split(box, gain, weight, n, rule, work):
    """Put the link to split at and the middle of its power behind the box.

    Of what the surrogate promises too much, most hangs on that link's interference. `c` is that interference at full
    power over what else the receiver hears that suffers most, and `1 + c p` is halved on a log scale: where `c` is
    small, `p` is halved. For `LOG`, `c` is the largest interference over the noise.
    """
    rows, low, high, place = work[0], box[:n], box[n : 2 * n], box[2 * n : 3 * n]
    score, excess, power, heard = rows[10], rows[9], rows[11], rows[7]
    for j in range(n):
        score[j] = 0.0
        power[j] = low[j] + place[j] * (high[j] - low[j])
    for k in range(n):
        heard[k] = 1.0
        for j in range(n):
            if j != k:
                heard[k] += gain[k, j] * power[j]
        excess[k] = rows[6, k] - weight[k] * log1p_nonnegative(gain[k, k] * power[k] / heard[k])
        width = rows[1, k] - rows[0, k]
        excess[k] = max(excess[k], 0.0) / width if width > 0.0 else 0.0
        for j in range(n):
            if j != k:
                score[j] += excess[k] * gain[k, j] * (high[j] - low[j])
    chosen = 0
    for j in range(n):
        if score[j] > score[chosen] or high[chosen] <= low[chosen]:
            chosen = j
    worst, loudest, interference = -1.0, 0.0, 0.0
    for k in range(n):
        if k != chosen:
            loudest = max(loudest, gain[k, chosen])
            if excess[k] * gain[k, chosen] > worst:
                worst = excess[k] * gain[k, chosen]
                interference = gain[k, chosen] / max(heard[k] - gain[k, chosen] * power[chosen], 1.0)
    box[3 * n] = chosen
    box[3 * n + 1] = _middle(low[chosen], high[chosen], loudest if rule == LOG else interference, rule)


@kernel
def _middle(low, high, interference, rule):
    """Where to halve a power: linear, or where `1 + c p` is halved on a log scale."""
    if rule == LINEAR or interference <= 0.0:
        return 0.5 * (low + high)
    ends = (1.0 + interference * low) * (1.0 + interference * high)
    middle = (math.sqrt(ends) - 1.0) / interference
    return middle if low < middle < high else 0.5 * (low + high)


@kernel(inline="always")
def _explore(gain, weight, n, queue, state, power, law, budget):
    """Split boxes, the largest bound first, until the gap is closed or the budget of boxes is spent."""
    key, slot, box = queue
    tolerance = law[0]
    work, scratch, parent, child = new_work(n), np.empty((3, n)), np.empty(3 * n + 2), np.empty(3 * n + 2)
    spent = 0
    while state[SIZE] > 0 and spent < budget and key[0] > state[BEST] * (1.0 + tolerance):
        bound, size = key[0], int(state[SIZE]) - 1
        pop(key, slot, size + 1)
        parent[:] = box[slot[size]]
        link, whole = int(parent[3 * n]), parent[3 * n] < 0.0
        for side in range(1 if whole else 2):
            child[:] = parent
            if not whole:
                child[n + link if side == 0 else link] = parent[3 * n + 1]
                relative = (
                    parent[2 * n + link] * (parent[n + link] - parent[link]) + parent[link] - child[link]
                )
                child[2 * n + link] = relative / max(child[n + link] - child[link], 1e-300)
            spent += 1
            found = _judge(child, bound, gain, weight, n, state, power, law, work, scratch)
            if found > state[BEST] * (1.0 + tolerance):
                box[slot[size]] = child
                push(key, slot, size, found)
                size += 1
            else:
                state[CLOSED] = max(state[CLOSED], found)
        state[SIZE] = size
    state[NODES] += spent


@kernel
def _judge(box, bound, gain, weight, n, state, power, law, work, scratch):
    """Bound a box, in place shrink it and choose where to split it; ascend from where its bound is attained."""
    low, high, place = box[:n], box[n : 2 * n], box[2 * n : 3 * n]
    if not decide_by_slope(low, high, gain, weight, n, work[0]):
        return 0.0
    for j in range(n):
        place[j] = min(max(place[j], _INSIDE), 1.0 - _INSIDE) if high[j] > low[j] else 0.0
    tolerance, rule = law
    goal = state[BEST] * (1.0 + tolerance)
    bound = min(bound, bound_box(low, high, place, gain, weight, n, goal, work))
    if bound <= goal:
        return bound
    start = scratch[0]
    for j in range(n):
        start[j] = low[j] + place[j] * (high[j] - low[j])
    if state[NODES] == 0 or weighted_rate(start, gain, weight, n) > _NEAR * state[BEST]:
        _improve(start, gain, weight, n, state, power, scratch)
    choose_split(box, gain, weight, n, rule, work)
    return bound


@kernel(inline="always")
def _plant(gain, weight, n, starts, state, power):
    """Best local maximum from each link alone, silence, full power and random corners."""
    scratch = np.empty((3, n))
    start, bits = scratch[0], np.uint64(88172645463325252)
    for trial in range(n + 2 + starts):
        for j in range(n):
            if trial < n:
                start[j] = 1.0 if j == trial else 0.0
            elif trial < n + 2:
                start[j] = trial - n
            else:  # xorshift: the same corners in every run
                bits ^= bits << np.uint64(13)
                bits ^= bits >> np.uint64(7)
                bits ^= bits << np.uint64(17)
                start[j] = 1.0 if bits & np.uint64(1 << 20) else 0.0
        _improve(start, gain, weight, n, state, power, scratch)


@kernel(inline="always")
def _settle(gain, weight, n, state, power):
    """Ascend from the best powers to rounding."""
    ascend(power, gain, weight, n, 200, 1e-14, False, np.empty(n))
    state[BEST] = max(state[BEST], weighted_rate(power, gain, weight, n))


@kernel
def _plant_rows(first, last, gain, weight, count, starts, state, power):
    """Rows `first` to `last` of `plant_batch`."""
    for row in range(first, last):
        _plant(gain[row], weight[row], count[row], starts, state[row], power[row])


def plant_batch(gain, weight, count, starts, state, power):
    """Begin searches: `state` `[row 4]` and `power` `[row link]` get the best local maxima, `queue` one box."""
    over_rows(_plant_rows, gain.shape[0], gain, weight, count, starts, state, power)


@kernel
def _sow_rows(first, last, count, queue, state):
    """Rows `first` to `last` of `sow_batch`."""
    for row in range(first, last):
        n, box = count[row], queue[2][row, 0]
        queue[0][row, 0], queue[1][row, 0], state[row, SIZE] = math.inf, 0, 1.0
        for j in range(n):
            box[j], box[n + j], box[2 * n + j] = 0.0, 1.0, 0.5
        box[3 * n] = -1.0


def sow_batch(count, queue, state):
    """Put the box of all powers, its bound unknown, into empty queues."""
    over_rows(_sow_rows, len(count), count, queue, state)


@kernel
def _explore_rows(first, last, gain, weight, count, queue, state, power, law, budget):
    """Rows `first` to `last` of `explore_batch`."""
    for row in range(first, last):
        n = count[row]
        mine = (queue[0][row], queue[1][row], queue[2][row, :, : 3 * n + 2])
        _explore(gain[row], weight[row], n, mine, state[row], power[row], law, budget)


def explore_batch(gain, weight, count, queue, state, power, law, budget):
    """Up to `budget` boxes for each row, whose queue must have room for as many and two more.

    `gain` `[row link link]`, `weight` `[row link]` and `count`, the number of a row's links, which come first; `queue`:
    bounds `[row place]`, slots `[row place]` and boxes `[row slot 3 n + 2]` of low, high, place, the link to split at
    or -1, and where; `state` `[row 4]` by `SIZE`, `BEST`, `CLOSED`, `NODES`; `power` `[row link]`, the best so far;
    `law`: relative tolerance and scale to halve powers on.
    """
    over_rows(_explore_rows, gain.shape[0], gain, weight, count, queue, state, power, law, budget)


@kernel
def _settle_rows(first, last, gain, weight, count, state, power):
    """Rows `first` to `last` of `settle_batch`."""
    for row in range(first, last):
        _settle(gain[row], weight[row], count[row], state[row], power[row])


def settle_batch(gain, weight, count, state, power):
    """Ascend from the best powers of each row to rounding."""
    over_rows(_settle_rows, gain.shape[0], gain, weight, count, state, power)
