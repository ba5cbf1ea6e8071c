"""Adversarial cells, and the falsifier of `ExhaustiveAssociation`: all associations, each searched over the powers."""

import itertools

import numpy as np
import torch
from tests.falsify.harness import (
    DTYPES,
    MOST_RATIO,
    Outcome,
    about_limits,
    climb,
    log_uniform,
    move_shares,
    numbers,
    share_starts,
    tensors,
)

from torchrrm.bench import in_double
from torchrrm.problems.association import AssociationAction, CellInstance, SumRateAssociation
from torchrrm.solvers import ExhaustiveAssociation

__all__ = ["association"]

_TIGHT = 1e-6
_BOXES = 20_000


def draw_cells(rng: np.random.Generator, count: int) -> CellInstance:
    """Cells of 1 to 4 users and 1 to 3 stations: all scales, ties, no path, users and stations that are off."""
    users, stations, dtype = int(rng.integers(1, 5)), int(rng.integers(1, 4)), DTYPES[rng.integers(2)]
    shape, one = (count, users, stations), (count, 1, 1)
    gain = rng.choice([1.0, 10.0, 1e4], one) ** rng.uniform(-1, 1, shape) * rng.exponential(size=shape)
    gain = np.where(rng.random(one) < 0.1, 1.0, gain)
    gain = np.where(rng.random(shape) < 0.1, 0.0, gain)
    scale = log_uniform(rng, 1e-12, 1e12, one)
    snr = np.where(
        rng.random(one) < 0.6, log_uniform(rng, 1e-1, 1e5, one), log_uniform(rng, 1e-12, 1e12, one)
    )
    limit = tensors(
        log_uniform(rng, 0.1, 10, (count, stations)) * log_uniform(rng, 1e-3, 1e3, (count, 1)), dtype
    )
    noise = tensors((scale / snr)[:, 0, 0] * numbers(limit).max(-1), dtype)
    return CellInstance(
        gain=tensors(gain * scale, dtype),
        noise_power_w=noise,
        max_power_w=limit,
        bandwidth_hz=torch.ones(count, dtype=dtype),
        active_user=torch.from_numpy(rng.random((count, users)) < 0.9),
        active_bs=torch.from_numpy(rng.random((count, stations)) < 0.9),
    )


def association(rng: np.random.Generator) -> Outcome:
    """`ExhaustiveAssociation`: the bound, and feasibility as the problem evaluates it."""
    count = 12
    instance = draw_cells(rng, count)
    users, stations = instance.gain.shape[-2:]
    limit, active_bs = numbers(instance.max_power_w), instance.active_bs.numpy()
    both = instance.active_user.numpy()[:, :, None] & active_bs[:, None, :]
    scale = limit / numbers(instance.noise_power_w)[:, None]
    ratio = np.where(both, np.minimum(numbers(instance.gain) * scale[:, None, :], MOST_RATIO), 0.0)
    reached = (ratio > 0).any(-1)
    choices = np.array(list(itertools.product(range(stations), repeat=users)))  # [choice user]

    def rates(share: np.ndarray) -> np.ndarray:
        """Rates `[... instance user bs]` of users that have a station alone."""
        received = ratio * np.where(active_bs, share, 0.0)[..., None, :]
        own = np.eye(stations, dtype=bool)
        heard = np.einsum("...ij,jm->...im", received, (~own).astype(float))
        return np.log1p(received / (1 + heard)) / np.log(2)

    def value(share: np.ndarray, station: np.ndarray) -> np.ndarray:
        """Sum of rates of associations `[... instance user]`, of which users out of reach are no part."""
        chosen = np.equal(station[..., None], np.arange(stations)) & np.expand_dims(reached, -1)
        load = np.maximum(chosen.sum(-2), 1)
        return (chosen * rates(share) / load[..., None, :]).sum((-2, -1))

    def best(share: np.ndarray) -> np.ndarray:
        score = np.full(share.shape[:-1], -np.inf)
        for choice in choices:
            served = np.take_along_axis(
                np.broadcast_to(active_bs[:, None], (count, users, stations)),
                np.broadcast_to(choice[:, None], (count, users, 1)),
                -1,
            )[..., 0]
            allowed = (served | ~reached).all(-1)
            found = value(share, np.broadcast_to(choice, (*share.shape[:-1], users)))
            score = np.where(allowed, np.maximum(score, found), score)
        return np.where(reached.any(-1), score, 0.0)

    found, outcome = ExhaustiveAssociation(_TIGHT, max_boxes=_BOXES).solve(instance), Outcome(count)
    bound = numbers(found.upper_bound)
    own = np.where(active_bs, numbers(found.action.power_w) / limit, 0.0)
    mine = value(own, found.action.station.numpy())
    starts = np.concatenate([np.clip(own, 0, 1)[None], share_starts(rng, 20, count, stations)])
    _, top = climb(rng, starts, best, move_shares, steps=25, candidates=8)
    outcome.below(mine, bound, "own action")
    outcome.below(top, bound, "search")
    problem, exact = SumRateAssociation(), in_double(instance)
    told = problem.evaluate(exact, in_double(found.action))
    outcome.equals(mine, told, "own action")
    share = about_limits(rng, own.shape)
    station = rng.integers(-1, stations, (count, users))
    lost = (station < 0) | ~np.take_along_axis(active_bs, np.clip(station, 0, None), -1)
    over = np.where(active_bs, np.maximum(share - 1, -share), 0.0).max(-1)
    violation = np.where((lost & reached).any(-1), 1.0, over)
    action = AssociationAction(station=torch.from_numpy(station), power_w=torch.from_numpy(share * limit))
    outcome.judged(violation, problem.evaluate(exact, action), "random action")
    return outcome
