"""Weighted sum rate of short packets in a multi-antenna downlink, with a minimum rate for each user."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchrrm.problems.base import Evaluation
from torchrrm.problems.beamforming.gram import dual_sinr
from torchrrm.problems.beamforming.records import BeamAction, MisoInstance
from torchrrm.problems.validation import require_shape, require_values
from torchrrm.rates import least_packet_sinr, packet_back_off, packet_rate

__all__ = ["UrllcBeamforming", "least_rate_nats", "least_sinr", "miso_instance"]

Unit = Literal["nat", "bit"]
LEAST_PAYLOAD_BITS = 1e-3
"""Least payload but 0: rates that are so low drown in the rounding of single precision."""
MOST_BITS = 100.0
"""Most bits of payload a channel use: it takes an SINR of 300 dB."""


@dataclass(frozen=True)
class UrllcBeamforming:
    """Weighted sum rate at finite blocklength under a power budget and minimum rates (Eq. (7) of [He2022USRMNet]).

        maximise    sum_k a_k R_k(SINR_k(q, w))
        subject to  R_k >= D_k ln(2) / n,   sum_k q_k <= P,   q >= 0,   |w_k| = 1,
        R_k = ln(1 + SINR_k) - Q^-1(eps) / sqrt(n) sqrt(1 - (1 + SINR_k)^-2)   in nats a channel use.

    It is stated in the dual uplink; `to_downlink` gives the powers with which the station reaches the same rates. Not
    convex; `BeamformingBound` certifies how far an action is from the best.

    Attributes:
        unit: of objective and utilities: nats a channel use, as in the paper, or bits (bit/s/Hz).
    """

    unit: Unit = "nat"

    def __post_init__(self) -> None:
        if self.unit not in ("nat", "bit"):
            raise ValueError(f"unit: must be 'nat' or 'bit', received {self.unit!r}")

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "urllc"

    @property
    def nats(self) -> float:
        """Nats in one unit of the objective."""
        return math.log(2) if self.unit == "bit" else 1.0

    def rate(self, instance: MisoInstance, action: BeamAction) -> Float[Tensor, "*batch user"]:
        """Rate of each user in the problem's unit a channel use; 0 of users that are not active.

        It is that of the beams and powers of the action. The normal approximation is negative at low SINR.
        """
        back_off = packet_back_off(instance.error_probability, instance.blocklength)
        return packet_rate(dual_sinr(instance, action), back_off[..., None]) / self.nats

    def evaluate(self, instance: MisoInstance, action: BeamAction) -> Evaluation:
        """Weighted sum rate; the utility of a user is its share of it.

        Violations, 0 where inactive: `min_rate` `(R_min - R) / R_min`, 0 where nothing is asked for; `power`
        `(sum_k q_k - P) / P`; `sign` `-q_k / P`; `beam` `|w_k|^2 - 1`.
        """
        rate = self.rate(instance, action)
        zero = torch.zeros_like(rate)
        utility = torch.where(instance.active, instance.weight * rate, zero)
        least = least_rate_nats(instance) / self.nats
        asked = least > 0
        missing = torch.where(asked, (least - rate) / torch.where(asked, least, torch.ones_like(least)), zero)
        share = torch.where(instance.active, action.power_w, zero) / instance.max_power_w[..., None]
        length = (action.beam.real.square() + action.beam.imag.square()).sum(-1)
        violation = {
            "min_rate": missing,
            "power": share.sum(-1) - 1,
            "sign": -share,
            "beam": torch.where(instance.active, length - 1, zero),
        }
        return Evaluation(objective=utility.sum(-1), utility=utility, violation=violation)

    def validate(self, instance: MisoInstance) -> MisoInstance:
        """The instance, if it is one.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        users = _require_channel(instance.channel, instance.active)
        for name in ("noise_power_w", "weight", "payload_bits"):
            require_shape(name, getattr(instance, name), users)
        for name in ("max_power_w", "blocklength", "error_probability"):
            require_shape(name, getattr(instance, name), users[:-1])
        require_values("max_power_w", instance.max_power_w, positive=True)
        require_values("blocklength", instance.blocklength, positive=True)
        require_values("error_probability", instance.error_probability, positive=True)
        if bool((instance.error_probability >= 0.5).any()):
            worst = instance.error_probability.max().item()
            raise ValueError(f"error_probability: must be below 0.5, received {worst:g}")
        require_values("noise_power_w", instance.noise_power_w, positive=True, where=instance.active)
        require_values("weight", instance.weight, positive=False, where=instance.active)
        require_values("payload_bits", instance.payload_bits, positive=False, where=instance.active)
        _require_payload(instance)
        return instance


