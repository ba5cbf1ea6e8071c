"""Beamforming instances as their kernels take them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchrrm.kernels.signs import negative, negative_rows
from torchrrm.problems.beamforming import MisoInstance
from torchrrm.problems.beamforming.gram import MOST_HEARD, audible
from torchrrm.problems.validation import MOST_RATIO, require_signs

__all__ = ["MisoArrays", "miso_arrays", "miso_weights", "rows"]

MisoArrays = tuple[np.ndarray, np.ndarray, Any, tuple[Any, Any, np.ndarray], np.ndarray]


def rows(tensor: Tensor, *size: int) -> np.ndarray:
    """The tensor as a contiguous array of one batch axis before the given sizes, in its own precision."""
    return np.ascontiguousarray(tensor.detach().resolve_conj().reshape(-1, *size).numpy())


def miso_arrays(instance: MisoInstance) -> MisoArrays:
    """Channel, noise, limit, (blocklength, error probability, payloads) and mask.

    A single instance (no batch axis) comes as `[user ant]`, `[user]` and numbers; a batch flattened to one axis. The
    structure must have been checked by `require_record`.

    Raises:
        ValueError: naming the field and the value, if a number of active users is negative.
    """
    shape = instance.channel.shape
    if len(shape) > 2:
        users, antennas = shape[-2:]
        packet = (
            rows(instance.blocklength.double()),
            rows(instance.error_probability.double()),
            rows(instance.payload_bits, users),
        )
        limit: Any = rows(instance.max_power_w.double())
        channel, noise = rows(instance.channel, users, antennas), rows(instance.noise_power_w, users)
        active, above = rows(instance.active, users), limit[:, None]
        below = negative(limit) or negative(packet[0]) or negative(packet[1])
    else:
        packet = (
            instance.blocklength.item(),
            instance.error_probability.item(),
            _array(instance.payload_bits),
        )
        limit = above = instance.max_power_w.item()
        channel, noise, active = map(_array, (instance.channel, instance.noise_power_w, instance.active))
        below = limit < 0 or packet[0] < 0 or packet[1] < 0
    if below or negative_rows(noise, noise, packet[2], active):
        require_signs(instance)
    return _audible(channel, noise, above), noise, limit, packet, active


def miso_weights(instance: MisoInstance, active: np.ndarray) -> np.ndarray:
    """Weights of the users, in the shape of the mask of `miso_arrays`.

    Raises:
        ValueError: naming the value, if a weight of an active user is negative.
    """
    weight = _array(instance.weight).reshape(active.shape)
    if negative_rows(weight, weight, weight, active):
        require_signs(instance)
    return weight


def _audible(channel: np.ndarray, noise: np.ndarray, limit: Any) -> np.ndarray:
    """The channels; where extremes stand among them, as `relative_channel` takes them."""
    with np.errstate(all="ignore"):
        scale = np.minimum(np.sqrt(limit) / np.sqrt(noise), MOST_RATIO)
        size = np.abs(channel.view(noise.dtype)).max(-1, initial=0.0) * scale
        usual = (size * size <= MOST_HEARD) & (size * size * MOST_HEARD >= 1) | (size == 0)
    if usual.all():
        return channel
    factor = audible(torch.from_numpy(channel), torch.as_tensor(scale, dtype=torch.float64))
    with np.errstate(all="ignore"):  # of users that are not active, whose channels may be no numbers
        return channel * factor.numpy().astype(noise.dtype)[..., None]


def _array(tensor: Tensor) -> np.ndarray:
    if tensor.is_conj():
        tensor = tensor.resolve_conj()
    return np.ascontiguousarray((tensor.detach() if tensor.requires_grad else tensor).numpy())
