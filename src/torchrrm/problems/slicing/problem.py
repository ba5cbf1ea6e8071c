"""Bandwidth allocation within one network slice [Hao2024].

A slice of bandwidth `W` serves users of one quality of service. Each scheduled user `k` gets `w_k`, at least
the bandwidth that its minimum rate needs; the surplus is split so that the sum of the rates is largest
(problem (11)):

    maximise sum_k max(r_k(w_k), 0)   subject to   sum_k w_k <= W,   w_k >= w_min,k.

The rate `r` of short blocks, a normal approximation, is negative at small bandwidths; a user counts with 0 there.
If not everybody fits, the users of the smallest minimum bandwidth are scheduled, as many as fit.
"""

import functools
import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm import rates
from torchrrm.channels import Fading, Rayleigh
from torchrrm.problems.base import Evaluation
from torchrrm.problems.slicing import schedule as scheduling
from torchrrm.problems.slicing.compiled import CompiledRate
from torchrrm.problems.slicing.records import SliceAction, SliceInstance, SliceSchedule
from torchrrm.problems.slicing.schedule import is_compilable
from torchrrm.problems.structure import require_action, require_tensor
from torchrrm.problems.validation import filled, require_number
from torchrrm.records import is_plain, replace

__all__ = ["KINDS", "QoS", "SliceBandwidth", "slice_instance"]


_HEADROOM = 100.0  # for the largest gain that the effective capacity averages over


class QoS(Enum):
    """What a user's rate counts: the data rate, the effective capacity under a queueing delay, or the secrecy rate."""

    DATA_RATE = "data-rate"
    EFFECTIVE_CAPACITY = "effective-capacity"
    SECRECY = "secrecy"


