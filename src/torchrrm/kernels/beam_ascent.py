"""Ascent of the weighted sum rate of short packets over K real powers: the compiled form of `GramAscent`.

In the levels `r_k = ln(1 + SINR_k)` the objective `sum_k a_k R_k(r_k)` is separable, minimum rates are bounds
`r >= rho`, and the limit is `P(r) = 1` with the least total power `P` of levels `r`. With `J = dr / dq` of
`torchrrm.kernels.gram`, `lambda = J^-T 1` is the gradient of `P`, and its Hessian, from the derivatives of `A`, is

    -J^-T S J^-1 - diag(lambda),   S_lm = 2 Re(A_lm (A Z A)_ml) - (lambda_l / e_l + lambda_m / e_m) |A_lm|^2,
    Z = diag(lambda q / e).

A step is Newton's on the users that are not at their bound or would leave it, and its end is restored to the minimum
rates and to full power by `torchrrm.kernels.beam_power`; so every point on the way is feasible, and none is worse than
the one before.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from torchrrm.kernels.beam_algebra import factor, invert, power_hessian, start_aim, substitute
from torchrrm.kernels.beam_power import demands, newton, restored, smallest
from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.gram import back_off, beams, gram, planes, slopes, spread, sweep
from torchrrm.kernels.links import picked, rank
from torchrrm.kernels.rows import over_rows

__all__ = [
    "AT_BOUND",
    "HALVINGS",
    "PIVOT",
    "RISE",
    "SHIFTS",
    "Uplink",
    "ascend",
    "refine_batch",
    "solve_batch",
    "value",
]

HALVINGS = 14  # of a step until it is a rise
AT_BOUND = 1e-9  # relative to the least SINR
SHIFTS = 12  # of the Hessian until it is negative definite
RISE = 1e-4  # part of the rise promised that a step must bring
PIVOT = 1e-3  # relative to the diagonal of the model: below, the Hessian does not count as negative definite


class Uplink(NamedTuple):
    """Gram matrix, weights and least SINRs of the users, and the back-off `theta` of their packets."""

    g_real: Any
    g_imag: Any
    weight: Any
    target: Any
    theta: Any


class Point(NamedTuple):
    """Shares, `A` and the errors there."""

    share: Any
    a_real: Any
    a_imag: Any
    error: Any


class Model(NamedTuple):
    """Derivatives by the levels: `a R'`, `a R''`, `lambda`, Hessian of `P`; `J^-1`; who is at its least SINR."""

    gain: Any
    curvature: Any
    price: Any
    hessian: Any
    back: Any
    bound: Any


@kernel
def value(error, weight, theta):
    """Weighted sum rate in nats of users with errors `e_k`."""
    total = 0.0
    for k in range(error.size):
        e = error[k]
        total += weight[k] * (-math.log(e) - theta * math.sqrt(max((1.0 - e) * (1.0 + e), 0.0)))
    return total


@kernel
def _look(uplink, point):
    """Fill in the point of its shares; the objective there."""
    sweep(uplink.g_real, uplink.g_imag, point.share, point.a_real, point.a_imag, point.error)
    return value(point.error, uplink.weight, uplink.theta)


@kernel
def _describe(uplink, point, model):
    """Fill in the model at a point."""
    users, slope = point.share.size, model.hessian
    slopes(point.a_real, point.a_imag, point.share, point.error, slope)
    invert(slope, model.back)
    for k in range(users):
        model.price[k] = 0.0
    for j in range(users):
        for k in range(users):
            model.price[k] += model.back[j, k]
    for k in range(users):
        error, weight = point.error[k], uplink.weight[k]
        heard, missing = point.share[k] * point.a_real[k, k], error * error
        model.bound[k] = heard <= uplink.target[k] * error * (1.0 + AT_BOUND)
        model.gain[k], model.curvature[k] = -np.inf, 0.0
        if heard > 0.0:
            root = math.sqrt(heard * (1.0 + error))
            model.gain[k] = weight * (1.0 - uplink.theta * missing / root)
            model.curvature[k] = weight * uplink.theta * missing * (2.0 - missing) / (root * root * root)
    power_hessian(
        point.a_real, point.a_imag, point.share, point.error, model.price, model.back, model.hessian
    )


@kernel
def _release(model, free):
    """Mark the users that are to move; the price of power among them, `mu` with `a R' = mu lambda` on the whole.

    Those are the users above their bounds, and of the others those whose gain is above that price.
    """
    gain, price, users = model.gain, model.price, free.size
    total, spent, most = 0.0, 0.0, 0.0
    for k in range(users):
        free[k] = not model.bound[k]
        if free[k]:
            total += gain[k]
            spent += price[k]
            most = max(most, abs(gain[k]) / price[k])
    for _ in range(users):
        level, best, leader = total / spent if spent > 0.0 else -np.inf, -np.inf, -1
        for k in range(users):
            if not free[k] and gain[k] / price[k] > best:
                best, leader = gain[k] / price[k], k
        if leader < 0 or not best > level + 1e-9 * abs(level):
            break
        free[leader] = True
        total += gain[leader]
        spent += price[leader]
        most = max(most, abs(best))
    return max(total / spent, 1e-3 * most) if spent > 0.0 else 0.0


@kernel
def _shifted(model, level, place, matrix):
    """Write the Cholesky factor of the negative Hessian, shifted until it has one; the shift, negative if none."""
    count, shift = place.size, 0.0
    least = np.empty(count)
    for attempt in range(SHIFTS):
        for i in range(count):
            k = place[i]
            for j in range(i + 1):
                m = place[j]
                matrix[i, j] = level * (model.hessian[k, m] + model.price[k] * model.price[m])
            size = level * model.price[k] + model.curvature[k]
            matrix[i, i] += shift * size - model.curvature[k]
            least[i] = PIVOT * size
        if factor(matrix, least):
            return shift
        shift = 0.25 if attempt == 0 else 3.0 * shift
    return -1.0


@kernel
def _direction(model, level, free, move):
    """Write the step of the levels of the free users; the rise that it promises to first order, times 1 + shift."""
    place = np.flatnonzero(free)
    count = place.size
    matrix, first, second = np.empty((count, count)), np.empty(count), np.empty(count)
    for k in range(free.size):
        move[k] = 0.0
    shift = _shifted(model, level, place, matrix)
    if shift < 0.0:
        return 0.0, 0.0
    for i in range(count):
        first[i], second[i] = model.gain[place[i]], model.price[place[i]]
    substitute(matrix, first)
    substitute(matrix, second)
    along, across = 0.0, 0.0
    for i in range(count):
        along += model.price[place[i]] * first[i]
        across += model.price[place[i]] * second[i]
    rise = 0.0
    for i in range(count):
        move[place[i]] = first[i] - along / across * second[i]
        rise += model.gain[place[i]] * move[place[i]]
    return rise, shift


@kernel
def _head(model, free, move, change):
    """Write the step of the shares; the rise that it promises, and that of an unshifted step about.

    Users at their bounds who would fall below them are held, and the step is taken again without them.
    """
    users = free.size
    level = _release(model, free)
    rise, shift = 0.0, 0.0
    for _ in range(users):
        rise, shift = _direction(model, level, free, move)
        again = False
        for k in range(users):
            if model.bound[k] and free[k] and move[k] < 0.0:
                free[k] = False
                again = True
        if not again:
            break
    for k in range(users):
        change[k] = 0.0
        for j in range(users):
            change[k] += model.back[k, j] * move[j]
    return rise, rise * (1.0 + shift)


@kernel
def _advance(uplink, point, trial, change, free, least):
    """Go along `change` as far as the objective rises to `least[0]` and `least[1]` times the length of the step.

    Users that are not free are held at their least SINR. Writes `trial`; the objective there, or minus infinity.
    """
    users, length = change.size, 1.0
    aim = np.empty(users)
    for _ in range(HALVINGS):
        total = 0.0
        for k in range(users):
            moved = max(point.share[k] + length * change[k], 0.0)
            trial.share[k] = moved
            aim[k] = moved if free[k] else 0.0
            total += aim[k]
        if total > 0.0:
            for k in range(users):
                aim[k] /= total
            if newton(uplink.g_real, uplink.g_imag, aim, uplink.target, trial.share)[0]:
                new = _look(uplink, trial)
                if new >= least[0] + length * least[1]:
                    return new
        length *= 0.5
    return -np.inf


@kernel
def ascend(uplink, share, steps, tol):
    """Move `share`, which must keep every minimum at full power, uphill; the objective, steps, and if it converged.

    It counts as converged once Newton's step promises a rise of less than `tol` of the objective.
    """
    users = share.size
    square = (users, users)
    point = Point(share.copy(), np.empty(square), np.empty(square), np.empty(users))
    trial = Point(share.copy(), np.empty(square), np.empty(square), np.empty(users))
    model = Model(
        np.empty(users),
        np.empty(users),
        np.empty(users),
        np.empty(square),
        np.empty(square),
        np.empty(users, np.bool_),
    )
    move, change, free = np.empty(users), np.empty(users), np.empty(users, np.bool_)
    now, step, converged = _look(uplink, point), 0, False
    while step < steps:
        _describe(uplink, point, model)
        rise, promised = _head(model, free, move, change)
        if promised <= tol * abs(now):
            converged = True
            break
        new = _advance(uplink, point, trial, change, free, (now, RISE * rise))
        if new == -np.inf:
            break
        point, trial, now, step = trial, point, new, step + 1
    share[:] = point.share
    return now, step, converged


@kernel
def _prices(uplink, least):
    """`lambda` at the least powers scaled to the limit: what a user's level costs there."""
    users = least.size
    square = (users, users)
    point = Point(least, np.empty(square), np.empty(square), np.empty(users))
    _look(uplink, point)
    slope, back, price = np.empty(square), np.empty(square), np.zeros(users)
    slopes(point.a_real, point.a_imag, point.share, point.error, slope)
    invert(slope, back)
    for j in range(users):
        for k in range(users):
            price[k] += back[j, k]
    return price


