"""Sum of effective rates: association by the parameters of a sum of ratios, and powers by a fixed point."""

import math

import numpy as np

from torchrrm.kernels.cells import heard, rates, served
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.rows import over_rows

__all__ = ["associate", "climb", "solve", "solve_batch"]

_LESS = 0.01  # of a step's promised fall of the error, how much must come true
_HALVINGS = 12
_CONSISTENT = 1e-6  # error below which parameters belong to their association
_PATIENCE = 10  # rounds without a gain that end the joint method


@kernel
def _choose(rate, snr, ratio, scale, station):
    """Write each user's station, the largest `scale_j (c_ij - ratio_j)`, of equal ones the strongest; -1 if none."""
    for i in range(rate.shape[0]):
        best, strength, chosen = -np.inf, 0.0, -1
        for j in range(rate.shape[1]):
            if snr[i, j] > 0:
                worth = scale[j] * (rate[i, j] - ratio[j])
                if worth > best or (worth == best and snr[i, j] > strength):
                    best, strength, chosen = worth, snr[i, j], j
        station[i] = chosen


@kernel
def _ratios(rate, station, ratio, scale):
    """Write each station's mean rate and one over its users, of whom it has at least one; the sum of the means."""
    count, value = served(station, ratio.size), 0.0
    ratio[:] = 0.0
    for i in range(station.size):
        if station[i] >= 0:
            ratio[station[i]] += rate[i, station[i]]
    for j in range(ratio.size):
        scale[j] = 1.0 / max(count[j], 1)
        ratio[j] *= scale[j]
        value += ratio[j]
    return value


@kernel
def _error(now, aim):
    """Norm of `(ratio h - f, scale h - 1)`, by which parameters miss those of the association they lead to."""
    far = 0.0
    for j in range(now.shape[1]):
        load = 1.0 / aim[1, j]
        far += (load * (now[0, j] - aim[0, j])) ** 2 + (load * now[1, j] - 1.0) ** 2
    return math.sqrt(far)


@kernel
def _trial(rate, snr, now, station, aim):
    """Write the association that the parameters lead to, and its own parameters; its value, and the error."""
    _choose(rate, snr, now[0], now[1], station)
    value = _ratios(rate, station, aim[0], aim[1])
    return value, _error(now, aim)


@kernel
def _step(rate, snr, now, aim, error, station):
    """Move the parameters towards their aim by the first of 1, 1/2, 1/4, ... whose error falls enough; in place.

    Where none does, because associations jump, by that of the least error. The value and the error there.
    """
    old, towards = now.copy(), aim.copy()
    best, chosen, length = np.inf, 1.0, 1.0
    for _ in range(_HALVINGS):
        now[:] = old + length * (towards - old)
        value, far = _trial(rate, snr, now, station, aim)
        if far <= (1.0 - _LESS * length) * error:
            return value, far
        if far < best:
            best, chosen = far, length
        length *= 0.5
    now[:] = old + chosen * (towards - old)
    return _trial(rate, snr, now, station, aim)


@kernel
def associate(rate, snr, station, steps):
    """Write the best association that the parameters, from the given one's, lead to; its value, last error, steps."""
    aim = np.empty((2, rate.shape[1]))
    _ratios(rate, station, aim[0], aim[1])
    now, trial = aim.copy(), station.copy()
    value, error = _trial(rate, snr, now, trial, aim)
    best, station[:], taken = value, trial, 0
    while taken < steps and error > _CONSISTENT:
        value, error = _step(rate, snr, now, aim, error, trial)
        taken += 1
        if value > best:
            best, station[:] = value, trial
    return best, error, taken


@kernel
def _balance(snr, station, share, load, worth, toll):
    """Write what a relative rise of each station's power is worth, and what a unit of it costs others; the value."""
    worth[:], toll[:], value = 0.0, 0.0, 0.0
    for i in range(station.size):
        own = station[i]
        if own < 0 or share[own] == 0.0:
            continue
        noise = heard(snr[i], share, own)
        sinr = snr[i, own] * share[own] / noise
        value += math.log1p(sinr) / load[own]
        slope = sinr / (1.0 + sinr) / load[own]
        worth[own] += slope
        others, slope = toll[own], slope / noise
        for j in range(share.size):
            toll[j] += slope * snr[i, j]
        toll[own] = others
    return value


@kernel
def climb(snr, station, share, steps, tol):
    """Raise the sum of effective rates over the shares, in place; the value in nats and the steps taken."""
    stations = share.size
    load = np.maximum(served(station, stations), 1)
    worth, toll = np.empty(stations), np.empty(stations)
    value = _balance(snr, station, share, load, worth, toll)
    for taken in range(steps):
        for j in range(stations):
            free = worth[j] > 0.0 and worth[j] >= toll[j]
            share[j] = 1.0 if free else (worth[j] / toll[j] if worth[j] > 0.0 else 0.0)
        old = value
        value = _balance(snr, station, share, load, worth, toll)
        if value - old <= tol * value:
            return value, taken + 1
    return value, steps


@kernel
def _strongest(rate, snr, station):
    """Write each user's station of the highest rate, of equal ones the strongest."""
    stations = rate.shape[1]
    _choose(rate, snr, np.zeros(stations), np.ones(stations), station)


@kernel
def _joint(snr, share, station, plan):
    """Rounds of association and power control; arguments as in `solve`."""
    rounds, steps, power_steps, tol = plan
    last, power, best, waited = station.copy(), share.copy(), -1.0, 0
    _strongest(rates(snr, power), snr, last)
    for taken in range(rounds):
        associate(rates(snr, power), snr, last, steps)
        value, _ = climb(snr, last, power, power_steps, tol)
        waited = 0 if value > best * (1.0 + tol) else waited + 1
        if value > best:
            best, station[:], share[:] = value, last, power
        if waited >= _PATIENCE:
            return True, taken + 1
    return False, rounds


@kernel
def solve(snr, share, station, control, plan):
    """Write who is served by whom, and shares of the power from those given; whether it converged, and its rounds.

    `snr` is `[user bs]` at full power, 0 where there is no path; `plan` is `(rounds, steps of the association in one,
    steps of the powers in one, relative gain that ends them)`. Without control, rounds are steps of the association.
    """
    if control:
        return _joint(snr, share, station, plan)
    rate = rates(snr, share)
    _strongest(rate, snr, station)
    first, own = station.copy(), np.empty((2, share.size))
    value = _ratios(rate, station, own[0], own[1])
    best, error, taken = associate(rate, snr, station, plan[0])
    if value > best:
        station[:] = first
    return error <= _CONSISTENT, taken


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
