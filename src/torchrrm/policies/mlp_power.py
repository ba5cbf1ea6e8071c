"""Learned power control of a fixed number of links by one fully connected network that sees every channel."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.nn import MLP
from torchrrm.policies.base import Policy
from torchrrm.problems.base import Reads
from torchrrm.problems.links import LinkInstance, PowerAction, WeightedSumRate, relative_gain

__all__ = ["CentralPower", "channel_level"]


def channel_level(relative_gain: Tensor) -> Tensor:
    """`log2(1 + INR) / 10`: 1 at 30 dB, 0 where there is no channel.

    The logarithm, since rates depend on the ratios of gains: of Rayleigh fading the gain itself has a heavy tail,
    and its small values, which decide whether two links may transmit together, would all look like 0.
    """
    return torch.log1p(relative_gain) / (10.0 * math.log(2.0))


class CentralPower(Policy):
    """Fully connected network from the whole channel matrix to all powers (Section IV-A of [Behmandpoor2024]).

        p = p_max sigmoid(MLP(level(g_11), level(g_12), ..., level(g_NN)))

    Hidden layers have batch normalisation and ReLU, as there; rows and columns of links that are not active are
    0, their powers too. The default widths, with the `N^2` inputs, are those that the paper writes as
    {400, 400, 200, 20} for 20 links: three layers of weights. Weights of rates and priorities are not read.

    Deviations: the input is the logarithm of the gain, see `channel_level` (the paper says `H` and no more). And
    by default links are numbered by their direct channels, the strongest first and those not active last, before
    the network sees them (`sort`). The numbering of an instance means nothing, so this loses nothing, makes the
    policy equivariant, and spares the network from learning each of `N!` numberings.

    A new policy is in the mode that serves (`eval`), where batch normalisation takes its running averages and one
    instance alone has an answer; `torchrrm.learning.train` puts it into training mode for its steps.

    Args:
        links: of every instance, `N`; fewer take part through `active`.
        hidden: widths of the hidden layers.
        demands: read the rate that each link is owed, in bit/s/Hz, as `N` further inputs: the dynamic network of
            the paper's benchmarks.
        sort: number the links by their direct channels; the paper does not.
    """

    def __init__(
        self, links: int, hidden: Sequence[int] = (400, 200), *, demands: bool = False, sort: bool = True
    ):
        super().__init__()
        if links < 1:
            raise ValueError(f"links: must be at least 1, received {links}")
        self.links, self.hidden = links, tuple(hidden)
        self.demands, self.sort = demands, sort
        inputs = links * (links + 1) if demands else links**2
        self.score = MLP((inputs, *self.hidden, links), batch_norm=True)
        self.eval()

    @property
    def reads(self) -> Reads:
        """Return what the network reads besides channels."""
        return "demands" if self.demands else "nothing"

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {
            "links": self.links,
            "hidden": list(self.hidden),
            "demands": self.demands,
            "sort": self.sort,
        }

    def forward(
        self, instance: LinkInstance, demands: Float[Tensor, "*#batch tx"] | None = None
    ) -> PowerAction:
        """Powers in W.

        Args:
            instance: of as many links as the policy has.
            demands: in bit/s/Hz, of a policy that reads them.

        Raises:
            ValueError: if the instance is of another size, or if demands are missing, of another size, or given
                to a policy that does not read them.
        """
        received = instance.active.shape[-1]
        if received != self.links:
            raise ValueError(f"instance: must have {self.links} links, received {received}")
        ratio = relative_gain(instance)
        if not self.demands:
            if demands is not None:
                raise ValueError("demands: must be none for a policy that does not read them, received some")
            return self.core(ratio, instance.max_power_w, instance.active)
        if demands is None or demands.shape[-1:] != (self.links,):
            shape = "none" if demands is None else list(demands.shape)
            raise ValueError(f"demands: must be those of {self.links} links, received {shape}")
        return self.core(ratio, demands.expand_as(instance.active), instance.max_power_w, instance.active)

    @property
    def core(self) -> Callable[..., PowerAction]:
        """The network and its limits, what `torchrrm.deploy` exports: with or without an input for demands."""
        return self._demanded if self.demands else self._unconstrained

    def _unconstrained(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> PowerAction:
        return self._powers(relative_gain, None, max_power_w, active)

    def _demanded(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        condition: Float[Tensor, "*batch tx"],  # the demands, in bit/s/Hz
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> PowerAction:
        return self._powers(relative_gain, condition, max_power_w, active)

    def _powers(
        self, ratio: Tensor, demand_bps_hz: Tensor | None, max_power_w: Tensor, active: Tensor
    ) -> PowerAction:
        level = torch.where(active[..., :, None] & active[..., None, :], channel_level(ratio), 0.0)
        demand = None if demand_bps_hz is None else torch.where(active, demand_bps_hz, 0.0)
        score = self._sorted_scores(level, demand, active) if self.sort else self._scores(level, demand)
        return PowerAction(power_w=torch.where(active, torch.sigmoid(score) * max_power_w, 0.0))

    def _sorted_scores(self, level: Tensor, demand: Tensor | None, active: Tensor) -> Tensor:
        direct = torch.where(active, level.diagonal(dim1=-2, dim2=-1), -1.0)  # levels are at least 0
        order = direct.argsort(dim=-1, descending=True)  # [*batch place]: the link at each place
        rows, columns = order[..., :, None].expand_as(level), order[..., None, :].expand_as(level)
        level = level.gather(-2, rows).gather(-1, columns)
        demand = None if demand is None else demand.gather(-1, order)
        return torch.zeros_like(direct).scatter(-1, order, self._scores(level, demand))

    def _scores(self, level: Tensor, demand: Tensor | None) -> Float[Tensor, "*batch tx"]:
        features = level.flatten(-2)  # [*batch rx*tx]
        return self.score(features if demand is None else torch.cat([features, demand], dim=-1))

    @property
    def problem(self) -> WeightedSumRate:
        """What the policy serves; it was trained for weights of 1."""
        return WeightedSumRate()

    @property
    def core_sizes(self) -> dict[str, int | str]:
        """Axes of `core` that are not free."""
        return {"rx": self.links, "tx": self.links}

    @property
    def deployment(self) -> dict[str, Any]:
        """What a control loop without torch needs around `core`, as JSON; read by `torchrrm.deploy.links`."""
        condition = "demand" if self.demands else None
        return {"service": "links", "kind": "sum-rate", "condition": condition, "links": self.links}
