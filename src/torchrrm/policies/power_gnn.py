"""Learned power control of interference links by a graph network, for any number of links."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import leaky_relu

from torchrrm.nn import LinkGNN
from torchrrm.policies.base import Policy
from torchrrm.problems.base import Reads
from torchrrm.problems.links import LinkInstance, PowerAction, WeightedSumRate, relative_gain

__all__ = ["EDGES", "Condition", "PowerGNN", "edge_level", "node_features"]

Condition = Literal["priority", "weight"]
_FLOOR = 1e-2  # a ratio to noise below -20 dB is as good as none


def frobenius_edges(ratio: Float[Tensor, "*batch rx tx"], active: Bool[Tensor, "*batch tx"]) -> Tensor:
    """Eq. (24) of [Huang2024]: natural logarithms of the ratios to noise over their Frobenius norm.

    Each entry shrinks as one over the number of links. Ratios are floored at -20 dB, since a snapshot's links
    may have no path at all, whose logarithm the equation does not cover.
    """
    both = active[..., :, None] & active[..., None, :]
    level = torch.where(both, torch.log(torch.clamp(ratio, min=_FLOOR)), 0.0)
    norm = torch.linalg.matrix_norm(level, keepdim=True)
    return level / torch.clamp(norm, min=1e-6)


def edge_level(ratio: Tensor) -> Tensor:
    """`ln(1 + INR) / 50`: 0.28 at 60 dB, so that sums over a score of links, layer after layer, stay of order 1."""
    return torch.log1p(ratio) / 50.0


def local_edges(ratio: Float[Tensor, "*batch rx tx"], active: Bool[Tensor, "*batch tx"]) -> Tensor:
    """`edge_level`: the same whatever else is in the network, and 0 of links that do not hear each other."""
    both = active[..., :, None] & active[..., None, :]
    return torch.where(both, edge_level(ratio), 0.0)


def mean_edges(ratio: Float[Tensor, "*batch rx tx"], active: Bool[Tensor, "*batch tx"]) -> Tensor:
    """`edge_level` times 20 over the number of active links: messages are means, of one scale for any number of links.

    Where all links hear each other, as in independent fading, that number grows without bound.
    """
    count = torch.clamp(active.sum(-1), min=1)[..., None, None]
    return local_edges(ratio, active) * (20.0 / count)


EDGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "frobenius": frobenius_edges,
    "local": local_edges,
    "mean": mean_edges,
}


def node_features(
    condition: Float[Tensor, "*batch tx"],
    snr: Float[Tensor, "*batch tx"],
    sinr: Float[Tensor, "*batch tx"],
    active: Bool[Tensor, "*batch tx"],
    kind: Condition,
    enriched: bool,
) -> Float[Tensor, "*batch tx feature"]:
    """Features of each link, see `PowerGNN`; SNR and SINR at full power, 0 where inactive."""
    if not enriched:
        return torch.where(active, condition, 0.0)[..., None]
    level = torch.log(torch.clamp(condition, min=1e-3))
    if kind == "weight":  # only ratios of weights matter to a weighted sum
        count = torch.clamp(active.sum(-1, keepdim=True), min=1)
        level = level - torch.where(active, level, 0.0).sum(-1, keepdim=True) / count
    scale = 10.0 * math.log(2.0)
    columns = [level, torch.log1p(snr) / scale, torch.log1p(sinr) / scale]
    return torch.where(active[..., None], torch.stack(columns, dim=-1), 0.0)


class PowerGNN(Policy):
    """Graph network of links: LEConv layers, then a sigmoid of each link's power (Section III-B of [Huang2024]).

    Nodes are links, edges carry the channel from the transmitter of one to the receiver of the other; the edge
    of a link to itself carries its direct channel. With the defaults of `literal` it is the paper's power net.

    Args:
        condition: what tells the links apart besides channels: `priority`, the proportional-fairness ratio of
            Eq. (25) of [Huang2024], or `weight`, the instance's weights, as in [NaderiAlizadeh2022].
        edges: a name in `EDGES`.
        enriched: read the logarithm of the condition, and besides it the SNR and the SINR at full power of
            each link; else the condition alone, as in the paper.
        outgoing: pass messages also against the direction of interference, so that a link knows whom it
            disturbs; the paper's do not.
        widths: of the layers.
    """

    def __init__(
        self,
        condition: Condition = "priority",
        *,
        edges: str = "local",
        enriched: bool = True,
        outgoing: bool = True,
        widths: Sequence[int] = (128, 128),
    ):
        super().__init__()
        if condition not in ("priority", "weight"):
            raise ValueError(f"condition: must be priority or weight, received {condition!r}")
        if edges not in EDGES:
            raise ValueError(f"edges: must be one of {', '.join(EDGES)}, received {edges!r}")
        self.condition: Condition = condition
        self.edges, self.enriched, self.widths = edges, enriched, tuple(widths)
        self.outgoing = outgoing
        self.score = LinkGNN(3 if enriched else 1, self.widths, outgoing=outgoing, activation=leaky_relu)

    @classmethod
    def literal(cls) -> "PowerGNN":
        """The paper's power net: two layers of 128, the PF ratio as node feature, edges of Eq. (24)."""
        return cls(edges="frobenius", enriched=False, outgoing=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {
            "condition": self.condition,
            "edges": self.edges,
            "enriched": self.enriched,
            "outgoing": self.outgoing,
            "widths": list(self.widths),
        }

    def forward(
        self, instance: LinkInstance, priority: Float[Tensor, "*batch tx"] | None = None
    ) -> PowerAction:
        """Powers in W.

        Args:
            instance: links; their weights are read by a policy whose condition they are.
            priority: proportional-fairness ratio of each link, of a policy that reads it; by default 1, that
                of a first slot.
        """
        condition = instance.weight if self.condition == "weight" else priority
        if condition is None:
            condition = torch.ones_like(instance.weight)
        return self.core(relative_gain(instance), condition, instance.max_power_w, instance.active)

    def core(
        self,
        relative_gain: Float[Tensor, "*batch rx tx"],
        condition: Float[Tensor, "*batch tx"],
        max_power_w: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> PowerAction:
        """The network and its limits: what `torchrrm.deploy` exports. `condition` is the priority or the weight."""
        edge = EDGES[self.edges](relative_gain, active)
        node = self.nodes(relative_gain, condition, active)
        share = torch.sigmoid(self.score(node, edge))
        return PowerAction(power_w=torch.where(active, share * max_power_w, 0.0))

    def nodes(
        self,
        ratio: Float[Tensor, "*batch rx tx"],
        condition: Float[Tensor, "*batch tx"],
        active: Bool[Tensor, "*batch tx"],
    ) -> Float[Tensor, "*batch tx feature"]:
        """Features of each link."""
        snr = ratio.diagonal(dim1=-2, dim2=-1)
        sinr = snr / torch.clamp(1.0 + ratio.sum(-1) - snr, min=1.0)  # rounding may leave less
        return node_features(condition, snr, sinr, active, self.condition, self.enriched)

    @property
    def reads(self) -> Reads:
        """Return what the network reads besides channels: its condition."""
        return self.condition

    @property
    def problem(self) -> WeightedSumRate:
        """What the policy serves."""
        return WeightedSumRate()

    @property
    def core_sizes(self) -> dict[str, int | str]:
        """Axes of `core` that are not free: there are as many receivers as transmitters."""
        return {"rx": "tx"}

    @property
    def deployment(self) -> dict[str, Any]:
        """What a control loop without torch needs around `core`, as JSON; read by `torchrrm.deploy.links`."""
        return {"service": "links", "kind": "sum-rate", "condition": self.condition}
