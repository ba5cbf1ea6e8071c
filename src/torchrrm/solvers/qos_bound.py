"""Global maximum of the weighted sum rate under minimum rates, with a certificate."""

import math
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import qos_branch as kernels
from torchrrm.kernels.link_branch import BEST, CLOSED, NODES
from torchrrm.problems.links import LinkInstance, PowerAction, QosSumRate
from torchrrm.problems.links.qos_sum_rate import (
    allowance,
    coupling,
    demanded_rate,
    require_min_rate,
    solve_coupling,
)
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.records import batch_shape, replace, to
from torchrrm.solvers.base import Solution
from torchrrm.solvers.branch_and_bound import (
    AT_ONCE,
    BranchAndBound,
    Queue,
    Search,
    new_queue,
    ordered_links,
    require_few,
)
from torchrrm.solvers.minimum_power import MinimumPower, minimum_region, raised, restored

__all__ = ["QosBound"]

_LEAST_GAIN = 1e-100
_MOST_RATE = 1000.0  # bit/s/Hz: above, nothing is feasible, and `2^r` overflows
_OUTER = 1e-9  # of minima and limits, beyond the tolerance: rounding of the search's input


@dataclass(frozen=True)
class QosBound:
    """Maximum of `QosSumRate` to within a certified tolerance, by best-first branch and bound over boxes of `ln SINR`.

    A box gives each link a least and a largest SINR; minimum rates are the first least ones, and links without a
    minimum may be off. In a box `ln(1 + SINR)` is replaced by its chord in `ln SINR`, which makes the problem a
    geometric program [Chiang2007] whose dual bounds the box (`kernels.qos_bounds`); boxes shrink to where powers
    exist (`kernels.qos_ranges`). The best powers come from the programs of boxes, improved by condensation.

    `upper_bound` holds for every action that does not violate, with the tolerance of `QosSumRate`; it is `-inf` where
    no action is such. The action keeps minima and limits exactly, unless they cannot be met so, or unless the
    tolerance is worth more than the gap asked for; it is that of `MinimumPower` where the instance is infeasible.
    `converged` says whether `upper_bound <= (1 + tolerance) objective` for it. An exhausted budget leaves a valid
    bound.

    The time grows exponentially with the links: meant for 10 at 0.1 % or 20 at 1 %, and more than `MOST_LINKS` active
    ones are refused. Runs on the CPU, in parallel over instances, whatever the device of the instance, and has no
    gradient.

    Attributes:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
        tolerance: relative gap at which an instance has converged.
        time_limit_s: of one call, over all its instances. The first box of every instance is bounded in any case.
        max_boxes: the same limit as a number of boxes of each instance, which does not depend on the machine.
    """

    min_rate_bps_hz: float | Tensor = 0.0
    tolerance: float = 0.001
    time_limit_s: float | None = None
    max_boxes: int = 50_000

    kind = "solver"

    def __post_init__(self) -> None:
        require_min_rate(self.min_rate_bps_hz)
        BranchAndBound(self.tolerance, self.time_limit_s, self.max_boxes)

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Best powers found, with `objective <= optimum <= upper_bound` in bit/s/Hz; `iterations` counts boxes."""
        end = math.inf if self.time_limit_s is None else time.perf_counter() + self.time_limit_s
        require_few(require_numbers(require_record(instance, LinkInstance)).active)
        batch, dtype, device = batch_shape(instance), instance.gain.dtype, instance.gain.device
        with torch.no_grad():
            near = to(instance, device="cpu")
            rate = demanded_rate(near, torch.as_tensor(self.min_rate_bps_hz).cpu(), torch.float64)
            share, bound, boxes = self._search(near, rate, end)
            power_w, reached = self._action(near, rate, share, bound.reshape(batch))
            feasible = QosSumRate(rate).feasible(near)
            least = MinimumPower(rate)(near).power_w
            power_w = torch.where(feasible[..., None], power_w, least).to(dtype)
            converged = feasible & (bound.reshape(batch) <= (1 + self.tolerance) * reached)
            bound = bound.reshape(batch) * (1 + 8 * torch.finfo(dtype).eps)
            return Solution(
                PowerAction(power_w=power_w.to(device)),
                converged.to(device),
                boxes.reshape(batch).to(device),
                bound.to(device=device, dtype=dtype),
            )

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action

    def _search(
        self, instance: LinkInstance, rate: Float[Tensor, "*batch tx"], end: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Powers over the limits `[*batch tx]`, bounds in bit/s/Hz and boxes `[row]`.

        The bound is for minima and limits that are eased by more than the tolerance, the powers by less.
        """
        outer = allowance(instance.gain.dtype, outer=True) + _OUTER
        useful = instance.active & ((instance.weight > 0) | (rate > 0))
        gain, weight, active, order = ordered_links(replace(instance, active=useful))
        gain = gain * (1 + outer)
        own = np.arange(gain.shape[-1])
        gain[:, own, own] = np.maximum(gain[:, own, own], _LEAST_GAIN)
        root = _root(instance, rate, outer)
        root = np.take_along_axis(root.reshape(5, *weight.shape).numpy(), order[None], -1).swapaxes(0, 1)
        count = active.sum(-1)
        power, bound, boxes = np.zeros_like(weight), np.zeros(len(count)), np.zeros(len(count), np.int64)
        for start in range(0, len(count), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            search = _SinrSearch(gain[part], weight[part], count[part], self.tolerance, self.max_boxes)
            search.root = np.ascontiguousarray(root[part])
            search.run(end)
            power[part], bound[part] = search.power, search.bound
            boxes[part] = search.state[:, NODES]
        share = np.zeros_like(power)
        np.put_along_axis(share, order, (1 + outer) * power, -1)
        return (
            torch.from_numpy(share).reshape(rate.shape),
            torch.from_numpy(bound / math.log(2)),
            torch.from_numpy(boxes),
        )

    def _action(
        self,
        instance: LinkInstance,
        rate: Float[Tensor, "*batch tx"],
        share: Float[Tensor, "*batch tx"],
        bound: Float[Tensor, "*batch"],
    ) -> tuple[Float[Tensor, "*batch tx"], Float[Tensor, "*batch"]]:
        """The powers and their objective, with minima and limits kept exactly if that is within the gap asked for."""
        exact, region = to(instance, dtype=torch.float64), minimum_region(instance, rate)
        scale = 1 + region.ease[..., None]
        inside = restored(region.matrix, region.demand, (share / scale).clamp(max=1), region.top)
        exact_w = torch.where(instance.active, scale * inside * exact.max_power_w, 0.0)
        eased_w = torch.where(instance.active, share * exact.max_power_w, 0.0)
        reached, better = (
            QosSumRate(rate).evaluate(exact, PowerAction(power_w=power_w)).objective
            for power_w in (exact_w, eased_w)
        )
        taken = bound <= (1 + self.tolerance) * reached
        return torch.where(taken[..., None], exact_w, eased_w), torch.where(taken, reached, better)


def _root(
    instance: LinkInstance, rate: Float[Tensor, "*batch tx"], outer: float
) -> Float[Tensor, "5 *batch tx"]:
    """What searches begin with, see `explore_batch`, in limits that are eased by `outer`."""
    feasible = QosSumRate(rate).feasible(instance)
    ease = torch.where(feasible, allowance(instance.gain.dtype), outer).double()
    matrix, demand = coupling(instance, rate, ease)
    least = solve_coupling(matrix, demand)[0].nan_to_num().clamp(0, 1)
    top, limit = raised(matrix, least).nan_to_num(), ((1 + ease) / (1 + outer))[..., None]
    nats = math.log(2) * rate.clamp(max=_MOST_RATE)
    bounding, acting = (torch.log(torch.expm1(nats * (1 - less))) for less in (outer, ease[..., None]))
    return torch.stack((bounding, limit * 0.5 * (least + top), acting, limit * top, limit.expand_as(top)))


class _SinrSearch(Search):
    """Searches over boxes of `ln SINR` that begin with `root` `[row 5 link]`, see `explore_batch`."""

    slice_: ClassVar[int] = 1024
    columns: ClassVar[int] = kernels.COLUMNS
    root: np.ndarray

    def begin(self, rows: np.ndarray) -> Queue:
        return new_queue(len(rows), 2 * self.weight.shape[1] + 2)

    def explore(
        self, rows: np.ndarray, queue: Queue, state: np.ndarray, power: np.ndarray, budget: int
    ) -> None:
        fixed = self.gain[rows], self.weight[rows], self.count[rows], self.root[rows]
        kernels.explore_batch(*fixed, queue, state, power, self.tolerance, budget)

    def settle(self) -> None:
        """What was dropped is below `(1 + tolerance) best` only."""
        least = self.state[:, BEST] * (1 + self.tolerance)
        empty = self.state[:, CLOSED] == -math.inf
        self.bound = np.where(empty, -math.inf, np.maximum(self.bound, least))
