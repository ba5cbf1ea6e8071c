"""Large networks of links: each receiver hears its own transmitter and its strongest interferers alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.channels.ends import heights_by_role
from torchrrm.channels.pathloss import PathLoss
from torchrrm.channels.topology import Drop
from torchrrm.kernels.neighbours import nearest
from torchrrm.problems.base import Evaluation
from torchrrm.problems.links.records import LinkInstance, PowerAction
from torchrrm.problems.links.weighted_sum_rate import (
    MAX_POWER_W,
    NOISE_POWER_W,
    power_violation,
)
from torchrrm.problems.structure import require_action, require_record
from torchrrm.problems.validation import (
    filled,
    gain_ceiling,
    over_noise,
    require_indices,
    require_numbers,
    saturated,
)
from torchrrm.records import tensor_record

__all__ = [
    "SparseLinkInstance",
    "SparseSumRate",
    "at_neighbours",
    "ground_m",
    "relative_sparse_gain",
    "require_neighbours",
    "sparse_links",
    "sparsify",
]


@tensor_record
class SparseLinkInstance:
    """N transmitter-receiver pairs on one channel, their interference by lists of neighbours.

    Memory is linear in links and neighbours. A receiver with fewer interferers has entries of gain 0.

    Attributes:
        direct_gain: `|h|^2` from each transmitter to its own receiver, linear.
        neighbour: transmitters that disturb each receiver, none twice: `neighbour[k, d]` is heard by receiver `k`.
        neighbour_gain: `|h|^2` from them.
        noise_power_w: noise power at a receiver in W, with whatever of the interference is left out.
        max_power_w: power limit of each transmitter in W.
        weight: of each link's rate.
        active: links that may transmit.
    """

    direct_gain: Float[Tensor, "*batch link"]
    neighbour: Int[Tensor, "*batch link degree"]
    neighbour_gain: Float[Tensor, "*batch link degree"]
    noise_power_w: Float[Tensor, "*batch"]
    max_power_w: Float[Tensor, "*batch link"]
    weight: Float[Tensor, "*batch link"]
    active: Bool[Tensor, "*batch link"]

    same_axis: ClassVar[Mapping[str, str]] = {"tx": "link"}
    """An action has the power of transmitter `k`, that of link `k`."""
    may_be_empty: ClassVar[tuple[str, ...]] = ("degree",)
    holds: ClassVar[str] = "links with lists of neighbours"


@dataclass(frozen=True)
class SparseSumRate:
    """`WeightedSumRate` of links whose interference comes from their neighbours alone."""

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "sparse-sum-rate"

    def rate(
        self, instance: SparseLinkInstance, power_w: Float[Tensor, "*batch link"]
    ) -> Float[Tensor, "*batch link"]:
        """Rate of each link in bit/s/Hz; 0 of links that are not active, which do not interfere either."""
        power = torch.where(instance.active, power_w, torch.zeros_like(power_w))
        ceiling = gain_ceiling(
            torch.where(instance.active, instance.max_power_w, 1.0), instance.noise_power_w
        )
        gain = torch.minimum(instance.neighbour_gain, at_neighbours(ceiling, instance.neighbour))
        heard = (gain * at_neighbours(power, instance.neighbour)).sum(-1)
        direct = torch.minimum(instance.direct_gain, ceiling)
        ratio = direct * power / (instance.noise_power_w[..., None] + heard)
        rate = torch.log1p(ratio) / math.log(2)
        return torch.where(instance.active, rate, torch.zeros_like(rate))

    def evaluate(self, instance: SparseLinkInstance, action: PowerAction) -> Evaluation:
        """See `WeightedSumRate.evaluate`."""
        require_action(action, PowerAction, instance, SparseLinkInstance)
        utility = instance.weight * self.rate(instance, action.power_w)
        utility = torch.where(instance.active, utility, torch.zeros_like(utility))
        violation = power_violation(action.power_w, instance.max_power_w, instance.active)
        return Evaluation(objective=utility.sum(-1), utility=utility, violation=violation)

    def validate(self, instance: SparseLinkInstance) -> SparseLinkInstance:
        """The instance, if it is one.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        require_neighbours(instance)
        return require_numbers(instance, positive=("direct_gain", "noise_power_w", "max_power_w"))


def require_neighbours(instance: SparseLinkInstance) -> SparseLinkInstance:
    """Return the instance if it is a record of sparse links whose neighbours are links.

    Raises:
        ValueError: naming the field, the rule and what was received.
    """
    require_record(instance, SparseLinkInstance)
    require_indices("neighbour", instance.neighbour, instance.active.shape[-1], "link")
    return instance


def at_neighbours(
    value: Float[Tensor, "*batch link"], neighbour: Int[Tensor, "*batch link degree"]
) -> Float[Tensor, "*batch link degree"]:
    """The value of each neighbour."""
    flat = neighbour.flatten(-2).expand(*value.shape[:-1], -1)
    return value.gather(-1, flat).unflatten(-1, neighbour.shape[-2:])


