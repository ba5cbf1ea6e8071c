"""The compiled form of `torchrrm.policies.USRMNet`; names follow `torchrrm.policies.usrmnet.core`.

`net` holds the parameters of all layers as `pack` arranges them.
"""

import math

import numpy as np

from torchrrm.kernels.beam_power import demands, restored
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.gram import back_off, beams, gram, planes, spread, sweep
from torchrrm.kernels.links import picked
from torchrrm.kernels.rows import over_rows

__all__ = ["INPUTS", "pack", "run", "solve_batch"]

_FEATURES = 12
_SENT = (1, 2, 4, 5, 11)
_SENDS = len(_SENT)
INPUTS = 2 * _FEATURES + 2 * _SENDS
_TINY = 1e-9
_FAR = 3.0
_LEAP = 1e6
_HARM = 1.0
_LEAST_SLOPE = 0.02
_FALL = 2.5
_LEAST_LEFT = 0.1
_PASSES = 4


@kernel
def _clip(value, least, most):
    return min(max(value, least), most)


@kernel
def _log(value, least, most):
    return _clip(math.log(max(value, _TINY * _TINY)), least, most)


@kernel
def _ratio(above, below):
    return above / below if below > 0.0 else 0.0


def pack(parameters):
    """Both networks of each layer side by side, `[depth, inputs + 2, hidden units of both]`, in float64.

    `parameters` are those of the step sizes, then those of the perturbations, of each layer in turn: `inner
    [inputs + 1, hidden], outer [hidden + 1, 1]`, biases last. In the rows the biases follow the inputs, then the
    factors of the outputs, whose biases come apart, `[depth, 2]`.
    """
    sides = [
        np.concatenate((inner, outer[:-1].T))
        for inner, outer in zip(parameters[::2], parameters[1::2], strict=True)
    ]
    layers = [np.concatenate(pair, axis=1) for pair in zip(sides[::2], sides[1::2], strict=True)]
    shift = np.array([outer[-1, 0] for outer in parameters[1::2]], np.float64)
    return np.stack(layers).astype(np.float64), shift.reshape(-1, 2)


@kernel
def _couple(a_real, a_imag, share, error, coupled):
    """Write `T` without its diagonal."""
    users = share.size
    for k in range(users):
        scale = share[k] / max(error[k], _TINY)
        for j in range(users):
            power = a_real[k, j] * a_real[k, j] + a_imag[k, j] * a_imag[k, j]
            coupled[k, j] = scale * share[j] * power
        coupled[k, k] = 0.0


@kernel
def _charge(share, error, weight, coupled, node):
    """Write what each user's power brings, and costs, into columns 2 and 3, and the features 7 and 8.

    Column 1 holds what a user is worth, or, at its minimum rate, what it is to be given; whether there are others.
    """
    users, free = share.size, False
    for k in range(users):
        heard, lost, raised = 0.0, 0.0, 0.0
        for j in range(users):
            heard += coupled[k, j]
            if node[j, 11] > 0.0:
                raised += coupled[j, k] * node[j, 1]
            else:
                lost += coupled[j, k] * node[j, 1]
                free = True
        gained = weight[k] * node[k, 6] * (1.0 - max(error[k], _TINY))
        node[k, 2], node[k, 3] = gained - lost, share[k] + raised
        node[k, 7] = 1.0 - max(_ratio(gained - lost, gained) * (share[k] / (share[k] + raised)), -1.0)
        node[k, 8] = heard
    return free


@kernel
def _look(a_real, a_imag, links, share, error, seen):
    """Write what is seen at the shares: `T`, `needed`, features, and the relative change that is aimed at."""
    target, theta, weight, gain = links
    coupled, needed, node, aim = seen
    users = share.size
    _couple(a_real, a_imag, share, error, coupled)
    for k in range(users):
        down = max(error[k], _TINY)
        slope = 1.0 - theta * down * down / math.sqrt(max(1.0 - down * down, _TINY))
        node[k, 6] = max(slope, _LEAST_SLOPE)
        needed[k] = target[k] * max(error[k], 0.0) / a_real[k, k]
        node[k, 11] = 1.0 if needed[k] >= share[k] * (1.0 - _TINY) else 0.0
        given = max(share[k], needed[k]) / max(1.0 - down, _TINY)
        node[k, 1] = given if node[k, 11] > 0.0 else weight[k] * node[k, 6]
    free = _charge(share, error, weight, coupled, node)
    worth, spent = 0.0, 0.0
    for k in range(users):
        if node[k, 11] == 0.0 or not free:
            worth, spent = worth + node[k, 2], spent + node[k, 3]
    level = max(worth / max(spent, _TINY), _TINY)
    for k in range(users):
        down = max(error[k], _TINY)
        harm = 0.0
        for j in range(users):
            harm += coupled[j, k]
        most = _clip(_HARM / max(harm, _TINY), _FAR, _LEAP)
        aim[k] = (_ratio(node[k, 2], level * node[k, 3]) - 1.0) / max(1.0 - down, _TINY)
        aim[k] = min(max(aim[k], -_FAR), most)
        change = min(aim[k], _FAR)
        node[k, 0] = _log(share[k] * users, -4.0, 4.0) / 2.0
        node[k, 1] = change / 2.0
        node[k, 2] = 4.0 * change / (1.0 + 4.0 * abs(change))
        node[k, 3] = -math.log(down) / 3.0
        node[k, 4] = down
        node[k, 5] = _log(share[k] / needed[k], 0.0, 3.0) if needed[k] > 0.0 else 3.0
        node[k, 6] -= 1.0
        node[k, 9] = _log(weight[k], -3.0, 3.0) / 2.0
        node[k, 10] = _log(gain[k] * down / a_real[k, k], 0.0, 4.0) / 2.0


