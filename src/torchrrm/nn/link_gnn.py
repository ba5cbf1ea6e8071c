"""Graph network with one output a node."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from torchrrm.nn.dense_leconv import DenseLEConv
from torchrrm.nn.sparse_leconv import SparseLEConv

__all__ = ["LinkGNN"]


class LinkGNN(nn.Module):
    """LEConv layers, an activation after each, and a linear output for each node.

    Args:
        inputs: features of a node.
        widths: of the layers.
        outgoing: send messages also against the edges, by layers of their own.
        activation: between the layers.
        layer: `DenseLEConv`, or `SparseLEConv` for edges in compressed rows; the parameters are the same.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        *,
        outgoing: bool,
        activation: Callable[[Tensor], Tensor],
        layer: type[DenseLEConv] | type[SparseLEConv] = DenseLEConv,
    ):
        super().__init__()
        pairs = list(pairwise((inputs, *widths)))
        self.incoming = nn.ModuleList(layer(*pair) for pair in pairs)
        self.outgoing = nn.ModuleList(layer(*pair) for pair in pairs) if outgoing else None
        self.head = nn.Linear(widths[-1], 1)
        self.activation = activation

    def forward(
        self,
        node: Float[Tensor, "*batch node feature"],
        edge: Float[Tensor, "*batch node node"],
        reverse: Float[Tensor, "*batch node node"] | None = None,
    ) -> Float[Tensor, "*batch node"]:
        """One number a node; `reverse` are the edges turned round, by default `edge.mT`."""
        reverse = edge.mT if reverse is None else reverse
        for layer, incoming in enumerate(self.incoming):
            message = incoming(node, edge)
            if self.outgoing is not None:
                message = message + self.outgoing[layer](node, reverse)
            node = self.activation(message)
        return self.head(node).squeeze(-1)
