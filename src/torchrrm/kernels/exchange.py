"""The association of the largest sum of logarithms at given rates, by exchanges of users among stations."""

import math

import numpy as np

from torchrrm.kernels.cells import served
from torchrrm.kernels.compiled import kernel

__all__ = ["exchange", "levels", "worth"]

_GAIN = 1e-10  # by which an exchange must raise the sum


@kernel
def levels(rate):
    """`ln c_ij`; minus infinity where there is no rate."""
    level = np.empty_like(rate)
    for i in range(rate.shape[0]):
        for j in range(rate.shape[1]):
            level[i, j] = math.log(rate[i, j]) if rate[i, j] > 0 else -np.inf
    return level


@kernel
def _crowd(count):
    """`N ln N`, what N users of a station lose by sharing it."""
    return count * math.log(count) if count > 1 else 0.0


@kernel
def worth(level, station, count):
    """`sum_i ln(c_is / N_s)` over users that have a station."""
    total = 0.0
    for i in range(station.size):
        if station[i] >= 0:
            total += level[i, station[i]]
    for j in range(count.size):
        total -= _crowd(count[j])
    return total


@kernel
def _moves(level, station, count, cost, who):
    """Write what the cheapest move between each two stations costs, `[from to]`, and of whom.

    The last row and column stand for a place outside: from there a station gives up a user, to there it takes one.
    """
    stations = count.size
    cost[:] = np.inf
    for i in range(station.size):
        j = station[i]
        if j >= 0:
            for m in range(stations):
                lost = level[i, j] - level[i, m]
                if lost < cost[j, m] and m != j:
                    cost[j, m], who[j, m] = lost, i
    for j in range(stations):
        if count[j] > 0:
            cost[stations, j] = _crowd(count[j] - 1) - _crowd(count[j])
        cost[j, stations] = _crowd(count[j] + 1) - _crowd(count[j])


@kernel
def _ring(before):
    """A node of a ring among the predecessors, -1 without any."""
    mark = np.zeros(before.size, np.int64)
    for start in range(before.size):
        node = start
        while node >= 0 and mark[node] == 0:
            mark[node] = start + 1
            node = before[node]
        if node >= 0 and mark[node] == start + 1:
            return node
    return -1


@kernel
def _gainful(cost, before):
    """A node of a ring of moves that costs less than nothing, by Bellman and Ford; -1 if there is none."""
    nodes = before.size
    far = np.zeros(nodes)
    before[:] = -1
    for _ in range(nodes):
        changed = False
        for j in range(nodes):
            for m in range(nodes):
                if far[j] + cost[j, m] < far[m] - _GAIN:
                    far[m], before[m], changed = far[j] + cost[j, m], j, True
        if not changed:
            return -1
        node = _ring(before)
        if node >= 0:
            return node
    return -1


@kernel
def exchange(level, station, count):
    """Move users along rings and chains of stations while that raises the utility; the number of rings.

    What is left is optimal: `N ln N` is convex, so that the association is a flow of convex cost, and a flow is optimal
    if and only if no ring of its residual network costs less than nothing.
    """
    stations = count.size
    cost, who = np.empty((stations + 1, stations + 1)), np.empty((stations + 1, stations + 1), np.int64)
    before = np.empty(stations + 1, np.int64)
    for rings in range(100 * (station.size + 1)):
        _moves(level, station, count, cost, who)
        node = _gainful(cost, before)
        if node < 0:
            return rings
        start = node
        while True:
            last = before[node]
            if last < stations and node < stations:
                station[who[last, node]] = node
            node = last
            if node == start:
                break
        count[:] = served(station, stations)
    return -1
