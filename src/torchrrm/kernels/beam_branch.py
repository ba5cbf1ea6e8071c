"""Branch and bound for the weighted sum rate of short packets over the simplex of power shares; see `beam_bound`."""

import math

import numpy as np

from torchrrm.kernels.beam_bound import CORNER, LOG_SINR, Terms, bound_simplex, corner_of, packet
from torchrrm.kernels.beam_power import ROUNDING, demands, smallest
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.gram import back_off, gram, planes
from torchrrm.kernels.links import rank
from torchrrm.kernels.rows import over_rows

__all__ = ["BEST", "CLOSED", "CORNERS", "NODES", "SIZE", "explore_batch", "plant_batch"]

SIZE, BEST, CLOSED, NODES, CORNERS = 0, 1, 2, 3, 4
"""Columns of a search's state: simplices waiting, best weighted sum rate in nats, largest bound of a closed simplex,
simplices bounded, corners known."""
_BELOW = 1e-9  # of the least shares: what they are lowered by for rounding
_SMALL = 1e-10  # edge of a simplex that is not split
_LOSS, _VAGUE = (
    1e-14,
    1e-3,
)  # of least powers: what rounding takes of them, and from where on they tell nothing
_ACCURACY = 0.05  # of the tolerance: of each simplex's bound


@kernel
def _rate(terms, corner):
    """Weighted sum rate at a corner, minus infinity if it misses a minimum."""
    total = 0.0
    for k in range(terms.weight.size):
        if math.expm1(corner[LOG_SINR, k]) < terms.least[k] * (1.0 - 1e-12):
            return -math.inf
        total += terms.weight[k] * packet(corner[LOG_SINR, k], terms.back_off)
    return total


@kernel
def _offer(terms, corner, state, best):
    """Keep the shares of a corner if they are the best so far."""
    value = _rate(terms, corner)
    if value > state[BEST]:
        state[BEST] = value
        best[:] = corner[CORNER]


@kernel
def _split(corner, place, edge):
    """Write the edge to halve: the longest, at each corner as far as it counts where the bound is attained."""
    users, most = len(corner), -1.0
    middle = place @ corner[:, CORNER].copy()
    length = 0.0
    for i in range(users):
        for j in range(i):
            size, width = 0.0, 0.0
            for k in range(users):
                change = corner[i, CORNER, k] - corner[j, CORNER, k]
                size += (change / (middle[k] + 1e-3)) ** 2
                width = max(width, abs(change))
            length = max(length, width)
            size *= place[i] * place[j] + 0.02
            if size > most:
                most = size
                edge[0], edge[1] = i, j
    return length > _SMALL


@kernel
def _margin(state, tolerance):
    """What a bound may be above the best value by; 0 while no value is known."""
    return tolerance * abs(state[BEST]) if state[BEST] > -math.inf else 0.0


@kernel
def _judge(terms, node, store, bound, tolerance, state, best):
    """Bound a simplex, offer where its bound is attained, and choose where to split it; its bound."""
    users = terms.weight.size
    corner, place, middle = np.empty((users, 3, users)), np.empty(users), np.empty((3, users))
    for i in range(users):
        corner[i] = store[node[i]]
    margin = _margin(state, tolerance)
    bound = min(bound, bound_simplex(terms, corner, state[BEST] + margin, _ACCURACY * margin, place))
    state[NODES] += 1.0
    if bound <= state[BEST] + margin:
        return bound
    corner_of(terms.gram, place @ corner[:, CORNER].copy(), middle)
    _offer(terms, middle, state, best)
    if not _split(corner, place, node[users:]):
        node[users] = -1
    return bound


@kernel(inline="always")
def _explore(terms, queue, store, state, best, law):
    """Split simplices, the largest bound first, until the gap is closed or the budget is spent."""
    key, node = queue
    tolerance, budget = law
    users, end = terms.weight.size, state[NODES] + budget
    child = np.empty(users + 2, np.int32)
    while state[SIZE] > 0.0 and state[NODES] < end:
        size = int(state[SIZE])
        top = np.argmax(key[:size])
        bound, parent = key[top], node[top].copy()
        if bound <= state[BEST] + _margin(state, tolerance):
            break
        key[top], node[top] = key[size - 1], node[size - 1]
        size -= 1
        whole, fresh = math.isinf(bound), int(state[CORNERS])
        if not whole:
            one, other = store[parent[parent[users]]], store[parent[parent[users + 1]]]
            corner_of(terms.gram, 0.5 * (one[CORNER] + other[CORNER]), store[fresh])
            _offer(terms, store[fresh], state, best)
            state[CORNERS] += 1.0
        for side in range(1 if whole else 2):
            child[:] = parent
            if not whole:
                child[parent[users + side]] = fresh
            found = _judge(terms, child, store, bound, tolerance, state, best)
            if found > state[BEST] + _margin(state, tolerance) and child[users] >= 0:
                key[size], node[size] = found, child
                size += 1
            else:
                state[CLOSED] = max(state[CLOSED], found)
        state[SIZE] = size


