"""Greedy admission of interference links at full power."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.kernels import link_greedy as kernels
from torchrrm.kernels.link_rules import GreedyRule
from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.problems.structure import require_record
from torchrrm.records import is_compilable, tensor_record
from torchrrm.solvers.base import Solution
from torchrrm.solvers.link_baselines import in_one_go
from torchrrm.solvers.relative_links import RelativeLinks, arrays, power_action, relative_links
from torchrrm.solvers.wmmse import wmmse_step

__all__ = ["GreedyLinks", "Pairs", "admission_rates", "admit", "best_admission", "best_pairs"]


@tensor_record
class Pairs:
    """What anchors, the links of the highest rates alone in falling order, propose to start from.

    Attributes:
        alone: weighted rate of each anchor by itself; -1 where it is not active.
        value: weighted rate of each anchor together with its partner; rates here are in nat/s/Hz.
        member: the two, or the anchor alone if it does best alone.
        fresh: whether no anchor before proposes the same pair.
    """

    alone: Float[Tensor, "*batch anchor"]
    value: Float[Tensor, "*batch anchor"]
    member: Bool[Tensor, "*batch anchor tx"]
    fresh: Bool[Tensor, "*batch anchor"]

    @property
    def best_before(self) -> Float[Tensor, "*batch anchor"]:
        """The best value of the anchors before each; -1 for the first."""
        best = torch.cummax(self.value, dim=-1).values[..., :-1]
        return torch.cat([torch.full_like(self.value[..., :1], -1.0), best], dim=-1)

    @property
    def promising(self) -> Bool[Tensor, "*batch anchor"]:
        """Anchors before the first of which two could not beat the best pair so far."""
        return (2.0 * self.alone > self.best_before).cumprod(-1).bool()


class GreedyLinks:
    """Links are admitted at full power, each time the one that raises the weighted sum rate most, until none does.

    Where all links hear each other few may transmit, and then the choice of the first is what matters: each of the
    `breadth` links that do best alone (anchors) is paired with the link that does best together with it. Links are
    admitted to each of the `starts` best of these pairs, and of the outcomes the best is kept; then `steps` steps of
    `WMMSE` among the links admitted move powers off the limit where that pays. With a breadth and a start of 1 it is
    greedy admission from nobody. The time grows as `breadth N + starts N |S|^2`, if `S` are admitted.

    On independent Rayleigh links of 15 dB it comes within 0.1 % of the best powers that any search was seen to find up
    to 50 links, and within 1.3 % of 200. Where path loss lets many links transmit, many of them at part of their
    power, WMMSE with a few starts is better by 3 to 4 %.

    Args:
        starts: pairs that links are admitted to.
        breadth: anchors at most; two of which could not beat the best pair so far are passed over.
        steps: of `WMMSE` at the end.
    """

    def __init__(self, starts: int = 4, breadth: int = 16, steps: int = 10):
        for name, value, least in (("starts", starts, 1), ("breadth", breadth, 1), ("steps", steps, 0)):
            if value < least:
                raise ValueError(f"{name}: must be at least {least}, received {value}")
        self.starts, self.breadth, self.steps = starts, breadth, steps

    def __call__(self, instance: LinkInstance) -> PowerAction:
        if is_compilable(require_record(instance, LinkInstance)):
            return PowerAction(power_w=self._compiled(instance))
        links = relative_links(instance)
        pairs = best_pairs(links, self.breadth)
        fraction = best_admission(links, pairs, pairs.promising, self.starts, self.steps)
        return power_action(instance, fraction)

    def rule(self, links: int) -> GreedyRule:
        """The solver as compiled control loops call it."""
        return GreedyRule(self.breadth, self.starts, self.steps)

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """The same as a solution, in no steps."""
        return in_one_go(self(instance), instance)

    def _compiled(self, instance: LinkInstance) -> Tensor:
        links = arrays(instance)
        run = kernels.solve if links[0].ndim == 2 else kernels.solve_batch
        power = run(*links, *self.rule(links[0].shape[-1]))
        return torch.from_numpy(power).reshape(instance.max_power_w.shape)


@torch.no_grad()
def best_pairs(links: RelativeLinks, breadth: int) -> Pairs:
    """What the `breadth` strongest links propose."""
    direct, active, weight = links.direct.squeeze(-2), links.active, links.weight
    alone = torch.where(active, weight * torch.log1p(direct), -1.0)
    anchor = alone.argsort(dim=-1, descending=True, stable=True)[..., :breadth]  # [*batch anchor]
    rows = anchor[..., None]
    caused = torch.take_along_dim(links.across, rows, -2)  # [*batch anchor tx], at the receiver of each link
    heard = torch.take_along_dim(links.across.mT, rows, -2)  # from the transmitter of each link
    other = (weight * active)[..., None, :] * torch.log1p(links.direct / (1.0 + caused))
    worth, signal = (torch.take_along_dim(value, anchor, -1)[..., None] for value in (weight, direct))
    pair = torch.where(active[..., None, :], other + worth * torch.log1p(signal / (1.0 + heard)), -1.0)
    places = torch.arange(alone.shape[-1], device=alone.device)
    itself, own = places == rows, torch.take_along_dim(alone, anchor, -1)
    value, partner = torch.where(itself, -1.0, pair).max(dim=-1)
    better = value > own
    partner = torch.where(better, partner, anchor)
    return Pairs(
        alone=own,
        value=torch.where(better, value, own),
        member=(itself | (places == partner[..., None])) & active[..., None, :],
        fresh=~_repeated(anchor, partner),
    )


def _repeated(anchor: Int[Tensor, "*batch anchor"], partner: Int[Tensor, "*batch anchor"]) -> Tensor:
    same = (anchor[..., :, None] == partner[..., None, :]) & (partner[..., :, None] == anchor[..., None, :])
    return same.tril(-1).any(-1)


@torch.no_grad()
def admit(links: RelativeLinks, member: Bool[Tensor, "*batch start tx"]) -> Bool[Tensor, "*batch start tx"]:
    """Links at full power after greedy admission to each set of members."""
    across, on = links.across.mT.unsqueeze(-3), member
    free = links.active.unsqueeze(-2)
    weight = torch.where(links.active, links.weight, 0.0).unsqueeze(-2)
    for _ in range(member.shape[-1]):
        heard = links.heard(on.to(across.dtype))
        rate = weight * torch.log1p(links.direct / heard)
        worth, signal, noise = ((value * on)[..., None] for value in (weight, links.direct, heard))
        alike = torch.where(on[..., None], noise, 1.0)
        loss = (rate * on)[..., None] - worth * torch.log1p(signal / (alike + across))  # [*batch start rx tx]
        gain = torch.where(free & ~on, rate - loss.sum(-2), -torch.inf)
        most, chosen = gain.max(dim=-1, keepdim=True)
        better = most > kernels.WORTH * (rate * on).sum(-1, keepdim=True)
        if not better.any():
            break
        on = on | (better & (torch.arange(on.shape[-1], device=on.device) == chosen))
    return on


@torch.no_grad()
def admission_rates(
    links: RelativeLinks, on: Bool[Tensor, "*batch start tx"]
) -> Float[Tensor, "*batch start"]:
    """Weighted sum rate in nat/s/Hz of links at full power."""
    weight = torch.where(links.active, links.weight, 0.0).unsqueeze(-2)
    return (weight * on * torch.log1p(links.direct / links.heard(on.to(weight.dtype)))).sum(-1)


def best_admission(
    links: RelativeLinks, pairs: Pairs, offered: Bool[Tensor, "*batch anchor"], starts: int, steps: int
) -> Float[Tensor, "*batch tx"]:
    """Power fractions of the best admission to the `starts` best pairs that are offered, after steps of WMMSE."""
    score = torch.where(offered & pairs.fresh, pairs.value, -torch.inf)
    chosen = score.argsort(dim=-1, descending=True, stable=True)[..., :starts]
    on = admit(links, torch.take_along_dim(pairs.member, chosen[..., None], -2))
    rate = torch.where(
        torch.take_along_dim(score, chosen, -1) > -torch.inf, admission_rates(links, on), -torch.inf
    )
    best = rate.argmax(dim=-1, keepdim=True)[..., None]
    amplitude = torch.take_along_dim(on, best, -2).to(links.direct.dtype)
    for _ in range(steps):
        amplitude = wmmse_step(links, amplitude)
    return amplitude.square().squeeze(-2)
