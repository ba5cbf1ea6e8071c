"""Certified upper bounds on the weighted sum rate of short packets in a multi-antenna downlink."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import beam_branch as kernels
from torchrrm.problems.beamforming import BeamAction, MisoInstance, least_sinr, mmse_action, relative_gram
from torchrrm.problems.beamforming.gram import audible
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.rates import packet_back_off, packet_rate
from torchrrm.records import batch_shape, map_tensors, replace, to
from torchrrm.solvers.base import Solution, rounded_up
from torchrrm.solvers.beam_arrays import rows
from torchrrm.solvers.gram_ascent import GramAscent

__all__ = ["BeamformingBound", "interference_free_bound"]

_SLICE = 4096  # simplices between two returns from the kernels, over all instances
_ROOM = 64  # simplices that an instance's queue has room for at first
_AT_ONCE = 256  # instances
_MARGIN = 1e-3  # of the tolerance, kept for the rounding of the result
_ROUNDING = 1e-9  # of the sum of weights
_EDGE = 1e-7  # relative, of limit and payloads: instances at the edge of feasibility are not lost to rounding
_LOSS = (
    16 * torch.finfo(torch.float64).eps
)  # of logarithms of SINRs, by the largest ratio of a user to the noise
_HALVINGS = 100  # of the water level


@dataclass(frozen=True)
class BeamformingBound:
    """Weighted sum rate of `UrllcBeamforming` to within a certified tolerance, by branch and bound over power shares.

    The beams are eliminated by the Gram form. At the best shares everybody who is served has a positive rate, all of
    which grow with the total power; so the shares that count are the simplex `q >= q_min`, `sum_k q_k = 1`, `q_min` the
    least shares that reach the minimum rates. It is halved at edges, the part of the largest bound first, until the
    largest bound is within the tolerance of the best shares known. A part's bound is the maximum of a concave function:
    each user's `ln(1 + SINR)` is the difference of the concave `ln(q_k + I_k)` and `ln I_k`, and the latter is
    replaced by its convex envelope over the simplex ([Horst1996]); see `torchrrm.kernels.beam_bound`. The best shares
    come from `GramAscent` and from where parts attain their bounds.

    The number of parts grows exponentially with the users where they interfere much; where `max_nodes` ends the search,
    the bound is as certified, but not as close, and `converged` says so. Runs on the CPU in float64, in parallel over
    instances, whatever the device of the instance, and has no gradient.

    *Rounding.* Bounds hold for the real problem up to the rounding of float64. For it 1e-9 of the sum of weights is
    added, and 16 times the machine precision at the largest ratio of a user to the noise, since strong users cancel:
    4e-9 at 60 dB, 4e-3 at 120 dB. They are for actions that keep minimum rates and power to 1e-7 (and as much more), so
    that they hold at the edge of feasibility, too.

    Attributes:
        tolerance: gap, relative to the best rate known, at which an instance has converged.
        max_nodes: parts bounded for each instance.
    """

    tolerance: float = 1e-3
    max_nodes: int = 20_000

    kind = "solver"

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance: must be positive and finite, received {self.tolerance}")
        if self.max_nodes < 1:
            raise ValueError(f"max_nodes: must be at least 1, received {self.max_nodes}")

    def solve(self, instance: MisoInstance) -> Solution[BeamAction]:
        """Best action found and `upper_bound` in nats; `iterations` counts the parts bounded.

        Where the minimum rates cannot be reached, the bound is minus infinity, nothing has converged, and the action is
        that of `GramAscent`. Where no powers that reach them are found, and rounding does not tell whether there are
        any (strong users that interfere much, from some 60 dB on), the bound is that of rates without interference.
        """
        exact = _exact(instance)
        share = GramAscent()(exact).power_w / exact.max_power_w[..., None]
        best, state, bound = _searched(exact, share, self)
        known = torch.from_numpy(best).reshape(share.shape)
        served = torch.from_numpy(np.isfinite(state[:, kernels.BEST])).reshape(share.shape[:-1])
        share = torch.where(served[..., None], known, share)
        value = state[:, kernels.BEST]
        converged = bound <= value + _margin(value, self.tolerance)
        like: dict[str, Any] = {"dtype": instance.channel.real.dtype, "device": instance.channel.device}
        limit = instance.max_power_w.detach().to(share)  # the same shares of the limit itself
        power_w = (share * limit[..., None]).to(**like)
        nodes = torch.from_numpy(state[:, kernels.NODES].astype(np.int64)).reshape(batch_shape(instance))
        return Solution(
            mmse_action(to(instance, device=like["device"]), power_w),
            (torch.from_numpy(converged).reshape(served.shape) & served).to(like["device"]),
            nodes.to(like["device"]),
            _certain(torch.from_numpy(bound).reshape(served.shape), exact, **like),
        )

    def bound(self, instance: MisoInstance) -> Float[Tensor, "*batch"]:
        """Certified upper bound in nats."""
        bound = self.solve(instance).upper_bound
        if bound is None:
            raise RuntimeError("bound: must be given by the search, received None")
        return bound

    def __call__(self, instance: MisoInstance) -> BeamAction:
        return self.solve(instance).action


def _exact(instance: MisoInstance) -> MisoInstance:
    """The instance on the CPU in float64, without gradients, limit and minimum rates relaxed by what rounding takes."""
    require_numbers(require_record(instance, MisoInstance))
    with torch.no_grad():
        exact = map_tensors(torch.Tensor.detach, to(instance, device="cpu", dtype=torch.float64))
    scale = torch.sqrt(exact.max_power_w[..., None] / exact.noise_power_w)
    exact = replace(exact, channel=exact.channel * audible(exact.channel, scale)[..., None])
    edge = _EDGE + _loss(exact)
    return replace(
        exact,
        max_power_w=exact.max_power_w * (1 + edge),
        payload_bits=exact.payload_bits * (1 - edge)[..., None],
    )


def _loss(exact: MisoInstance) -> Float[Tensor, "*batch"]:
    """What rounding takes of `ln(1 + SINR)` where strong users cancel: a part of the largest ratio to the noise."""
    return _LOSS * relative_gram(exact).diagonal(dim1=-2, dim2=-1).real.amax(-1)


def _certain(bound: Tensor, exact: MisoInstance, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The bound with what rounding may have taken from it, in the precision and on the device of the instance."""
    weight = torch.where(exact.active, exact.weight, 0.0).sum(-1)
    return rounded_up(bound + (_ROUNDING + _loss(exact)) * weight, dtype).to(device)


