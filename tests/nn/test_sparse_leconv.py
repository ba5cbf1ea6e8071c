"""Sparse LEConv against PyTorch Geometric's and the dense one, and its inference in blocks."""

import pytest
import torch
from torch.nn.functional import leaky_relu

from torchrrm.kernels import link_graph as kernels
from torchrrm.nn import DenseLEConv, LinkGNN, SparseLEConv
from torchrrm.nn.sparse_inference import infer

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")


def edges(nodes: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A fifth of all edges, and a node without any."""
    weight = torch.rand(nodes, nodes, generator=generator, dtype=dtype) - 0.3
    kept = torch.rand(nodes, nodes, generator=generator) < 0.2
    kept[3], kept[:, 3] = False, False
    return weight * kept


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 128), (128, 128), (7, 3)])
def test_equals_pyg_and_dense(inputs, outputs, generator):
    pyg = pytest.importorskip("torch_geometric.nn").LEConv(inputs, outputs)
    sparse, dense = SparseLEConv(inputs, outputs), DenseLEConv(inputs, outputs)
    sparse.load_state_dict(pyg.state_dict())
    dense.load_state_dict(sparse.state_dict())
    node, edge = torch.randn(30, inputs, generator=generator), edges(30, generator)
    target, source = edge.nonzero().mT
    expected = pyg(node, torch.stack([source, target]), edge[target, source])
    received = sparse(node, edge.to_sparse_csr())
    scale = expected.abs().max()
    assert (received - expected).abs().max() <= 1e-5 * scale
    assert (received - dense(node, edge)).abs().max() <= 1e-5 * scale
    assert (sparse(node, edge.mT.to_sparse_csr()) - expected).abs().max() > 1e-2 * scale


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 4), (4, 2)])
def test_gradients_are_those_of_the_dense_layer(inputs, outputs, generator):
    sparse, dense = SparseLEConv(inputs, outputs).double(), DenseLEConv(inputs, outputs).double()
    dense.load_state_dict(sparse.state_dict())
    edge = edges(12, generator, torch.float64)
    gradients = []
    for layer, form in ((sparse, edge.to_sparse_csr()), (dense, edge)):
        node = torch.randn(12, inputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        layer(node.requires_grad_(), form).square().sum().backward()
        gradients.append([node.grad, *(parameter.grad for parameter in layer.parameters())])
    for received, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(received, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outgoing", [False, True])
@pytest.mark.parametrize("widths", [(16,), (8, 24, 4)])
def test_inference_in_blocks(dtype, outgoing, widths, generator):
    net = LinkGNN(3, widths, outgoing=outgoing, activation=leaky_relu, layer=SparseLEConv).to(dtype)
    node = torch.randn(300, 3, generator=generator, dtype=dtype)
    edge = edges(300, generator, dtype).to_sparse_csr()
    reverse = edge.to_dense().mT.to_sparse_csr()
    forms = [
        (e.crow_indices().numpy(), e.col_indices().int().numpy(), e.values().numpy()) for e in (edge, reverse)
    ]
    received = infer(net, node, forms[0], forms[1] if outgoing else None)
    wanted = net(node, edge, reverse).detach()
    assert not received.requires_grad
    assert (received - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    for turned, direct in zip(kernels.transpose(*forms[0]), forms[1], strict=True):
        assert (turned == direct).all()
