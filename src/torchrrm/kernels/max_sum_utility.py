"""Sum of the logarithms of rates: association by prices of stations and exchanges, and power control."""

import math

import numpy as np

from torchrrm.kernels.cells import heard, rates, served
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.exchange import exchange, levels, worth
from torchrrm.kernels.rows import over_rows

__all__ = ["associate", "climb", "solve", "solve_batch", "utility"]

_PATIENT, _HASTY = 0.5, 1.1  # by which the aim of the descent shrinks without and grows with progress
_FINEST = 1e-6  # aim per user, at least
_LEAST_PRICE = -30.0
_SHORTEST = 40  # halvings of a step of the powers
_POWER_STEPS = 2000


@kernel
def _choose(level, price, station):
    """Write each user's best station at these prices, -1 without any; the sum of what they are left with."""
    total = 0.0
    for i in range(level.shape[0]):
        best, chosen = -np.inf, -1
        for j in range(level.shape[1]):
            left = level[i, j] - price[j]
            if left > best:
                best, chosen = left, j
        station[i] = chosen
        if chosen >= 0:
            total += best
    return total


@kernel
def _demand(price, count, excess):
    """Write by how many users each station would serve more than choose it; the sum of the stations' surpluses.

    A station that is paid `mu` a user serves `N = exp(mu - 1)`, where `mu N - N ln N` is largest; prices are at most
    those at which it would serve everybody.
    """
    total = 0.0
    for j in range(price.size):
        wanted = math.exp(price[j] - 1.0)
        total += wanted * (price[j] - math.log(wanted))
        excess[j] = wanted - count[j]
    return total


@kernel
def _bargain(level, steps):
    """The best association that a subgradient descent of the dual meets; prices by the path-based step of [Ye2013]."""
    stations = level.shape[1]
    price, excess = np.ones(stations), np.empty(stations)
    station = np.empty(level.shape[0], np.int64)
    _choose(level, price, station)
    users, best_station = np.sum(station >= 0), station.copy()
    if users == 0:
        return station
    best, least, aim, most = -np.inf, np.inf, 1.0 * users, 1.0 + math.log(users)
    for _ in range(steps):
        dual = _choose(level, price, station)
        count = served(station, stations)
        value = worth(level, station, count)
        if value > best:
            best, best_station[:] = value, station
        dual += _demand(price, count, excess)
        aim = aim * _HASTY if dual <= least - aim else max(aim * _PATIENT, _FINEST * users)
        least = min(least, dual)
        norm = np.sum(excess**2)
        if norm == 0.0:
            break
        length = (dual - least + aim) / norm
        for j in range(stations):
            price[j] = min(max(price[j] - length * excess[j], _LEAST_PRICE), most)
    return best_station


@kernel
def associate(level, steps, exact):
    """The association by prices, and if `exact` the best by exchanges from there."""
    station = _bargain(level, steps)
    if exact:
        exchange(level, station, served(station, level.shape[1]))
    return station


@kernel
def utility(snr, station, share):
    """`sum_i ln ln(1 + SINR_i)` over users that have a station: what powers change of the sum of logarithms."""
    total = 0.0
    for i in range(station.size):
        if station[i] >= 0:
            own = station[i]
            total += math.log(math.log1p(snr[i, own] * share[own] / heard(snr[i], share, own)))
    return total


@kernel
def _balance(snr, station, share, gain, toll):
    """Write what a relative rise of each station's power is worth to its users, and what a unit costs the others."""
    gain[:], toll[:] = 0.0, 0.0
    for i in range(station.size):
        own = station[i]
        if own >= 0:
            noise = heard(snr[i], share, own)
            sinr = snr[i, own] * share[own] / noise
            slope = sinr / ((1.0 + sinr) * math.log1p(sinr))  # of ln ln(1 + SINR) over ln SINR
            gain[own] += slope
            others, slope = toll[own], slope / noise
            for j in range(share.size):
                toll[j] += slope * snr[i, j]
            toll[own] = others


@kernel
def _moved(share, gain, toll, length, new):
    """Write the shares after a step of this length towards `gain / toll`, in logarithms."""
    for j in range(share.size):
        if gain[j] == 0.0:
            new[j] = 0.0
        elif toll[j] == 0.0:
            new[j] = 1.0
        else:
            new[j] = min(1.0, share[j] * (gain[j] / (toll[j] * share[j])) ** length)


@kernel
def climb(snr, station, share, steps, tol):
    """Raise `utility` over the shares, in place, until a step gains at most `tol` a user; its value, and the steps.

    Stations without users fall silent. The others move towards the fixed point of the condition that the derivative
    is 0; steps are halved until the utility does not fall, and doubled otherwise.
    """
    gain, toll, new = np.empty(share.size), np.empty(share.size), np.empty(share.size)
    best, length, least = utility(snr, station, share), 1.0, tol * np.sum(station >= 0)
    for taken in range(steps):
        _balance(snr, station, share, gain, toll)
        value = -np.inf
        for _ in range(_SHORTEST):
            _moved(share, gain, toll, length, new)
            value = utility(snr, station, new)
            if value >= best:
                break
            length *= 0.5
        if value < best:
            return best, taken + 1
        risen, best, share[:] = value - best, value, new
        if risen <= least and length >= 0.5:
            return best, taken + 1
        length = min(2.0 * length, 4.0)
    return best, steps


@kernel
def _total(snr, share, station):
    """`sum_i ln(c_is / N_s)`, and the logarithms of rates that it is made of."""
    level = levels(rates(snr, share))
    return worth(level, station, served(station, share.size)), level


@kernel
def solve(snr, share, station, control, plan):
    """Write who is served by whom, and shares of the power from those given; whether it converged, and its rounds.

    `snr` is `[user bs]` at full power, 0 where there is no path; `plan` is `(rounds, steps of the prices, exact, gain
    per user that ends loops)`. Without control, one round of association is all.
    """
    rounds, steps, exact, tol = plan
    station[:] = associate(levels(rates(snr, share)), steps, exact)
    if not control:
        return True, 1
    for taken in range(rounds):
        climb(snr, station, share, _POWER_STEPS, tol)
        value, level = _total(snr, share, station)
        new = associate(level, steps, exact)
        if worth(level, new, served(new, share.size)) <= value + tol * np.sum(station >= 0):
            return True, taken + 1
        station[:] = new
    climb(snr, station, share, _POWER_STEPS, tol)
    return False, rounds


@kernel
def _solve_rows(first, last, snr, share, station, control, plan, converged, taken):
    """Rows `first` to `last` of `solve_batch`."""
    for i in range(first, last):
        converged[i], taken[i] = solve(snr[i], share[i], station[i], control, plan)


def solve_batch(snr, share, station, control, plan):
    """`solve` of each row."""
    out = np.empty(snr.shape[0], np.bool_), np.empty(snr.shape[0], np.int64)
    over_rows(_solve_rows, snr.shape[0], snr, share, station, control, plan, *out)
    return out
