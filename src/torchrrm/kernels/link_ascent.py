"""Local maxima of the weighted sum rate of interference links, in the units of `link_bounds`."""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative
from torchrrm.kernels.rows import over_rows

__all__ = ["ascend", "follow_batch"]


@kernel
def _listen(power, gain, n, heard):
    """Noise and interference at each receiver."""
    for k in range(n):
        heard[k] = 1.0
        for j in range(n):
            if j != k:
                heard[k] += gain[k, j] * power[j]


@kernel
def _rate_with(k, power_k, power, gain, weight, n, heard):
    """Weighted sum rate in nats with another power of link `k`."""
    total = weight[k] * log1p_nonnegative(gain[k, k] * power_k / heard[k])
    change = power_k - power[k]
    for j in range(n):
        if j != k and power[j] > 0.0:
            noise = max(heard[j] + gain[j, k] * change, 1.0)  # at 150 dB rounding may leave less
            total += weight[j] * log1p_nonnegative(gain[j, j] * power[j] / noise)
    return total


@kernel
def _level(k, power, gain, weight, n, heard):
    """Best power of link `k` with the loss of the others linearised: at least as good, as the loss is convex."""
    price = 0.0
    for j in range(n):
        if j != k and power[j] > 0.0:
            signal = gain[j, j] * power[j]
            price += weight[j] * gain[j, k] * signal / (heard[j] * (heard[j] + signal))
    if price <= 0.0:
        return 1.0
    return min(max(weight[k] / price - heard[k] / gain[k, k], 0.0), 1.0)


@kernel
def ascend(power, gain, weight, n, sweeps, tolerance, jumps, heard):
    """Improve the powers link by link, in place; the sum rate in nats.

    A link moves to the best power for the others' losses linearised (a step of majorisation), or with `jumps` to zero
    or to its limit if that is better. Stops where a sweep gains less than `tolerance` of the sum rate.
    """
    _listen(power, gain, n, heard)
    total = 0.0
    for _ in range(sweeps):
        before = total
        for k in range(n):
            choice = _level(k, power, gain, weight, n, heard)
            total = _rate_with(k, choice, power, gain, weight, n, heard)
            if jumps:
                for end in (0.0, 1.0):
                    if choice != end and power[k] != end:
                        value = _rate_with(k, end, power, gain, weight, n, heard)
                        if value > total:
                            total, choice = value, end
            change = choice - power[k]
            if change != 0.0:
                for j in range(n):
                    if j != k:
                        heard[j] += gain[j, k] * change
                power[k] = choice
        if total - before <= tolerance * total:
            break
        _listen(power, gain, n, heard)  # without the rounding of the changes
    return total


@kernel
def _follow_rows(first, last, power, gain, weight, count):
    """Rows `first` to `last` of `follow_batch`."""
    for row in range(first, last):
        n = count[row]
        ascend(power[row], gain[row], weight[row], n, 30, 1e-6, True, np.empty(n))


def follow_batch(power, gain, weight, count):
    """Ascend from the powers `[row link]`, in place, with jumps; `gain` `[row link link]`, links `[: count[row]]`."""
    over_rows(_follow_rows, gain.shape[0], power, gain, weight, count)
