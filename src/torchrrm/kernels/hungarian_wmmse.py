"""Matchings and powers in turn, and a search around them: the kernel of `torchrrm.solvers.HungarianWMMSE`."""

import math

import numpy as np

from torchrrm.kernels.association import match, place_others, worth
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.control import chance
from torchrrm.kernels.links import rank, weighted_sum_rate
from torchrrm.kernels.rows import over_rows
from torchrrm.kernels.wmmse import ascend

__all__ = ["alternate", "refine_batch", "search_batch", "solve_batch"]

_FAINT = 1e-6  # amplitude below which a station is silenced if that costs nothing
_CANDIDATES = 8  # stations that may make room for users who cannot be parked
_BETTER = 1.0 + 1e-12
_TOGETHER = 4  # climbs of a round, in one, where stations have several users
_TRIAL = (8, 20, 1e-5)  # plan of a restart, which is followed up if it beats the best


@kernel
def _climb(snr, user, share, steps):
    """Move the shares of matched stations by `steps` steps of WMMSE and silence the others; the sum of rates."""
    on = np.flatnonzero(user >= 0)
    links = on.size
    cross, across = np.empty((links, links)), np.empty((links, links))
    direct, amplitude, weight = np.empty(links), np.empty(links), np.ones(links)
    for k in range(links):
        for j in range(links):
            ratio = snr[on[j], user[on[k]]]
            cross[k, j] = ratio
            across[j, k] = ratio
        direct[k], amplitude[k] = cross[k, k], math.sqrt(share[on[k]])
        cross[k, k], across[k, k] = 0.0, 0.0
    ascend(cross, across, direct, weight, amplitude, steps, -1.0)
    value = weighted_sum_rate(across, direct, weight, amplitude)
    quiet = np.where(amplitude < _FAINT, 0.0, amplitude)
    without = weighted_sum_rate(across, direct, weight, quiet)
    if without >= value:
        amplitude, value = quiet, without
    share[:] = 0.0
    for k in range(links):
        share[on[k]] = amplitude[k] * amplitude[k]
    return value


@kernel
def alternate(snr, share, rounds, steps, tol):
    """Match and climb in turn, `share` in place: the sum of rates of matched users, the rounds, whether it converged.

    The sum never falls. Users that are not matched are not part of it: see `place_others`.
    """
    value = -1.0
    for t in range(rounds):
        user, _ = match(snr, share)
        climbed = _climb(snr, user, share, steps)
        if climbed - value <= tol * climbed:
            return climbed, t + 1, True
        value = climbed
    return value, rounds, False


@kernel
def _climb_together(snr, station, share, steps):
    """WMMSE where stations may have several users, each weighing one over their number; `share` in place."""
    stations, users = snr.shape
    count, cost = np.zeros(stations), np.zeros(users)
    for i in range(users):
        if station[i] >= 0:
            count[station[i]] += 1.0
    for _ in range(steps):
        gained, price = np.zeros(stations), np.zeros(stations)
        for i in range(users):
            own = station[i]
            if own < 0 or share[own] == 0.0:
                continue
            heard = 1.0
            for j in range(stations):
                if j != own:
                    heard += snr[j, i] * share[j]
            signal = snr[own, i] * share[own]
            gained[own] += snr[own, i] / heard / count[own]
            cost[i] = signal / (heard * (heard + signal)) / count[own]
            for j in range(stations):
                price[j] += cost[i] * snr[j, i]
        for j in range(stations):
            if share[j] > 0.0 and price[j] > 0.0:
                amplitude = min(math.sqrt(share[j]) * gained[j] / price[j], 1.0)
                share[j] = amplitude * amplitude if amplitude > _FAINT else 0.0


@kernel
def _settle(snr, limit, share, plan, station):
    """The association of all users at shares that `alternate` found, into `station`; its worth, and who is crowded.

    Where users could not be parked, powers are climbed once more for all users.
    """
    user, value = match(snr, share)
    crowded = place_others(snr, limit, share, user, station)
    if crowded == 0:
        return value, crowded
    value = worth(snr, share, station)
    moved, other = share.copy(), station.copy()
    _climb_together(snr, station, moved, _TOGETHER * plan[1])
    climbed = worth(snr, moved, other)
    if climbed > value:
        share[:], value = moved, climbed
    return value, crowded


@kernel
def finish(snr, limit, share, plan, station):
    """`_settle`, and where users are crowded one station after the other is silenced for them while that pays."""
    value, crowded = _settle(snr, limit, share, plan, station)
    while crowded > 0:
        start, best = share.copy(), value
        for k in range(min(_CANDIDATES, np.sum(start > 0.0))):
            trial, placed = start.copy(), station.copy()
            _silence(trial, snr, k)
            alternate(snr, trial, *plan)
            found, left = _settle(snr, limit, trial, plan, placed)
            if found > best * _BETTER:
                best, crowded, share[:], station[:] = found, left, trial, placed
        if not best > value:
            break
        value = best
    return value


