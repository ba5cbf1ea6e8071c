"""WMMSE on lists of neighbours: the compiled form of `torchrrm.solvers.SparseWMMSE`; names follow `kernels.wmmse`."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.links import MOST_RATIO, at_most
from torchrrm.kernels.rows import over_rows

__all__ = ["solve", "solve_batch"]

_SILENT = 1e-100  # amplitude that counts as 0, see `kernels.wmmse`


@kernel
def _relative(neighbour, gain, noise_power, max_power, active):
    """Neighbours in 32 bits and their interference-to-noise ratios at full power; 0 where either end is not active.

    The ratios keep the gain's precision: a step takes as long as it takes to read the lists.
    """
    links, degree = neighbour.shape
    index, ratio = np.empty((links, degree), np.int32), np.zeros((links, degree), gain.dtype)
    for k in range(links):
        for d in range(degree):
            j = neighbour[k, d]
            index[k, d] = j
            if active[k] and active[j]:
                ratio[k, d] = at_most(float(gain[k, d]) * max_power[j] / noise_power, MOST_RATIO)
    return index, ratio


@kernel
def _best_alone(index, ratio, direct, weight, amplitude):
    """The link of the highest weighted rate by itself, if that is above the sum rate of `amplitude`, else -1.

    Full power needs no comparison: it is where the steps begin, and none lowers the sum rate.
    """
    links, degree = index.shape
    total, winner, alone = 0.0, -1, 0.0
    for k in range(links):
        noise = 1.0
        for d in range(degree):
            noise += ratio[k, d] * amplitude[index[k, d]] ** 2
        total += weight[k] * math.log1p(direct[k] * amplitude[k] ** 2 / noise)
        value = weight[k] * math.log1p(direct[k])
        if value > alone:
            winner, alone = k, value
    return winner if alone > total else -1


@kernel
def solve(direct_gain, neighbour, gain, noise_power, max_power, weight, active, steps, tol, safeguard):
    """Powers in W `[link]` after up to `steps` steps from the limits, the steps taken and the last change.

    With `safeguard` it is the best link alone where that is better.

    A step goes through the lists once: what a link hears is gathered from its neighbours, and what it charges them
    for that is scattered to them while the list is in the cache. So the transposed lists are never needed.
    """
    links, degree = neighbour.shape
    index, ratio = _relative(neighbour, gain, noise_power, max_power, active)
    direct, own = np.zeros(links), np.zeros(links)
    amplitude = np.zeros(links)
    for k in range(links):
        if active[k]:
            direct[k] = at_most(float(direct_gain[k]) * max_power[k] / noise_power, MOST_RATIO)
            own[k] = weight[k]
            amplitude[k] = 1.0
    power, price, heard = np.empty(links), np.empty(links), np.empty(links)
    change, taken = np.inf, steps
    for step in range(steps):
        for k in range(links):
            power[k], price[k] = amplitude[k] * amplitude[k], 0.0
        for k in range(links):
            noise = 1.0
            for d in range(degree):
                noise += ratio[k, d] * power[index[k, d]]
            signal = direct[k] * power[k]
            cost = own[k] * signal / (noise * (noise + signal))
            heard[k] = noise
            price[k] += cost * direct[k]
            if cost > 0.0:
                for d in range(degree):
                    price[index[k, d]] += cost * ratio[k, d]
        change = 0.0
        for k in range(links):
            total = heard[k] * price[k]
            new = own[k] * direct[k] * amplitude[k] / (total if total > 0.0 else 1.0)
            new = new if new < 1.0 else 1.0
            new = new if new > _SILENT else 0.0
            change = max(change, abs(new - amplitude[k]))
            amplitude[k] = new
        if change <= tol:
            taken = step + 1
            break
    if safeguard:
        winner = _best_alone(index, ratio, direct, own, amplitude)
        if winner >= 0:
            amplitude[:] = 0.0
            amplitude[winner] = 1.0
    result = np.zeros_like(max_power)
    for k in range(links):
        result[k] = amplitude[k] * amplitude[k] * max_power[k] if active[k] else 0.0
    return result, taken, change


@kernel
def _solve_rows(
    first,
    last,
    direct_gain,
    neighbour,
    gain,
    noise_power,
    max_power,
    weight,
    active,
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
            direct_gain[i],
            neighbour[i],
            gain[i],
            noise_power[i],
            max_power[i],
            weight[i],
            active[i],
            steps,
            tol,
            safeguard,
        )


def solve_batch(direct_gain, neighbour, gain, noise_power, max_power, weight, active, steps, tol, safeguard):
    """`solve` for each row: `[batch link]` and `[batch link degree]` arrays in, powers, steps and changes out."""
    batch = max_power.shape[0]
    out = np.empty_like(max_power), np.empty(batch, np.int64), np.empty(batch)
    links = direct_gain, neighbour, gain, noise_power, max_power, weight, active
    over_rows(_solve_rows, batch, *links, steps, tol, safeguard, *out)
    return out
