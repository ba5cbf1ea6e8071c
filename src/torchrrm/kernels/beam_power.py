"""Least powers of a beamforming problem, and powers restored to its minimum rates, exactly: the compiled forms.

With best beams a user needs `q_k >= nu_k I_k(q)`, where the interference function `I_k(q) = 1 / A_kk - q_k` is
increasing, concave, and a minimum over beams of functions affine in `q` ([Yates1995]). With the beams that are best
at `q`, it is `I_k <= c_k + sum_{l != k} C_kl q_l`, `C_kl = |A_kl|^2 / A_kk^2`, equal at `q`. Solving the linear
system of the present beams, then taking the best beams, is Newton's method on a concave system: it falls
monotonically to the fixed point, and quadratically. See `torchrrm.kernels.gram` for the terms.
"""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.gram import back_off, beams, gram, least_sinrs, listed, planes, spread, sweep
from torchrrm.kernels.links import picked
from torchrrm.kernels.rows import over_rows

__all__ = [
    "CLOSE",
    "MOST_LOSS",
    "ROUNDING",
    "STEPS",
    "TOTALS",
    "TRIES",
    "balanced",
    "demands",
    "least_batch",
    "newton",
    "restore_batch",
    "restored",
    "smallest",
]

STEPS = 60  # of Newton's method
CLOSE = 1e-13  # relative change at which it stops
ROUNDING = 1e-9  # of the limit: what the least power may exceed it by
_TURNS = 400  # products of a matrix and a vector to balance with one set of beams
TRIES = 30  # sets of beams to balance
TOTALS = (1.0, 1e2, 1e4, 1e8)  # in limits: where minimum powers are looked for
MOST_LOSS = 1e12  # of power against a user alone: beyond, channels count as linearly dependent


@kernel
def _linearise(a_real, a_imag, share, error, matrix, noise):
    """Write `C` and `c` of the present best beams."""
    users = share.size
    for k in range(users):
        own = a_real[k, k]
        scale, heard = 1.0 / (own * own), own * error[k]
        for j in range(users):
            power = a_real[k, j] * a_real[k, j] + a_imag[k, j] * a_imag[k, j]
            matrix[k, j] = scale * power
            heard -= share[j] * power if j != k else 0.0
        matrix[k, k] = 0.0
        noise[k] = scale * max(heard, 0.0)


@kernel
def _eliminate(system, first, second):
    """Solve for two right-hand sides in place, without pivoting; whether the matrix is a nonsingular M-matrix."""
    size = first.size
    for k in range(size):
        pivot = system[k, k]
        if not pivot > 1e-14:
            return False
        for i in range(k + 1, size):
            factor = system[i, k] / pivot
            if factor != 0.0:
                for j in range(k + 1, size):
                    system[i, j] -= factor * system[k, j]
                first[i] -= factor * first[k]
                second[i] -= factor * second[k]
    for k in range(size - 1, -1, -1):
        for j in range(k + 1, size):
            first[k] -= system[k, j] * first[j]
            second[k] -= system[k, j] * second[j]
        first[k] /= system[k, k]
        second[k] /= system[k, k]
    return True


@kernel
def _hold(matrix, noise, wanted, target, held, share):
    """Write the shares `max(s wanted, nu (c + C q))` that hold exactly the users `held` at their least SINR.

    The scale `s` is such that shares add up to 1; returned negative if there is none.
    """
    users = wanted.size
    place, count = np.empty(users, np.int64), 0
    for k in range(users):
        if held[k]:
            place[count] = k
            count += 1
    system, fixed, moved = np.empty((count, count)), np.empty(count), np.empty(count)
    free = 0.0
    for k in range(users):
        free += 0.0 if held[k] else wanted[k]
    for i in range(count):
        k = place[i]
        fixed[i], moved[i] = target[k] * noise[k], 0.0
        for j in range(users):
            moved[i] += 0.0 if held[j] else target[k] * matrix[k, j] * wanted[j]
        for j in range(count):
            system[i, j] = -target[k] * matrix[k, place[j]]
        system[i, i] += 1.0
    if not _eliminate(system, fixed, moved):
        return -1.0
    total, grown = 0.0, free
    for i in range(count):
        total += fixed[i]
        grown += moved[i]
    scale = (1.0 - total) / grown if grown > 0.0 else 0.0
    if total > 1.0 + ROUNDING:
        return -1.0
    scale = max(scale, 0.0)
    for k in range(users):
        share[k] = scale * wanted[k]
    for i in range(count):
        share[place[i]] = fixed[i] + scale * moved[i]
    return scale


