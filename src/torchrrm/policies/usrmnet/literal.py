"""USRMNet as [He2022USRMNet] has it: beamforming for short packets by layers of UPGDNet on problem (10)."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from torchrrm.nn import HWGCN
from torchrrm.policies.base import Policy
from torchrrm.policies.unrolled import (
    ConstrainedProgram,
    UPGDNet,
    at_least,
    at_most,
    sum_at_most,
    unroll,
)
from torchrrm.problems.beamforming import (
    BeamAction,
    MisoInstance,
    UrllcBeamforming,
    coupled_sinr,
    dual_sinr,
    least_sinr,
    mmse_action,
    mmse_beams,
    relative_channel,
)
from torchrrm.rates import packet_back_off
from torchrrm.records import replace, tensor_record
from torchrrm.solvers.minimum_power_beamforming import MinimumPowerBeamforming, restored_power

__all__ = ["LiteralState", "LiteralUSRMNet", "auxiliary_program"]

_VARIABLES = 5
POWER, LOWER_SINR, UPPER_SINR, DISPERSION, BACK_OFF = range(_VARIABLES)
"""Columns of `x`: `q`, `varphi`, `phi`, `psi`, `theta` of problem (10)."""


@tensor_record
class LiteralState:
    """What passes from layer to layer.

    Attributes:
        x: `q` in units of the noise power, `varphi`, `phi`, `psi`, `theta` of each user.
        beam: `w_k`, unit vectors.
        least_sinr: `nu_3` of each user, at hand because Newton's method takes as long as a layer.
    """

    x: Float[Tensor, "*batch user variable"]
    beam: Complex[Tensor, "*batch user ant"]
    least_sinr: Float[Tensor, "*batch user"]


def _dispersion(sinr: Tensor) -> Tensor:
    """`V(gamma) = 1 - (1 + gamma)^-2`."""
    return sinr * (sinr + 2) / (1 + sinr).square()


def _root(value: Tensor) -> Tensor:
    """Square root with a derivative of 0 at 0 and below."""
    above = value > 0
    return torch.where(above, torch.sqrt(torch.where(above, value, 1.0)), 0.0)


class _StepSizes(nn.Module):
    """`N_eta`: HWGCN {5, 32, 2}, ReLU last, averaged over the users; step sizes of `varphi` and `theta`."""

    def __init__(self, hidden: int, taps: int, bias: bool):
        super().__init__()
        self.net = HWGCN((_VARIABLES, hidden, 2), taps, last=torch.relu, bias=bias)

    def forward(self, x: Tensor, adjacency: Tensor) -> Float[Tensor, "*batch 1 variable"]:
        lower, back_off = self.net(x, adjacency).mean(-2, keepdim=True).unbind(-1)
        none = torch.zeros_like(lower)
        return torch.stack([none, lower, none, none, back_off], dim=-1)


class _Perturbation(nn.Module):
    """`N_x`: HWGCN {K + 5, 32, 5} that reads each user's row of `A` as features, linear last."""

    def __init__(self, users: int, hidden: int, taps: int, bias: bool):
        super().__init__()
        self.net = HWGCN((users + _VARIABLES, hidden, _VARIABLES), taps, bias=bias)

    def forward(self, x: Tensor, adjacency: Tensor) -> Float[Tensor, "*batch user variable"]:
        return self.net(torch.cat([adjacency, x], dim=-1), adjacency)


def auxiliary_program(instance: MisoInstance, state: LiteralState) -> ConstrainedProgram:
    """Problem (10) of [He2022USRMNet] at the state's beams: (10b) to (10g) are projected on, (10h) to (10k) coupled.

    Powers are in units of the noise power, so that `P` is the ratio to noise of the paper, whose `sigma` is 1.
    Features are `x` and `A = |H W^T|`, `A_kl = |h_k^H w_l|` with channels over the noise amplitude.
    """
    beam, active = state.beam, instance.active
    channel = relative_channel(instance)
    limit = instance.max_power_w / _noise_power_w(instance)
    product = (channel / torch.sqrt(limit)[..., None, None]).conj() @ beam.mT
    coupled = product.real.square() + product.imag.square()  # [*batch user user]: |h_k^H w_l|^2
    back_off = packet_back_off(instance.error_probability, instance.blocklength)[..., None]
    weight = torch.where(active, instance.weight, torch.zeros_like(instance.weight))
    least = state.least_sinr
    most = (channel.real.square() + channel.imag.square()).sum(-1)  # P |h_k|^2 / sigma_k^2

    def objective(x: Tensor) -> Tensor:
        return -(weight * (torch.log1p(x[..., LOWER_SINR]) - back_off * x[..., BACK_OFF])).sum(-1)

    def slope(x: Tensor) -> Tensor:
        none = torch.zeros_like(weight)
        gain = -weight / (1 + x[..., LOWER_SINR])
        return torch.stack([none, gain, none, none, weight * back_off], dim=-1)

    def constraints(x: Tensor) -> Mapping[str, Tensor]:
        sinr = coupled_sinr(coupled, x[..., POWER])
        return {
            "lower_sinr": x[..., LOWER_SINR] - sinr,
            "upper_sinr": sinr - x[..., UPPER_SINR],
            "dispersion": _dispersion(x[..., UPPER_SINR]) - x[..., DISPERSION],
            "back_off": _root(x[..., DISPERSION]) - x[..., BACK_OFF],
        }

    return ConstrainedProgram(
        start=state.x,
        objective=objective,
        projections=(
            at_least(LOWER_SINR, least),
            at_most(UPPER_SINR, most),
            at_least(DISPERSION, _dispersion(least)),
            at_most(DISPERSION, _dispersion(most)),
            sum_at_most(POWER, limit, active),
            at_least(POWER, 0.0),
        ),
        coupled=constraints,
        features=lambda x: (x, torch.sqrt(coupled)),
        active=active,
        slope=slope,
    )


