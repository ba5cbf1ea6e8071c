"""The compiled form of `torchrrm.policies.UnfoldedPower`; names follow it.

`net` holds the parameters as arrays: `(matrix [hidden feature], bias [hidden], output [1 hidden], shift [1])`.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.link_greedy import alone_rates, best_admission, propose, strongest
from torchrrm.kernels.links import picked, placed, relative
from torchrrm.kernels.rows import over_rows

__all__ = ["run", "solve", "solve_batch"]


@kernel
def _level(x, columns, state):
    """What the network says at features `x`; `columns` holds its parameters, as `_columns` has them.

    The inner loops are over the hidden units, which are contiguous.
    """
    units, features = state.size, x.size
    for h in range(units):
        state[h] = columns[features, h]
    for f in range(features):
        value = x[f]
        for h in range(units):
            state[h] += columns[f, h] * value
    total = columns[features + 2, 0]
    for h in range(units):
        total += columns[features + 1, h] * max(state[h], 0.0)
    return total


@kernel
def _columns(net):
    """The parameters as rows of hidden units: one for each feature, then biases, factors of the output, its bias."""
    matrix, bias, output, shift = net
    units, features = matrix.shape
    columns = np.empty((features + 3, units))
    for h in range(units):
        for f in range(features):
            columns[f, h] = matrix[h, f]
        columns[features, h] = bias[h]
        columns[features + 1, h] = output[0, h]
        columns[features + 2, h] = shift[0]
    return columns


@kernel
def run(cross, across, direct, weight, net, price, breadth, starts, steps, amplitude):
    """`UnfoldedPower` in relative units (`torchrrm.kernels.links.relative`): all amplitudes into `amplitude`."""
    alone = alone_rates(direct, weight)
    anchor = strongest(alone, breadth)
    partner, value, pair = np.empty_like(anchor), np.empty(anchor.size), np.empty(direct.size)
    columns, x, state = _columns(net), np.empty(7), np.empty(net[1].size)
    best, total, count = -1.0, 0.0, 0
    x[4], x[6] = math.log(direct.size) / 5.0, -math.log10(price) / 4.0
    for j in anchor:
        if not 2.0 * alone[j] > best:
            break
        if count > 0:
            x[0], x[1], x[2] = alone[j] / best, alone[anchor[0]] / best, total / (count * best)
            x[3], x[5] = value[count - 1] / best, math.log(count) / 3.0
            if _level(x, columns, state) > 0.0:
                break
        partner[count], value[count] = propose(cross, across, direct, weight, alone, j, pair)
        best, total = max(best, value[count]), total + value[count]
        count += 1
    first = anchor[:count], partner[:count], value[:count]
    best_admission(cross, across, direct, weight, first[0], first[1], first[2], starts, steps, amplitude)


@kernel
def solve(gain, noise_power, max_power, weight, active, net, price, breadth, starts, steps):
    """Powers in W; `gain` is `[rx tx]`; `max_power`, `weight` and `active` are `[tx]`."""
    chosen, cross, across, direct = relative(gain, noise_power, max_power, active)
    amplitude = np.zeros(chosen.size)
    if chosen.size > 0:
        run(cross, across, direct, picked(weight, chosen), net, price, breadth, starts, steps, amplitude)
    return placed(amplitude, chosen, max_power)


@kernel
def _solve_rows(
    first, last, gain, noise_power, max_power, weight, active, net, price, breadth, starts, steps, result
):
    """Rows `first` to `last` of `solve_batch`."""
    for i in range(first, last):
        links = gain[i], noise_power[i], max_power[i], weight[i], active[i]
        result[i] = solve(
            links[0], links[1], links[2], links[3], links[4], net, price, breadth, starts, steps
        )


def solve_batch(gain, noise_power, max_power, weight, active, net, price, breadth, starts, steps):
    """`solve` for each row: `[batch rx tx]` and `[batch tx]` arrays in, powers out."""
    result = np.empty_like(max_power)
    links = gain, noise_power, max_power, weight, active
    over_rows(_solve_rows, gain.shape[0], *links, net, price, breadth, starts, steps, result)
    return result
