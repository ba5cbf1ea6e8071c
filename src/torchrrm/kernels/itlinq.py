"""Information-theoretic link scheduling: the compiled form of `torchrrm.solvers.ITLinQ`."""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.links import MOST_RATIO, at_most, rank
from torchrrm.kernels.rows import over_rows

__all__ = ["admit", "admit_batch"]


@kernel(inline="always")
def _ratio(gain, noise_power, max_power, k, j):
    """Ratio of transmitter `j` at full power to the noise at receiver `k`."""
    return at_most(float(gain[k, j]) * max_power[j] / noise_power, MOST_RATIO)


@kernel
def admit(gain, noise_power, max_power, priority, active, margin, exponent):
    """Powers in W: the limit of links that are admitted, in the order of falling `priority` `[tx]`, else 0."""
    result = np.zeros_like(max_power)
    chosen = np.flatnonzero(active)
    links = chosen.size
    value, candidates = np.empty(links), np.empty(links, np.int64)
    for i in range(links):
        value[i] = priority[chosen[i]]
    place = rank(value)
    for i in range(links):
        candidates[place[i]] = chosen[i]
    admitted, count = np.empty(links, np.int64), 0
    for k in candidates:
        allowed = margin * _ratio(gain, noise_power, max_power, k, k) ** exponent
        fits = True
        for i in range(count):
            j = admitted[i]
            worst = max(
                _ratio(gain, noise_power, max_power, k, j), _ratio(gain, noise_power, max_power, j, k)
            )
            if worst > allowed:
                fits = False
                break
        if fits:
            admitted[count] = k
            count += 1
            result[k] = max_power[k]
    return result


@kernel
def _admit_rows(first, last, gain, noise_power, max_power, priority, active, margin, exponent, result):
    """Rows `first` to `last` of `admit_batch`."""
    for i in range(first, last):
        result[i] = admit(gain[i], noise_power[i], max_power[i], priority[i], active[i], margin, exponent)


def admit_batch(gain, noise_power, max_power, priority, active, margin, exponent):
    """`admit` for each row: `[batch rx tx]` and `[batch tx]` arrays in, powers out."""
    result = np.empty_like(max_power)
    over_rows(
        _admit_rows, gain.shape[0], gain, noise_power, max_power, priority, active, margin, exponent, result
    )
    return result