class LiteralUSRMNet(Policy):
    """USRMNet of [He2022USRMNet] as printed: layers of `UPGDNet` on problem (10), beams by Eq. (9) between them.

    It starts at the least powers that reach every minimum rate (problem (36) of [He2021URLLC]), where `varphi = phi =
    gamma`, `psi = V(gamma)`, `theta = sqrt(psi)`. Each layer has two HWGCNs, {5, 32, 2} and {K + 5, 32, 5}. The
    action is the last layer's `q` with its MMSE beams.

    It is made for one number of users, and *not* equivariant to their order, although Proposition 1 says so: each
    user's row of `A` is among its features, and a permutation of users permutes the entries of a row, which meet other
    weights then. Minimum rates and the power limit are not kept exactly: the projections keep constraints on auxiliary
    variables, and (10g), applied after (10f), leaves the power limit again where some power was negative.

    Features are as printed, powers in noise powers and amplitudes over that of noise, not scaled any further: it needs
    channels of order 1 and a `P` of order 10, as in the paper's cell, where its networks are not saturated.

    Resolutions of what is printed: the perturbation has five values a user, as its layer sizes say, not `5 K`; step
    sizes are averaged over users, as printed; the beams are updated by (9), where the text says (10), without gradient;
    the preliminary step increases (10a). Filters have no bias, as in Eq. (11).

    Args:
        users: `K` of every instance.
        depth: layers, `L`; the paper's tables have 2.
        hidden: width of the networks.
        taps: of the graph filters; with 1, the paper's, no message passes.
        bias: add constants to what the graph filters give.
        restore: end with `restored_power`, which keeps the minimum rates and uses all power; the paper has no such.
    """

    not_exported = "it inverts complex matrices, which ONNX does not have"

    def __init__(
        self,
        users: int,
        *,
        depth: int = 2,
        hidden: int = 32,
        taps: int = 1,
        bias: bool = False,
        restore: bool = False,
    ):
        super().__init__()
        for name, value in (("users", users), ("depth", depth), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1, received {value}")
        self.arguments: dict[str, Any] = {
            "users": users,
            "depth": depth,
            "hidden": hidden,
            "taps": taps,
            "bias": bias,
            "restore": restore,
        }
        self.users, self.restore = users, restore
        self.layers = nn.ModuleList(
            UPGDNet(_StepSizes(hidden, taps, bias), _Perturbation(users, hidden, taps, bias))
            for _ in range(depth)
        )

    @property
    def problem(self) -> UrllcBeamforming:
        """What the policy serves."""
        return UrllcBeamforming()

    def forward(self, instance: MisoInstance) -> BeamAction:
        """Uplink powers in W and beams.

        Raises:
            ValueError: if the instance is of another number of users.
        """
        return self.recover(instance, unroll(self, instance))

    def recover(self, instance: MisoInstance, state: LiteralState) -> BeamAction:
        """The action of a state, that of any layer."""
        power_w = state.x[..., POWER] * _noise_power_w(instance)[..., None]
        if self.restore:
            power_w = restored_power(instance, power_w)[0]
        return mmse_action(instance, power_w)

    @torch.no_grad()
    def begin(self, instance: MisoInstance) -> LiteralState:
        """Minimum power. Where it exceeds the limit, the balanced powers of `MinimumPowerBeamforming`."""
        received = instance.active.shape[-1]
        if received != self.users:
            raise ValueError(f"instance: must have {self.users} users, received {received}")
        action = MinimumPowerBeamforming()(instance)
        power = action.power_w / _noise_power_w(instance)[..., None]
        sinr = dual_sinr(instance, action)
        spread = _dispersion(sinr)
        x = torch.stack([power, sinr, sinr, spread, _root(spread)], dim=-1)
        return LiteralState(x=x, beam=action.beam, least_sinr=least_sinr(instance).to(x.dtype))

    def describe(self, instance: MisoInstance, state: LiteralState) -> ConstrainedProgram:
        """Problem (10) at the state's beams."""
        return auxiliary_program(instance, state)

    @torch.no_grad()
    def _beams(self, instance: MisoInstance, power: Tensor) -> Tensor:
        return mmse_beams(instance, power * _noise_power_w(instance)[..., None])

    def advance(self, instance: MisoInstance, state: LiteralState, x: Tensor) -> LiteralState:
        """The layer's variables, and the beams of Eq. (9) for its powers, which carry no gradient."""
        return replace(state, x=x, beam=self._beams(instance, x[..., POWER]))


def _noise_power_w(instance: MisoInstance) -> Float[Tensor, "*batch"]:
    """Unit of power: the mean noise power of the active users; `sigma^2` where all have the same."""
    noise = torch.where(instance.active, instance.noise_power_w, torch.zeros_like(instance.noise_power_w))
    count = instance.active.sum(-1)
    return torch.where(count > 0, noise.sum(-1) / count.clamp_min(1), torch.ones_like(noise[..., 0]))