@dataclass(frozen=True)
class SliceBandwidth:
    """Sum rate of one slice under a quality of service: six kinds, by `qos` and `finite_blocklength`.

    Attributes:
        qos: what is summed.
        finite_blocklength: whether code words are short (normal approximation) or long (Shannon).
        error_probability: `eps` of a short block.
        information_leakage: `delta` of a short block (secrecy).
        block_duration_s: duration `T_s` of a short block in s; its length is `T_s w` symbols.
        qos_exponent_per_bit: `theta T_c`, QoS exponent times coherence time, per bit (effective capacity).
        fading: law of the small-scale gain that the effective capacity averages over.

    The defaults are Table II of [Hao2024].
    """

    qos: QoS
    finite_blocklength: bool = False
    error_probability: float = 1e-5
    information_leakage: float = 1e-2
    block_duration_s: float = 0.125e-3
    qos_exponent_per_bit: float = 1e-6
    fading: Fading = Rayleigh()

    def __post_init__(self) -> None:
        for name in ("error_probability", "information_leakage"):
            if not 0 < getattr(self, name) < 0.5:
                raise ValueError(f"{name}: must lie in (0, 0.5), received {getattr(self, name)}")
        for name in ("block_duration_s", "qos_exponent_per_bit"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be positive and finite, received {getattr(self, name)}")

    @property
    def name(self) -> str:
        """Name of the kind: `data-rate`, `secrecy-short`, ..."""
        return self.qos.value + ("-short" if self.finite_blocklength else "")

    @functools.cached_property
    def loss_factor(self) -> float:
        """Rate lost to decoding errors in bit/s, by `sqrt(w V)`; 0 for long blocks."""
        return (
            rates.back_off(self.error_probability, self.block_duration_s) if self.finite_blocklength else 0.0
        )

    @functools.cached_property
    def leakage_factor(self) -> float:
        """Rate given up to information leakage in bit/s, by `sqrt(w V_e)`; 0 for long blocks."""
        return (
            rates.back_off(self.information_leakage, self.block_duration_s)
            if self.finite_blocklength
            else 0.0
        )

    @functools.cached_property
    def quadrature(self) -> tuple[Tensor, Tensor]:
        """Gains and weights of the fading law, float64."""
        return self.fading.quadrature()

    @property
    def law(self) -> tuple[float, float, float, Any, Any]:
        """The curve as the kernels take it: exponent, loss and leakage factors, nodes and weights."""
        return self._law

    @functools.cached_property
    def _law(self) -> tuple[float, float, float, Any, Any]:
        gain, weight = self.quadrature
        capacity = self.qos is QoS.EFFECTIVE_CAPACITY
        leakage = self.leakage_factor if self.qos is QoS.SECRECY else 0.0
        exponent = self.qos_exponent_per_bit if capacity else 0.0
        return exponent, self.loss_factor, leakage, gain.numpy(), weight.numpy()

    def eavesdropper(self, instance: SliceInstance) -> Float[Tensor, "*batch user"]:
        """The eavesdropper's carrier-to-noise density ratio in Hz where the kind counts it, else 0."""
        if self.qos is QoS.SECRECY:
            return instance.eavesdropper_cn0_hz
        return torch.zeros_like(instance.cn0_hz)

    def rate(
        self, instance: SliceInstance, bandwidth_hz: Float[Tensor, "*batch user"]
    ) -> Float[Tensor, "*batch user"]:
        """Each user's rate in bit/s (Eqs. (2) to (6)); at very small bandwidths short blocks give negative values.

        The objective counts its positive part, `utility`; the sign is kept for gradients.
        On a CPU the compiled curve serves it, with its slope as the gradient, unless a gradient by the
        instance is asked for.
        """
        if is_compilable(instance) and is_plain(bandwidth_hz):
            return CompiledRate.apply(bandwidth_hz, instance.cn0_hz, self.eavesdropper(instance), self.law)
        return self._curve(instance, bandwidth_hz, rates.effective_capacity, rates.secrecy_rate)

    def utility(
        self, instance: SliceInstance, bandwidth_hz: Float[Tensor, "*batch user"]
    ) -> Float[Tensor, "*batch user"]:
        """What each user adds to the objective in bit/s, `max(rate, 0)`: what is evaluated, maximised and bounded."""
        return _counted(self.rate(instance, bandwidth_hz))

    def slope(
        self, instance: SliceInstance, bandwidth_hz: Float[Tensor, "*batch user"]
    ) -> Float[Tensor, "*batch user"]:
        """Derivative of `rate` by bandwidth in bit/s/Hz."""
        return self._curve(instance, bandwidth_hz, rates.effective_capacity_slope, rates.secrecy_slope)

    def curvature(
        self, instance: SliceInstance, bandwidth_hz: Float[Tensor, "*batch user"]
    ) -> Float[Tensor, "*batch user"]:
        """Second derivative of `rate` by bandwidth in bit/s/Hz^2."""
        return self._curve(
            instance, bandwidth_hz, rates.effective_capacity_curvature, rates.secrecy_curvature
        )

    def _curve(self, instance: SliceInstance, bandwidth_hz: Tensor, capacity: Any, link: Any) -> Tensor:
        # So little bandwidth that the slope `c / w^2` of the SNR would overflow counts as none.
        least = torch.sqrt(instance.cn0_hz * (_HEADROOM / torch.finfo(instance.cn0_hz.dtype).max))
        bandwidth_hz = torch.where(bandwidth_hz > least, bandwidth_hz, torch.zeros_like(bandwidth_hz))
        if self.qos is QoS.EFFECTIVE_CAPACITY:
            law = (self.quadrature, self.qos_exponent_per_bit, self.loss_factor)
            return capacity(bandwidth_hz, instance.cn0_hz, *law)
        leakage = self.leakage_factor if self.qos is QoS.SECRECY else 0.0
        return link(bandwidth_hz, instance.cn0_hz, self.eavesdropper(instance), self.loss_factor, leakage)

    def minimum_bandwidth(self, instance: SliceInstance) -> Float[Tensor, "*batch user"]:
        """Least bandwidth in Hz that gives each user its minimum rate.

        `inf` where a user is inactive, where the whole slice is not enough, or where the eavesdropper's
        channel is at least as good. Found to 1e-12 relative: compiled on a CPU when no gradient is asked for,
        else by bisection in log scale, in batch.
        """
        return scheduling.minimum_bandwidth(self, instance)

    def schedule(self, instance: SliceInstance) -> SliceSchedule:
        """Schedule the users of the smallest minimum bandwidth, as many as fit; a schedule is returned as it is."""
        if isinstance(instance, SliceSchedule):
            return instance
        scheduled, minimum_hz, surplus_hz = scheduling.schedule(self, instance)
        return SliceSchedule(
            cn0_hz=instance.cn0_hz,
            eavesdropper_cn0_hz=instance.eavesdropper_cn0_hz,
            min_rate_bps=instance.min_rate_bps,
            bandwidth_hz=instance.bandwidth_hz,
            active=scheduled,
            minimum_bandwidth_hz=minimum_hz,
            surplus_hz=surplus_hz,
        )

    def feasible(self, instance: SliceInstance) -> Bool[Tensor, "*batch"]:
        """Whether every active user that has a minimum rate can be scheduled."""
        return (self.schedule(instance).active | ~instance.active | ~(instance.min_rate_bps > 0)).all(-1)

    def eased(self, instance: SliceInstance, violation: Float[Tensor, "*batch"]) -> SliceInstance:
        """Return the instance of which an action with this violation violates nothing."""
        violation = violation.to(instance.bandwidth_hz)
        return replace(
            instance,
            min_rate_bps=instance.min_rate_bps * (1 - violation[..., None]),
            bandwidth_hz=instance.bandwidth_hz * (1 + violation),
        )

    def evaluate(self, instance: SliceInstance, action: SliceAction) -> Evaluation:
        """Sum rate of the scheduled users in bit/s.

        Violations, relative: `bandwidth` `[*batch]` `(sum w - W) / W`; `min_rate` `[*batch user]` `(r_min -
        r) / r_min` of scheduled users, whether served or not; `sign` `[*batch user]` `-w / W`. A user outside
        the schedule adds nothing to the objective.
        """
        require_action(action, SliceAction, instance, SliceInstance)
        schedule = self.schedule(instance)
        rate = self.rate(schedule, action.bandwidth_hz)
        zero = torch.zeros_like(rate)
        demand = torch.where(schedule.min_rate_bps > 0, schedule.min_rate_bps, torch.ones_like(rate))
        wanting = schedule.active & (schedule.min_rate_bps > 0)
        utility = torch.where(schedule.active, _counted(rate), zero)
        total = schedule.bandwidth_hz
        violation = {
            "bandwidth": (action.bandwidth_hz.sum(-1) - total) / total,
            "min_rate": torch.where(wanting, (schedule.min_rate_bps - rate) / demand, zero),
            "sign": -action.bandwidth_hz / total[..., None],
        }
        return Evaluation(objective=utility.sum(-1), utility=utility, violation=violation)

    def validate(self, instance: SliceInstance) -> SliceInstance:
        """The instance, if it is one: shapes agree and values are finite and not negative.

        Raises:
            ValueError: naming the field, the rule and the value.
        """
        return scheduling.validate(instance)


def _counted(rate: Tensor) -> Tensor:
    return torch.clamp(rate, min=0)


KINDS: dict[str, SliceBandwidth] = {
    problem.name: problem for qos in QoS for problem in (SliceBandwidth(qos), SliceBandwidth(qos, True))
}


def slice_instance(
    gain: Float[Tensor, "*batch user"],
    eavesdropper_gain: Float[Tensor, "*batch user"],
    *,
    min_rate_bps: float | Tensor = 10e6,
    bandwidth_hz: float | Tensor = 100e6,
    power_w: float | Tensor = 10 ** (23 / 10) / 1e3,
    noise_psd_w_per_hz: float | Tensor = 10 ** (-174 / 10) / 1e3,
) -> SliceInstance:
    """Instance of linear channel gains: `c = P h / N0`, everybody active. Defaults: Tables II and III of [Hao2024].

    Args:
        gain: of each user.
        eavesdropper_gain: of each user's signal at the eavesdropper.
        min_rate_bps: minimum rate in bit/s: a number, one for each slice `[*batch]`, or one for each user
            `[*batch user]`, told apart by the number of axes.
        bandwidth_hz: of the slice in Hz: a number, or one for each slice.
        power_w: transmit power `P` in W, as `min_rate_bps`.
        noise_psd_w_per_hz: noise power spectral density `N0` in W/Hz, as `min_rate_bps`.

    Raises:
        ValueError: naming the argument, the rule and what was received.
    """
    if not require_tensor("gain", gain, "float").ndim:
        raise ValueError("gain: expected shape [*batch, user], got []")
    power, noise = (
        _per_user("power_w", power_w, gain),
        _per_user("noise_psd_w_per_hz", noise_psd_w_per_hz, gain),
    )
    instance = SliceInstance(
        cn0_hz=gain * (power / noise),
        eavesdropper_cn0_hz=require_tensor("eavesdropper_gain", eavesdropper_gain, "float") * (power / noise),
        min_rate_bps=filled("min_rate_bps", _per_user("min_rate_bps", min_rate_bps, gain), gain.shape, gain),
        bandwidth_hz=filled("bandwidth_hz", bandwidth_hz, gain.shape[:-1], gain),
        active=torch.ones_like(gain, dtype=torch.bool),
    )
    return scheduling.validate(instance)


def _per_user(name: str, value: float | Tensor, gain: Tensor) -> float | Tensor:
    """A number as it is, a tensor of each slice or each user for each user."""
    if not isinstance(value, Tensor):
        return require_number(name, value, positive=name == "noise_psd_w_per_hz")
    each = value[..., None] if 0 < value.ndim < gain.ndim else value
    return filled(name, each, gain.shape, gain)