@kernel(fastmath={"contract"})
def _decide(seen, packed, shift, wanted):
    """Multiply the shares `wanted` with what the networks of a layer make of the features."""
    coupled, _, node, aim = seen
    users, units = wanted.size, packed.shape[1]
    width = units // 2
    base, state, said = np.empty(units), np.empty(units), np.empty(2 * _SENDS)
    base[:] = packed[INPUTS]
    for f in range(_FEATURES):
        mean = 0.0
        for k in range(users):
            mean += node[k, f]
        mean /= users
        row = packed[_FEATURES + f]
        for h in range(units):
            base[h] += mean * row[h]
    for k in range(users):
        state[:] = base
        said[:] = 0.0
        for j in range(users):
            to, by = coupled[k, j], coupled[j, k]
            for s in range(_SENDS):
                value = node[j, _SENT[s]]
                said[s] += to * value
                said[_SENDS + s] += by * value
        for f in range(_FEATURES):
            value, row = node[k, f], packed[f]
            for h in range(units):
                state[h] += value * row[h]
        for s in range(2 * _SENDS):
            value, row = said[s], packed[2 * _FEATURES + s]
            for h in range(units):
                state[h] += value * row[h]
        size, move, row = shift[0], shift[1], packed[INPUTS + 1]
        for h in range(width):
            size += row[h] * max(state[h], 0.0)
            move += row[width + h] * max(state[width + h], 0.0)
        x = aim[k] * math.exp(size) + move
        fall = _clip(x, -_FALL, 0.0)
        wanted[k] *= 1.0 + x if x > 0.0 else math.exp(fall + 2.0 * fall * fall * fall)


@kernel
def _settle(wanted, needed, share):
    """Write shares near `max(s wanted, needed)`, of total 1."""
    users, total = wanted.size, 0.0
    for k in range(users):
        total += wanted[k]
    total = max(total, 1e-30)
    scale = 1.0
    for _ in range(_PASSES):
        free, left = 0.0, 1.0
        for k in range(users):
            if needed[k] >= scale * (wanted[k] / total):
                left -= needed[k]
            else:
                free += wanted[k] / total
        scale = _ratio(max(left, _LEAST_LEFT), free)
    added = 0.0
    for k in range(users):
        share[k] = max(scale * (wanted[k] / total), needed[k])
        added += share[k]
    for k in range(users):
        share[k] /= max(added, 1e-30)


@kernel
def run(g_real, g_imag, target, theta, weight, net, wanted):
    """Write the shares that the last layer wants, before they are restored; weights are relative to their mean.

    Whether there are shares that keep the minimum rates; if not, those written are balanced.
    """
    packed, shift = net
    users, depth = wanted.size, packed.shape[0]
    share = np.empty(users)
    wanted[:] = 1.0
    if not restored(g_real, g_imag, wanted, target, share)[0]:
        wanted[:] = share
        return False
    a_real, a_imag, error = np.empty((users, users)), np.empty((users, users)), np.empty(users)
    seen = np.empty((users, users)), np.empty(users), np.empty((users, _FEATURES)), np.empty(users)
    gain = np.empty(users)
    for k in range(users):
        gain[k] = g_real[k, k]
    links = target, theta, weight, gain
    for layer in range(depth):
        sweep(g_real, g_imag, share, a_real, a_imag, error)
        _look(a_real, a_imag, links, share, error, seen)
        for k in range(users):
            wanted[k] = share[k]
        _decide(seen, packed[layer], shift[layer], wanted)
        if layer < depth - 1:
            _settle(wanted, seen[1], share)
    return True


@kernel
def _relative(weight, chosen):
    """Weights of the chosen users relative to their mean."""
    own = picked(weight, chosen)
    total = 0.0
    for value in own:
        total += value
    if total > 0.0:
        for k in range(own.size):
            own[k] *= own.size / total
    return own


@kernel(inline="always")
def _solve(channel, noise_power, max_power, packet, active, weight, net, power, beam):
    """Write powers in W and beams of one instance; whether its minimum rates can be kept.

    Arguments as in `MisoInstance`; `packet` is blocklength, error probability and payloads.
    """
    blocklength, error_probability, payload = packet
    chosen, target, lost = demands(channel, payload, blocklength, error_probability, active)
    real, imag = planes(channel, noise_power, max_power, chosen)
    g_real, g_imag = gram(real, imag)
    theta = back_off(float(error_probability), float(blocklength))
    wanted, share = np.empty(chosen.size), np.empty(chosen.size)
    feasible = True
    if chosen.size > 0:
        feasible = run(g_real, g_imag, target, theta, _relative(weight, chosen), net, wanted)
        share[:] = wanted
        if feasible:
            restored(g_real, g_imag, wanted, target, share)
    spread(share, chosen, max_power, power)
    beams(real, imag, g_real, g_imag, share, chosen, beam)
    return feasible and not lost


@kernel
def _solve_rows(
    first, last, channel, noise_power, max_power, packet, active, weight, net, power, beam, feasible
):
    """Rows `first` to `last` of `solve_batch`."""
    blocklength, error_probability, payload = packet
    for i in range(first, last):
        own = (blocklength[i], error_probability[i], payload[i])
        feasible[i] = _solve(
            channel[i], noise_power[i], max_power[i], own, active[i], weight[i], net, power[i], beam[i]
        )


def solve_batch(channel, noise_power, max_power, packet, active, weight, net, power, beam):
    """`_solve` of each row."""
    rows = active.shape[0]
    feasible = np.empty(rows, np.bool_)
    over_rows(
        _solve_rows, rows, channel, noise_power, max_power, packet, active, weight, net, power, beam, feasible
    )
    return feasible