@kernel
def _settle(matrix, noise, wanted, target, held, share):
    """`_hold` of those users whom it needs with the present beams; `held` and `share` are moved there."""
    users = wanted.size
    for _ in range(2 * users + 2):
        scale = _hold(matrix, noise, wanted, target, held, share)
        if scale < 0.0:
            return scale
        changed = False
        for k in range(users):
            needed = noise[k]
            for j in range(users):
                needed += matrix[k, j] * share[j]
            needed *= target[k]
            slack = 1e-14 * needed
            now = needed > scale * wanted[k] + (-slack if held[k] else slack)
            if now != held[k]:
                held[k] = now
                changed = True
        if not changed:
            return scale
    return -1.0


@kernel
def newton(g_real, g_imag, wanted, target, share):
    """Move `share` to `max(s wanted, nu I(share))` of total 1; whether it came there, and the steps."""
    users = share.size
    a_real, a_imag, error = np.empty((users, users)), np.empty((users, users)), np.empty(users)
    matrix, noise, held = np.empty((users, users)), np.empty(users), np.empty(users, np.bool_)
    old = np.empty(users)
    for k in range(users):
        held[k] = False
    for step in range(STEPS):
        sweep(g_real, g_imag, share, a_real, a_imag, error)
        _linearise(a_real, a_imag, share, error, matrix, noise)
        for k in range(users):
            old[k] = share[k]
            if step == 0:
                held[k] = target[k] * (error[k] / a_real[k, k]) > share[k]
        if _settle(matrix, noise, wanted, target, held, share) < 0.0:
            return False, step + 1
        change = 0.0
        for k in range(users):
            change = max(change, abs(share[k] - old[k]) / max(share[k], 1e-300))
        if change <= CLOSE * users or (step > 12 and change <= 1e-11):
            return True, step + 1
    return False, STEPS


@kernel
def _perron(matrix, noise, target, total, share):
    """Move `share` to the balanced one of the present beams, `q = x nu (c + C q)` of that total; `x` is returned."""
    users = share.size
    new, level = np.empty(users), 0.0
    for _ in range(_TURNS):
        added = 0.0
        for k in range(users):
            value = noise[k]
            for j in range(users):
                value += matrix[k, j] * share[j]
            new[k] = target[k] * value
            added += new[k]
        level, change = total / added, 0.0
        for k in range(users):
            new[k] *= level
            change = max(change, abs(new[k] - share[k]) - CLOSE * new[k])
            share[k] = new[k]
        if change <= 0.0:
            break
    return level


@kernel
def balanced(g_real, g_imag, target, total, steps, share):
    """Write the shares of that total which maximise the least `SINR_k / nu_k`; that ratio, the same for all.

    Users of whom nothing is asked get none. With the best beams at the present shares, the balanced ones of these
    beams are a Perron vector; the ratio grows with each step, superlinearly ([Schubert2004]).
    """
    users = share.size
    a_real, a_imag, error = np.empty((users, users)), np.empty((users, users)), np.empty(users)
    matrix, noise = np.empty((users, users)), np.empty(users)
    level, added = 0.0, 0.0
    for k in range(users):
        share[k] = target[k] / g_real[k, k]
        added += share[k]
    for k in range(users):
        share[k] *= total / added
    for _ in range(steps):
        sweep(g_real, g_imag, share, a_real, a_imag, error)
        _linearise(a_real, a_imag, share, error, matrix, noise)
        new = _perron(matrix, noise, target, total, share)
        if new <= level * (1.0 + 1e-12):
            return new
        level = new
    return level


