"""Greedy admission of links at full power: the compiled form of `torchrrm.solvers.GreedyLinks`; names follow it.

Arrays are those of `torchrrm.kernels.links.relative`. Rates are in nat/s/Hz within, which orders them alike.
"""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative
from torchrrm.kernels.links import picked, placed, relative
from torchrrm.kernels.rows import over_rows
from torchrrm.kernels.wmmse import ascend

__all__ = [
    "WORTH",
    "admit",
    "alone_rates",
    "best_admission",
    "propose",
    "run",
    "solve",
    "solve_batch",
    "strongest",
]

WORTH = 1e-6
"""A link is admitted if it raises the rate by more than this part of it: less may be rounding."""


@kernel
def alone_rates(direct, weight):
    """Weighted rate of each link by itself."""
    rate = np.empty(direct.size)
    for k in range(direct.size):
        rate[k] = weight[k] * log1p_nonnegative(direct[k])
    return rate


@kernel
def strongest(alone, breadth):
    """The links of the `breadth` largest rates alone, in falling order; of equal ones the first comes first."""
    kept, size = np.empty(min(breadth, alone.size), np.int64), 0
    for k in range(alone.size):
        if size < kept.size:
            place = size
            size += 1
        elif alone[k] > alone[kept[size - 1]]:
            place = size - 1
        else:
            continue
        while place > 0 and alone[k] > alone[kept[place - 1]]:
            kept[place] = kept[place - 1]
            place -= 1
        kept[place] = k
    return kept


@kernel
def propose(cross, across, direct, weight, alone, j, pair):
    """The link that does best together with anchor `j`, itself if alone is best, and the rate of the two.

    `pair [tx]` is for the rates with each link.
    """
    heard, caused, signal, worth = cross[j], across[j], direct[j], weight[j]
    for i in range(direct.size):
        other = weight[i] * log1p_nonnegative(direct[i] / (1.0 + caused[i]))
        pair[i] = other + worth * log1p_nonnegative(signal / (1.0 + heard[i]))
    pair[j] = alone[j]
    partner, best = j, alone[j]
    for i in range(direct.size):
        if pair[i] > best:
            partner, best = i, pair[i]
    return partner, best


@kernel
def admit(cross, across, direct, weight, member, count):
    """Admit to the first `count` of `member` whichever link raises the rate most, until none does; size and rate."""
    links = direct.size
    heard, gain, free = np.ones(links), np.empty(links), np.ones(links, np.bool_)
    for a in range(count):
        free[member[a]] = False
        for k in range(links):
            heard[k] += across[member[a], k]
    while True:
        for i in range(links):
            gain[i] = weight[i] * log1p_nonnegative(direct[i] / heard[i])
        rate = 0.0
        for a in range(count):
            s = member[a]
            row, signal, worth, noise = cross[s], direct[s], weight[s], heard[s]
            own = worth * log1p_nonnegative(signal / noise)
            rate += own
            for i in range(links):
                gain[i] += worth * log1p_nonnegative(signal / (noise + row[i])) - own
        chosen, most = -1, WORTH * rate
        for i in range(links):
            if free[i] and gain[i] > most:
                chosen, most = i, gain[i]
        if chosen < 0:
            return count, rate
        member[count], free[chosen] = chosen, False
        count += 1
        for k in range(links):
            heard[k] += across[chosen, k]


@kernel
def best_admission(cross, across, direct, weight, anchor, partner, value, starts, steps, amplitude):
    """Write the best of the admissions from the `starts` pairs of the highest `value`, after `steps` steps of WMMSE.

    A pair that an anchor before proposes too is left out. `value` is used up.
    """
    for m in range(anchor.size):
        for k in range(m):
            if anchor[k] == partner[m] and partner[k] == anchor[m]:
                value[m] = -np.inf
    member, best, size, best_rate = np.empty(direct.size, np.int64), np.empty(direct.size, np.int64), 0, -1.0
    for _ in range(min(starts, value.size)):
        m = np.argmax(value)
        if value[m] == -np.inf:
            break
        value[m], member[0], paired = -np.inf, anchor[m], partner[m] != anchor[m]
        if paired:
            member[1] = partner[m]
        count, rate = admit(cross, across, direct, weight, member, 2 if paired else 1)
        if rate > best_rate:
            best[:count], size, best_rate = member[:count], count, rate
    amplitude[:] = 0.0
    _polish(cross, direct, weight, best[:size], steps, amplitude)


@kernel
def _polish(cross, direct, weight, member, steps, amplitude):
    """Amplitudes of the members after `steps` steps of WMMSE from full power, which leave the others silent."""
    size = member.size
    power = np.ones(size)
    if size > 1 and steps > 0:
        own, back, snr, worth = np.empty((size, size)), np.empty((size, size)), np.empty(size), np.empty(size)
        for a in range(size):
            snr[a], worth[a] = direct[member[a]], weight[member[a]]
            for b in range(size):
                own[a, b] = cross[member[a], member[b]]
                back[b, a] = own[a, b]
        ascend(own, back, snr, worth, power, steps, -1.0)
    for a in range(size):
        amplitude[member[a]] = power[a]


@kernel
def run(cross, across, direct, weight, breadth, starts, steps, amplitude):
    """`GreedyLinks` in relative units: the amplitudes of all links into `amplitude`."""
    alone = alone_rates(direct, weight)
    anchor = strongest(alone, breadth)
    partner, value, pair = np.empty_like(anchor), np.empty(anchor.size), np.empty(direct.size)
    best, count = -1.0, 0
    for j in anchor:
        if not 2.0 * alone[j] > best:
            break
        partner[count], value[count] = propose(cross, across, direct, weight, alone, j, pair)
        best = max(best, value[count])
        count += 1
    first = anchor[:count], partner[:count], value[:count]
    best_admission(cross, across, direct, weight, first[0], first[1], first[2], starts, steps, amplitude)


@kernel
def solve(gain, noise_power, max_power, weight, active, breadth, starts, steps):
    """Powers in W; `gain` is `[rx tx]`; `max_power`, `weight` and `active` are `[tx]`."""
    chosen, cross, across, direct = relative(gain, noise_power, max_power, active)
    amplitude = np.zeros(chosen.size)
    if chosen.size > 0:
        run(cross, across, direct, picked(weight, chosen), breadth, starts, steps, amplitude)
    return placed(amplitude, chosen, max_power)


@kernel
def _solve_rows(first, last, gain, noise_power, max_power, weight, active, breadth, starts, steps, result):
    """Rows `first` to `last` of `solve_batch`."""
    for i in range(first, last):
        result[i] = solve(gain[i], noise_power[i], max_power[i], weight[i], active[i], breadth, starts, steps)


def solve_batch(gain, noise_power, max_power, weight, active, breadth, starts, steps):
    """`solve` for each row: `[batch rx tx]` and `[batch tx]` arrays in, powers out."""
    result = np.empty_like(max_power)
    links = gain, noise_power, max_power, weight, active
    over_rows(_solve_rows, gain.shape[0], *links, breadth, starts, steps, result)
    return result
