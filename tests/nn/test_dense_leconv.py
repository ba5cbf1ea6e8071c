"""Dense LEConv against PyTorch Geometric's."""

import pytest
import torch

from torchrrm.nn import DenseLEConv


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 128), (128, 128), (7, 3)])
def test_equals_pyg_with_the_same_weights(inputs, outputs, generator):
    pyg = pytest.importorskip("torch_geometric.nn").LEConv(inputs, outputs)
    dense = DenseLEConv(inputs, outputs)
    dense.load_state_dict(pyg.state_dict())
    node = torch.randn(20, inputs, generator=generator)
    edge = torch.rand(20, 20, generator=generator) - 0.3
    target, source = torch.ones(20, 20).nonzero().T
    expected = pyg(node, torch.stack([source, target]), edge[target, source])
    received = dense(node, edge)
    assert (received - expected).abs().max() <= 1e-5 * expected.abs().max()
    transposed = dense(node, edge.T)
    assert (transposed - expected).abs().max() > 1e-2 * expected.abs().max()


def test_batch_is_one_by_one(generator):
    layer = DenseLEConv(4, 5)
    node, edge = torch.randn(2, 3, 6, 4, generator=generator), torch.rand(2, 3, 6, 6, generator=generator)
    single = torch.stack(
        [
            torch.stack([layer(n, e) for n, e in zip(*row, strict=True)])
            for row in zip(node, edge, strict=True)
        ]
    )
    torch.testing.assert_close(layer(node, edge), single)