@kernel
def smallest(g_real, g_imag, target, share):
    """Write the componentwise least shares of which every user has its least SINR; their sum, and the steps.

    The sum may exceed 1. It is infinite, and so are shares of users who ask for something, if no power would do: none
    of at most 1e8 limits, or none of which users need less than 1e12 times what they would need alone.
    """
    users = share.size
    a_real, a_imag, error = np.empty((users, users)), np.empty((users, users)), np.empty(users)
    matrix, noise, other = np.empty((users, users)), np.empty(users), np.empty(users)
    steps, found, asked = 0, False, 0.0
    for k in range(users):
        asked += target[k]
        share[k] = 0.0
    if asked == 0.0:
        return 0.0, 0
    for total in TOTALS:
        balanced(g_real, g_imag, target, total, 3 if total < TOTALS[-1] else TRIES, share)
        found = False
        for _ in range(STEPS):
            sweep(g_real, g_imag, share, a_real, a_imag, error)
            _linearise(a_real, a_imag, share, error, matrix, noise)
            steps += 1
            change = _fall(matrix, noise, target, other, share)
            if not change < np.inf:
                break
            found = True
            if change <= CLOSE * users:
                break
        if found:
            break
    total = 0.0
    for k in range(users):
        found = found and share[k] * g_real[k, k] <= MOST_LOSS * target[k]
    for k in range(users):
        if not found:
            share[k] = np.inf if target[k] > 0.0 else 0.0
        total += share[k]
    return total, steps


@kernel
def _fall(matrix, noise, target, other, share):
    """Move `share` to the least of the present beams; the largest relative change, infinite if there is none."""
    users = share.size
    system, fixed = np.empty((users, users)), np.empty(users)
    for k in range(users):
        fixed[k] = target[k] * noise[k]
        other[k] = 0.0
        for j in range(users):
            system[k, j] = -target[k] * matrix[k, j]
        system[k, k] += 1.0
    if not _eliminate(system, fixed, other):
        return np.inf
    change = 0.0
    for k in range(users):
        if fixed[k] > 0.0:
            change = max(change, abs(share[k] - fixed[k]) / fixed[k])
        share[k] = fixed[k]
    return change


@kernel
def _received(real, imag, beam, chosen, target, share):
    """Write the least shares of these beams as antennas receive them; their sum, infinite if no power would do.

    Of the Gram matrix the noise is what remains of sums that cancel; where little does, the shares found with it may
    be too low. These ones suffice, since their noise is that of beams of norm 1.
    """
    users, antennas = real.shape
    matrix, noise, other = np.empty((users, users)), np.empty(users), np.empty(users)
    for k in range(users):
        row = beam[chosen[k]]
        for j in range(users):
            along, across = 0.0, 0.0
            for n in range(antennas):
                along += row[n].real * real[j, n] + row[n].imag * imag[j, n]
                across += row[n].real * imag[j, n] - row[n].imag * real[j, n]
            matrix[k, j] = along * along + across * across
        noise[k] = 1.0 / matrix[k, k]
        for j in range(users):
            matrix[k, j] *= noise[k] if j != k else 0.0
    if not _fall(matrix, noise, target, other, share) < np.inf:
        for k in range(users):
            share[k] = np.inf if target[k] > 0.0 else 0.0
    return share.sum()


@kernel
def restored(g_real, g_imag, wanted, target, share):
    """Write the shares `q = max(s wanted, nu I(q))` of total 1: the nearest to `wanted` that keeps every minimum.

    For each `s` there is one such `q`, and it grows with `s`. Returns whether there is an `s >= 0`, and the steps;
    if not, the shares are `balanced`. Newton's method starts from `wanted`, or, should that fail, from the least
    powers scaled to 1, from where `s` grows monotonically.
    """
    users, total = share.size, 0.0
    for k in range(users):
        total += wanted[k] if wanted[k] > 0.0 else 0.0
    aim = np.empty(users)
    for k in range(users):
        aim[k] = (
            wanted[k] / total
            if total > 0.0 and wanted[k] > 0.0
            else (1.0 / users if not total > 0.0 else 0.0)
        )
        share[k] = aim[k]
    done, steps = newton(g_real, g_imag, aim, target, share)
    if done:
        return True, steps
    needed, more = smallest(g_real, g_imag, target, share)
    steps += more
    if not needed <= 1.0 + ROUNDING:
        balanced(g_real, g_imag, target, 1.0, TRIES, share)
        return False, steps
    for k in range(users):
        share[k] /= needed if needed > 0.0 else 1.0
    start = share.copy()
    done, more = newton(g_real, g_imag, aim, target, share)
    if not done:
        share[:] = start
    return True, steps + more


