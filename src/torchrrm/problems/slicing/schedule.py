"""Minimum bandwidth, scheduling and validation of a slice: compiled on a CPU, in torch elsewhere and for gradients."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from torchrrm.kernels import bandwidth as kernels
from torchrrm.kernels.signs import negative, negative_rows
from torchrrm.problems.slicing.records import SliceInstance
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_signs, require_values
from torchrrm.records import is_plain, map_tensors, to

__all__ = ["Curve", "arrays", "before_peak", "is_compilable", "minimum_bandwidth", "schedule", "validate"]


class Curve(Protocol):
    """Rate of a user by bandwidth, as `SliceBandwidth` has it."""

    @property
    def finite_blocklength(self) -> bool: ...
    @property
    def law(self) -> tuple[float, float, float, Any, Any]: ...
    def eavesdropper(self, instance: SliceInstance) -> Tensor: ...
    def rate(self, instance: SliceInstance, bandwidth_hz: Tensor) -> Tensor: ...
    def utility(self, instance: SliceInstance, bandwidth_hz: Tensor) -> Tensor: ...
    def slope(self, instance: SliceInstance, bandwidth_hz: Tensor) -> Tensor: ...


# No rate exceeds 128 bit/s/Hz: float32 holds no larger SNR. So `r_min / 128` is a lower end for any bisection.
_MOST_BIT_PER_HZ = 128.0
LEAST_DEMAND_BPS = 1e-9
"""Least minimum rate but 0: what serves less is no number in single precision."""
_BISECTIONS = 24
_NEWTON_STEPS = 4


def is_compilable(instance: SliceInstance) -> bool:
    """Whether a kernel may serve the instance: plain tensors, of which no gradient is asked for."""
    tensors = (instance.cn0_hz, instance.eavesdropper_cn0_hz, instance.min_rate_bps, instance.bandwidth_hz)
    return not any(tensor.requires_grad for tensor in tensors) and is_plain(*tensors)


def arrays(curve: Curve, instance: SliceInstance) -> tuple[Any, ...]:
    """The instance as the kernels take it: float64 arrays `[batch user]`, `[batch]` limits, and the law.

    Raises:
        ValueError: naming the field and the value, if a number of active users is negative.
    """
    users = instance.cn0_hz.shape[-1]

    def rows(tensor: Tensor) -> Any:
        return np.ascontiguousarray(
            tensor.detach().expand(instance.cn0_hz.shape).reshape(-1, users).numpy(), np.float64
        )

    limit = np.ascontiguousarray(instance.bandwidth_hz.detach().reshape(-1).numpy(), np.float64)
    active = np.ascontiguousarray(instance.active.reshape(-1, users).numpy())
    eavesdropper = rows(curve.eavesdropper(instance))
    cn0, least = rows(instance.cn0_hz), rows(instance.min_rate_bps)
    if negative(limit) or negative_rows(cn0, eavesdropper, least, active):
        require_signs(instance)
    return cn0, eavesdropper, least, limit, active, curve.law


def minimum_bandwidth(curve: Curve, instance: SliceInstance) -> Tensor:
    """See `SliceBandwidth.minimum_bandwidth`."""
    if is_compilable(require_record(instance, SliceInstance)):
        width = torch.from_numpy(kernels.minimum_bandwidth_batch(*arrays(curve, instance)))
        return width.reshape(instance.cn0_hz.shape).to(instance.cn0_hz.dtype)
    return _minimum_bandwidth_torch(curve, instance)


def schedule(curve: Curve, instance: SliceInstance) -> tuple[Tensor, Tensor, Tensor]:
    """Scheduled mask `[*batch user]`, their minimum bandwidth in Hz (0 elsewhere), and the surplus `[*batch]` in Hz."""
    if is_compilable(require_record(instance, SliceInstance)):
        served, width, surplus = kernels.schedule_batch(*arrays(curve, instance))
        shape, dtype = instance.cn0_hz.shape, instance.cn0_hz.dtype
        minimum_hz = torch.from_numpy(width).reshape(shape).to(dtype)
        surplus_hz = torch.from_numpy(surplus).reshape(shape[:-1]).to(dtype)
        return torch.from_numpy(served).reshape(shape), minimum_hz, surplus_hz
    width = _minimum_bandwidth_torch(curve, instance)
    ordered, order = width.double().sort(dim=-1, stable=True)
    fits = ordered.cumsum(-1) <= instance.bandwidth_hz.double()[..., None]
    served = torch.zeros_like(fits).scatter(-1, order, fits)
    minimum_hz = torch.where(served, width, torch.zeros_like(width))
    return served, minimum_hz, torch.clamp(instance.bandwidth_hz - minimum_hz.sum(-1), min=0)


def _minimum_bandwidth_torch(curve: Curve, instance: SliceInstance) -> Tensor:
    """Bisection in log scale, Newton's steps, then one in the caller's graph, which carries the gradient."""
    with torch.no_grad():
        exact = to(map_tensors(torch.Tensor.detach, instance), dtype=torch.float64)
        limit = exact.bandwidth_hz[..., None].expand_as(exact.cn0_hz)
        high = before_peak(curve, exact, torch.clamp(exact.min_rate_bps, min=1.0) / _MOST_BIT_PER_HZ, limit)
        reachable = (curve.utility(exact, high) >= exact.min_rate_bps) & exact.active
        reachable &= exact.cn0_hz > curve.eavesdropper(exact)
        low = torch.minimum(torch.clamp(exact.min_rate_bps, min=1e-30) / _MOST_BIT_PER_HZ, high)
        for _ in range(_BISECTIONS):
            middle = torch.sqrt(low * high)
            enough = curve.rate(exact, middle) >= exact.min_rate_bps
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        width = high
        for _ in range(_NEWTON_STEPS):
            step = (exact.min_rate_bps - curve.rate(exact, width)) / curve.slope(exact, width)
            width = torch.clamp(width + torch.nan_to_num(step), low, high)
        width = torch.where(exact.min_rate_bps > 0, width, torch.zeros_like(width))
    dtype = instance.cn0_hz.dtype
    found = width.to(dtype)
    if torch.is_grad_enabled() and any(
        getattr(instance, name).requires_grad for name in ("cn0_hz", "min_rate_bps")
    ):
        missing = instance.min_rate_bps - curve.rate(instance, found)
        found = found + torch.where(
            reachable & (found > 0), missing / curve.slope(exact, width).to(dtype), 0.0
        )
    return torch.where(reachable, found, torch.full_like(found, torch.inf))


def before_peak(curve: Curve, instance: SliceInstance, low: Tensor, limit: Tensor) -> Tensor:
    """The limit, or the bandwidth between `low` and it beyond which the rate of a weak short-block user falls."""
    if not curve.finite_blocklength:
        return limit
    falling = (curve.slope(instance, limit) < 0) & instance.active
    if not falling.any():
        return limit
    high = limit
    for _ in range(_BISECTIONS * 2):
        middle = torch.sqrt(low * high)
        # Not yet past its valley, as in `kernels.bandwidth.peak`.
        valley = (curve.rate(instance, middle) < 0) & (4 * middle < instance.cn0_hz)
        rising = (curve.slope(instance, middle) > 0) | valley
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return torch.where(falling, low, limit)


def validate(instance: SliceInstance) -> SliceInstance:
    """See `SliceBandwidth.validate`."""
    require_record(instance, SliceInstance)
    for name in ("cn0_hz", "eavesdropper_cn0_hz", "min_rate_bps", "bandwidth_hz"):
        require_values(name, getattr(instance, name), positive=name == "bandwidth_hz")
    low = (instance.min_rate_bps > 0) & (instance.min_rate_bps < LEAST_DEMAND_BPS)
    if low.any():
        received = instance.min_rate_bps[low][0].item()
        raise ValueError(f"min_rate_bps: must be 0 or at least {LEAST_DEMAND_BPS:g}, received {received}")
    return instance
