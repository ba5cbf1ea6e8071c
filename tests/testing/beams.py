"""Short packets over many antennas that the suites are tried on."""

import torch
from torch import Tensor

from torchrrm.problems import MisoInstance, miso_instance
from torchrrm.solvers.minimum_power_beamforming import feasible
from torchrrm.testing import Expected

BEAMS = Expected(closeness=2e-5, feasible=feasible)


def complex_normal(*shape: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Circular, of variance 1."""
    return torch.randn(*shape, generator=generator, dtype=dtype.to_complex())


def sample(batch_size: int, *, generator: torch.Generator) -> MisoInstance:
    """Five users, eight antennas, in physical units; everything differs, and every minimum rate can be kept."""
    gain = 1e-10 * (0.5 + torch.rand(batch_size, 5, 1, generator=generator))
    return MisoInstance(
        channel=gain.sqrt() * complex_normal(batch_size, 5, 8, generator=generator),
        noise_power_w=1e-12 * (1 + torch.rand(batch_size, 5, generator=generator)),
        max_power_w=4 + torch.rand(batch_size, generator=generator),
        weight=0.5 + torch.rand(batch_size, 5, generator=generator),
        blocklength=200 + 100 * torch.rand(batch_size, generator=generator),
        error_probability=1e-5 * (1 + torch.rand(batch_size, generator=generator)),
        payload_bits=100 + 50 * torch.rand(batch_size, 5, generator=generator),
        active=torch.ones(batch_size, 5, dtype=torch.bool),
    )


def loaded(
    batch_size: int,
    users: int,
    antennas: int,
    *,
    generator: torch.Generator,
    near_m: float = 120.0,
    far_m: float = 140.0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Channels of users that are uniform over a ring's area, with the gain `1 / (1 + (d / 50 m)^3)`."""
    draw = torch.rand(batch_size, users, 1, generator=generator, dtype=dtype)
    distance_m = torch.sqrt(near_m**2 + (far_m**2 - near_m**2) * draw)
    fading = complex_normal(batch_size, users, antennas, generator=generator, dtype=dtype)
    return torch.sqrt(1 / (1 + (distance_m / 50.0) ** 3)) * fading


Cell = tuple[int, int, float, float, float, float]
"""Users, antennas, near and far in m, SNR in dB, blocklength."""


def in_cell(cell: Cell, generator: torch.Generator, batch_size: int = 20) -> MisoInstance:
    """Instances of a ring in double precision, feasible or not."""
    users, antennas, near_m, far_m, snr_db, blocklength = cell
    channel = loaded(batch_size, users, antennas, generator=generator, near_m=near_m, far_m=far_m)
    return miso_instance(channel, max_power_w=10 ** (snr_db / 10), blocklength=blocklength)
