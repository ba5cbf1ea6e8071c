import pytest
import torch
from torch import nn

from torchrrm.nn import MLP


def test_layers_of_the_paper():
    network = MLP((2, 32, 64, 64, 32, 1))
    linear = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    assert linear == [(2, 32), (32, 64), (64, 64), (64, 32), (32, 1)]
    assert sum(isinstance(m, nn.ReLU) for m in network.modules()) == 4
    assert network(torch.zeros(3, 5, 2)).shape == (3, 5, 1)


def test_single_layer_is_linear():
    network = MLP((3, 2))
    x, y = torch.randn(3), torch.randn(3)
    torch.testing.assert_close(network(x) + network(y), network(x + y) + network(torch.zeros(3)))


def test_hidden_layers_are_normalised_over_all_batch_axes():
    torch.manual_seed(0)
    network = MLP((3, 8, 8, 2), batch_norm=True)
    kinds = [type(m).__name__ for m in network.layers]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    features = 5.0 + 3.0 * torch.randn(4, 16, 3)
    inner = network.layers[:2](features.flatten(0, 1))
    torch.testing.assert_close(inner.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(network(features), network(features.flatten(0, 1)).unflatten(0, (4, 16)))
    for _ in range(200):
        network(features)
    wanted = network(features)
    torch.testing.assert_close(network.eval()(features), wanted, rtol=0, atol=0.1)
    assert network(features[0, 0]).shape == (2,)  # alone, by running averages


@pytest.mark.parametrize("widths", [(), (3,), (3, 0, 1)])
def test_widths_are_checked(widths):
    with pytest.raises(ValueError, match="widths: must be two or more positive layer widths, received"):
        MLP(widths)
