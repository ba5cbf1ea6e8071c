import pytest

from torchrrm.channels import Rayleigh


@pytest.fixture(scope="session")
def rayleigh():
    """Nodes and weights of Rayleigh fading."""
    return Rayleigh().quadrature()
