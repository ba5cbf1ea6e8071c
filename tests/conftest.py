import pytest
import torch
from hypothesis import settings

from torchrrm.kernels import set_threads

# Small operators dominate: more threads only make them wait for each other.
set_threads(1)
torch.set_num_threads(1)

# A shared machine's pauses are no failures, and a run that fails must fail again.
settings.register_profile("torchrrm", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("torchrrm")


@pytest.fixture
def generator() -> torch.Generator:
    """A generator with a fixed seed, new for each test."""
    return torch.Generator().manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests begin first, so that no process is left with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
