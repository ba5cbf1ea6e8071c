"""Learned power control under minimum rates, unrolled from one description: a second use of `UPGDNet`."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from torchrrm.nn import LinkGNN
from torchrrm.policies.base import Policy
from torchrrm.policies.unrolled import ConstrainedProgram, UPGDNet, at_least, at_most, unroll
from torchrrm.problems.links import LinkInstance, PowerAction, QosSumRate, relative_gain
from torchrrm.problems.links.qos_sum_rate import coupling, demanded_rate
from torchrrm.records import tensor_record
from torchrrm.solvers.minimum_power import MinimumPower, minimum_region, restored

__all__ = ["PowerState", "UnrolledPower", "qos_power_program"]

_START = 0.7  # of the way from the least powers to the raised ones
_FLOOR = -12.0  # ln of the least share of a link that asks for nothing: -52 dB
_FEATURES = 7


@tensor_record
class PowerState:
    """What passes from layer to layer.

    Attributes:
        level: `ln(p / p_max)` of each link, the one variable.
        least: `ln` of the least powers that reach every minimum rate, as shares of the limits; floored at -12.
        safe: shares that reach every minimum rate with room for all that can have it, where any do.
    """

    level: Float[Tensor, "*batch tx 1"]
    least: Float[Tensor, "*batch tx"]
    safe: Float[Tensor, "*batch tx"]


@dataclass(frozen=True)
class _Links:
    """Links in relative units, `x[..., 0]` being `ln(p / p_max)`; weights add up to 1."""

    direct: Float[Tensor, "*batch tx"]
    cross: Float[Tensor, "*batch rx tx"]
    weight: Float[Tensor, "*batch tx"]
    needed: Float[Tensor, "*batch tx"]
    active: Bool[Tensor, "*batch tx"]

    @classmethod
    def of(cls, instance: LinkInstance, min_rate_bps_hz: float | Tensor) -> "_Links":
        gain = relative_gain(instance)
        direct = gain.diagonal(dim1=-2, dim2=-1)
        weight = torch.where(instance.active, instance.weight, torch.zeros_like(instance.weight))
        return cls(
            direct=direct,
            cross=gain - torch.diag_embed(direct),
            weight=weight / weight.sum(-1, keepdim=True).clamp_min(1e-12),
            needed=demanded_rate(instance, min_rate_bps_hz),
            active=instance.active,
        )

    def heard(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares, interference with noise, SINR; shares beyond the limit count as the limit."""
        share = torch.exp(x[..., 0].clamp(min=2 * _FLOOR, max=0)) * self.active
        unrest = 1 + (self.cross @ share[..., None])[..., 0]
        return share, unrest, self.direct * share / unrest

    def rate(self, x: Tensor) -> Float[Tensor, "*batch tx"]:
        return torch.log1p(self.heard(x)[2]) / math.log(2)

    def slope(self, x: Tensor) -> Float[Tensor, "*batch tx 1"]:
        """Of minus the mean weighted rate."""
        share, unrest, sinr = self.heard(x)
        part = self.weight * sinr / (1 + sinr)
        lost = share * ((part / unrest)[..., None, :] @ self.cross)[..., 0, :]
        return (lost - part)[..., None] / math.log(2)

    def features(self, x: Tensor, least: Float[Tensor, "*batch tx"]) -> tuple[Tensor, ...]:
        """Of each link, of what each hears of another, and of the harm that does."""
        share, unrest, sinr = self.heard(x)
        edge = self.cross * share[..., None, :] / unrest[..., None]  # [*batch rx tx]: part of what rx hears
        harm = (self.weight * sinr / (1 + sinr))[..., None] * edge * self.active.sum(-1)[..., None, None]
        spare = torch.log1p(sinr) / math.log(2) - self.needed
        count = self.active.sum(-1, keepdim=True)
        columns = [
            x[..., 0] / 5,
            (x[..., 0] - least) / 5,
            torch.log1p(self.direct) / 7,
            torch.log1p(sinr) / 7,
            (spare / 2).clamp(-2, 2),
            self.slope(x)[..., 0] * count,
            self.weight * count,
        ]
        node = torch.where(self.active[..., None], torch.stack(columns, dim=-1), 0.0)
        return node, edge, harm.mT


def qos_power_program(
    instance: LinkInstance, min_rate_bps_hz: float | Tensor, state: PowerState
) -> ConstrainedProgram:
    """`QosSumRate` in `x_k = ln(p_k / p_max,k)`: minus the mean weighted rate, `R_k >= r_k` coupled.

    In logarithms the slopes of a rate are between -1 and 1 nat. The least powers that reach all rates bound every
    power from below, which is a projectable constraint besides `x <= 0`.
    """
    links = _Links.of(instance, min_rate_bps_hz)
    return ConstrainedProgram(
        start=state.level,
        objective=lambda x: -(links.weight * links.rate(x)).sum(-1),
        projections=(at_least(0, state.least), at_most(0, 0.0)),
        coupled=lambda x: {"min_rate": links.needed - links.rate(x)},
        features=lambda x: links.features(x, state.least),
        active=links.active,
        slope=links.slope,
    )


