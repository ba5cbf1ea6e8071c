"""Instances of many slots as the compiled loops take them, and what they did as tensors."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.policies.control.base import Track
from torchrrm.problems.links import ErgodicInstance
from torchrrm.problems.validation import require_shape, require_signs

__all__ = ["loop_arrays", "loop_track"]


def loop_arrays(
    instance: ErgodicInstance, demand_bps_hz: Float[Tensor, "*batch tx"]
) -> tuple[Any, Any, Any, Any, Any]:
    """Gain `[run slot rx tx]`, noise `[run]`, limit, mask and demand `[run tx]`, all batch axes as one.

    Raises:
        ValueError: if the demands, which a loop's state carries, are of other links, or if a number is negative.
    """
    require_shape("state", demand_bps_hz, list(instance.active.shape))
    require_signs(instance)
    gain = np.ascontiguousarray(instance.gain.numpy())
    slots, links, kind = gain.shape[-3], gain.shape[-1], gain.dtype
    return (
        gain.reshape(-1, slots, links, links),
        np.ascontiguousarray(instance.noise_power_w.numpy().reshape(-1), kind),
        np.ascontiguousarray(instance.max_power_w.numpy().reshape(-1, links), kind),
        np.ascontiguousarray(instance.active.numpy().reshape(-1, links)),
        np.ascontiguousarray(demand_bps_hz.double().numpy().reshape(-1, links)),
    )


def loop_track(arrays: tuple[Any, Any, Any], instance: ErgodicInstance) -> Track:
    """Powers, rates and multipliers `[run slot tx]` in the instance's shape."""
    shape = instance.gain.shape[:-1]
    power, rate, multiplier = (torch.from_numpy(array).reshape(shape) for array in arrays)
    return Track(power_w=power, rate_bps_hz=rate, multiplier=multiplier)
