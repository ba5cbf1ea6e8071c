"""Interference links as their solvers take them: in relative units as tensors, or as arrays for a kernel."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.links import LinkInstance, PowerAction, relative_gain
from torchrrm.records import is_plain, tensor_record

__all__ = ["RelativeLinks", "arrays", "is_compilable", "power_action", "relative_links", "sum_rate"]

_COMPILED = (torch.float32, torch.float64)


@tensor_record
class RelativeLinks(LinkInstance):
    """The same links with noise 1, limits 1 and `relative_gain`; some axes are left for several starts.

    Attributes:
        cross: the gain without its diagonal, from transmitter `tx` to receiver `rx`.
        across: its transpose, in memory of its own: products with both go along contiguous rows.
        direct: SNR of each link at full power; 0 of links that are not active.
        worth: weight of each link's rate; 0 of links that are not active.
    """

    cross: Float[Tensor, "*batch rx tx"]
    across: Float[Tensor, "*batch tx rx"]
    direct: Float[Tensor, "*batch 1 tx"]
    worth: Float[Tensor, "*batch 1 tx"]


def relative_links(instance: LinkInstance) -> RelativeLinks:
    """The links in relative units."""
    gain = relative_gain(instance)
    own = torch.eye(gain.shape[-1], dtype=torch.bool, device=gain.device)
    cross = gain.masked_fill(own, 0.0)
    weight = torch.where(instance.active, instance.weight, torch.zeros_like(instance.weight))
    return RelativeLinks(
        gain=gain,
        noise_power_w=torch.ones_like(instance.noise_power_w),
        max_power_w=torch.ones_like(instance.max_power_w),
        weight=instance.weight,
        active=instance.active,
        cross=cross,
        across=cross.mT.contiguous(),
        direct=gain.diagonal(dim1=-2, dim2=-1).unsqueeze(-2),
        worth=weight.unsqueeze(-2),
    )


def sum_rate(
    links: RelativeLinks, fraction: Float[Tensor, "*batch start tx"]
) -> Float[Tensor, "*batch start"]:
    """Weighted sum rate in bit/s/Hz of powers that are fractions of the limit."""
    heard = 1.0 + fraction @ links.across
    return (links.worth * torch.log2(1.0 + links.direct * fraction / heard)).sum(-1)


def power_action(instance: LinkInstance, fraction: Float[Tensor, "*batch tx"]) -> PowerAction:
    """The action of powers that are fractions of the limit; 0 for links that are not active."""
    power = fraction * instance.max_power_w
    return PowerAction(power_w=torch.where(instance.active, power, torch.zeros_like(power)))


def is_compilable(instance: LinkInstance) -> bool:
    """Whether a kernel may serve the instance: plain tensors, of which no gradient is asked for."""
    tensors = (instance.gain, instance.noise_power_w, instance.max_power_w, instance.weight)
    asked = any(tensor.requires_grad for tensor in tensors) and torch.is_grad_enabled()
    return not asked and instance.gain.dtype in _COMPILED and is_plain(*tensors)


def arrays(instance: LinkInstance) -> tuple[Any, Any, Any, Any, Any]:
    """Gain, noise, limit, weight and mask as the kernels take them, contiguous and of the gain's precision.

    A single instance (no batch axis) comes as `[rx tx]`, a number and `[tx]`; a batch flattened to one axis.
    """
    gain = instance.gain.detach().numpy()
    links, dtype = gain.shape[-1], gain.dtype
    single = gain.ndim == 2
    rows = (links,) if single else (-1, links)

    def flat(tensor: Tensor, shape: tuple[int, ...], kind: Any) -> Any:
        return np.ascontiguousarray(tensor.detach().numpy().reshape(shape), kind)

    noise = instance.noise_power_w
    return (
        np.ascontiguousarray(gain.reshape(*rows, links)),
        noise.item() if single else flat(noise, (-1,), dtype),
        flat(instance.max_power_w, rows, dtype),
        flat(instance.weight, rows, dtype),
        flat(instance.active, rows, np.bool_),
    )
