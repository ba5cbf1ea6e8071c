"""Linear assignment: each row one column of its own, at the least total cost."""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.rows import over_rows

__all__ = ["assign", "assign_batch"]


@kernel
def _lengthen(cost, start, row_price, column_price, row_of, column_of, scratch):
    """Assign row `start` too, along the shortest augmenting path; `False` if there is none."""
    distance, via, open_columns, closed = scratch
    columns = column_price.size
    for j in range(columns):
        distance[j], open_columns[j], closed[j] = np.inf, j, False
    left, i, reached, end = columns, start, 0.0, -1
    while end < 0:
        nearest, place = np.inf, -1
        offset, row = reached - row_price[i], cost[i]
        for k in range(left):
            j = open_columns[k]
            length = offset + row[j] - column_price[j]
            if length < distance[j]:
                distance[j], via[j] = length, i
            if distance[j] < nearest or (distance[j] == nearest and place >= 0 and row_of[j] < 0):
                nearest, place = distance[j], k
        if place < 0:
            return False
        reached, j = nearest, open_columns[place]
        closed[j], left = True, left - 1
        open_columns[place] = open_columns[left]
        if row_of[j] < 0:
            end = j
        else:
            i = row_of[j]
    row_price[start] += reached
    for j in range(columns):
        if closed[j]:
            if row_of[j] >= 0:
                row_price[row_of[j]] += reached - distance[j]
            column_price[j] -= reached - distance[j]
    j = end
    while True:
        i = via[j]
        row_of[j] = i
        column_of[i], j = j, column_of[i]
        if i == start:
            return True


@kernel
def _assign_wide(cost):
    """`assign` for at least as many columns as rows."""
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of, column_of = np.full(columns, -1, np.int64), np.full(rows, -1, np.int64)
    scratch = np.empty(columns), np.empty(columns, np.int64), np.empty(columns, np.int64)
    closed = np.empty(columns, np.bool_)
    for i in range(rows):
        cheapest, column = np.inf, -1
        for j in range(columns):
            if cost[i, j] < cheapest:
                cheapest, column = cost[i, j], j
        if column >= 0:
            row_price[i] = cheapest
            if row_of[column] < 0:
                row_of[column], column_of[i] = i, column
    for i in range(rows):
        if column_of[i] < 0:
            _lengthen(cost, i, row_price, column_price, row_of, column_of, (*scratch, closed))
    return column_of, row_of


@kernel
def assign(cost):
    """Column of each row of `cost` `[row column]`, -1 of those without one, so that the total is least.

    As many pairs as the shorter side has, by shortest augmenting paths as in [Jonker1987]: at most `O(n^2 m)` for
    `n` on the shorter side. Pairs of infinite cost are never made; where they leave no column to a row, the row stays
    without one. No cost may be NaN or minus infinity.
    """
    rows, columns = cost.shape
    if rows <= columns:
        return _assign_wide(cost)[0]
    turned = np.empty((columns, rows))
    for i in range(rows):
        for j in range(columns):
            turned[j, i] = cost[i, j]
    return _assign_wide(turned)[1]


@kernel
def _assign_rows(first, last, cost, column):
    """Rows `first` to `last` of `assign_batch`."""
    for i in range(first, last):
        column[i] = assign(cost[i])


def assign_batch(cost):
    """`assign` for each matrix of `[batch row column]`."""
    column = np.empty(cost.shape[:2], np.int64)
    over_rows(_assign_rows, cost.shape[0], cost, column)
    return column
