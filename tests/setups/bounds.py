"""What tests hold objectives against."""

from collections.abc import Mapping
from typing import Any

from torchrrm import bench
from torchrrm.setups import workbench
from torchrrm.setups.workbench import Setup

__all__ = ["held_against"]


def held_against(setup: Setup[Any, Any], drawn: Any, allocators: Mapping[str, Any]) -> bench.Bound | None:
    """The bound of the instances that count, where these allocators are compared."""
    on = bench.judged(setup.problem, drawn)
    found = {name: workbench.assess(setup, on, allocator) for name, allocator in allocators.items()}
    return workbench.bound_of(setup, on, found)
