"""Interference links as their solvers take them: in relative units as tensors, or as arrays for a kernel."""

import math
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels.signs import negative, negative_links
from torchrrm.problems.links import LinkInstance, PowerAction, SparseLinkInstance, relative_gain
from torchrrm.problems.validation import require_shape, require_signs
from torchrrm.records import tensor_record

__all__ = [
    "Coupled",
    "RelativeLinks",
    "arrays",
    "power_action",
    "powers",
    "relative_links",
    "sum_rate",
]

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


def arrays(instance: LinkInstance) -> tuple[Any, Any, Any, Any, Any]:
    """Gain, noise, limit, weight and mask as the kernels take them, contiguous.

    A single instance (no batch axis) comes as `[rx tx]`, a number and `[tx]`; a batch flattened to one axis. The
    structure must have been checked by `require_record`.

    Raises:
        ValueError: naming the field and the value, if a number of active links is negative.
    """
    gain, links = _array(instance.gain), instance.active.shape[-1]
    others = [_array(value) for value in (instance.max_power_w, instance.weight, instance.active)]
    if gain.ndim == 2:
        noise: Any = instance.noise_power_w.item()
        below = noise < 0
    else:
        gain, others = gain.reshape(-1, links, links), [value.reshape(-1, links) for value in others]
        noise = np.ascontiguousarray(_array(instance.noise_power_w).reshape(-1))
        below = negative(noise)
    gain = np.ascontiguousarray(gain)
    limit, weight, active = (np.ascontiguousarray(value) for value in others)
    if below or negative_links(gain, limit, weight, active):
        require_signs(instance)
    return gain, noise, limit, weight, active


def powers(instance: LinkInstance, action: PowerAction, like: np.ndarray) -> np.ndarray:
    """Powers in W of an action for these links, in the shape and precision of `like`, the limits of `arrays`.

    Raises:
        ValueError: if the action has another batch shape than the instance.
    """
    power_w = action.power_w
    require_shape("power_w", power_w, list(instance.active.shape))
    return np.ascontiguousarray(_array(power_w).reshape(like.shape), like.dtype)


def _array(tensor: Tensor) -> np.ndarray:
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()
