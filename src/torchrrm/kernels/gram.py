"""The dual uplink of a beamforming problem by its Gram matrix: what the kernels of its solvers start from.

Only active users whose channel is not 0 are kept, powers are shares of the limit, and complex matrices are pairs of
real ones. With the Gram matrix `G`, `G_kl = g_k^H g_l`, and shares `q` everything follows from `A = G (I + Q G)^-1`:

    1 / (1 + SINR_k) = e_k = 1 - q_k A_kk,   d ln(1 + SINR_k) / d q_l = (delta_kl A_kk - q_k |A_kl|^2) / e_k,
    w_k ~ sum_l g_l (delta_lk - q_l A_lk);   see `torchrrm.problems.beamforming`.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel

__all__ = [
    "MOST_HEARD",
    "back_off",
    "beams",
    "gram",
    "least_sinr",
    "least_sinrs",
    "listed",
    "planes",
    "slopes",
    "spread",
    "sweep",
]

MOST_HEARD = 1e12
"""Largest ratio to the noise, 120 dB: of more, double precision could not tell the noise from dependent channels."""
_STEPS = 12  # of Newton's method, see `torchrrm.rates.packet`
_ROOT = 1.0 / math.sqrt(2.0)


@kernel
def listed(channel, active):
    """Indices of the active users whose channel is not 0."""
    chosen, count = np.empty(active.size, np.int64), 0
    for k in range(active.size):
        if not active[k]:
            continue
        for value in channel[k]:
            if value != 0:
                chosen[count] = k
                count += 1
                break
    return chosen[:count]


@kernel
def planes(channel, noise_power, max_power, chosen):
    """Real and imaginary parts `[user ant]` of `g_k = h_k sqrt(P) / sigma_k` of the chosen users."""
    users, antennas = chosen.size, channel.shape[1]
    real, imag = np.empty((users, antennas)), np.empty((users, antennas))
    for k in range(users):
        row = channel[chosen[k]]
        scale = math.sqrt(float(max_power) / float(noise_power[chosen[k]]))
        for n in range(antennas):
            real[k, n] = scale * row[n].real
            imag[k, n] = scale * row[n].imag
    return real, imag


@kernel(fastmath={"reassoc", "contract"})
def gram(real, imag):
    """Real and imaginary parts of `G_kl = g_k^H g_l` from those of `g`."""
    users, antennas = real.shape
    g_real, g_imag = np.empty((users, users)), np.empty((users, users))
    for k in range(users):
        a, b = real[k], imag[k]
        for j in range(k, users):
            c, d = real[j], imag[j]
            along, across = 0.0, 0.0
            for n in range(antennas):
                along += a[n] * c[n] + b[n] * d[n]
                across += a[n] * d[n] - b[n] * c[n]
            g_real[k, j] = along
            g_real[j, k] = along
            g_imag[k, j] = across
            g_imag[j, k] = -across
        g_imag[k, k] = 0.0
    return g_real, g_imag


@kernel(fastmath={"contract"})
def sweep(g_real, g_imag, share, a_real, a_imag, error):
    """Write `A = G (I + Q G)^-1` and the errors `e_k`, adding one user's power after the other.

    User `l` adds `-t A_il A_lj` with `t = q_l / (1 + q_l A_ll)`: a Gauss-Jordan elimination whose pivots are at
    least 1. The errors only grow after their own step, so that they have no cancellation at high SINR.
    """
    users = share.size
    row_real, row_imag = np.empty(users), np.empty(users)
    a_real[:] = g_real
    a_imag[:] = g_imag
    for k in range(users):
        pivot = 1.0 / (1.0 + share[k] * a_real[k, k])
        scale = share[k] * pivot
        for j in range(users):
            row_real[j] = a_real[k, j]
            row_imag[j] = a_imag[k, j]
        error[k] = pivot
        for i in range(users):
            if i == k:
                continue
            c, d = scale * row_real[i], -scale * row_imag[i]  # of A_ik, the conjugate of A_ki
            if i < k:
                error[i] += share[i] * (c * row_real[i] - d * row_imag[i])
            to_real, to_imag = a_real[i], a_imag[i]
            for j in range(users):
                to_real[j] -= c * row_real[j] - d * row_imag[j]
                to_imag[j] -= c * row_imag[j] + d * row_real[j]
            to_real[k] = pivot * row_real[i]
            to_imag[k] = -pivot * row_imag[i]
        for j in range(users):
            a_real[k, j] = pivot * row_real[j]
            a_imag[k, j] = pivot * row_imag[j]


@kernel
def slopes(a_real, a_imag, share, error, slope):
    """Write the Jacobian `J_kl = d ln(1 + SINR_k) / d q_l`."""
    users = share.size
    for k in range(users):
        scale = -share[k] / error[k]
        for j in range(users):
            slope[k, j] = scale * (a_real[k, j] * a_real[k, j] + a_imag[k, j] * a_imag[k, j])
        slope[k, k] = a_real[k, k]  # (A - q A^2) / e = A


@kernel(fastmath={"contract"})
def beams(real, imag, g_real, g_imag, share, chosen, beam):
    """Write the best beams at these shares into the rows `chosen` of `beam` `[user ant]`; the others become 0."""
    users, antennas = real.shape
    a_real, a_imag, error = np.empty((users, users)), np.empty((users, users)), np.empty(users)
    sweep(g_real, g_imag, share, a_real, a_imag, error)
    along, across = np.empty(antennas), np.empty(antennas)
    beam[:] = 0
    for k in range(users):
        for n in range(antennas):
            along[n] = error[k] * real[k, n]
            across[n] = error[k] * imag[k, n]
        for j in range(users):
            if j != k and share[j] > 0.0:
                c, d = -share[j] * a_real[j, k], -share[j] * a_imag[j, k]
                for n in range(antennas):
                    along[n] += c * real[j, n] - d * imag[j, n]
                    across[n] += c * imag[j, n] + d * real[j, n]
        length = 0.0
        for n in range(antennas):
            length += along[n] * along[n] + across[n] * across[n]
        length = 1.0 / math.sqrt(length)
        row = beam[chosen[k]]
        for n in range(antennas):
            row[n] = complex(length * along[n], length * across[n])


@kernel
def spread(share, chosen, max_power, power):
    """Write powers in W of all users from the shares of the chosen ones; the others get 0."""
    power[:] = 0
    for k in range(chosen.size):
        power[chosen[k]] = share[k] * float(max_power)


@kernel
def back_off(error_probability, blocklength):
    """`theta = Q^-1(eps) / sqrt(n)` of error probabilities below 1/2, by Newton's method on `ln Q`."""
    goal = math.log(error_probability)
    x = math.sqrt(max(-2.0 * (goal + 0.6931471805599453), 0.0))  # above the root: Q(x) <= exp(-x^2 / 2) / 2
    for _ in range(_STEPS):
        tail = 0.5 * math.erfc(x * _ROOT)
        density = math.exp(-0.5 * x * x) * 0.3989422804014327
        step = (math.log(tail) - goal) * tail / density
        x += step
        if abs(step) < 1e-15 * x:
            break
    return x / math.sqrt(blocklength)


@kernel
def least_sinr(rate, theta):
    """The SINR from which on a packet has that rate in nats a channel use; 0 where nothing is asked for."""
    if not rate > 0.0:
        return 0.0
    level = rate + theta
    for _ in range(_STEPS):
        missing = math.exp(-2.0 * level)
        root = math.sqrt(-math.expm1(-2.0 * level))
        step = (level - theta * root - rate) / (1.0 - theta * missing / root)
        level -= step
        if abs(step) < 1e-16 * level:
            break
    return math.expm1(level)


@kernel
def least_sinrs(payload, blocklength, theta, chosen):
    """Least SINR of each chosen user, `nu_3` of [He2022USRMNet]."""
    least, seen, last = np.empty(chosen.size), -1.0, 0.0
    for k in range(chosen.size):
        bits = float(payload[chosen[k]])
        if bits != seen:
            seen, last = bits, least_sinr(bits * math.log(2.0) / blocklength, theta)
        least[k] = last
    return least
