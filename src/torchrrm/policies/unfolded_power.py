"""Learned power control by greedy admission, unfolded into layers of which a network decides the number."""

import math
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torchrrm.kernels import unfolded as kernels
from torchrrm.kernels.link_rules import UnfoldedRule
from torchrrm.nn import MLP
from torchrrm.policies.base import Policy
from torchrrm.problems.links import LinkInstance, PowerAction, WeightedSumRate
from torchrrm.records import is_compilable
from torchrrm.solvers.greedy_links import Pairs, best_admission, best_pairs
from torchrrm.solvers.relative_links import arrays, power_action, relative_links

__all__ = ["UnfoldedPower", "stop_features", "stop_price", "stop_probability"]

_FEATURES = 7
_SHARPNESS = 10.0  # logits are so many times what the network says: it learns faster
_SURE = 30.0  # logit of a stop that is certain


def stop_features(
    pairs: Pairs, links: Float[Tensor, "*batch"], price: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch anchor-1 feature"]:
    """What is known before each anchor but the first, rates in parts of the best pair's so far.

    The rate alone of the anchor and of the first one; the mean and the last of the pairs' rates so far; how many links
    there are, how many anchors were tried, and the price, all three as logarithms.
    """
    value, alone = pairs.value, pairs.alone
    best = pairs.best_before[..., 1:]
    best = torch.where(best > 0, best, torch.ones_like(best))  # [*batch anchor-1]
    tried = torch.arange(1, value.shape[-1], dtype=value.dtype, device=value.device)
    columns = [
        alone[..., 1:] / best,
        alone[..., :1] / best,
        value.cumsum(-1)[..., :-1] / (tried * best),
        value[..., :-1] / best,
        (torch.log(links.clamp_min(1.0)) / 5.0)[..., None].expand_as(best),
        (torch.log(tried) / 3.0).expand_as(best),
        stop_price(price)[..., None].expand_as(best),
    ]
    return torch.stack(columns, dim=-1)


def stop_price(price: Tensor) -> Tensor:
    """The price as a feature, the last one: 0 to 1 for prices of 1 to 1e-4."""
    return -torch.log10(price) / 4.0


def stop_probability(
    level: Float[Tensor, "*batch anchor-1"], promising: Bool[Tensor, "*batch anchor"]
) -> Float[Tensor, "*batch anchor"]:
    """Probability that a policy which draws its stops would stop after each anchor; differentiable.

    Args:
        level: what the network says before each anchor but the first; positive is to stop.
        promising: anchors before which no bound stops it anyway.
    """
    logit = torch.where(promising[..., 1:], _SHARPNESS * level, torch.full_like(level, _SURE))
    reached = nn.functional.logsigmoid(-logit).cumsum(-1).exp()
    one = torch.ones_like(promising[..., :1], dtype=logit.dtype)
    return torch.cat([one, reached], dim=-1) * torch.cat([torch.sigmoid(logit), one], dim=-1)


class UnfoldedPower(Policy):
    """Greedy admission of links as layers, one for each first link that is tried; a network decides when to stop.

    A layer takes the next of the links that do best alone (an anchor) and finds the link that does best together
    with it, as `GreedyLinks`. Before each further layer a network of some 150 parameters reads how the search went so
    far (`stop_features`) and ends it once it expects less from another layer than its price. Links are then admitted
    to the best pairs, and a few steps of WMMSE move powers off the limit where that pays. So few layers are taken
    where one link outweighs the others, such as with the weights of a control loop, and many where all are alike.

    It serves any number of links and any weights. Without gradients, on a CPU, a compiled kernel serves single
    instances and batches; it computes in float64. With gradients the objective's reaches the network straight
    through: the powers are those of the hard decisions, their derivative that of the pairs that stops after each
    layer would start from, by their probability. Training needs no such approximation: see `stop_probability`.

    Args:
        hidden: width of the network.
        price: of a layer, as a part of the rate that it must be expected to bring; any from 1e-5 to 1e-1, with the
            same parameters.
        starts: pairs that links are admitted to.
        breadth: layers at most.
        steps: of `WMMSE` at the end.
    """

    not_exported = "its layers are a search over pairs of links that only a compiled kernel runs fast"

    def __init__(
        self, *, hidden: int = 16, price: float = 1e-3, starts: int = 4, breadth: int = 32, steps: int = 10
    ):
        super().__init__()
        for name, value, least in (("starts", starts, 1), ("breadth", breadth, 1), ("steps", steps, 0)):
            if value < least:
                raise ValueError(f"{name}: must be at least {least}, received {value}")
        if not 0 < price < math.inf:
            raise ValueError(f"price: must be positive and finite, received {price}")
        self.hidden, self.price = hidden, price
        self.starts, self.breadth, self.steps = starts, breadth, steps
        self.stop = MLP([_FEATURES, hidden, 1])
        self._linear = self.stop.layers[0], self.stop.layers[2]  # at hand: to look them up takes 5 us
        self._kept: tuple[list[int], Any] = [], None

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        names = ("hidden", "price", "starts", "breadth", "steps")
        return {name: getattr(self, name) for name in names}

    @property
    def problem(self) -> WeightedSumRate:
        """What the policy serves."""
        return WeightedSumRate()

    @property
    def arrays(self) -> tuple[Any, Any, Any, Any]:
        """The parameters as `torchrrm.kernels.unfolded` takes them, sharing memory with the policy's."""
        first, last = self._linear
        values = [cast(Tensor, value) for value in (first.weight, first.bias, last.weight, last.bias)]
        places = [value.data_ptr() for value in values]
        if (
            places != self._kept[0]
        ):  # to make them takes longer than the kernel; they follow what changes in place
            self._kept = places, tuple(value.detach().numpy() for value in values)
        return self._kept[1]

    def rule(self, links: int) -> UnfoldedRule:
        """The policy as compiled control loops call it."""
        return UnfoldedRule(*self.arrays, self.price, self.breadth, self.starts, self.steps)

    def forward(self, instance: LinkInstance) -> PowerAction:
        """Powers in W."""
        learning = torch.is_grad_enabled() and any(value.requires_grad for value in self.parameters())
        if is_compilable(instance) and not learning:
            return PowerAction(power_w=self._compiled(instance))
        links = relative_links(instance)
        pairs = best_pairs(links, self.breadth)
        count = instance.active.sum(-1).to(pairs.value.dtype)
        features = stop_features(pairs, count, torch.full_like(count, self.price))
        level = self.stop(features).squeeze(-1)
        tried = torch.cat([pairs.promising[..., :1], pairs.promising[..., 1:] & (level <= 0)], dim=-1)
        fraction = best_admission(links, pairs, tried.cumprod(-1).bool(), self.starts, self.steps)
        if learning:
            soft = stop_probability(level, pairs.promising)[..., None] * _best_so_far(pairs)
            fraction = fraction + (soft - soft.detach()).sum(-2)
        return power_action(instance, fraction)

    def _compiled(self, instance: LinkInstance) -> Tensor:
        links = arrays(instance)
        run = kernels.solve if links[0].ndim == 2 else kernels.solve_batch
        power = run(*links, self.arrays, self.price, self.breadth, self.starts, self.steps)
        return torch.from_numpy(power).reshape(instance.max_power_w.shape)


def _best_so_far(pairs: Pairs) -> Float[Tensor, "*batch anchor tx"]:
    """The best pair up to each anchor, as powers."""
    place = torch.cummax(pairs.value, dim=-1).indices[..., None]
    return torch.take_along_dim(pairs.member, place, -2).to(pairs.value.dtype)