@kernel
def demands(channel, payload, blocklength, error_probability, active):
    """Users of the Gram form, their least SINR, and whether some user asks for a rate without a channel."""
    chosen = listed(channel, active)
    theta = back_off(float(error_probability), float(blocklength))
    target = least_sinrs(payload, float(blocklength), theta, chosen)
    lost, place = False, 0
    for k in range(active.size):
        if place < chosen.size and chosen[place] == k:
            place += 1
        elif active[k] and payload[k] > 0.0:
            lost = True
    return chosen, target, lost


@kernel(inline="always")
def _least(channel, noise_power, max_power, packet, active, needed, share, beam):
    """Write the least shares of one instance, those to use, and their beams; whether they are within 1, and steps.

    Arguments as in `MisoInstance`; `packet` is blocklength, error probability and payloads. The shares to use are the
    least ones or, where these exceed 1, balanced ones.
    """
    blocklength, error_probability, payload = packet
    chosen, target, lost = demands(channel, payload, blocklength, error_probability, active)
    real, imag = planes(channel, noise_power, max_power, chosen)
    g_real, g_imag = gram(real, imag)
    own, exact = np.empty(chosen.size), np.empty(channel.shape, np.complex128)
    total, steps = smallest(g_real, g_imag, target, own)
    if steps > 0 and not lost and total < np.inf:
        beams(real, imag, g_real, g_imag, own, chosen, exact)
        total = _received(real, imag, exact, chosen, target, own)
    for k in range(active.size):
        needed[k] = np.inf if lost and active[k] and payload[k] > 0.0 else 0.0
    if not lost:
        spread(own, chosen, 1.0, needed)
    feasible = total <= 1.0 + ROUNDING and not lost
    if not feasible and steps > 0:
        balanced(g_real, g_imag, target, 1.0, TRIES, own)
    if not feasible or steps == 0:
        beams(real, imag, g_real, g_imag, own, chosen, exact)
    spread(own, chosen, 1.0, share)
    beam[:] = exact
    return feasible, steps


@kernel
def _least_rows(
    first, last, channel, noise_power, max_power, packet, active, beam, needed, share, feasible, steps
):
    """Rows `first` to `last` of `least_batch`."""
    blocklength, error_probability, payload = packet
    for i in range(first, last):
        own = (blocklength[i], error_probability[i], payload[i])
        feasible[i], steps[i] = _least(
            channel[i], noise_power[i], max_power[i], own, active[i], needed[i], share[i], beam[i]
        )


def least_batch(channel, noise_power, max_power, packet, active, beam):
    """`_least` of each row: shares needed, shares to use, feasibility and steps; `beam` is written."""
    rows, users = active.shape
    out = np.empty((rows, users)), np.empty((rows, users)), np.empty(rows, np.bool_), np.empty(rows, np.int64)
    over_rows(_least_rows, rows, channel, noise_power, max_power, packet, active, beam, *out)
    return out


@kernel(inline="always")
def _restore(channel, noise_power, max_power, packet, active, wanted, share):
    """Write the shares of one instance that are nearest to `wanted` and keep every minimum; whether there are any."""
    blocklength, error_probability, payload = packet
    chosen, target, lost = demands(channel, payload, blocklength, error_probability, active)
    real, imag = planes(channel, noise_power, max_power, chosen)
    g_real, g_imag = gram(real, imag)
    own = np.empty(chosen.size)
    feasible, _ = restored(g_real, g_imag, picked(wanted, chosen), target, own)
    spread(own, chosen, 1.0, share)
    return feasible and not lost


@kernel
def _restore_rows(first, last, channel, noise_power, max_power, packet, active, wanted, share, feasible):
    """Rows `first` to `last` of `restore_batch`."""
    blocklength, error_probability, payload = packet
    for i in range(first, last):
        own = (blocklength[i], error_probability[i], payload[i])
        feasible[i] = _restore(channel[i], noise_power[i], max_power[i], own, active[i], wanted[i], share[i])


def restore_batch(channel, noise_power, max_power, packet, active, wanted):
    """`_restore` of each row: shares and whether they keep every minimum."""
    rows, users = active.shape
    out = np.empty((rows, users)), np.empty(rows, np.bool_)
    over_rows(_restore_rows, rows, channel, noise_power, max_power, packet, active, wanted, *out)
    return out
