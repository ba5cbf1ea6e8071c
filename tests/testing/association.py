"""Dense networks that the suites are tried on."""

import torch

from torchrrm.problems.association import CellInstance, cell_instance
from torchrrm.records import replace
from torchrrm.testing import Expected

CELLS = Expected(closeness=2e-5)
FAIR_CELLS = Expected(closeness=2e-5, utility_sums=False)


def network(batch_size: int, users: int, stations: int, *, generator: torch.Generator) -> CellInstance:
    """Received powers over 60 dB, limits and noise that differ, two fifths of the paths blocked."""
    shape = (batch_size, users, stations)
    gain = 10 ** (-13 + 6 * torch.rand(shape, generator=generator))
    heard = torch.rand(shape, generator=generator) < 0.6
    limit = 10 ** (-1 + torch.rand(batch_size, stations, generator=generator))
    noise = 1e-13 * (1 + torch.rand(batch_size, generator=generator))
    instance = cell_instance(gain * heard, max_power_w=limit)
    return replace(instance, noise_power_w=noise)


def sample(batch_size: int, *, generator: torch.Generator) -> CellInstance:
    """Seven users and five stations; one user in a hundred is out of reach, and more where stations are inactive."""
    return network(batch_size, 7, 5, generator=generator)


def sample_sparse(batch_size: int, *, generator: torch.Generator) -> CellInstance:
    """More stations than users: three users and eight stations."""
    return network(batch_size, 3, 8, generator=generator)