@kernel
def _best(uplink, table, steps, tol, best):
    """Write the best shares that the starts lead to; if they keep every minimum, if all converged, the most steps."""
    users, starts = best.size, table.shape[1]
    least, aim, share = np.zeros(users), np.ones(users), np.empty(users)
    price, place = np.ones(users), np.zeros(users, np.int64)
    if starts > 1:
        smallest(uplink.g_real, uplink.g_imag, uplink.target, least)
    highest, most, converged = -np.inf, 0, True
    for start in range(starts):
        if start == 1:
            price = _prices(uplink, least)
            place = rank(price)
        start_aim(start, least, price, place, table, aim)
        feasible, _ = restored(uplink.g_real, uplink.g_imag, aim, uplink.target, share)
        if not feasible:
            best[:] = share
            return False, False, 0
        reached, taken, done = ascend(uplink, share, steps, tol)
        most, converged = max(most, taken), converged and done
        if reached > highest:
            highest = reached
            best[:] = share
    return True, converged, most


@kernel
def _ready(channel, noise_power, max_power, packet, active, weight):
    """The uplink of an instance, its users and their channels, and whether one asks for a rate without a channel."""
    blocklength, error_probability, payload = packet
    chosen, target, lost = demands(channel, payload, blocklength, error_probability, active)
    real, imag = planes(channel, noise_power, max_power, chosen)
    g_real, g_imag = gram(real, imag)
    theta = back_off(float(error_probability), float(blocklength))
    return Uplink(g_real, g_imag, picked(weight, chosen), target, theta), chosen, real, imag, lost


