"""A graph network of links on a sparse graph, without gradients, in blocks of nodes that stay in the cache."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import link_graph as kernels
from torchrrm.nn.link_gnn import LinkGNN

__all__ = ["infer"]

_BLOCK = 256
_ALIGNED = 16
"""Columns of a block are a multiple of these, so that each row begins at a cache line."""

Rows = tuple[Any, Any, Any]
"""A graph as `torchrrm.kernels.link_graph` takes it: first edge of each node, the other ends, the weights."""


@torch.no_grad()
def infer(
    net: LinkGNN, node: Float[Tensor, "node feature"], incoming: Rows, outgoing: Rows | None
) -> Float[Tensor, "node"]:
    """What `net` says of each node: edges before weights, then one product a block for all maps of a layer.

    A last layer's features are never kept for more than a block; memory is that of the graph and one layer.
    `outgoing` is the graph turned round, of a network that sends messages both ways.
    """
    last = len(net.incoming) - 1
    score = node.new_empty(len(node))
    for layer, convolution in enumerate(net.incoming):
        both = None if net.outgoing is None else net.outgoing[layer]
        weight = _stacked(convolution, both)  # [column output]
        mixed, produced = node.new_zeros(_BLOCK, len(weight)), node.new_empty(_BLOCK, weight.shape[1])
        wider = node.new_empty(len(node), weight.shape[1]) if layer < last else None
        values, ahead = np.ascontiguousarray(node.numpy()), incoming if outgoing is None else outgoing
        for begin in range(0, len(node), _BLOCK):
            end = min(begin + _BLOCK, len(node))
            block, product = mixed[: end - begin], produced[: end - begin]
            kernels.mix(values, incoming, ahead, both is not None, begin, block.numpy())
            result = net.activation(torch.mm(block, weight, out=product))
            if wider is None:
                score[begin:end] = net.head(result)[:, 0]
            else:
                wider[begin:end] = result
        node = node if wider is None else wider
    return score


def _stacked(incoming: Any, outgoing: Any) -> Float[Tensor, "column output"]:
    """Weights of a layer, in the order of the columns of `kernels.mix`, and rows of zeros."""
    kept, bias = incoming.lin3.weight, incoming.lin3.bias
    maps, biases = [incoming.lin1.weight, incoming.lin2.weight], [incoming.lin1.bias]
    if outgoing is not None:
        kept, bias = kept + outgoing.lin3.weight, bias + outgoing.lin3.bias
        maps += [outgoing.lin1.weight, outgoing.lin2.weight]
        biases += [outgoing.lin1.bias]
    rows = torch.cat([weight.mT for weight in (kept, *maps)] + [torch.stack([bias, *biases])])
    return torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % _ALIGNED)).contiguous()
