"""Beamforming instances as their kernels take them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchrrm.problems.beamforming import MisoInstance
from torchrrm.problems.beamforming.gram import MOST_HEARD, audible
from torchrrm.problems.validation import MOST_RATIO
from torchrrm.records import is_plain

__all__ = ["MisoArrays", "is_compilable", "miso_arrays", "rows"]

_COMPILED = (torch.complex64, torch.complex128)

MisoArrays = tuple[np.ndarray, np.ndarray, Any, tuple[Any, Any, np.ndarray], np.ndarray]


def is_compilable(instance: MisoInstance, *others: Tensor) -> bool:
    """Whether a kernel may serve the instance: plain tensors, of which no gradient is asked for."""
    tensors = (*vars(instance).values(), *others)
    if instance.channel.dtype not in _COMPILED or not is_plain(*tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def rows(tensor: Tensor, *size: int) -> np.ndarray:
    """The tensor as a contiguous array of one batch axis before the given sizes, in its own precision."""
    return np.ascontiguousarray(tensor.detach().resolve_conj().reshape(-1, *size).numpy())


def miso_arrays(instance: MisoInstance) -> MisoArrays:
    """Channel, noise, limit, (blocklength, error probability, payloads) and mask.

    A single instance (no batch axis) comes as `[user ant]`, `[user]` and numbers; a batch flattened to one axis.

    Raises:
        ValueError: if shapes do not fit: kernels check none.
    """
    shape = instance.channel.shape
    _require_shapes(instance, shape)
    if len(shape) > 2:
        users, antennas = shape[-2:]
        packet = (
            rows(instance.blocklength.double()),
            rows(instance.error_probability.double()),
            rows(instance.payload_bits, users),
        )
        limit = rows(instance.max_power_w.double())
        channel, noise = rows(instance.channel, users, antennas), rows(instance.noise_power_w, users)
        return _audible(channel, noise, limit[:, None]), noise, limit, packet, rows(instance.active, users)
    packet = (
        instance.blocklength.item(),
        instance.error_probability.item(),
        _array(instance.payload_bits),
    )
    limit = instance.max_power_w.item()
    noise = _array(instance.noise_power_w)
    return _audible(_array(instance.channel), noise, limit), noise, limit, packet, _array(instance.active)


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


def _require_shapes(instance: MisoInstance, shape: torch.Size) -> None:
    users, batch = shape[:-1], shape[:-2]
    for name, size in (
        ("noise_power_w", users),
        ("payload_bits", users),
        ("weight", users),
        ("active", users),
        ("max_power_w", batch),
        ("blocklength", batch),
        ("error_probability", batch),
    ):
        received = getattr(instance, name).shape
        if received != size:
            raise ValueError(f"{name}: must be of shape {list(size)}, received {list(received)}")