@kernel(inline="always")
def _solve(channel, noise_power, max_power, packet, active, weight, plan, power, beam):
    """Write powers in W and beams of one instance; whether every start converged, and the most steps of any.

    Arguments as in `MisoInstance`; `packet` is blocklength, error probability and payloads; `plan` is numbers
    `[rank start]` for random starts, steps, and tolerance. Where the minimum rates cannot be kept, powers are balanced.
    """
    uplink, chosen, real, imag, lost = _ready(channel, noise_power, max_power, packet, active, weight)
    share = np.empty(chosen.size)
    table, steps, tol = plan
    converged, most = not lost, 0
    if chosen.size > 0:
        _, converged, most = _best(uplink, table, steps, tol, share)
    spread(share, chosen, max_power, power)
    beams(real, imag, uplink.g_real, uplink.g_imag, share, chosen, beam)
    return converged and not lost, most


@kernel
def _solve_rows(
    first, last, channel, noise_power, max_power, packet, active, weight, plan, power, beam, converged, most
):
    """Rows `first` to `last` of `solve_batch`."""
    blocklength, error_probability, payload = packet
    for i in range(first, last):
        own = (blocklength[i], error_probability[i], payload[i])
        converged[i], most[i] = _solve(
            channel[i], noise_power[i], max_power[i], own, active[i], weight[i], plan, power[i], beam[i]
        )


def solve_batch(channel, noise_power, max_power, packet, active, weight, plan, power, beam):
    """`_solve` of each row."""
    rows = active.shape[0]
    out = np.empty(rows, np.bool_), np.empty(rows, np.int64)
    over_rows(
        _solve_rows, rows, channel, noise_power, max_power, packet, active, weight, plan, power, beam, *out
    )
    return out


@kernel(inline="always")
def _refine(channel, noise_power, max_power, packet, active, weight, plan, power, beam):
    """Write what the ascent from `power` leads to, restored to minimum rates and full power first, in its place."""
    uplink, chosen, real, imag, lost = _ready(channel, noise_power, max_power, packet, active, weight)
    share, (_, steps, tol) = np.empty(chosen.size), plan
    converged, taken = not lost, 0
    if chosen.size > 0:
        wanted = picked(power, chosen)
        feasible, _ = restored(uplink.g_real, uplink.g_imag, wanted, uplink.target, share)
        if feasible:
            _, taken, converged = ascend(uplink, share, steps, tol)
        converged = converged and feasible and not lost
    spread(share, chosen, max_power, power)
    beams(real, imag, uplink.g_real, uplink.g_imag, share, chosen, beam)
    return converged, taken


@kernel
def _refine_rows(
    first, last, channel, noise_power, max_power, packet, active, weight, plan, power, beam, converged, taken
):
    """Rows `first` to `last` of `refine_batch`."""
    blocklength, error_probability, payload = packet
    for i in range(first, last):
        own = (blocklength[i], error_probability[i], payload[i])
        converged[i], taken[i] = _refine(
            channel[i], noise_power[i], max_power[i], own, active[i], weight[i], plan, power[i], beam[i]
        )


def refine_batch(channel, noise_power, max_power, packet, active, weight, plan, power, beam):
    """`_refine` of each row."""
    rows = active.shape[0]
    out = np.empty(rows, np.bool_), np.empty(rows, np.int64)
    over_rows(
        _refine_rows, rows, channel, noise_power, max_power, packet, active, weight, plan, power, beam, *out
    )
    return out
