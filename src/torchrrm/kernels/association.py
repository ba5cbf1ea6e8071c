"""Users matched with stations at fixed powers, and what an association is worth.

All in relative units: `snr[j, i]` is the SNR of user `i` by station `j` at full power, 0 where either is not active,
and powers are shares of the limits, which are 0 where stations are not active; see
`torchrrm.problems.association.relative_snr`.
"""

import math

import numpy as np

from torchrrm.kernels.assignment import assign
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative
from torchrrm.kernels.rows import over_rows

__all__ = ["associate", "associate_batch", "match", "place_others", "worth"]

_PER_NAT = 1.0 / math.log(2.0)


@kernel
def rates(snr, share, on):
    """`log2(1 + SINR)` `[on user]` of each user at each of the stations `on`.

    Interference is the sum of the stations before and behind, since what is left of a sum without its largest term is
    rounding error.
    """
    users, stations = snr.shape[1], on.size
    before, rate, others = np.empty((stations, users)), np.empty((stations, users)), np.ones(users)
    for k in range(stations):
        row, power, sinr = snr[on[k]], share[on[k]], before[k]
        for i in range(users):
            sinr[i] = others[i]
            others[i] += row[i] * power
    others[:] = 0.0
    for k in range(stations - 1, -1, -1):
        row, power, sinr, own = snr[on[k]], share[on[k]], before[k], rate[k]
        for i in range(users):
            signal = row[i] * power
            sinr[i] = signal / (sinr[i] + others[i])
            others[i] += signal
        for i in range(users):  # apart from the loop above, so that both become vector instructions
            own[i] = log1p_nonnegative(sinr[i]) * _PER_NAT
    return rate


@kernel
def match(snr, share):
    """The user of each station that transmits, -1 of the others, by the largest sum of rates; and that sum.

    No association is worth more at these powers: a station's mean is at most its best user's rate.
    """
    on = np.flatnonzero(share > 0.0)
    rate = rates(snr, share, on)
    chosen, user, total = assign(-rate), np.full(share.size, -1, np.int64), 0.0
    for k in range(on.size):
        if chosen[k] >= 0 and rate[k, chosen[k]] > 0.0:
            user[on[k]] = chosen[k]
            total += rate[k, chosen[k]]
    return user, total


@kernel
def worth(snr, share, station):
    """Sum of rates of an association, a station's being the mean over its users."""
    stations, users = snr.shape
    total, count = np.zeros(stations), np.zeros(stations)
    for i in range(users):
        own = station[i]
        if own < 0 or own >= stations or not snr[own, i] > 0.0:
            continue
        heard = 1.0
        for j in range(stations):
            if j != own:
                heard += snr[j, i] * share[j]
        total[own] += math.log1p(snr[own, i] * share[own] / heard) * _PER_NAT
        count[own] += 1.0
    result = 0.0
    for j in range(stations):
        if count[j] > 0.0:
            result += total[j] / count[j]
    return result


@kernel
def _park(snr, limit, share, station):
    """Users without a station to the silent one of the largest gain; how many are left.

    A silent station that has no path to a user will do, too, but is taken only where no other is left.
    """
    crowded = 0
    for i in range(snr.shape[1]):
        if station[i] >= 0:
            continue
        strongest, heard = -1.0, False
        for j in range(share.size):
            heard = heard or snr[j, i] > 0.0
            if share[j] == 0.0 and limit[j] > 0.0 and snr[j, i] / limit[j] > strongest:
                strongest, station[i] = snr[j, i] / limit[j], j
        if not heard:
            station[i] = -1
        elif station[i] < 0:
            crowded += 1
    return crowded


@kernel
def _insert(rate, reach, total, count, waiting):
    """Put users that wait where means fall least, the cheapest first; their stations, and what is left of all means."""
    stations, users = rate.shape
    place = np.full(users, -1, np.int64)
    left = 0
    for i in range(users):
        left += 1 if waiting[i] else 0
    for _ in range(left):
        least, user, own = np.inf, -1, -1
        for k in range(stations):
            mean = total[k] / max(count[k], 1.0)
            for i in range(users):
                if waiting[i] and reach[k, i]:
                    fall = mean - (total[k] + rate[k, i]) / (count[k] + 1.0)
                    if fall < least:
                        least, user, own = fall, i, k
        place[user], waiting[user] = own, False
        total[own] += rate[own, user]
        count[own] += 1.0
    value = 0.0
    for k in range(stations):
        value += total[k] / max(count[k], 1.0)
    return place, value


@kernel
def _crowd(snr, share, station):
    """Users where all stations transmit: all at one station, or each where means fall least.

    Of these the best; users whom that one station does not reach are put where means fall least.
    """
    on = np.flatnonzero(share > 0.0)
    users, rate = station.size, rates(snr, share, on)
    reach, waiting = np.empty(rate.shape, np.bool_), np.empty(users, np.bool_)
    total, count = np.zeros(on.size), np.zeros(on.size)
    for i in range(users):
        heard = False
        for k in range(on.size):
            reach[k, i] = snr[on[k], i] > 0.0
            heard = heard or reach[k, i]
            if station[i] == on[k]:
                total[k] += rate[k, i]
                count[k] += 1.0
        waiting[i] = station[i] < 0 and heard
    best, chosen = -np.inf, np.zeros(users, np.int64)  # the first station if no value is a number
    for k in range(-1, on.size):
        first, added, loaded, rest = np.full(users, -1, np.int64), total.copy(), count.copy(), waiting.copy()
        for i in range(users):
            if k >= 0 and waiting[i] and reach[k, i]:
                first[i], rest[i] = k, False
                added[k] += rate[k, i]
                loaded[k] += 1.0
        place, value = _insert(rate, reach, added, loaded, rest)
        if value > best:
            best, chosen = value, np.maximum(first, place)
    for i in range(users):
        if waiting[i]:
            station[i] = on[chosen[i]]


@kernel
def place_others(snr, limit, share, user, station):
    """The association that a matching is part of, into `station`; how many users it could not park.

    The other users are parked at silent stations, which costs nothing, or else put where they cost least.
    """
    station[:] = -1
    for j in range(user.size):
        if user[j] >= 0:
            station[user[j]] = j
    crowded = _park(snr, limit, share, station)
    if crowded > 0:
        _crowd(snr, share, station)
    return crowded


@kernel
def associate(snr, limit, share, station):
    """The association at fixed powers: a matching of the largest sum of rates, then the other users; its worth."""
    user, total = match(snr, share)
    crowded = place_others(snr, limit, share, user, station)
    return worth(snr, share, station) if crowded > 0 else total


@kernel
def _associate_rows(first, last, snr, limit, share, station, value):
    """Rows `first` to `last` of `associate_batch`."""
    for i in range(first, last):
        value[i] = associate(snr[i], limit[i], share[i], station[i])


def associate_batch(snr, limit, share, station):
    """`associate` for each row, into `station` `[batch user]`; their worths."""
    value = np.empty(snr.shape[0])
    over_rows(_associate_rows, snr.shape[0], snr, limit, share, station, value)
    return value