class _LinkNet(nn.Module):
    """One number a link, by a graph network of links; equivariant, of any number of them."""

    def __init__(self, widths: Sequence[int], positive: bool):
        super().__init__()
        self.net = LinkGNN(_FEATURES, widths, outgoing=True, activation=leaky_relu)
        self.positive = positive

    def forward(self, node: Tensor, edge: Tensor, reverse: Tensor) -> Float[Tensor, "*batch tx 1"]:
        score = self.net(node, edge, reverse)[..., None]
        return softplus(score) if self.positive else score


class UnrolledPower(Policy):
    """Layers of `UPGDNet` for `QosSumRate`, for any number of links: [He2022USRMNet]'s method on another problem.

    It starts between the least powers under which every link reaches its minimum rate and these raised as far as the
    limits allow: at the limits themselves, where steps up are clipped, the parameters would have no gradient. At the
    end powers that leave some rate short are moved towards the raised ones, by the least part that mends it:
    minimum rates are linear in the powers, so the part is exact. Where the minimum rates cannot be reached the action
    is that of `MinimumPower`.

    Args:
        min_rate_bps_hz: of every link, in bit/s/Hz.
        depth: layers.
        widths: of the graph networks.
        restore: move powers to where all rates are kept; without, `[g]^+` may be left.
    """

    not_exported = "its least powers are solved for outside the network"

    def __init__(
        self,
        min_rate_bps_hz: float = 0.5,
        *,
        depth: int = 3,
        widths: Sequence[int] = (16, 16),
        restore: bool = True,
    ):
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth: must be at least 1, received {depth}")
        self.problem = QosSumRate(min_rate_bps_hz)
        self.restore = restore
        self.arguments: dict[str, Any] = {
            "min_rate_bps_hz": min_rate_bps_hz,
            "depth": depth,
            "widths": list(widths),
            "restore": restore,
        }
        self.layers = nn.ModuleList(
            UPGDNet(_LinkNet(widths, positive=True), _LinkNet(widths, positive=False)) for _ in range(depth)
        )

    def asking(self, min_rate_bps_hz: float | Tensor) -> "UnrolledPower":
        """A policy for these minimum rates, its layers shared."""
        other = copy.copy(self)
        other.problem = QosSumRate(min_rate_bps_hz)
        other.arguments = self.arguments | {"min_rate_bps_hz": min_rate_bps_hz}
        return other

    def forward(self, instance: LinkInstance) -> PowerAction:
        """Powers in W."""
        state = unroll(self, instance)
        share = torch.exp(state.level[..., 0])
        if self.restore:
            share = self.restored(instance, share, state.safe)
        power_w = share * instance.max_power_w
        return PowerAction(power_w=torch.where(instance.active, power_w, torch.zeros_like(power_w)))

    @torch.no_grad()
    def begin(self, instance: LinkInstance) -> PowerState:
        """Least powers, and the first ones."""
        region = minimum_region(instance, self.problem.min_rate_bps_hz)
        scale = 1 + region.ease[..., None]
        least, safe = (scale * region.least).to(instance.gain), (scale * region.top).to(instance.gain)
        if not region.feasible.all():
            limit = torch.where(instance.active, instance.max_power_w, torch.ones_like(instance.max_power_w))
            fixed = MinimumPower(self.problem.min_rate_bps_hz)(instance).power_w / limit
            reached = region.feasible[..., None]
            least, safe = torch.where(reached, least, fixed), torch.where(reached, safe, fixed)
        safe = torch.where(instance.active, safe, torch.zeros_like(safe))
        first = torch.lerp(torch.where(instance.active, least, torch.zeros_like(least)), safe, _START)
        level = torch.log(first.clamp_min(math.exp(_FLOOR)))
        return PowerState(
            level=level[..., None], least=torch.log(least.clamp_min(math.exp(_FLOOR))), safe=safe
        )

    def describe(self, instance: LinkInstance, state: PowerState) -> ConstrainedProgram:
        """The problem from the state's powers on."""
        return qos_power_program(instance, self.problem.min_rate_bps_hz, state)

    def advance(self, instance: LinkInstance, state: PowerState, x: Tensor) -> PowerState:
        """The layer's powers."""
        return PowerState(level=x, least=state.least, safe=state.safe)

    def restored(
        self, instance: LinkInstance, share: Float[Tensor, "*batch tx"], safe: Float[Tensor, "*batch tx"]
    ) -> Float[Tensor, "*batch tx"]:
        """`share + t (safe - share)` with the least `t` in [0, 1] that keeps `p >= F p + u`, where `safe` does."""
        return restored(*coupling(instance, self.problem.min_rate_bps_hz), share, safe)
