"""Learned power control of large networks, each link of which has a list of neighbours."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import leaky_relu

from torchrrm.kernels import link_graph as kernels
from torchrrm.nn import LinkGNN, SparseLEConv
from torchrrm.nn.sparse_inference import infer
from torchrrm.policies.base import Policy
from torchrrm.policies.power_gnn import Condition, PowerGNN, edge_level, node_features
from torchrrm.problems.links import PowerAction, SparseLinkInstance, relative_sparse_gain
from torchrrm.problems.links.sparse import require_neighbours
from torchrrm.records import is_plain, tensor_record

__all__ = ["LinkGraph", "SparsePowerGNN", "link_graph"]

_COMPILED = (torch.float32, torch.float64)


@tensor_record
class LinkGraph:
    """All links of a batch as one graph, whose edges are weighed as those of `local_edges`.

    Attributes:
        node: features of each link.
        neighbour: the other ends of the edges into each link.
        edge: their weights.
        own: weight of the edge of each link to itself.
    """

    node: Float[Tensor, "link feature"]
    neighbour: Int[Tensor, "link degree"]
    edge: Float[Tensor, "link degree"]
    own: Float[Tensor, "link"]


class SparsePowerGNN(Policy):
    """`PowerGNN` with local edges on lists of neighbours: time and memory grow linearly with the edges.

    It takes the weights of a dense policy (`SparsePowerGNN.of`) or is trained by itself; where all links are
    neighbours both give the same powers. Gradients reach the weights and the condition, not the gains.

    On a CPU without gradients a compiled kernel applies the edges, the links in an order that keeps neighbours
    close in memory.

    Args:
        condition, enriched, outgoing, widths: as of `PowerGNN`.
    """

    not_exported = "its dense form is what to export"

    def __init__(
        self,
        condition: Condition = "priority",
        *,
        enriched: bool = True,
        outgoing: bool = True,
        widths: Sequence[int] = (128, 128),
    ):
        super().__init__()
        if condition not in ("priority", "weight"):
            raise ValueError(f"condition: must be priority or weight, received {condition!r}")
        self.condition: Condition = condition
        self.enriched, self.outgoing, self.widths = enriched, outgoing, tuple(widths)
        inputs = 3 if enriched else 1
        self.score = LinkGNN(
            inputs, self.widths, outgoing=outgoing, activation=leaky_relu, layer=SparseLEConv
        )

    @classmethod
    def of(cls, policy: PowerGNN) -> "SparsePowerGNN":
        """The sparse form of a policy, of the same parameters: what trains one trains the other.

        Raises:
            ValueError: if its edges depend on all of the network.
        """
        if policy.edges != "local":
            raise ValueError(f"policy: must have local edges, received {policy.edges}")
        sparse = cls(
            policy.condition, enriched=policy.enriched, outgoing=policy.outgoing, widths=policy.widths
        )
        sparse.score.load_state_dict(policy.score.state_dict(keep_vars=True), assign=True)
        return sparse

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {
            "condition": self.condition,
            "enriched": self.enriched,
            "outgoing": self.outgoing,
            "widths": list(self.widths),
        }

    def forward(
        self, instance: SparseLinkInstance, priority: Float[Tensor, "*batch link"] | None = None
    ) -> PowerAction:
        """Powers in W; see `PowerGNN.forward`."""
        graph = self.graph(require_neighbours(instance), priority)
        asked = torch.is_grad_enabled() and any(
            tensor.requires_grad for tensor in (graph.node, *self.parameters())
        )
        plain = is_plain(graph.node, graph.edge, *self.parameters())
        compiled = plain and not asked and graph.node.dtype in _COMPILED
        score = self._compiled(graph) if compiled else self.score(graph.node, *sparse_edges(graph))
        share = torch.sigmoid(score).reshape(instance.active.shape)
        return PowerAction(
            power_w=torch.where(instance.active, share * instance.max_power_w, torch.zeros_like(share))
        )

    def graph(self, instance: SparseLinkInstance, priority: Tensor | None = None) -> LinkGraph:
        """What the network reads."""
        condition = instance.weight if self.condition == "weight" else priority
        if condition is None:
            condition = torch.ones_like(instance.weight)
        return link_graph(instance, condition, self.condition, self.enriched)

    def _compiled(self, graph: LinkGraph) -> Float[Tensor, "link"]:
        neighbour, edge = graph.neighbour.contiguous().numpy(), graph.edge.detach().contiguous().numpy()
        order = kernels.neighbourly(neighbour)
        incoming = kernels.rows(neighbour, graph.own.detach().numpy(), edge, order)
        outgoing = kernels.transpose(*incoming) if self.outgoing else None
        place = torch.from_numpy(order)
        score = infer(self.score, graph.node.detach()[place], incoming, outgoing)
        return torch.empty_like(score).index_copy_(0, place, score)


def link_graph(
    instance: SparseLinkInstance, condition: Tensor, kind: Condition, enriched: bool = True
) -> LinkGraph:
    """Nodes and edges of all instances of a batch, with the features of `PowerGNN`."""
    with torch.no_grad():
        snr, ratio = relative_sparse_gain(instance)
    sinr = snr / (1.0 + ratio.sum(-1))
    node = node_features(condition, snr, sinr, instance.active, kind, enriched)
    links = instance.active.shape[-1]
    neighbour = instance.neighbour.reshape(-1, *instance.neighbour.shape[-2:])
    block = torch.arange(len(neighbour), device=neighbour.device)[:, None, None] * links
    return LinkGraph(
        node=node.flatten(0, -2),
        neighbour=(neighbour + block).flatten(0, 1) if len(neighbour) != 1 else neighbour[0],
        edge=edge_level(ratio).reshape(-1, ratio.shape[-1]),
        own=edge_level(snr).flatten(),
    )


def sparse_edges(graph: LinkGraph) -> tuple[Tensor, Tensor]:
    """Edge weights `[link link]` in compressed rows, and the same turned round."""
    links, degree = graph.neighbour.shape
    own = torch.arange(links, device=graph.neighbour.device)
    row = own[:, None].expand(links, degree + 1)
    column = torch.cat([own[:, None], graph.neighbour], dim=-1)
    value = torch.cat([graph.own[:, None], graph.edge], dim=-1)
    index = torch.stack([row.flatten(), column.flatten()])
    return _compressed(index, value.flatten(), links), _compressed(index.flip(0), value.flatten(), links)


def _compressed(index: Int[Tensor, "2 edge"], value: Float[Tensor, "edge"], nodes: int) -> Tensor:
    """Compressed rows with indices of 32 bits, columns in order."""
    order = (index[0] * nodes + index[1]).argsort()
    first = torch.zeros(nodes + 1, dtype=torch.int32, device=index.device)
    first[1:] = torch.bincount(index[0], minlength=nodes).cumsum(0)
    return torch.sparse_csr_tensor(
        first, index[1][order].to(torch.int32), value[order], (nodes, nodes), check_invariants=False
    )
