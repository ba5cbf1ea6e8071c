"""Interference links as their solvers take them: in relative units as tensors, or as arrays for a kernel."""

import math
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.links import LinkInstance, PowerAction, SparseLinkInstance, relative_gain
from torchrrm.records import is_plain, tensor_record

__all__ = [
    "Coupled",
    "RelativeLinks",
    "arrays",
    "is_compilable",
    "power_action",
    "relative_links",
    "sum_rate",
]

_COMPILED = (torch.float32, torch.float64)
_LOOPED = 400  # multiplications of a vector and a matrix below which torch's `bmm` on a CPU is a plain loop


class Coupled(Protocol):
    """Links in relative units that say what they do to each other: `RelativeLinks`, or with lists of neighbours."""

    @property
    def direct(self) -> Tensor: ...
    @property
    def worth(self) -> Tensor: ...
    @property
    def weight(self) -> Tensor: ...
    @property
    def active(self) -> Tensor: ...
    def heard(self, power: Tensor) -> Tensor: ...
    def charge(self, cost: Tensor) -> Tensor: ...


@tensor_record
class RelativeLinks(LinkInstance):
    """The same links with noise 1, limits 1 and `relative_gain`; some axes are left for several starts.

    Attributes:
        across: the gain without its diagonal, transposed; both lie in memory as products with them are fastest.
        direct: SNR of each link at full power; 0 of links that are not active.
        worth: weight of each link's rate times its SNR at full power; 0 of links that are not active.
        noise: 1.
    """

    across: Float[Tensor, "*batch tx rx"]
    direct: Float[Tensor, "*batch 1 tx"]
    worth: Float[Tensor, "*batch 1 tx"]
    noise: Float[Tensor, "*batch 1 1"]

    def heard(self, power: Float[Tensor, "*batch start tx"]) -> Float[Tensor, "*batch start tx"]:
        """Noise and what each receiver hears from the other links' transmitters."""
        if power.ndim == 3 and self.across.ndim == 3:
            return torch.baddbmm(self.noise, power, self.across)
        return self.noise + power @ self.across

    def charge(self, cost: Float[Tensor, "*batch start tx"]) -> Float[Tensor, "*batch start tx"]:
        """What each transmitter is charged by the receivers, its own among them, by what they hear of it."""
        return _product(cost, self.gain)


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows @ matrix`; with one batch axis by `bmm`, which takes half the time where matrices are small."""
    return torch.bmm(rows, matrix) if rows.ndim == 3 and matrix.ndim == 3 else rows @ matrix


def relative_links(instance: LinkInstance) -> RelativeLinks:
    """The links in relative units."""
    gain = relative_gain(instance)
    own = torch.eye(gain.shape[-1], dtype=torch.bool, device=gain.device)
    direct = gain.diagonal(dim1=-2, dim2=-1)
    worth = torch.where(instance.active, instance.weight * direct, torch.zeros_like(direct))
    across = gain.masked_fill(own, 0.0).mT
    # torch's product of few numbers is a loop down the columns, that of many goes along the rows.
    small = gain.shape[-1] ** 2 < _LOOPED
    return RelativeLinks(
        gain=gain.mT.contiguous().mT if small else gain,
        noise_power_w=torch.ones_like(instance.noise_power_w),
        max_power_w=torch.ones_like(instance.max_power_w),
        weight=instance.weight,
        active=instance.active,
        across=across if small else across.contiguous(),
        direct=direct.contiguous().unsqueeze(-2),
        worth=worth.unsqueeze(-2),
        noise=torch.ones_like(instance.noise_power_w)[..., None, None],
    )


def sum_rate(links: Coupled, fraction: Float[Tensor, "*batch start tx"]) -> Float[Tensor, "*batch start"]:
    """Weighted sum rate in bit/s/Hz of powers that are fractions of the limit."""
    heard = links.heard(fraction)
    rate = torch.log1p(links.direct * fraction / heard) / math.log(2)
    weight = torch.where(links.active, links.weight, torch.zeros_like(links.weight))
    return (weight.unsqueeze(-2) * rate).sum(-1)


def power_action(
    instance: LinkInstance | SparseLinkInstance, fraction: Float[Tensor, "*batch tx"]
) -> PowerAction:
    """The action of powers that are fractions of the limit; 0 for links that are not active."""
    power = fraction * instance.max_power_w
    return PowerAction(power_w=torch.where(instance.active, power, torch.zeros_like(power)))


def is_compilable(instance: LinkInstance | SparseLinkInstance) -> bool:
    """Whether a kernel may serve the instance: plain tensors, of which no gradient is asked for."""
    tensors = tuple(vars(instance).values())
    if instance.max_power_w.dtype not in _COMPILED or not is_plain(*tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def arrays(instance: LinkInstance) -> tuple[Any, Any, Any, Any, Any]:
    """Gain, noise, limit, weight and mask as the kernels take them, contiguous and of the gain's precision.

    A single instance (no batch axis) comes as `[rx tx]`, a number and `[tx]`; a batch flattened to one axis.

    Raises:
        ValueError: if shapes do not fit: kernels check none.
    """
    gain = _array(instance.gain)
    links, kind = gain.shape[-1], gain.dtype
    others = [_array(value) for value in (instance.max_power_w, instance.weight, instance.active)]
    for value in others:
        if value.shape != gain.shape[:-1]:
            received = f"{list(value.shape)} for gains {list(gain.shape)}"
            raise ValueError(
                f"instance: limits, weights and mask must be of shape [*batch, tx], received {received}"
            )
    if gain.ndim == 2:
        noise: Any = instance.noise_power_w.item()
    else:
        gain, others = gain.reshape(-1, links, links), [value.reshape(-1, links) for value in others]
        noise = np.ascontiguousarray(_array(instance.noise_power_w).reshape(-1), kind)
    limit, weight, active = others
    return (
        np.ascontiguousarray(gain),
        noise,
        np.ascontiguousarray(limit, kind),
        np.ascontiguousarray(weight, kind),
        np.ascontiguousarray(active),
    )


def _array(tensor: Tensor) -> np.ndarray:
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()
