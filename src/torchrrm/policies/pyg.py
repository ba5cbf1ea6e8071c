"""Power policies and their graphs in PyTorch Geometric's terms [Fey2019]: for comparison, and for its tools.

Needs the extra `sparse`, which is loaded when it is first used.
"""

import importlib
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from torchrrm.policies.power_gnn import EDGES, PowerGNN
from torchrrm.policies.sparse_power_gnn import LinkGraph, SparsePowerGNN
from torchrrm.problems.links import LinkInstance, relative_gain

__all__ = ["PyGLinkGNN", "dense_data", "sparse_data"]


class PyGLinkGNN(nn.Module):
    """The network of a power policy, of `torch_geometric.nn.LEConv` layers with a copy of its weights.

    Args:
        policy: a `PowerGNN` or a `SparsePowerGNN`.
    """

    def __init__(self, policy: PowerGNN | SparsePowerGNN):
        super().__init__()
        layer, net = _require("torch_geometric.nn").LEConv, policy.score
        self.incoming = nn.ModuleList(_copy(layer, part) for part in net.incoming)
        self.outgoing = (
            None if net.outgoing is None else nn.ModuleList(_copy(layer, part) for part in net.outgoing)
        )
        self.head = nn.Linear(net.head.in_features, 1).to(net.head.weight)
        self.head.load_state_dict(net.head.state_dict())
        self.activation = net.activation

    def forward(
        self,
        x: Float[Tensor, "node feature"],
        edge_index: Int[Tensor, "2 edge"],
        edge_weight: Float[Tensor, "edge"],
    ) -> Float[Tensor, "node"]:
        """The fraction of each link's limit."""
        for layer, incoming in enumerate(self.incoming):
            message = incoming(x, edge_index, edge_weight)
            if self.outgoing is not None:
                message = message + self.outgoing[layer](x, edge_index.flip(0), edge_weight)
            x = self.activation(message)
        return torch.sigmoid(self.head(x)[..., 0])


def sparse_data(graph: LinkGraph) -> Any:
    """A `torch_geometric.data.Data` of `SparsePowerGNN.graph`: edges from each neighbour and from the link itself."""
    own = torch.arange(len(graph.neighbour), device=graph.neighbour.device)
    target = own[:, None].expand(graph.neighbour.shape)
    ends = torch.stack([graph.neighbour, target]).flatten(1)  # [2 edge]
    return _data(
        graph.node,
        torch.cat([own.expand(2, -1), ends], dim=-1),
        torch.cat([graph.own, graph.edge.flatten()]),
    )


def dense_data(policy: PowerGNN, instance: LinkInstance, priority: Tensor | None = None) -> Any:
    """A `torch_geometric.data.Data` of a single instance as `PowerGNN` sees it: the complete graph."""
    condition = instance.weight if policy.condition == "weight" else priority
    condition = torch.ones_like(instance.weight) if condition is None else condition
    ratio = relative_gain(instance)
    edge = EDGES[policy.edges](ratio, instance.active)
    target, source = torch.ones_like(edge).nonzero().mT
    node = policy.nodes(ratio, condition, instance.active)
    return _data(node, torch.stack([source, target]), edge[target, source])


def _data(node: Tensor, ends: Tensor, weight: Tensor) -> Any:
    return _require("torch_geometric.data").Data(x=node, edge_index=ends, edge_weight=weight)


def _copy(layer: Any, part: Any) -> nn.Module:
    copied = layer(part.lin1.in_features, part.lin1.out_features).to(part.lin1.weight)
    copied.load_state_dict(part.state_dict())
    return copied


def _require(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = f"{name}: must be installed, received no such package; pip install 'torchrrm[sparse]'"
        raise ValueError(missing) from error