def _require_payload(instance: MisoInstance) -> None:
    """Payloads of which the least rate is a number of single precision, and that some SINR could reach."""
    payload = torch.where(instance.active, instance.payload_bits, 0.0)
    low = (payload > 0) & (payload < LEAST_PAYLOAD_BITS)
    high = payload / instance.blocklength[..., None] > MOST_BITS
    for rule, bad in (
        (f"0 or at least {LEAST_PAYLOAD_BITS:g}", low),
        (f"at most {MOST_BITS:g} a channel use", high),
    ):
        if bool(bad.any()):
            raise ValueError(f"payload_bits: must be {rule}, received {payload[bad][0].item()}")


def _require_channel(channel: Tensor, active: Tensor) -> list[int]:
    """Shape `[*batch user]` of complex channels that are finite where active; somebody is."""
    shape = list(channel.shape)
    if not channel.is_complex() or len(shape) < 2 or 0 in shape[-2:]:
        rule = "must be complex and not empty, of shape [*batch, user, ant]"
        raise ValueError(f"channel: {rule}, received {channel.dtype} of shape {shape}")
    require_shape("active", active, shape[:-1])
    if not bool(active.any(-1).all()):
        raise ValueError("active: must hold at least one active user, received none")
    for part in (channel.real, channel.imag):
        bad = ~torch.isfinite(part) & active[..., None]
        if bool(bad.any()):
            place = bad.nonzero()[0].tolist()
            raise ValueError(f"channel: must be finite, received {part[bad][0].item()} at {place}")
    return shape[:-1]


def least_rate_nats(instance: MisoInstance) -> Float[Tensor, "*batch user"]:
    """Least rate of each user, `D ln(2) / n` nats a channel use; 0 of those that are not active."""
    rate = instance.payload_bits * (math.log(2) / instance.blocklength[..., None])
    return torch.where(instance.active, rate, torch.zeros_like(rate))


def least_sinr(instance: MisoInstance) -> Float[Tensor, "*batch user"]:
    """SINR from which on a user has its least rate, `nu_3` of [He2022USRMNet], in float64; 0 if not active."""
    back_off = packet_back_off(instance.error_probability.double(), instance.blocklength.double())
    rate = instance.payload_bits.double() * (math.log(2) / instance.blocklength.double()[..., None])
    least = least_packet_sinr(rate, back_off[..., None])
    return torch.where(instance.active, least, torch.zeros_like(least))


def miso_instance(
    channel: Complex[Tensor, "*batch user ant"],
    *,
    noise_power_w: float = 1.0,
    max_power_w: float = 10**1.5,
    weight: Float[Tensor, "*batch user"] | None = None,
    blocklength: float = 128.0,
    error_probability: float = 1e-5,
    payload_bits: float = 256.0,
) -> MisoInstance:
    """Instance of complex channels, everybody active; by default of weight 1/K and with the terms of [He2022USRMNet].

    Those are 15 dB over a noise of 1 W, and 256 bits in 128 channel uses.
    """
    users, real = channel.shape[:-1], channel.real.dtype
    like: dict[str, Any] = {"dtype": real, "device": channel.device}
    return MisoInstance(
        channel=channel,
        noise_power_w=torch.full(users, noise_power_w, **like),
        max_power_w=torch.full(users[:-1], max_power_w, **like),
        weight=torch.full(users, 1 / users[-1], **like) if weight is None else weight.expand(users),
        blocklength=torch.full(users[:-1], blocklength, **like),
        error_probability=torch.full(users[:-1], error_probability, **like),
        payload_bits=torch.full(users, payload_bits, **like),
        active=torch.ones(users, dtype=torch.bool, device=channel.device),
    )