def relative_sparse_gain(
    instance: SparseLinkInstance,
) -> tuple[Float[Tensor, "*batch link"], Float[Tensor, "*batch link degree"]]:
    """`relative_gain` of lists: SNR of each link, and interference of each neighbour over the noise, at full power."""
    scale = over_noise(instance.max_power_w, instance.noise_power_w)
    scale = torch.where(instance.active, scale, torch.zeros_like(scale))
    other = at_neighbours(scale, instance.neighbour)
    heard = instance.active[..., None] & (other > 0)
    ratio = torch.where(heard, saturated(instance.neighbour_gain * other), torch.zeros_like(other))
    direct = torch.where(instance.active, saturated(instance.direct_gain * scale), torch.zeros_like(scale))
    return direct, ratio


def sparsify(instance: LinkInstance, degree: int) -> SparseLinkInstance:
    """The `degree` interferers that each receiver hears strongest when all active links are at their limits.

    What the others add is left out, so that rates are too high by a little.
    """
    links = require_record(instance, LinkInstance).gain.shape[-1]
    _require_degree(degree, links)
    own = torch.eye(links, dtype=torch.bool, device=instance.gain.device)
    silent = own | ~instance.active.unsqueeze(-2)
    received = (instance.gain * instance.max_power_w.unsqueeze(-2)).masked_fill(silent, 0.0)
    neighbour = received.topk(degree, -1).indices
    return SparseLinkInstance(
        direct_gain=instance.gain.diagonal(dim1=-2, dim2=-1).clone(),
        neighbour=neighbour,
        neighbour_gain=instance.gain.masked_fill(silent, 0.0).gather(-1, neighbour),
        noise_power_w=instance.noise_power_w,
        max_power_w=instance.max_power_w,
        weight=instance.weight,
        active=instance.active,
    )


def sparse_links(
    drop: Drop,
    path_loss: PathLoss,
    degree: int,
    *,
    noise_power_w: float | Float[Tensor, ""] = NOISE_POWER_W,
    max_power_w: float | Float[Tensor, "#link"] = MAX_POWER_W,
) -> SparseLinkInstance:
    """Links of one drop of pairs with the `degree` transmitters nearest to each receiver, of weight 1.

    No matrix of all pairs is ever built: time and memory grow linearly with the links. Shadowing and fading are
    the caller's to multiply onto the gains; with them the nearest are not always the strongest, so that some more
    neighbours may be asked for.

    Args:
        drop: positions of as many devices that receive as that transmit, without batch axes, receiver `k` of
            transmitter `k`.
        path_loss: mean gain over the distance.
        degree: neighbours of each link.
        noise_power_w: noise power at a receiver in W.
        max_power_w: power limit of each transmitter in W: a number, or one for each link.

    Raises:
        ValueError: naming the argument, the rule and what was received.
    """
    receiver, transmitter = drop.rx_position_m, drop.tx_position_m
    if receiver.ndim != 2 or receiver.shape != transmitter.shape:
        received = f"{list(receiver.shape)} and {list(transmitter.shape)}"
        raise ValueError(f"drop: must be one drop of pairs, positions [link, 3], received {received}")
    _require_degree(degree, len(receiver))
    ground = ground_m("drop.rx_position_m", receiver), ground_m("drop.tx_position_m", transmitter)
    index, horizontal = nearest(*ground, degree, True)
    neighbour = torch.from_numpy(index).to(receiver.device)
    height, other = receiver[:, 2], transmitter[:, 2]
    own = torch.linalg.vector_norm(receiver[:, :2] - transmitter[:, :2], dim=-1)
    away = torch.from_numpy(horizontal).to(receiver)
    links = receiver.shape[:1]
    instance = SparseLinkInstance(
        direct_gain=_gain(path_loss, own, height, other),
        neighbour=neighbour,
        neighbour_gain=_gain(path_loss, away, height[:, None].expand_as(away), other[neighbour]),
        noise_power_w=filled("noise_power_w", noise_power_w, (), receiver),
        max_power_w=filled("max_power_w", max_power_w, links, receiver),
        weight=receiver.new_ones(links),
        active=torch.ones(links, dtype=torch.bool, device=receiver.device),
    )
    return require_numbers(require_neighbours(instance), positive=("noise_power_w", "max_power_w"))


def ground_m(name: str, position_m: Float[Tensor, "node 3"]) -> np.ndarray:
    """Return horizontal positions `[node 2]` as the kernel that finds neighbours reads them.

    Raises:
        ValueError: if a position is not a finite number: it belongs to no cell of the grid.
    """
    ground = np.ascontiguousarray(position_m[:, :2].detach().cpu().numpy(), np.float64)
    if not np.isfinite(ground).all():
        raise ValueError(f"{name}: must be finite, received {ground[~np.isfinite(ground)][0]}")
    return ground


def _gain(path_loss: PathLoss, away: Tensor, rx_height_m: Tensor, tx_height_m: Tensor) -> Tensor:
    """Gains between devices over horizontal distances."""
    station, user = heights_by_role("device-to-device", rx_height_m, tx_height_m)
    return path_loss.gain(away, station_height_m=station, user_height_m=user)


def _require_degree(degree: int, links: int) -> None:
    if not 1 <= degree < links:
        raise ValueError(f"degree: must be in 1 to {links - 1}, below the number of links, received {degree}")
