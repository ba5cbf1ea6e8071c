"""Adversarial links over slots, and the falsifiers of `ErgodicDualBound` and `certify_out_of_reach`."""

import numpy as np
import torch
from tests.falsify.harness import (
    Outcome,
    climb,
    link_rates,
    log_uniform,
    move_shares,
    numbers,
    share_starts,
    tensors,
)
from tests.falsify.links import Links, draw_links

from torchrrm.bench import in_double
from torchrrm.problems import ErgodicAction, ErgodicInstance, ErgodicPower
from torchrrm.solvers import ErgodicDualBound, certify_out_of_reach

__all__ = ["dual_bound", "hard_dual_bound", "out_of_reach"]

_TIGHT = 1e-6


class Slots:
    """Links over slots with minima that some powers reach, exceed or miss, and the evaluator of the tests."""

    def __init__(self, rng: np.random.Generator, count: int):
        self.links: Links = draw_links(rng, count, slots=int(rng.integers(1, 4)))
        self.shape = self.links.ratio.shape[:-1]  # [instance slot link]
        self.reached = np.where(
            rng.random(self.shape) < 0.3, rng.integers(0, 2, self.shape), rng.random(self.shape)
        )
        self.target = self.mean_rates(self.reached.reshape(count, -1))
        factor = rng.choice([0.0, 0.5, 1.0, 1.0, 1.2, 3.0], (count, 1))
        minimum = self.target * np.where(
            rng.random((count, 1)) < 0.8, factor, rng.choice([0.0, 1.0], self.target.shape)
        )
        links = self.links.instance
        self.minimum = numbers(tensors(minimum, links.gain.dtype))
        self.instance = ErgodicInstance(
            gain=links.gain,
            mean_gain=links.gain.mean(-3),
            noise_power_w=links.noise_power_w,
            max_power_w=links.max_power_w,
            min_rate_bps_hz=tensors(minimum, links.gain.dtype),
            active=links.active,
        )

    def mean_rates(self, share: np.ndarray) -> np.ndarray:
        """Mean rates `[... instance link]` at shares `[... instance slot*link]`."""
        share = share.reshape(*share.shape[:-1], *self.shape[1:])
        active = self.links.active[:, None, :]
        return link_rates(self.links.ratio, np.where(active, share, 0.0)).mean(-2) * self.links.active

    def power_w(self, share: np.ndarray) -> torch.Tensor:
        """Powers `[instance slot link]` of shares."""
        limit = numbers(self.instance.max_power_w)[:, None, :]
        return torch.from_numpy(
            np.where(self.links.active[:, None, :], share.reshape(self.shape), 0.0) * limit
        )

    def shares(self, power_w: torch.Tensor) -> np.ndarray:
        """Shares `[instance slot*link]` of powers, at most 1: in single precision they may be rounded above."""
        limit = numbers(self.instance.max_power_w)[:, None, :]
        share = np.where(self.links.active[:, None, :], numbers(power_w) / limit, 0.0)
        return np.clip(share, 0, 1).reshape(len(share), -1)

    def starts(self, rng: np.random.Generator, *given: np.ndarray) -> np.ndarray:
        """Where a search starts from."""
        size = self.shape[1] * self.shape[2]
        if size <= 6:
            found = share_starts(rng, 30, self.shape[0], size)
        else:
            found = np.concatenate(
                [rng.random((60, self.shape[0], size)), rng.integers(0, 2, (60, self.shape[0], size))]
            )
        return np.concatenate([*(x.reshape(1, self.shape[0], size) for x in given), found])


