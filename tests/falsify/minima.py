"""Links with minimum rates in every slot: the falsifiers of `QosBound`, of least powers and of feasibility."""

import numpy as np
import torch
from tests.falsify.harness import (
    TOLERANCE,
    Outcome,
    about_limits,
    climb,
    link_rates,
    log_uniform,
    move_shares,
    numbers,
    share_starts,
    solve,
    tensors,
)
from tests.falsify.links import Links, draw_links

from torchrrm.bench import in_double
from torchrrm.problems import PowerAction, QosSumRate
from torchrrm.solvers import GeometricProgram, MinimumPower, QosBound, QosWMMSE, RaisedPower, is_feasible
from torchrrm.solvers.rate_region import rate_region

__all__ = ["least_power", "qos_bound"]

_TIGHT = 1e-5


class Minima:
    """Links with minima that known powers reach exactly, that need more than the limits, that are mixed with zeros."""

    def __init__(self, rng: np.random.Generator, count: int):
        self.links: Links = draw_links(rng, count)
        shape = self.links.active.shape
        share = np.where(rng.random(shape) < 0.3, 1.0, log_uniform(rng, 1e-6, 1, shape))
        share = share / np.where(rng.random((count, 1)) < 0.5, share.max(-1, keepdims=True), 1.0)
        self.beyond = rng.choice([1.0, 1.0, 1.0, 1.0, 0.5, 1 - 1e-7, 1 + 1e-7, 1.001, 3.0], (count, 1))
        self.share = np.where(self.links.active, share * self.beyond, 0.0)
        rate = link_rates(self.links.ratio, self.share)
        asked = (rng.random(shape) < rng.choice([0.0, 0.5, 1.0], (count, 1))) & self.links.active
        minimum = np.where(asked, rate, 0.0)
        self.tensor = tensors(minimum, self.links.instance.gain.dtype)
        self.minimum = numbers(self.tensor)

    def kept(self, share: np.ndarray) -> np.ndarray:
        """Whether shares `[... instance link]` keep limits and minima, as the problem tolerates it."""
        rate = link_rates(self.links.ratio, share)
        enough = (rate >= self.minimum * (1 - TOLERANCE)).all(-1)
        return np.asarray(enough & (share >= 0).all(-1) & (share <= 1 + TOLERANCE).all(-1))

    def least_share(self, tolerance: float) -> np.ndarray:
        """Largest share of the least powers that reach all minima but for a relative tolerance; NaN if none do."""
        target = np.expm1(np.log(np.longdouble(2)) * self.minimum * (1 - tolerance))
        direct = np.einsum("bkk->bk", self.links.ratio)
        scale = target / np.where(direct > 0, direct, 1)
        own = np.eye(direct.shape[-1], dtype=bool)
        system = np.where(own, 1.0, -scale[..., None] * self.links.ratio)
        least = solve(system, scale)
        return np.where((least >= 0).all(-1), least.max(-1), np.nan)

    def violation(self, share: np.ndarray) -> np.ndarray:
        """Largest relative violation of shares `[instance link]`."""
        rate, asked = link_rates(self.links.ratio, share), self.minimum > 0
        missing = np.where(asked, (self.minimum - rate) / np.where(asked, self.minimum, 1.0), 0.0)
        over = np.where(self.links.active, np.maximum(share - 1, -share), 0.0)
        return np.maximum(missing, over).max(-1)


def qos_bound(rng: np.random.Generator) -> Outcome:
    """`QosBound`: the bound, minus infinity where no powers keep the minima, and what is called feasible."""
    count = 12
    case = Minima(rng, count)
    links, outcome = case.links, Outcome(count)

    def value(share: np.ndarray) -> np.ndarray:
        rate = (links.weight * link_rates(links.ratio, share)).sum(-1)
        return np.where(case.kept(share), rate, -np.inf)

    found = QosBound(case.tensor, _TIGHT).solve(links.instance)
    own = links.share(found.action.power_w)
    given = np.minimum(case.share, 1 + TOLERANCE)
    starts = np.concatenate(
        [own[None], np.clip(own, 0, 1)[None], given[None], share_starts(rng, 30, count, own.shape[-1])]
    )
    _, best = climb(rng, starts, value, move_shares, steps=50, candidates=16)
    outcome.below(best, numbers(found.upper_bound), "search")
    _check_evaluation(rng, case, own, outcome)
    return outcome


def _check_evaluation(rng: np.random.Generator, case: Minima, own: np.ndarray, outcome: Outcome) -> None:
    """Compare the violations of the solver's powers, and of known ones moved about the limits, with the problem's."""
    problem, exact = QosSumRate(case.tensor.double()), in_double(case.links.instance)
    limit = numbers(case.links.instance.max_power_w)
    moved = case.share * (1 + TOLERANCE * rng.choice([-2.0, -0.9, 0.0, 0.9, 2.0], case.share.shape))
    for share, what in (
        (own, "own powers"),
        (moved, "known powers"),
        (about_limits(rng, own.shape), "random powers"),
    ):
        share = np.where(case.links.active, share, 0.0)
        told = problem.evaluate(exact, PowerAction(power_w=torch.from_numpy(share * limit)))
        positive = np.where(share > 0, share, 0.0)
        if (share >= 0).all():
            outcome.judged(case.violation(positive), told, what)


def least_power(rng: np.random.Generator) -> Outcome:
    """`MinimumPower` and what is called feasible, against powers that just reach the minima: those are the least."""
    count = 40
    case = Minima(rng, count)
    links, outcome = case.links, Outcome(count)
    instance, tensor = links.instance, case.tensor
    known = (
        case.least_share(TOLERANCE) <= 1
    )  # also the others of whom a minimum is asked do not interfere at best
    never = ~(case.least_share(TOLERANCE * (1 + 1e-2)) <= 1 + TOLERANCE * (1 + 1e-2))
    told = {
        "problem": QosSumRate(tensor).feasible(instance).numpy(),
        "is_feasible": is_feasible(instance, tensor).numpy(),
        "region": rate_region(instance, tensor).feasible.numpy(),
        "bound": np.isfinite(numbers(QosBound(tensor, 0.5).solve(instance).upper_bound)),
    }
    solvers = {
        "minimum power": MinimumPower(tensor),
        "raised power": RaisedPower(tensor),
        "geometric program": GeometricProgram(tensor, 3),
        "QoS WMMSE": QosWMMSE(tensor, 3),
    }
    for name, claim in told.items():
        outcome.holds(claim | ~known, f"{name}: minima that known powers keep are called infeasible")
        outcome.holds(~claim | ~never, f"{name}: minima that no powers keep are called feasible")
    for name, solver in solvers.items():
        share = links.share(solver.solve(instance).action.power_w)
        kept = case.violation(share) <= TOLERANCE
        outcome.holds(~told["problem"] | kept, f"{name}: the powers of feasible minima violate a constraint")
    return outcome
