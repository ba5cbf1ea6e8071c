"""Spectral graph convolution by filter taps, on dense adjacency matrices."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["HWGCN", "GraphFilter"]


class GraphFilter(nn.Module):
    """One layer of Eq. (11) of [He2022USRMNet], before its activation: `Z' = sum_{k < K} A^k Z B_k`.

    `B_k [inputs outputs]` holds the tap `k` of the filter from each feature to each. With one tap, as in the paper's
    experiments, it is a linear map of each node by itself: no message passes.

    Shapes: nodes `[*batch node inputs]`, adjacency `[*batch node node]` -> `[*batch node outputs]`.

    Args:
        inputs: features of a node.
        outputs: features of a node after it.
        taps: `K`, at least 1.
        bias: add a constant to each output; the equation has none.
    """

    def __init__(self, inputs: int, outputs: int, taps: int = 1, *, bias: bool = False):
        super().__init__()
        if taps < 1:
            raise ValueError(f"taps: must be at least 1, received {taps}")
        self.inputs, self.outputs, self.taps = inputs, outputs, taps
        bound = 1 / math.sqrt(inputs * taps)  # as `nn.Linear` of all that a node receives
        self.weight = nn.Parameter(torch.empty(taps, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None

    def forward(
        self, node: Float[Tensor, "*batch node inputs"], adjacency: Float[Tensor, "*batch node node"]
    ) -> Float[Tensor, "*batch node outputs"]:
        out = node @ self.weight[-1]
        for tap in range(self.taps - 2, -1, -1):  # Horner's rule: the taps share the powers of A
            out = adjacency @ out + node @ self.weight[tap]
        return out if self.bias is None else out + self.bias


class HWGCN(nn.Module):
    """Graph filters one after the other, Eq. (11) of [He2022USRMNet]; equivariant to the order of nodes.

    Shapes: nodes `[*batch node widths[0]]`, adjacency `[*batch node node]` -> `[*batch node widths[-1]]`.

    Args:
        widths: features of a node, the input's first.
        taps: of each filter.
        hidden: activation of all layers but the last.
        last: activation of the last layer; `None`: it is linear.
        bias: of the filters.
    """

    def __init__(
        self,
        widths: Sequence[int],
        taps: int = 1,
        *,
        hidden: Callable[[Tensor], Tensor] = torch.tanh,
        last: Callable[[Tensor], Tensor] | None = None,
        bias: bool = False,
    ):
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths: must be two or more positive layer widths, received {list(widths)}")
        self.filters = nn.ModuleList(GraphFilter(*pair, taps, bias=bias) for pair in pairwise(widths))
        self.hidden, self.last = hidden, last

    def forward(
        self, node: Float[Tensor, "*batch node feature"], adjacency: Float[Tensor, "*batch node node"]
    ) -> Float[Tensor, "*batch node output"]:
        for layer, graph_filter in enumerate(self.filters):
            node = graph_filter(node, adjacency)
            if layer < len(self.filters) - 1:
                node = self.hidden(node)
        return node if self.last is None else self.last(node)