def _searched(
    exact: MisoInstance, share: Tensor, settings: BeamformingBound
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best shares `[row user]`, states `[row 5]` and bounds `[row]` of all instances."""
    users, antennas = exact.channel.shape[-2:]
    data = (
        rows(exact.channel, users, antennas),
        (rows(exact.noise_power_w, users), rows(exact.max_power_w)),
        (rows(exact.blocklength), rows(exact.error_probability), rows(exact.payload_bits, users)),
        rows(exact.active, users),
        rows(exact.weight, users),
        rows(share, users),
    )
    count = len(data[0])
    best, state, bound = np.zeros((count, users)), np.zeros((count, 5)), np.empty(count)
    for first in range(0, count, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        cut = [tuple(y[part] for y in x) if isinstance(x, tuple) else x[part] for x in data]
        search = _Search(cut)
        search.run(settings)
        best[part], state[part], bound[part] = search.best, search.state, search.bound
    return best, state, bound


class _Search:
    """Searches of many instances, some simplices of each at a time."""

    def __init__(self, data: list[Any]):
        count, users = data[3].shape  # of the mask
        shape = (count, users)
        self.best, self.state, self.bound = np.zeros(shape), np.zeros((count, 5)), np.zeros(count)
        order, sizes = np.zeros(shape, np.int64), np.zeros((count, 1), np.int64)
        gram = np.zeros((*shape, users), np.complex128)
        terms = (gram, np.zeros(shape), np.zeros(shape), order, np.zeros((count, 1)), sizes)
        corner = np.empty((count, _ROOM + users, 3, users))
        best = np.zeros(shape)
        self.rows: tuple[Any, ...] = (*terms, corner, self.state, best)
        channel, limits, packets, active, weight, share = data
        kernels.plant_batch(channel, limits, packets, active, weight, share, self.rows)
        node = np.zeros((count, _ROOM, users + 2), np.int32)
        node[:, 0, :users] = np.arange(users)
        self.queue = np.full((count, _ROOM), math.inf), node

    def run(self, settings: BeamformingBound) -> None:
        """Until every gap is closed or the simplices are spent."""
        tolerance = settings.tolerance * (1 - _MARGIN)
        running, budget = np.flatnonzero(self.state[:, kernels.SIZE] > 0), 1
        while running.size and budget > 0:
            self._explore(running, tolerance, budget)
            top, best = self._top(running), self.state[running, kernels.BEST]
            open_ = top > best + _margin(best, tolerance)
            running = running[open_ & (self.state[running, kernels.NODES] < settings.max_nodes)]
            spent = int(self.state[running, kernels.NODES].max()) if running.size else 0
            budget = min(max(_SLICE // max(running.size, 1), 16), settings.max_nodes - spent)
        top = self._top(np.arange(len(self.state)))
        self.bound = np.maximum(np.maximum(top, self.state[:, kernels.CLOSED]), self.state[:, kernels.BEST])
        np.put_along_axis(self.best, self.rows[3], self.rows[-1], -1)

    def _top(self, which: np.ndarray) -> np.ndarray:
        """Largest bound of the simplices that wait."""
        size = self.state[which, kernels.SIZE].astype(np.int64)
        waits = np.arange(self.queue[0].shape[1]) < size[:, None]
        return np.where(waits, self.queue[0][which], -math.inf).max(-1)

    def _explore(self, which: np.ndarray, tolerance: float, budget: int) -> None:
        """The kernel, on these rows, with room for what it finds."""
        size = int(self.state[which, kernels.SIZE].max()) + budget + 2
        self.queue = _with_room(self.queue[0], size), _with_room(self.queue[1], size)
        known = int(self.state[which, kernels.CORNERS].max()) + budget + 2
        *terms, corner, _, _ = self.rows
        self.rows = (*terms, _with_room(corner, known), self.state, self.rows[-1])
        part = tuple(x[which] for x in self.rows)
        queue = self.queue[0][which], self.queue[1][which]
        kernels.explore_batch(part, queue, (tolerance, budget))
        for whole, piece in zip((*self.rows[6:], *self.queue), (*part[6:], *queue), strict=True):
            whole[which] = piece


def _margin(best: np.ndarray, tolerance: float) -> np.ndarray:
    """What bounds may be above the best values by; 0 where none is known."""
    return np.where(np.isfinite(best), tolerance * np.abs(best), 0.0)


def _with_room(array: np.ndarray, room: int) -> np.ndarray:
    """The array `[row place ...]`, grown if it has fewer places than that."""
    if array.shape[1] >= room:
        return array
    more = max(2 * array.shape[1], room) - array.shape[1]
    return np.concatenate((array, np.empty((len(array), more, *array.shape[2:]), array.dtype)), 1)


def interference_free_bound(instance: MisoInstance) -> Float[Tensor, "*batch"]:
    """Bound in nats of users that do not hear one another: certified, cheap, loose.

    It is minus infinity if even so the minimum rates cannot be reached.

    A packet's rate is below its chord `c_k + m_k ln(1 + q_k G_kk)` from the least SINR to that of all power, and what
    remains is water-filling above the least shares `nu_k / G_kk`. With the level `x` of the water the dual value

        sum_k a_k (c_k + m_k ln(1 + q_k G_kk)) + x (1 - sum_k q_k),   q_k = max(nu_k / G_kk, a_k m_k / x - 1 / G_kk),

    is a bound whatever `x`.
    """
    exact = _exact(instance)
    gain = relative_gram(exact).diagonal(dim1=-2, dim2=-1).real
    least, theta = least_sinr(exact), packet_back_off(exact.error_probability, exact.blocklength)[..., None]
    heard = gain > 0
    safe = torch.where(heard, gain, 1.0)
    floor = torch.where(heard, least / safe, torch.where(least > 0, math.inf, 0.0))
    low, high = torch.log1p(least), torch.maximum(torch.log1p(gain), torch.log1p(least) + 1e-7)
    bottom, top = packet_rate(torch.expm1(low), theta), packet_rate(torch.expm1(high), theta)
    slope = torch.clamp((top - bottom) / (high - low), min=0)
    weight = torch.where(exact.active & heard, exact.weight, 0.0)
    height = weight * (torch.maximum(top, bottom) - slope * high)
    steep = weight * slope
    value = torch.full_like(exact.max_power_w, math.inf)
    ends = [torch.full_like(value, 1e-12), torch.full_like(value, 1e12)]
    finite = torch.where(torch.isfinite(floor), floor, 0.0)
    for _ in range(_HALVINGS):
        level = torch.sqrt(ends[0] * ends[1])
        share = torch.maximum(finite, steep / level[..., None] - 1 / safe) * heard
        spent = share.sum(-1)
        dual = (height + steep * torch.log1p(share * gain)).sum(-1) + level * (1 - spent)
        value = torch.minimum(value, dual)
        ends = [torch.where(spent > 1, level, ends[0]), torch.where(spent > 1, ends[1], level)]
    unserved = torch.where(least.sum(-1) > 0, value, torch.clamp(value, min=0))
    value = torch.where(floor.sum(-1) > 1, -math.inf, unserved)
    return _certain(value, exact, device=instance.channel.device, dtype=instance.channel.real.dtype)
