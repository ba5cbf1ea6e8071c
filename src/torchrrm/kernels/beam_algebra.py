"""Small dense algebra of the ascent over powers, and where it starts from."""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = ["factor", "invert", "power_hessian", "start_aim", "substitute"]


@kernel
def invert(matrix, inverse):
    """Write the inverse of a nonsingular M-matrix, which needs no pivoting; `matrix` is destroyed."""
    size = matrix.shape[0]
    inverse[:] = 0.0
    for k in range(size):
        inverse[k, k] = 1.0
    for k in range(size):
        pivot = 1.0 / matrix[k, k]
        for j in range(size):
            matrix[k, j] *= pivot
            inverse[k, j] *= pivot
        for i in range(size):
            factor = matrix[i, k]
            if i != k and factor != 0.0:
                for j in range(size):
                    matrix[i, j] -= factor * matrix[k, j]
                    inverse[i, j] -= factor * inverse[k, j]


@kernel
def factor(matrix, least):
    """Cholesky factor in place, below the diagonal; whether all pivots are larger than `least`."""
    size = least.size
    for k in range(size):
        pivot = matrix[k, k]
        for j in range(k):
            pivot -= matrix[k, j] * matrix[k, j]
        if not pivot > least[k]:
            return False
        root = math.sqrt(pivot)
        matrix[k, k] = root
        for i in range(k + 1, size):
            entry = matrix[i, k]
            for j in range(k):
                entry -= matrix[i, j] * matrix[k, j]
            matrix[i, k] = entry / root
    return True


@kernel
def substitute(factor, side):
    """Solve with a Cholesky factor, in place."""
    size = side.size
    for k in range(size):
        for j in range(k):
            side[k] -= factor[k, j] * side[j]
        side[k] /= factor[k, k]
    for k in range(size - 1, -1, -1):
        for j in range(k + 1, size):
            side[k] -= factor[j, k] * side[j]
        side[k] /= factor[k, k]


@kernel(fastmath={"contract"})
def power_hessian(a_real, a_imag, share, error, price, back, hessian):
    """Write the Hessian of the least total power in the levels; `price` is `lambda`, `back` is `J^-1`."""
    users = share.size
    middle, half = np.empty((users, users)), np.empty((users, users))
    row_real, row_imag = np.empty(users), np.empty(users)
    for k in range(users):
        row_real[:] = 0.0
        row_imag[:] = 0.0
        for j in range(users):  # row k of A Z A
            z = price[j] * share[j] / error[j]
            c, d = z * a_real[k, j], z * a_imag[k, j]
            for m in range(users):
                row_real[m] += c * a_real[j, m] - d * a_imag[j, m]
                row_imag[m] += c * a_imag[j, m] + d * a_real[j, m]
        own = price[k] / error[k]
        for m in range(users):  # Re(A_km conj((A Z A)_km))
            both = a_real[k, m] * row_real[m] + a_imag[k, m] * row_imag[m]
            power = a_real[k, m] * a_real[k, m] + a_imag[k, m] * a_imag[k, m]
            middle[k, m] = (own + price[m] / error[m]) * power - 2.0 * both
    half[:] = 0.0
    hessian[:] = 0.0
    for k in range(users):
        for j in range(users):
            c = middle[k, j]
            for m in range(users):
                half[k, m] += c * back[j, m]
    for j in range(users):
        for k in range(users):
            c = back[j, k]
            for m in range(users):
                hessian[k, m] += c * half[j, m]
    for k in range(users):
        hessian[k, k] -= price[k]


@kernel
def start_aim(start, least, price, place, table, aim):
    """Write the shares from which a start is restored.

    In turn: equal; the user whose level is cheapest alone; the price to the power -4; the least power; the other users
    alone, cheapest first; random ones.
    """
    users = aim.size
    leader = 0 if start == 1 else start - 3
    cheapest = price.min()
    for k in range(users):
        if start == 0:
            aim[k] = 1.0
        elif start == 2:
            aim[k] = (cheapest / price[k]) ** 4
        elif start == 3:
            aim[k] = least[k]
        elif leader < users:
            aim[k] = 1.0 if place[k] == users - 1 - leader else 1e-3
        else:
            aim[k] = table[place[k], start]
