"""Slices that the suites are tried on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tests.kernels import cases
from torch import Tensor

from torchrrm.problems import SliceInstance, slice_instance
from torchrrm.records import stack
from torchrrm.testing import Expected

SLICE = Expected(violation={"bandwidth": 1e-6, "min_rate": 1e-5, "sign": 0.0})


def sample(batch_size: int, *, generator: torch.Generator) -> SliceInstance:
    """Seven users over five decades of gain, some better heard by an eavesdropper; not all fit always."""
    gain = 10 ** (-13 + 5 * torch.rand(batch_size, 7, generator=generator))
    overheard = gain * 1.2 * torch.rand(batch_size, 7, generator=generator)
    limit = 1e6 + 30e6 * torch.rand(batch_size, generator=generator)
    return slice_instance(gain, overheard, min_rate_bps=2e6, bandwidth_hz=limit)


def one_slice(case: Sequence[Any], dtype: torch.dtype = torch.float64) -> SliceInstance:
    """The arrays of a slice as an instance."""
    cn0, eavesdropper, min_rate, limit, active = case
    return SliceInstance(
        cn0_hz=torch.tensor(cn0, dtype=dtype),
        eavesdropper_cn0_hz=torch.tensor(eavesdropper, dtype=dtype),
        min_rate_bps=torch.tensor(min_rate, dtype=dtype),
        bandwidth_hz=torch.tensor(limit, dtype=dtype),
        active=torch.tensor(active),
    )


def batch(
    name: str, count: int = 20, users: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64
) -> SliceInstance:
    """Usual slices of a kind."""
    rng = np.random.default_rng(seed)
    return stack([one_slice(cases.usual(rng, users, "secrecy" in name), dtype) for _ in range(count)])


def objective(problem: Any, record: SliceInstance, action: Any) -> Tensor:
    """Objective of an action, without a gradient."""
    return problem.evaluate(record, action).objective.detach()