@kernel
def _silence(share, snr, place):
    """Silence the station whose rate to its user is the `place`-th least."""
    user, _ = match(snr, share)
    level = np.full(share.size, -np.inf)
    for j in range(share.size):
        if share[j] > 0.0:
            signal, heard = 0.0, 1.0
            if user[j] >= 0:
                signal = snr[j, user[j]] * share[j]
                for m in range(share.size):
                    heard += snr[m, user[j]] * share[m] if m != j else 0.0
            level[j] = -signal / heard
    share[np.flatnonzero(rank(level) == place)] = 0.0


@kernel
def _disturb(share, start, order, seed, draw):
    """Shares of which one and some others, at random, are set anew: to a part of the start, to 0 or to the limit."""
    count, kind, moved = np.sum(start > 0.0), chance(seed, draw, -1), share.copy()
    part = 0.1 if kind < 0.4 else 0.3 if kind < 0.8 else 1.0
    first = int(chance(seed, draw, -2) * count)
    for j in range(share.size):
        if start[j] > 0.0 and (order[j] == first or chance(seed, draw, 3 * order[j]) < part):
            part_of_start = start[j] * chance(seed, draw, 3 * order[j] + 1) ** 2
            toss = chance(seed, draw, 3 * order[j] + 2)
            moved[j] = part_of_start if toss < 0.7 else 0.0 if toss < 0.85 else 1.0
    return moved


@kernel
def solve(snr, limit, share, plan, station):
    """From shares that are given, in place; the association into `station`. Worth, rounds, whether they converged.

    `plan` holds the rounds, the steps of WMMSE in each, and the rise, relative to the value, that ends them.
    """
    _, taken, converged = alternate(snr, share, *plan)
    return finish(snr, limit, share, plan, station), taken, converged


@kernel
def search(snr, limit, start, plan, span, seed, state):
    """Restarts `span[0]` to `span[1]` around the best known shares and association, kept in `state`; its worth.

    They take the starts `[start bs]` in turn. Random numbers are by the rank of stations in the SNR of their best user,
    so that numbering does not matter.
    """
    share, station, value = state
    loudest = np.zeros(share.size)
    for j in range(share.size):
        for i in range(station.size):
            loudest[j] = max(loudest[j], snr[j, i])
    order = rank(loudest)
    placed = station.copy()
    for draw in range(span[0], span[1]):
        trial = _disturb(share, start[draw % len(start)], order, seed, draw)
        found, _, _ = alternate(snr, trial, *_TRIAL)
        if found > value * _BETTER:
            alternate(snr, trial, *plan)
            found = finish(snr, limit, trial, plan, placed)
            if found > value * _BETTER:
                value, share[:], station[:] = found, trial, placed
    return value


@kernel
def refine(snr, limit, share, plan, station):
    """`solve` from an action's shares, in place; where that is worse its shares and association stay. Its worth."""
    moved, placed = share.copy(), station.copy()
    value, before = solve(snr, limit, moved, plan, placed)[0], worth(snr, share, station)
    if value >= before:
        share[:], station[:] = moved, placed
    return max(value, before)


@kernel
def _solve_rows(first, last, snr, limit, start, plan, station, share, value, taken, converged):
    """Rows `first` to `last` of `solve_batch`."""
    for i in range(first, last):
        value[i] = -1.0
        placed = station[i].copy()
        for s in range(start.shape[1]):
            trial = start[i, s].copy()
            found, rounds, ended = solve(snr[i], limit[i], trial, plan, placed)
            if found > value[i]:
                value[i], taken[i], converged[i] = found, rounds, ended
                share[i], station[i] = trial, placed


def solve_batch(snr, limit, start, plan, station):
    """`solve` for each row from each of its starts `[batch start bs]`: shares of the best, and its results."""
    batch, share = snr.shape[0], start[:, 0].copy()
    value, taken, converged = np.empty(batch), np.empty(batch, np.int64), np.empty(batch, np.bool_)
    over_rows(_solve_rows, batch, snr, limit, start, plan, station, share, value, taken, converged)
    return share, value, taken, converged


@kernel
def _search_rows(first, last, snr, limit, start, plan, span, seed, state, found):
    """Rows `first` to `last` of `search_batch`."""
    share, station, value = state
    for i in range(first, last):
        own = share[i], station[i], value[i]
        found[i] = search(snr[i], limit[i], start[i], plan, span, seed, own)


def search_batch(snr, limit, start, plan, span, seed, state):
    """`search` for each row, shares and associations in place; what each is worth."""
    found = np.empty(snr.shape[0])
    over_rows(_search_rows, snr.shape[0], snr, limit, start, plan, span, seed, state, found)
    return found


@kernel
def _refine_rows(first, last, snr, limit, share, plan, station, value):
    """Rows `first` to `last` of `refine_batch`."""
    for i in range(first, last):
        value[i] = refine(snr[i], limit[i], share[i], plan, station[i])


def refine_batch(snr, limit, share, plan, station):
    """`refine` for each row, in place; what each is worth."""
    value = np.empty(snr.shape[0])
    over_rows(_refine_rows, snr.shape[0], snr, limit, share, plan, station, value)
    return value