def dual_bound(rng: np.random.Generator) -> Outcome:
    """`ErgodicDualBound` of minima that may be relaxed; also at random multipliers."""
    count = 6
    slots, alpha = Slots(rng, count), float(log_uniform(rng, 0.1, 100, ()))
    problem = ErgodicPower(slack_penalty=alpha)

    def value(share: np.ndarray) -> np.ndarray:
        rate = slots.mean_rates(share)
        missing = np.where(slots.links.active, np.maximum(slots.minimum - rate, 0), 0.0)
        return rate.sum(-1) - alpha / 2 * (missing**2).sum(-1)

    solver = ErgodicDualBound(problem, _TIGHT, steps=12)
    found, outcome = solver.solve(slots.instance), Outcome(count)
    own = slots.shares(found.action.power_w)
    _, best = climb(rng, slots.starts(rng, own, slots.reached), value, move_shares, steps=40, candidates=12)
    outcome.below(best, numbers(found.upper_bound), "search")
    multiplier = tensors(_multipliers(rng, slots.links.active.shape), torch.float64)
    outcome.below(best, numbers(solver.certify(slots.instance, multiplier)[0]), "search, random multipliers")
    exact = in_double(slots.instance)
    action = problem.least_slack(exact, slots.power_w(own))
    terms = alpha / 2 * (numbers(action.slack_bps_hz) ** 2).sum(-1)
    outcome.equals(value(own), problem.evaluate(exact, action), "own powers", terms)
    _check_slack(rng, slots, problem, outcome)
    return outcome


def hard_dual_bound(rng: np.random.Generator) -> Outcome:
    """`ErgodicDualBound` of powers that keep the minima."""
    count = 6
    slots = Slots(rng, count)
    solver = ErgodicDualBound(tolerance=_TIGHT, steps=12, hard=True)

    def value(share: np.ndarray) -> np.ndarray:
        rate = slots.mean_rates(share)
        return np.where((rate >= slots.minimum).all(-1), rate.sum(-1), -np.inf)

    found, outcome = solver.solve(slots.instance), Outcome(count)
    own = slots.shares(found.action.power_w)
    _, best = climb(rng, slots.starts(rng, own, slots.reached), value, move_shares, steps=40, candidates=12)
    outcome.below(best, numbers(found.upper_bound), "search")
    multiplier = tensors(_multipliers(rng, slots.links.active.shape), torch.float64)
    outcome.below(best, numbers(solver.certify(slots.instance, multiplier)[0]), "search, random multipliers")
    return outcome


def out_of_reach(rng: np.random.Generator) -> Outcome:
    """`certify_out_of_reach`: demands that known powers meet are never out of reach."""
    count = 12
    slots, outcome = Slots(rng, count), Outcome(count)
    dtype = slots.instance.gain.dtype
    active = rng.random((count, 1)) < 0.7
    demand = slots.target * np.where(active, 1.0, rng.choice([0.0, 0.5, 1.0], slots.target.shape))
    demand = np.nextafter(tensors(demand, dtype).numpy(), 0)  # rounded down: what is met stays met
    multiplier = _multipliers(rng, demand.shape)
    excess = numbers(
        certify_out_of_reach(
            slots.instance, tensors(multiplier, dtype), torch.from_numpy(demand), tolerance=_TIGHT
        )
    )
    outcome.worst = max(outcome.worst, float(excess.max()))
    outcome.holds(excess <= 0, f"demands that are met are called out of reach, by up to {excess.max():.3g}")
    return outcome


def _multipliers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    found = log_uniform(rng, 1e-12, 1e12, (shape[0], 1)) * rng.exponential(size=shape)
    found = np.where(rng.random((shape[0], 1)) < 0.7, rng.exponential(size=shape), found)
    return np.where(rng.random(shape) < 0.2, 0.0, found)


def _check_slack(rng: np.random.Generator, slots: Slots, problem: ErgodicPower, outcome: Outcome) -> None:
    """Compare the violations of random powers and slacks with those of the problem."""
    rate = slots.mean_rates(slots.reached.reshape(len(slots.reached), -1))
    minimum, active = slots.minimum, slots.links.active
    slack = np.maximum(minimum - rate, 0) + minimum * 1e-5 * rng.choice(
        [-2.0, -1.01, -0.99, 0.0, 1.0], (len(rate), 1)
    )
    action = ErgodicAction(power_w=slots.power_w(slots.reached), slack_bps_hz=torch.from_numpy(slack))
    asked = active & (minimum > 0)
    unit = np.where(asked, minimum, 1.0)
    missing = np.where(asked, (minimum - slack - rate) / unit, 0.0)
    negative = np.where(active, -slack / unit, 0.0)
    told = problem.evaluate(in_double(slots.instance), action)
    binding = {name: value for name, value in told.violation.items() if name != "min_rate"}
    outcome.judged(
        np.maximum(missing, negative).max(-1), type(told)(told.objective, told.utility, binding), "slack"
    )