@kernel
def _is_vague(g_real, target):
    """Whether rounding may be why least powers are above the limit, of users who ask for something.

    Powers within the limit cost a user at most `c = G_kk / nu_k` times what it needs alone, and are known to a part of
    some `1e-14 c max G`.
    """
    most, cost = 0.0, 0.0
    for k in range(target.size):
        most = max(most, g_real[k, k])
        if target[k] > 0.0:
            cost = max(cost, g_real[k, k] / target[k])
    return _LOSS * cost * most > _VAGUE


@kernel(inline="always")
def _plant(channel, limits, packets, active, weight, share, row):
    """Terms of one instance, its first corners, and the best of the given shares and the least ones scaled."""
    (g, of_rate, least, order, theta, count, store, state, best), (noise, limit) = row, limits
    blocklength, error_probability, payload = packets
    chosen, target, lost = demands(channel, payload, blocklength, error_probability, active)
    theta[0] = back_off(float(error_probability), float(blocklength))
    g_real, g_imag = gram(*planes(channel, noise, limit, chosen))
    needed, users = np.empty(chosen.size), chosen.size
    total, _ = smallest(g_real, g_imag, target, needed)
    state[BEST] = state[CLOSED] = -math.inf
    count[0] = users
    place, rest = np.full(active.size, -1), users  # users that are not chosen come last
    place[chosen] = 0
    for k in np.flatnonzero(place < 0):
        order[rest] = k
        rest += 1
    if lost or users == 0:
        state[BEST] = state[CLOSED] = -math.inf if lost else 0.0
        return
    if not total <= 1.0 + ROUNDING:
        if _is_vague(g_real, target):
            state[CLOSED] = 0.0
            for k in range(users):
                state[CLOSED] += max(float(weight[chosen[k]]), 0.0) * math.log1p(g_real[k, k])
        return
    place = rank(np.diag(g_real))
    for i in range(users):
        a = place[i]
        order[a], of_rate[a], least[a] = chosen[i], max(float(weight[chosen[i]]), 0.0), target[i]
        for j in range(users):
            g[a, place[j]] = complex(g_real[i, j], g_imag[i, j])
    if not least[:users].any():
        state[BEST], best[:] = 0.0, 0.0  # nobody is served
    own = Terms(g[:users, :users].copy(), of_rate[:users].copy(), least[:users].copy(), theta[0])
    first = np.empty((2, users))
    for i in range(users):
        first[0, place[i]] = needed[i] / total if total > 0.0 else 1.0 / users
        first[1, place[i]] = share[chosen[i]]
    corner = np.empty((3, users))
    for trial in range(2):
        corner_of(own.gram, first[trial] / max(first[trial].sum(), 1.0), corner)
        _offer(own, corner, state, best[:users])
    for i in range(users):
        low = np.empty(users)
        for j in range(users):
            low[place[j]] = needed[j] * (1.0 - _BELOW)
        low[i] += max(1.0 - low.sum(), 0.0)
        corner_of(own.gram, low, store[i, :, :users])
    state[CORNERS], state[SIZE] = users, 1.0


@kernel
def _plant_rows(first, last, channel, limits, packets, active, weight, share, rows):
    """Rows `first` to `last` of `plant_batch`."""
    for i in range(first, last):
        packet_ = (packets[0][i], packets[1][i], packets[2][i])
        mine = (
            rows[0][i], rows[1][i], rows[2][i], rows[3][i], rows[4][i], rows[5][i], rows[6][i], rows[7][i], rows[8][i],
        )  # fmt: skip
        _plant(channel[i], (limits[0][i], limits[1][i]), packet_, active[i], weight[i], share[i], mine)


def plant_batch(channel, limits, packets, active, weight, share, rows):
    """Begin the searches of a batch of instances, given as `MisoInstance` has them and shares to start from.

    Written are `rows`: Gram matrices `[row user user]`, weights, least SINRs and indices of the users `[row user]`,
    those of the largest channels first, back-offs `[row 1]` and numbers of users `[row 1]`, the corners
    `[row place 3 user]`, the states `[row 5]` and the best shares `[row user]`.
    """
    over_rows(_plant_rows, len(active), channel, limits, packets, active, weight, share, rows)


@kernel
def _explore_rows(first, last, rows, queue, law):
    """Rows `first` to `last` of `explore_batch`."""
    for i in range(first, last):
        n = rows[5][i, 0]
        if rows[7][i, SIZE] == 0.0:
            continue
        terms = Terms(rows[0][i, :n, :n].copy(), rows[1][i, :n].copy(), rows[2][i, :n].copy(), rows[4][i, 0])
        mine = queue[0][i], queue[1][i, :, : n + 2]
        _explore(terms, mine, rows[6][i, :, :, :n], rows[7][i], rows[8][i, :n], law)


def explore_batch(rows, queue, law):
    """Up to `budget` simplices for each row, and one more, whose queue and corners must have room for them.

    `rows` as `plant_batch` writes them; `queue`: bounds `[row place]` and nodes `[row place user + 2]`, the
    corners of a simplex and the ends of the edge to split; `law`: relative tolerance and budget.
    """
    over_rows(_explore_rows, len(rows[0]), rows, queue, law)
