"""Weighted minimum mean square error: the compiled form of `torchrrm.solvers.WMMSE`; names follow it."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative
from torchrrm.kernels.links import picked, placed, rank, relative, weighted_sum_rate
from torchrrm.kernels.rows import over_rows

__all__ = ["ascend", "refine", "refine_batch", "solve", "solve_batch"]

_LOG2E = 1.0 / math.log(2.0)
_SILENT = 1e-100  # amplitude that counts as 0: its square would soon be denormal, and those are slow


@kernel
def ascend(cross, across, direct, weight, amplitude, steps, tol):
    """Move `amplitude` by up to `steps` steps; the steps taken and the last change of any amplitude.

    Both products of gains and a vector go row by row of `cross` or its transpose, so that the inner loops are
    over contiguous memory and have no sum to reorder.
    """
    links = direct.size
    power, heard, cost, price = np.empty(links), np.empty(links), np.empty(links), np.empty(links)
    worth = weight * direct
    change = np.inf
    for step in range(steps):
        for k in range(links):
            power[k] = amplitude[k] * amplitude[k]
            heard[k] = 1.0
        for j in range(links):
            factor, row = power[j], across[j]
            for k in range(links):
                heard[k] += factor * row[k]
        for k in range(links):
            signal = direct[k] * power[k]
            cost[k] = weight[k] * signal / (heard[k] * (heard[k] + signal))
            price[k] = direct[k] * cost[k]
        for j in range(links):
            factor, row = cost[j], cross[j]
            for k in range(links):
                price[k] += factor * row[k]
        for k in range(links):
            total = heard[k] * price[k]
            new = worth[k] * amplitude[k] / (total if total > 0.0 else 1.0)
            new = new if new < 1.0 else 1.0
            power[k] = new if new > _SILENT else 0.0
        if tol >= 0.0:
            change = np.abs(power - amplitude).max()
        for k in range(links):
            amplitude[k] = power[k]
        if change <= tol:
            return step + 1, change
    return steps, change


@kernel
def _safeguard(across, direct, weight, amplitude, rate, ascended):
    """Set `amplitude` to full power, or to the best link alone, where that has a higher weighted sum rate.

    Full power cannot be better than powers to which an ascent from it led (`ascended`).
    """
    if not ascended:
        full = weighted_sum_rate(across, direct, weight, np.ones_like(amplitude))
        if full > rate:
            amplitude[:], rate = 1.0, full
    winner, alone = 0, -1.0
    for k in range(direct.size):
        value = weight[k] * _LOG2E * log1p_nonnegative(direct[k])
        if value > alone:
            winner, alone = k, value
    if alone > rate:
        amplitude[:] = 0.0
        amplitude[winner] = 1.0


@kernel
def solve(gain, noise_power, max_power, weight, active, start, steps, tol, safeguard):
    """Powers in W from the best of several starts, the most steps that any took, and their largest last change.

    `gain` is `[rx tx]`; `max_power`, `weight` and `active` are `[tx]`; `start` holds the first amplitudes `[rank
    start]` of the links in the order of falling direct gain. Without a tolerance, `tol` is negative. With
    `safeguard` full power or the best link alone replace powers that are worse.
    """
    chosen, cross, across, direct = relative(gain, noise_power, max_power, active)
    links = chosen.size
    if links == 0:
        return np.zeros_like(max_power), 0, 0.0
    own, place = picked(weight, chosen), rank(direct)
    best, best_rate, most, change = np.zeros(links), -np.inf, 0, 0.0  # silent if no rate is a number
    amplitude = np.empty(links)
    for s in range(start.shape[1]):
        for k in range(links):
            amplitude[k] = start[place[k], s]
        taken, moved = ascend(cross, across, direct, own, amplitude, steps, tol)
        most, change = max(most, taken), max(change, moved)
        compared = safeguard or start.shape[1] > 1
        rate = weighted_sum_rate(across, direct, own, amplitude) if compared else 0.0
        if rate > best_rate:
            best[:], best_rate = amplitude, rate
    if safeguard:
        _safeguard(across, direct, own, best, best_rate, start[0, 0] == 1.0)
    return placed(best, chosen, max_power), most, change


@kernel
def _solve_rows(
    first,
    last,
    gain,
    noise_power,
    max_power,
    weight,
    active,
    start,
    steps,
    tol,
    safeguard,
    result,
    taken,
    change,
):
    """Rows `first` to `last` of `solve_batch`."""
    for i in range(first, last):
        result[i], taken[i], change[i] = solve(
            gain[i], noise_power[i], max_power[i], weight[i], active[i], start, steps, tol, safeguard
        )


def solve_batch(gain, noise_power, max_power, weight, active, start, steps, tol, safeguard):
    """`solve` for each row: `[batch rx tx]` and `[batch tx]` arrays in, powers, steps and last changes out."""
    batch = gain.shape[0]
    out = np.empty_like(max_power), np.empty(batch, np.int64), np.empty(batch)
    over_rows(
        _solve_rows, batch, gain, noise_power, max_power, weight, active, start, steps, tol, safeguard, *out
    )
    return out


@kernel
def refine(gain, noise_power, max_power, weight, active, power, steps, tol):
    """Powers in W after up to `steps` steps from `power`, or `power` if rounding made them worse."""
    chosen, cross, across, direct = relative(gain, noise_power, max_power, active)
    links = chosen.size
    if links == 0:
        return np.zeros_like(max_power)
    own, first = picked(weight, chosen), np.empty(links)
    for k in range(links):
        share = float(power[chosen[k]]) / max_power[chosen[k]]
        first[k] = np.sqrt(min(max(share, 0.0), 1.0))
    amplitude = first.copy()
    ascend(cross, across, direct, own, amplitude, steps, tol)
    before = weighted_sum_rate(across, direct, own, first)
    if weighted_sum_rate(across, direct, own, amplitude) < before:
        amplitude = first
    return placed(amplitude, chosen, max_power)


@kernel
def _refine_rows(first, last, gain, noise_power, max_power, weight, active, power, steps, tol, result):
    """Rows `first` to `last` of `refine_batch`."""
    for i in range(first, last):
        result[i] = refine(gain[i], noise_power[i], max_power[i], weight[i], active[i], power[i], steps, tol)


def refine_batch(gain, noise_power, max_power, weight, active, power, steps, tol):
    """`refine` for each row."""
    result = np.empty_like(max_power)
    over_rows(
        _refine_rows, gain.shape[0], gain, noise_power, max_power, weight, active, power, steps, tol, result
    )
    return result
