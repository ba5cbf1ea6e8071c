"""Power allocations of links that need no thought: what a method must beat."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.base import Reads
from torchrrm.problems.links import LinkInstance, PowerAction, relative_gain
from torchrrm.problems.structure import require_record
from torchrrm.solvers.base import Solution
from torchrrm.solvers.relative_links import Coupled, sum_rate

__all__ = ["MaxPower", "StrongestLink", "in_one_go", "safeguarded"]


class MaxPower:
    """Each active link transmits at its limit."""

    kind = "trivial"
    reads: Reads = "nothing"

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Limits, in no steps."""
        return in_one_go(self(instance), instance)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        require_record(instance, LinkInstance)
        power = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return PowerAction(power_w=power)


class StrongestLink:
    """One winner: the active link whose weighted rate is largest alone transmits at its limit, the others are silent.

    Of equal weights and limits it is the one with the largest direct gain. At a high SNR among many links of equal
    mean gains it is hard to beat: the centralised networks of Table I of [Behmandpoor2024] are at this rule.
    """

    kind = "trivial"

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """The winner, in no steps."""
        return in_one_go(self(instance), instance)

    def __call__(self, instance: LinkInstance) -> PowerAction:
        require_record(instance, LinkInstance)
        snr = relative_gain(instance).diagonal(dim1=-2, dim2=-1)
        winner = _strongest(snr, instance.weight, instance.active)
        limit = torch.where(instance.active, instance.max_power_w, torch.zeros_like(instance.max_power_w))
        return PowerAction(power_w=winner * limit)


def safeguarded(
    links: Coupled, fraction: Float[Tensor, "*batch tx"], *, ascended: bool
) -> Float[Tensor, "*batch tx"]:
    """Return the best of power fractions and of the rules `MaxPower` and `StrongestLink`, instance by instance.

    The rules replace the given fractions only where their weighted sum rate is higher.

    Args:
        links: in relative units.
        fraction: of the limits.
        ascended: whether an ascent from full power led to the fractions, so that `MaxPower` cannot be better.
    """
    rules = [_strongest(links.direct.squeeze(-2), links.weight, links.active)]
    if not ascended:
        rules.append(torch.ones_like(fraction))
    with torch.no_grad():
        best = sum_rate(links, fraction.unsqueeze(-2))
    for rule in rules:
        with torch.no_grad():
            rate = sum_rate(links, rule.unsqueeze(-2))
        fraction = torch.where(rate > best, rule, fraction)
        best = torch.maximum(rate, best)
    return fraction


def _strongest(
    snr: Float[Tensor, "*batch tx"], weight: Float[Tensor, "*batch tx"], active: Bool[Tensor, "*batch tx"]
) -> Float[Tensor, "*batch tx"]:
    """Return 1 for the active link whose weighted rate alone is largest, the first of equal ones, else 0."""
    rate = torch.where(active, weight * torch.log1p(snr), -1.0)
    return torch.zeros_like(rate).scatter(-1, rate.argmax(-1, keepdim=True), 1.0)


def in_one_go(action: PowerAction, instance: LinkInstance) -> Solution[PowerAction]:
    """The solution of a rule that takes no steps: converged after none."""
    steps = torch.zeros(instance.active.shape[:-1], dtype=torch.int64, device=instance.active.device)
    return Solution(action, steps == 0, steps)
