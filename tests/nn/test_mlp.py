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


@pytest.mark.parametrize("widths", [(), (3,), (3, 0, 1)])
def test_widths_are_checked(widths):
    with pytest.raises(ValueError, match="widths: must be two or more positive layer widths, received"):
        MLP(widths)
