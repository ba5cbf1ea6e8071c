"""Sums over the edges of a sparse graph, in blocks of rows: the compiled form of `torchrrm.nn.SparseLEConv`.

Graphs are in rows: the edges into node `k` are `first[k]` to `first[k + 1]`, from nodes `other` with weights
`value`.
"""

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = ["mix", "neighbourly", "rows", "transpose"]


@kernel
def transpose(first, other, value):
    """The same graph with each edge turned round, by counting."""
    nodes = first.size - 1
    begin, source, weight = np.zeros(nodes + 1, np.int64), np.empty_like(other), np.empty_like(value)
    for edge in range(other.size):
        begin[other[edge] + 1] += 1
    for k in range(nodes):
        begin[k + 1] += begin[k]
    free = begin[:-1].copy()
    for k in range(nodes):
        for edge in range(first[k], first[k + 1]):
            place = free[other[edge]]
            source[place], weight[place] = k, value[edge]
            free[other[edge]] = place + 1
    return begin, source, weight


@kernel(fastmath={"contract"})
def _add(first, other, value, node, k, row):
    """Add the weighted features of the nodes from which edges come into node `k`; the sum of the weights.

    Four edges at a time, so that the sums are loaded and stored less often.
    """
    width, edge, end, degree = row.size, first[k], first[k + 1], value.dtype.type(0)
    while edge + 4 <= end:
        a, b, c, d = value[edge], value[edge + 1], value[edge + 2], value[edge + 3]
        u, v, w, x = node[other[edge]], node[other[edge + 1]], node[other[edge + 2]], node[other[edge + 3]]
        for i in range(width):
            row[i] += (a * u[i] + b * v[i]) + (c * w[i] + d * x[i])
        degree += (a + b) + (c + d)
        edge += 4
    while edge < end:
        a, u = value[edge], node[other[edge]]
        for i in range(width):
            row[i] += a * u[i]
        degree += a
        edge += 1
    return degree


@kernel
def mix(node, incoming, outgoing, both, begin, mixed):
    """What the linear maps of a layer read, for the nodes from `begin` on, as many as `mixed` has rows.

    The columns are the node's features, its sums over incoming edges and its features times minus their weight;
    the same two for outgoing edges if `both`; then 1, and the weight of the edges, a column each.
    """
    width = node.shape[1]
    for i in range(mixed.shape[0]):
        k, row = begin + i, mixed[i]
        row[:] = 0
        place = 3 * width if not both else 5 * width
        row[:width] = node[k]
        row[place] = 1
        degree = _add(incoming[0], incoming[1], incoming[2], node, k, row[width : 2 * width])
        for c in range(width):
            row[2 * width + c] = -degree * node[k, c]
        row[place + 1] = degree
        if both:
            degree = _add(outgoing[0], outgoing[1], outgoing[2], node, k, row[3 * width : 4 * width])
            for c in range(width):
                row[4 * width + c] = -degree * node[k, c]
            row[place + 2] = degree


@kernel
def neighbourly(neighbour):
    """An order of the nodes, breadth first along the lists `[node degree]`, in which neighbours are close in memory."""
    nodes, degree = neighbour.shape
    order, seen, found = np.empty(nodes, np.int64), np.zeros(nodes, np.bool_), 0
    done = 0
    for root in range(nodes):
        if not seen[root]:
            seen[root] = True
            order[found] = root
            found += 1
        while done < found:
            k = order[done]
            done += 1
            for d in range(degree):
                j = neighbour[k, d]
                if not seen[j]:
                    seen[j] = True
                    order[found] = j
                    found += 1
    return order


@kernel
def rows(neighbour, own, value, order):
    """The graph in rows with its nodes in another order: node `order[i]` becomes `i`.

    Each node has an edge to itself, of weight `own`; other edges of weight 0 are left out.
    """
    nodes, degree = neighbour.shape
    place, first = np.empty(nodes, np.int32), np.empty(nodes + 1, np.int64)
    for i in range(nodes):
        place[order[i]] = i
    other, weight = np.empty(nodes * (degree + 1), np.int32), np.empty(nodes * (degree + 1), value.dtype)
    edge = 0
    for i in range(nodes):
        k = order[i]
        first[i], other[edge], weight[edge] = edge, i, own[k]
        edge += 1
        for d in range(degree):
            if value[k, d] != 0:
                other[edge], weight[edge] = place[neighbour[k, d]], value[k, d]
                edge += 1
    first[nodes] = edge
    return first, other[:edge], weight[:edge]
