"""Every registered allocator at the ends of what an instance's numbers may be, and beyond."""

import pytest
import torch
from tests.testing.registered import ALL, Registered

from torchrrm.records import to
from torchrrm.testing import check_extremes


def cast(sample, dtype):
    """The sample in a precision."""
    return lambda batch_size, *, generator: to(sample(batch_size, generator=generator), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_extremes(one: Registered, dtype):
    check_extremes(one.make(dtype), one.problem, cast(one.sample, dtype), expected=one.expected)
