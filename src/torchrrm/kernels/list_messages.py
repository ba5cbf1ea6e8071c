"""Weighted sums of states over lists of neighbours: the compiled form of `torchrrm.nn.sparse_bipartite`.

User `i` is joined to the stations `neighbour[i, d]`; an edge has a weight for each of the heads `[head user degree]`,
which applies to that head's part of a state's features. Users that list the same stations should be close in memory.
"""

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = ["to_stations", "to_users"]


@kernel(fastmath={"contract"})
def _add(row, scale, sent, head, other):
    """Add a head's part of other nodes' features; four at a time, so that the sums are loaded and stored less often."""
    width, d = row.size, 0
    while d + 4 <= other.size:
        a, b, c, e = scale[d], scale[d + 1], scale[d + 2], scale[d + 3]
        u, v = sent[other[d], head], sent[other[d + 1], head]
        w, x = sent[other[d + 2], head], sent[other[d + 3], head]
        for i in range(width):
            row[i] += (a * u[i] + b * v[i]) + (c * w[i] + e * x[i])
        d += 4
    while d < other.size:
        a, u = scale[d], sent[other[d], head]
        for i in range(width):
            row[i] += a * u[i]
        d += 1


@kernel
def to_users(weight, neighbour, message):
    """What users hear of their stations' messages `[bs width]`, `[user width]`."""
    heads, users, _ = weight.shape
    parts = message.reshape(message.shape[0], heads, -1)
    result = np.zeros((users, heads, parts.shape[2]), message.dtype)
    for i in range(users):
        for h in range(heads):
            _add(result[i, h], weight[h, i], parts, h, neighbour[i])
    return result.reshape(users, -1)


@kernel(fastmath={"contract"})
def to_stations(weight, neighbour, message, stations):
    """What stations hear of their users' messages `[user width]`, `[bs width]`."""
    heads, users, degree = weight.shape
    parts = message.reshape(users, heads, -1)
    result = np.zeros((stations, heads, parts.shape[2]), message.dtype)
    for i in range(users):
        for d in range(degree):
            for h in range(heads):
                scale, sent, heard = weight[h, i, d], parts[i, h], result[neighbour[i, d], h]
                for c in range(sent.size):
                    heard[c] += scale * sent[c]
    return result.reshape(stations, -1)
