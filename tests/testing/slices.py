"""Slices that the suites are tried on."""

import torch

from torchrrm.problems import SliceInstance, slice_instance
from torchrrm.testing import Expected

SLICE = Expected(violation={"bandwidth": 1e-6, "min_rate": 1e-5, "sign": 0.0})


def sample(batch_size: int, *, generator: torch.Generator) -> SliceInstance:
    """Seven users over five decades of gain, some better heard by an eavesdropper; not all fit always."""
    gain = 10 ** (-13 + 5 * torch.rand(batch_size, 7, generator=generator))
    overheard = gain * 1.2 * torch.rand(batch_size, 7, generator=generator)
    limit = 1e6 + 30e6 * torch.rand(batch_size, generator=generator)
    return slice_instance(gain, overheard, min_rate_bps=2e6, bandwidth_hz=limit)
