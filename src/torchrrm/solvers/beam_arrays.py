"""Beamforming instances as their kernels take them."""

import numpy as np
import torch
from torch import Tensor

from torchrrm.kernels.signs import negative, negative_rows
from torchrrm.problems.beamforming import MisoInstance
from torchrrm.problems.beamforming.gram import MOST_HEARD, audible
from torchrrm.problems.validation import MOST_RATIO, require_signs

__all__ = ["MisoArrays", "double_rows", "miso_arrays", "miso_weights", "rows"]

MisoArrays = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def miso_arrays(instance: MisoInstance) -> MisoArrays:
    """Return channel, noise, limit, (blocklength, error probability, payloads) and mask in double precision.

    They have one batch axis, `[batch user ant]`, `[batch user]` and `[batch]`; a single instance is a batch of one. The
    structure must have been checked by `require_record`.

    Raises:
        ValueError: naming the field and the value, if a number of active users is negative.
    """
    users, antennas = instance.channel.shape[-2:]
    channel = np.asarray(rows(instance.channel, users, antennas), np.complex128)
    noise, limit = double_rows(instance.noise_power_w, users), double_rows(instance.max_power_w)
    packet = (
        double_rows(instance.blocklength),
        double_rows(instance.error_probability),
        double_rows(instance.payload_bits, users),
    )
    active = rows(instance.active, users)
    below = negative(limit) or negative(packet[0]) or negative(packet[1])
    if below or negative_rows(noise, noise, packet[2], active):
        require_signs(instance)
    return _audible(channel, noise, limit[:, None]), noise, limit, packet, active


def miso_weights(instance: MisoInstance, active: np.ndarray) -> np.ndarray:
    """Return the weights of the users, in the shape of the mask of `miso_arrays`.

    Raises:
        ValueError: naming the value, if a weight of an active user is negative.
    """
    weight = double_rows(instance.weight, active.shape[-1])
    if negative_rows(weight, weight, weight, active):
        require_signs(instance)
    return weight


def rows(tensor: Tensor, *size: int) -> np.ndarray:
    """Return the tensor as a contiguous array of one batch axis before the given sizes, in its own precision."""
    tensor = tensor.resolve_conj() if tensor.is_conj() else tensor
    tensor = tensor.detach() if tensor.requires_grad else tensor
    return np.ascontiguousarray(tensor.numpy().reshape(-1, *size))


def double_rows(tensor: Tensor, *size: int) -> np.ndarray:
    """Return `rows` of real numbers in double precision."""
    return np.asarray(rows(tensor, *size), np.float64)


def _audible(channel: np.ndarray, noise: np.ndarray, limit: np.ndarray) -> np.ndarray:
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
