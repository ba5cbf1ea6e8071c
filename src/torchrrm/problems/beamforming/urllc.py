"""Weighted sum rate of short packets in a multi-antenna downlink, with a minimum rate for each user."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchrrm.problems.base import Evaluation
from torchrrm.problems.beamforming.gram import dual_sinr
from torchrrm.problems.beamforming.records import BeamAction, MisoInstance
from torchrrm.problems.structure import require_action, require_record, require_tensor
from torchrrm.problems.validation import filled, require_numbers, require_values
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
        require_action(action, BeamAction, instance, MisoInstance)
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
        require_record(instance, MisoInstance)
        _require_channel(instance.channel, instance.active)
        for name in ("max_power_w", "blocklength", "error_probability"):
            require_values(name, getattr(instance, name), positive=True)
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


def _require_channel(channel: Tensor, active: Tensor) -> None:
    """Channels are finite where active, and at least one user is."""
    if not bool(active.any(-1).all()):
        raise ValueError("active: must hold at least one active user, received none")
    for part in (channel.real, channel.imag):
        bad = ~torch.isfinite(part) & active[..., None]
        if bool(bad.any()):
            place = bad.nonzero()[0].tolist()
            raise ValueError(f"channel: must be finite, received {part[bad][0].item()} at {place}")


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
    noise_power_w: float | Float[Tensor, "*#batch user"] = 1.0,
    max_power_w: float | Float[Tensor, "*#batch"] = 10**1.5,
    weight: float | Float[Tensor, "*#batch user"] | None = None,
    blocklength: float | Float[Tensor, "*#batch"] = 128.0,
    error_probability: float | Float[Tensor, "*#batch"] = 1e-5,
    payload_bits: float | Float[Tensor, "*#batch user"] = 256.0,
) -> MisoInstance:
    """Instance of complex channels, everybody active; by default of weight 1/K and with the terms of [He2022USRMNet].

    Those are 15 dB over a noise of 1 W, and 256 bits in 128 channel uses. Each is a number or a tensor: noise, weight
    and payload broadcast to `[*batch user]`, the others to `[*batch]`.

    Raises:
        ValueError: naming the argument, the rule and what was received.
    """
    if require_tensor("channel", channel, "complex").ndim < 2:
        raise ValueError(f"channel: expected shape [*batch, user, ant], got {list(channel.shape)}")
    users = channel.shape[:-1]
    share = 1 / max(users[-1], 1) if weight is None else weight
    instance = MisoInstance(
        channel=channel,
        noise_power_w=filled("noise_power_w", noise_power_w, users, channel),
        max_power_w=filled("max_power_w", max_power_w, users[:-1], channel),
        weight=filled("weight", share, users, channel),
        blocklength=filled("blocklength", blocklength, users[:-1], channel),
        error_probability=filled("error_probability", error_probability, users[:-1], channel),
        payload_bits=filled("payload_bits", payload_bits, users, channel),
        active=torch.ones(users, dtype=torch.bool, device=channel.device),
    )
    positive = ("noise_power_w", "max_power_w", "blocklength", "error_probability")
    return require_numbers(require_record(instance, MisoInstance), positive)
