"""Nearest transmitters of each receiver, by a grid of cells: linear in their number where they are spread evenly."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = ["nearest"]

_PER_CELL = 3.0  # transmitters a cell, on average


@kernel
def _cells(position, low, size, columns, rows):
    """Cell of each position `[node 2]`; those outside the grid belong to its border."""
    cell = np.empty(position.shape[0], np.int64)
    for i in range(position.shape[0]):
        x = min(max(int((position[i, 0] - low[0]) / size), 0), columns - 1)
        y = min(max(int((position[i, 1] - low[1]) / size), 0), rows - 1)
        cell[i] = y * columns + x
    return cell


@kernel
def _grid(position):
    """Lower corner, cell size, columns and rows of a grid over the positions, `_PER_CELL` to a cell."""
    nodes = position.shape[0]
    low = np.array([position[:, 0].min(), position[:, 1].min()])
    width, height = position[:, 0].max() - low[0], position[:, 1].max() - low[1]
    longest = max(width, height, 1e-9)
    size = math.sqrt(max(width, 1e-3 * longest) * max(height, 1e-3 * longest) * _PER_CELL / nodes)
    return low, size, int(width / size) + 1, int(height / size) + 1


@kernel
def nearest(receiver, transmitter, degree, paired):
    """The `degree` transmitters nearest to each receiver, and their distances `[rx degree]`, nearest first.

    Positions are `[rx 2]` and `[tx 2]` in metres. If `paired`, transmitter `k` is receiver `k`'s own and left out.
    There are as many transmitters as asked for, or more.
    """
    receivers, links = receiver.shape[0], transmitter.shape[0]
    low, size, columns, rows = _grid(transmitter)
    cell = _cells(transmitter, low, size, columns, rows)
    begin = np.zeros(columns * rows + 1, np.int64)
    for j in range(links):
        begin[cell[j] + 1] += 1
    begin = np.cumsum(begin)
    free, member = begin[:-1].copy(), np.empty(links, np.int64)
    for j in range(links):
        member[free[cell[j]]] = j
        free[cell[j]] += 1
    index, distance = np.empty((receivers, degree), np.int64), np.empty((receivers, degree))
    home = _cells(receiver, low, size, columns, rows)
    grid = (low[0], low[1], size, columns, rows)
    for k in range(receivers):
        _search(
            k if paired else -1,
            home[k],
            receiver[k],
            transmitter,
            degree,
            begin,
            member,
            grid,
            index[k],
            distance[k],
        )
    return index, np.sqrt(distance)


@kernel
def _search(own, home, place, transmitter, degree, begin, member, grid, index, distance):
    """Go through rings of cells around the receiver's own until none further out can hold a nearer transmitter."""
    left, bottom, size, columns, rows = grid
    x, y, found = home % columns, home // columns, 0
    for ring in range(max(columns, rows)):
        for row in range(max(y - ring, 0), min(y + ring, rows - 1) + 1):
            step = 1 if abs(row - y) == ring else max(2 * ring, 1)
            for column in range(x - ring, x + ring + 1, step):
                if column < 0 or column >= columns:
                    continue
                cell = row * columns + column
                for slot in range(begin[cell], begin[cell + 1]):
                    j = member[slot]
                    if j != own:
                        dx, dy = transmitter[j, 0] - place[0], transmitter[j, 1] - place[1]
                        found = _insert(j, dx * dx + dy * dy, found, degree, index, distance)
        # Distance to the nearest side of the square searched; a side that is the grid's own has nothing behind.
        clear = math.inf
        if x - ring > 0:
            clear = min(clear, place[0] - left - (x - ring) * size)
        if x + ring < columns - 1:
            clear = min(clear, left + (x + ring + 1) * size - place[0])
        if y - ring > 0:
            clear = min(clear, place[1] - bottom - (y - ring) * size)
        if y + ring < rows - 1:
            clear = min(clear, bottom + (y + ring + 1) * size - place[1])
        if found == degree and clear > 0.0 and distance[degree - 1] <= clear * clear:
            break


@kernel
def _insert(j, square, found, degree, index, distance):
    """Put a transmitter in its place among those found; their number."""
    if found == degree and square >= distance[degree - 1]:
        return found
    place = min(found, degree - 1)
    while place > 0 and distance[place - 1] > square:
        distance[place], index[place] = distance[place - 1], index[place - 1]
        place -= 1
    distance[place], index[place] = square, j
    return min(found + 1, degree)
