"""Adversarial slices, and the falsifiers of `ExactSlicing` and of the schedule: all six kinds of service.

Curves are those of Eqs. (2) to (6) of [Hao2024]; only the nodes of the fading law, which define the effective capacity,
are the problem's. A rate counts as zero where its curve is negative.
"""

import functools
from statistics import NormalDist

import numpy as np
import torch
from tests.falsify.harness import DTYPES, TOLERANCE, Outcome, climb, log_uniform, numbers, tensors

from torchrrm.bench import in_double
from torchrrm.problems.slicing import KINDS, QoS, SliceAction, SliceBandwidth, SliceInstance
from torchrrm.solvers import ExactSlicing

__all__ = ["KINDS", "slicing"]

_GRID = 200
_SPENT = 1e-18  # of the slice: rounding of sums in longdouble


def curve(problem: SliceBandwidth, width: np.ndarray, cn0: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Rate in bit/s at a bandwidth in Hz, not clipped, `[... user]`; 0 without bandwidth."""
    real = np.float64 if problem.qos is QoS.EFFECTIVE_CAPACITY else np.longdouble
    width, cn0, heard = (np.asarray(x, real) for x in np.broadcast_arrays(width, cn0, heard))
    safe = np.where(width > 0, width, 1)
    if problem.qos is QoS.EFFECTIVE_CAPACITY:
        gain, weight = (x.numpy() for x in problem.quadrature)
        rate = _link(problem, safe[..., None], cn0[..., None] * gain, np.zeros(1))
        least = rate.min(-1, keepdims=True)
        exponent, share = -problem.qos_exponent_per_bit * (rate - least), weight / weight.sum()
        mean, total = np.expm1(exponent) @ share, np.exp(exponent) @ share
        # Each form where it keeps its digits: `1 + mean` cancels where the mean of the exponentials is small.
        logarithm = np.where(total < 0.5, np.log(total), np.log1p(np.maximum(mean, -0.75)))
        rate = least[..., 0] - logarithm / problem.qos_exponent_per_bit
    else:
        rate = _link(problem, safe, cn0, heard if problem.qos is QoS.SECRECY else 0 * heard)
        rate = np.where(cn0 > heard, rate, 0) if problem.qos is QoS.SECRECY else rate
    return np.where(width > 0, rate, 0)


def _link(problem: SliceBandwidth, width: np.ndarray, cn0: np.ndarray, heard: np.ndarray) -> np.ndarray:
    rate = width * (np.log1p(cn0 / width) - np.log1p(heard / width))
    if problem.finite_blocklength:
        rate = rate - _loss(problem.error_probability, problem, width, cn0)
        if problem.qos is QoS.SECRECY:
            rate = rate - _loss(problem.information_leakage, problem, width, heard)
    return rate / np.log(rate.dtype.type(2))


def _loss(probability: float, problem: SliceBandwidth, width: np.ndarray, cn0: np.ndarray) -> np.ndarray:
    """`sqrt(w V / T) Q^-1(eps)` in nat/s."""
    share = cn0 / (width + cn0)
    quantile = -NormalDist().inv_cdf(probability)
    return np.sqrt(width * share * (2 - share) / problem.block_duration_s) * quantile


def draw_slices(rng: np.random.Generator, count: int) -> SliceInstance:
    """Slices of 1 to 4 users: minima of zero and about what the slice can serve, ties, padding, all scales."""
    users, dtype = int(rng.integers(1, 5)), DTYPES[rng.integers(2)]
    each, one = (count, users), (count, 1)
    limit = np.where(rng.random(one) < 0.7, log_uniform(rng, 1, 1e9, one), log_uniform(rng, 1e-6, 1e12, one))
    snr = np.where(
        rng.random(one) < 0.7, log_uniform(rng, 1e-2, 1e6, one), log_uniform(rng, 1e-12, 1e12, one)
    )
    cn0 = limit * snr * log_uniform(rng, 0.03, 30, each)
    cn0 = np.where(rng.random(one) < 0.1, cn0[:, :1], cn0)  # ties
    cn0 = cn0 * np.where(rng.random(one) < 0.2, log_uniform(rng, 1e-9, 1e6, each), 1.0)  # weak beside strong
    cn0 = np.where(rng.random(each) < 0.05, 0.0, cn0)
    heard = cn0 * np.where(
        rng.random(one) < 0.8, rng.uniform(0, 1.2, each), 1 - log_uniform(rng, 1e-9, 0.1, each)
    )
    heard = np.where(rng.random(one) < 0.1, 0.0, heard)
    scale = limit * np.log2(1 + cn0 / (limit / users)) / users
    near = rng.random(one) < 0.2  # what any bandwidth can carry
    least = np.where(
        near,
        cn0 / np.log(2) * (1 - log_uniform(rng, 1e-6, 0.1, each)),
        scale * log_uniform(rng, 1e-3, 3, each),
    )
    least = np.where(rng.random(one) < 0.3, 0.0, np.where(rng.random(each) < 0.2, 0.0, least))
    least = np.where((least > 0) & (least < 1e-9), 0.0, least)  # less is refused
    active = rng.random(each) < 0.9
    return SliceInstance(
        cn0_hz=tensors(cn0, dtype),
        eavesdropper_cn0_hz=tensors(heard, dtype),
        min_rate_bps=tensors(least, dtype),
        bandwidth_hz=tensors(limit[:, 0], dtype),
        active=torch.from_numpy(active),
    )


def least_width(problem: SliceBandwidth, instance: SliceInstance) -> np.ndarray:
    """Least bandwidth that serves each user, by a grid and bisection; infinite where none does, `[... user]`.

    It does serve: of rates that are computed in float64 a hair more than the least is asked for.
    """
    limit = numbers(instance.bandwidth_hz)[:, None].astype(np.longdouble)
    hair = 64 * np.finfo(float).eps if problem.qos is QoS.EFFECTIVE_CAPACITY else 0.0
    least, active = numbers(instance.min_rate_bps), instance.active.numpy()
    curve_of = functools.partial(
        curve, problem, cn0=numbers(instance.cn0_hz), heard=numbers(instance.eavesdropper_cn0_hz)
    )
    grid = limit * np.concatenate([[0.0], np.geomspace(1e-15, 1, _GRID)])[:, None, None]
    least = least * (1 + np.longdouble(hair))
    enough = curve_of(grid) >= least  # [point instance user]
    first = enough.argmax(0)
    high = np.take_along_axis(np.broadcast_to(grid, enough.shape), first[None], 0)[0]
    low = np.take_along_axis(np.broadcast_to(grid, enough.shape), np.maximum(first - 1, 0)[None], 0)[0]
    for _ in range(80):
        middle = 0.5 * (low + high)
        met = curve_of(middle) >= least
        low, high = np.where(met, low, middle), np.where(met, middle, high)
    served = (
        enough.any(0)
        & active
        & (numbers(instance.cn0_hz) > problem.eavesdropper(in_double(instance)).numpy())
    )
    return np.where(served, np.where(least > 0, high, 0.0), np.inf)


def slicing(kind: str, rng: np.random.Generator) -> Outcome:
    """`ExactSlicing` of one kind: the bound, the schedule, and feasibility as the problem evaluates it."""
    problem, count = KINDS[kind], 8 if KINDS[kind].qos is QoS.EFFECTIVE_CAPACITY else 30
    instance = draw_slices(rng, count)
    exact, outcome = in_double(instance), Outcome(count)
    scheduled = problem.schedule(exact).active.numpy()
    least = least_width(problem, instance)
    _check_schedule(exact, least.astype(float), scheduled, outcome)
    found = ExactSlicing(problem).solve(instance)
    bound, limit = numbers(found.upper_bound), numbers(instance.bandwidth_hz)
    floor = np.where(scheduled & np.isfinite(least), least, 0.0)
    surplus = np.maximum(limit - floor.sum(-1), 0.0)
    cn0, heard, demand = (
        numbers(exact.cn0_hz),
        numbers(exact.eavesdropper_cn0_hz),
        numbers(exact.min_rate_bps),
    )

    def rates(width: np.ndarray) -> np.ndarray:
        return np.where(scheduled, curve(problem, width, cn0, heard), 0)

    def value(part: np.ndarray) -> np.ndarray:
        """Sum rate where users have these parts of the surplus beyond their least bandwidths."""
        width = floor + surplus[:, None] * part
        rate = rates(width)
        kept = (~scheduled | (rate >= demand)).all(-1) & (width.sum(-1) <= limit * (1 + _SPENT))
        return np.where(kept, np.maximum(rate, 0).sum(-1), -np.inf)

    users = scheduled.shape[-1]
    starts = np.concatenate(
        [
            np.repeat(np.eye(users)[:, None], count, 1),
            np.zeros((1, count, users)),
            rng.dirichlet(np.full(users, 0.5), (60, count)),
            rng.dirichlet(np.full(users, 0.5), (20, count)) * rng.random((20, count, 1)),
        ]
    )
    _, best = climb(rng, starts, value, _move_parts, steps=40, candidates=12)
    outcome.below(best, bound, "search")
    own = numbers(found.action.bandwidth_hz)
    missing = np.where(
        scheduled & (demand > 0), (demand - rates(own)) / np.where(demand > 0, demand, 1), 0
    ).max(-1)
    over = np.maximum((own.sum(-1) - limit) / limit, (-own / limit[:, None]).max(-1))
    violation = np.maximum(np.maximum(missing, over), 0).astype(float)
    evaluation = problem.evaluate(exact, SliceAction(bandwidth_hz=found.action.bandwidth_hz.double()))
    outcome.holds(violation <= TOLERANCE, "the solver's action violates a constraint")
    outcome.judged(violation, evaluation, "own action")
    mine = np.maximum(rates(own), 0).sum(-1)
    gross = np.where(scheduled, own * np.log2(1 + cn0 / np.where(own > 0, own, 1)), 0).sum(-1)
    outcome.equals(mine.astype(float), evaluation, "own action", gross)
    outcome.below(np.where(violation <= 0, mine, -np.inf), bound, "own action")
    _check_violations(rng, problem, exact, least.astype(float), outcome)
    return outcome


def _check_schedule(exact: SliceInstance, least: np.ndarray, scheduled: np.ndarray, outcome: Outcome) -> None:
    """Compare the scheduled users with those of the smallest least bandwidths that fit."""
    limit = numbers(exact.bandwidth_hz)[:, None]
    ordered = np.sort(least, -1)
    total = np.cumsum(np.where(np.isfinite(ordered), ordered, np.inf), -1)
    count = (total <= limit).sum(-1)
    close = (np.abs(total - limit) <= 1e-9 * limit).any(-1)  # who fits is a matter of rounding
    edge = np.take_along_axis(ordered, np.clip(count - 1, 0, None)[:, None], -1)
    after = np.take_along_axis(ordered, np.clip(count, None, ordered.shape[-1] - 1)[:, None], -1)
    close |= (after <= edge * (1 + 1e-9))[:, 0] & (count > 0) & (count < ordered.shape[-1])  # ties
    mine = (least <= edge) & (count > 0)[:, None]
    outcome.holds(close | (mine == scheduled).all(-1), "the schedule differs")


def _move_parts(rng: np.random.Generator, part: np.ndarray, size: float) -> np.ndarray:
    """Parts of a surplus, at most 1 together, of which some is moved from one user to another, taken, or given back."""
    spare = np.maximum(1 - part.sum(-1, keepdims=True), 0)
    moved = np.concatenate([part, spare], -1)
    shape, holders = (*part.shape[:-1], 1), moved.shape[-1]
    source, target = rng.integers(holders, size=shape), rng.integers(holders, size=shape)
    amount = np.where(rng.random(shape) < 0.1, 1.0, size * rng.random(shape))
    amount = amount * np.take_along_axis(moved, source, -1)
    np.put_along_axis(moved, source, np.take_along_axis(moved, source, -1) - amount, -1)
    np.put_along_axis(moved, target, np.take_along_axis(moved, target, -1) + amount, -1)
    return moved[..., :-1]


def _check_violations(
    rng: np.random.Generator,
    problem: SliceBandwidth,
    exact: SliceInstance,
    least: np.ndarray,
    outcome: Outcome,
) -> None:
    """Compare the violations of random actions about the limits with those of the problem."""
    limit, demand = numbers(exact.bandwidth_hz), numbers(exact.min_rate_bps)
    scheduled = problem.schedule(exact).active.numpy()
    beyond = TOLERANCE * rng.choice([-1e3, -2.0, -1.01, -0.99, 0.0, 0.99, 1.01, 2.0, 1e3], (len(limit), 1))
    floor = np.where(scheduled & np.isfinite(least), least, 0.0)
    total = floor.sum(-1, keepdims=True)
    full = floor * np.where(total > 0, limit[:, None] / np.where(total > 0, total, 1), 1)
    width = np.where(rng.random(limit.shape) < 0.5, 1, 0)[:, None] * (full - floor) + floor
    width = width * (1 + beyond)
    rate = np.where(
        scheduled, curve(problem, width, numbers(exact.cn0_hz), problem.eavesdropper(exact).numpy()), 0
    )
    wanted = scheduled & (demand > 0)
    missing = np.where(wanted, (demand - rate) / np.where(wanted, demand, 1), 0).max(-1)
    over = (width.sum(-1) - limit) / limit
    evaluation = problem.evaluate(exact, SliceAction(bandwidth_hz=torch.from_numpy(width)))
    outcome.judged(np.maximum(missing, over).astype(float), evaluation, "random action")
