"""Adversarial links, and the falsifiers of `BranchAndBound` and of what rests on it."""

from dataclasses import dataclass

import numpy as np
import torch
from tests.falsify.harness import (
    DTYPES,
    MOST_RATIO,
    Outcome,
    about_limits,
    climb,
    link_rates,
    log_uniform,
    move_shares,
    numbers,
    share_starts,
    tensors,
)

from torchrrm.bench import in_double
from torchrrm.problems import LinkInstance, PowerAction, WeightedSumRate
from torchrrm.solvers import BranchAndBound

__all__ = ["Links", "draw_links", "sum_rate"]

_TIGHT = 1e-6
_BOXES = 4000


@dataclass(frozen=True)
class Links:
    """Instances of links as the package has them, and what the evaluator of the tests reads of them in float64.

    Attributes:
        instance: of one batch axis.
        ratio: gains over the noise at full power, saturated; 0 where not active, `[instance rx tx]`.
        weight: 0 where not active, `[instance link]`.
        active: `[instance link]`.
    """

    instance: LinkInstance
    ratio: np.ndarray
    weight: np.ndarray
    active: np.ndarray

    def share(self, power_w: torch.Tensor) -> np.ndarray:
        """Powers as shares of their limits, 0 where not active."""
        limit = numbers(self.instance.max_power_w)
        return np.where(self.active, numbers(power_w) / np.where(self.active, limit, 1.0), 0.0)


def draw_links(rng: np.random.Generator, count: int, *, slots: int = 0) -> Links:
    """Links of 1 to 4 pairs of one size: scales of 24 decades, ties, gains of zero, weights of zero, padding.

    With `slots` the gains have an axis of slots behind that of the instances, and limits and noise do not depend on it.
    """
    links, dtype = int(rng.integers(1, 5)), DTYPES[rng.integers(2)]
    shape = (count, slots, links, links) if slots else (count, links, links)
    lead = (count, 1, 1, 1) if slots else (count, 1, 1)
    spread = rng.choice([1.0, 3.0, 1e3, 1e6], lead)
    gain = spread ** rng.uniform(-1, 1, shape) * rng.exponential(size=shape)
    gain = np.where(rng.random(lead) < 0.2, np.round(gain, 1) + 0.1, gain)  # ties
    gain = np.where(rng.random(lead) < 0.1, 1.0, gain)  # symmetric
    cross = ~np.eye(links, dtype=bool)
    gain = np.where(cross & (rng.random(shape) < 0.15), 0.0, gain)
    scale = log_uniform(rng, 1e-12, 1e12, lead)
    snr = log_uniform(rng, 1e-12, 1e12, lead)
    snr = np.where(rng.random(lead) < 0.6, log_uniform(rng, 1e-1, 1e4, lead), snr)
    limit = log_uniform(rng, 0.1, 10, (count, links)) * (rng.random((count, 1)) < 0.5) + 1.0
    limit = limit * log_uniform(rng, 1e-6, 1e6, (count, 1))
    limit = tensors(limit, dtype)
    noise = tensors((scale / snr).reshape(count) * numbers(limit).max(-1), dtype)
    weight = np.where(rng.random((count, 1)) < 0.3, 1.0, rng.exponential(size=(count, links)))
    weight = np.where(rng.random((count, links)) < 0.1, 0.0, weight)
    weight = weight * np.where(rng.random((count, 1)) < 0.2, log_uniform(rng, 1e-12, 1e12, (count, 1)), 1.0)
    active = rng.random((count, links)) < 0.85
    active[np.arange(count), rng.integers(links, size=count)] = True
    instance = LinkInstance(
        gain=tensors(gain * scale, dtype),
        noise_power_w=noise,
        max_power_w=limit,
        weight=tensors(weight, dtype),
        active=torch.from_numpy(active),
    )
    return of_instance(instance)


def of_instance(instance: LinkInstance) -> Links:
    """What the evaluator reads of instances."""
    active = instance.active.numpy()
    gain, limit = numbers(instance.gain), numbers(instance.max_power_w)
    slot = (slice(None), None) if gain.ndim > active.ndim + 1 else (slice(None),)
    scale = (limit / numbers(instance.noise_power_w)[:, None])[slot]
    both = (active[:, :, None] & active[:, None, :])[slot]
    ratio = np.where(both, np.minimum(gain * scale[..., None, :], MOST_RATIO), 0.0)
    return Links(instance, ratio, np.where(active, numbers(instance.weight), 0.0), active)


def sum_rate(rng: np.random.Generator) -> Outcome:
    """`BranchAndBound` on weighted sum rates: the bound, and feasibility as the problem evaluates it."""
    count = 40
    links = draw_links(rng, count)
    found = BranchAndBound(_TIGHT, max_boxes=_BOXES).solve(links.instance)
    bound, outcome = numbers(found.upper_bound), Outcome(count)

    def value(share: np.ndarray) -> np.ndarray:
        return (links.weight * link_rates(links.ratio, share)).sum(-1)

    own = links.share(found.action.power_w)
    outcome.holds((own >= 0).all(-1) & (own <= 1 + 1e-6).all(-1), "the solver's powers exceed their limits")
    starts = np.concatenate([np.clip(own, 0, 1)[None], share_starts(rng, 40, count, own.shape[-1])])
    _, best = climb(rng, starts, value, move_shares)
    outcome.below(value(own), bound, "sum rate, own powers")
    outcome.below(best, bound, "sum rate, search")
    _check_evaluation(rng, links, outcome)
    return outcome


def _check_evaluation(rng: np.random.Generator, links: Links, outcome: Outcome) -> None:
    """Compare objective and violations of random actions about their limits with those of the problem."""
    share = about_limits(rng, links.active.shape)
    exact, limit = in_double(links.instance), numbers(links.instance.max_power_w)
    over = np.where(links.active, np.maximum(share - 1, -share), 0.0).max(-1)
    told = WeightedSumRate().evaluate(exact, PowerAction(power_w=torch.from_numpy(share * limit)))
    outcome.judged(over, told, "sum rate")
    share = np.where(links.active, np.clip(share, 0, 1), 0.0)
    told = WeightedSumRate().evaluate(exact, PowerAction(power_w=torch.from_numpy(share * limit)))
    outcome.equals((links.weight * link_rates(links.ratio, share)).sum(-1), told, "sum rate")
