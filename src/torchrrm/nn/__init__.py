"""Layers and masked reductions."""

from torchrrm.nn.bipartite import BipartiteLayer, EdgeNet, edge_softmax, edge_weight
from torchrrm.nn.dense_leconv import DenseLEConv
from torchrrm.nn.hwgcn import HWGCN, GraphFilter
from torchrrm.nn.link_gnn import LinkGNN
from torchrrm.nn.mlp import MLP
from torchrrm.nn.reductions import masked_max, masked_mean, masked_softmax
from torchrrm.nn.sparse_bipartite import StationLists
from torchrrm.nn.sparse_leconv import SparseLEConv

__all__ = [
    "HWGCN",
    "MLP",
    "BipartiteLayer",
    "DenseLEConv",
    "EdgeNet",
    "GraphFilter",
    "LinkGNN",
    "SparseLEConv",
    "StationLists",
    "edge_softmax",
    "edge_weight",
    "masked_max",
    "masked_mean",
    "masked_softmax",
]
