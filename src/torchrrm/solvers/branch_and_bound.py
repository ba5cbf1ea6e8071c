"""Global maximum of the weighted sum rate of interference links, with a certificate."""

import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from torchrrm.kernels import link_branch as kernels
from torchrrm.problems.links import LinkInstance, PowerAction, relative_gain
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.records import batch_shape, to
from torchrrm.solvers.base import Solution

__all__ = [
    "AT_ONCE",
    "MOST_LINKS",
    "BranchAndBound",
    "Queue",
    "Search",
    "new_queue",
    "ordered_links",
    "require_few",
]

MOST_LINKS = 100
"""Active links above which a search is refused: its starting points alone would take minutes."""

_SCALES = {"linear": kernels.LINEAR, "log": kernels.LOG, "auto": kernels.AUTO}
_ROOM = 256  # boxes that an instance's queue has room for at first
AT_ONCE = 256  # instances, so that their queues fit into some 100 MB
_MARGIN = 1e-3  # of the tolerance, kept for the rounding of the result

Queue = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class BranchAndBound:
    """Weighted sum rate to within a certified tolerance, by best-first branch and bound.

    The powers' box is split until `upper_bound <= (1 + tolerance) objective`. A box's bound is that of the links'
    concave envelopes (`kernels.link_bounds`), which is never above the smaller of the mixed monotonic bound
    [Matthiesen2020] and of the one by differences of concave functions [AlShatri2012]. Boxes shrink to where the bound
    allows something better than the best powers known, and are dropped where slopes exclude a maximum. The link
    to split at is the one on whose interference most of the bound's excess hangs. The best powers come
    from coordinate ascent from many starts and from boxes' promising points.

    The time grows exponentially with the links: meant for some 10, or 16 with weak interference, and more than
    `MOST_LINKS` active ones are refused. Runs on the
    CPU, in parallel over instances, whatever the device of the instance, and has no gradient.

    Attributes:
        tolerance: relative gap at which an instance has converged.
        time_limit_s: of one call, over all its instances; the bounds reached by then are certified as well. The first
            box of every instance is bounded in any case.
        max_boxes: the same limit as a number of boxes of each instance, which does not depend on the machine.
        split: scale on which a power is halved: "linear", "log" (of `1 +` the loudest interference it makes), or
            "auto", between both: that of the receiver that suffers most, over what else it hears, so that a power
            is halved linearly where its interference drowns. The fewest boxes everywhere it was measured.
        starts: random corners of the box that the search for a good first point starts from, beside some of its own.
    """

    tolerance: float = 0.01
    time_limit_s: float | None = None
    max_boxes: int = 10_000_000
    split: Literal["linear", "log", "auto"] = "auto"
    starts: int = 16

    kind = "solver"

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance: must be positive and finite, received {self.tolerance}")
        if self.time_limit_s is not None and not self.time_limit_s >= 0:
            raise ValueError(f"time_limit_s: must not be negative, received {self.time_limit_s}")
        if self.max_boxes < 1:
            raise ValueError(f"max_boxes: must be at least 1, received {self.max_boxes}")
        if self.split not in _SCALES:
            raise ValueError(f"split: must be 'linear', 'log' or 'auto', received {self.split!r}")
        if self.starts < 0:
            raise ValueError(f"starts: must not be negative, received {self.starts}")

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Best powers found, with `objective <= optimum <= upper_bound` in bit/s/Hz; `iterations` counts boxes."""
        end = math.inf if self.time_limit_s is None else time.perf_counter() + self.time_limit_s
        require_numbers(require_record(instance, LinkInstance))
        batch, links = batch_shape(instance), instance.active.shape[-1]
        require_few(instance.active)
        gain, weight, active, order = ordered_links(instance)
        count = active.sum(-1)
        power, state = np.zeros(weight.shape), np.zeros((len(count), 4))
        bound = np.zeros(len(count))
        for first in range(0, len(count), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            search = _PowerSearch(gain[part], weight[part], count[part], self)
            search.run(end)
            power[part], state[part], bound[part] = search.power, search.state, search.bound
        fraction = np.zeros_like(power)
        np.put_along_axis(fraction, order, power, -1)
        like: dict[str, Any] = {"dtype": instance.gain.dtype, "device": instance.gain.device}
        share = torch.from_numpy(fraction).reshape(*batch, links).to(**like)
        power_w = torch.where(instance.active, share * instance.max_power_w, torch.zeros_like(share)).detach()
        converged = torch.from_numpy(bound <= state[:, kernels.BEST] * (1 + self.tolerance)).reshape(batch)
        rounding = 1 + 8 * torch.finfo(instance.gain.dtype).eps
        return Solution(
            PowerAction(power_w=power_w),
            converged.to(like["device"]),
            torch.from_numpy(state[:, kernels.NODES].astype(np.int64)).reshape(batch).to(like["device"]),
            torch.from_numpy(bound / math.log(2) * rounding).reshape(batch).to(**like),
        )

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action


def require_few(active: Bool[Tensor, "*batch tx"]) -> None:
    """At most `MOST_LINKS` active links in each instance.

    Raises:
        ValueError: if there are more.
    """
    most = int(active.sum(-1).amax()) if active.numel() else 0
    if most > MOST_LINKS:
        raise ValueError(f"instance: must have at most {MOST_LINKS} active links, received {most}")


def ordered_links(instance: LinkInstance) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Relative gains `[row link link]`, weights, mask and order `[row link]`, active links of high rates first.

    The order makes the search, and where optima are close its choice, independent of how links are numbered.
    """
    links = instance.active.shape[-1]
    with torch.no_grad():
        exact = to(instance, device="cpu", dtype=torch.float64)
        gain = relative_gain(exact).reshape(-1, links, links).numpy()
    active = exact.active.reshape(-1, links).numpy()
    weight = np.where(active, exact.weight.detach().reshape(-1, links).numpy(), 0.0)
    alone = weight * np.log1p(np.diagonal(gain, axis1=-2, axis2=-1))
    order = np.argsort(np.where(active, -alone, np.inf), axis=-1, kind="stable")
    gain = np.take_along_axis(gain, order[:, :, None], 1)
    gain = np.ascontiguousarray(np.take_along_axis(gain, order[:, None, :], 2))
    return gain, np.take_along_axis(weight, order, -1), active, order


class Search(ABC):
    """Best-first searches of many instances, some boxes of each at a time.

    Attributes:
        state: `[row columns]`, the first four by `SIZE`, `BEST`, `CLOSED`, `NODES`.
        power: best so far, `[row link]`.
        bound: certified bounds in nats, `[row]`.
    """

    slice_: ClassVar[int] = 8192
    """Boxes between two looks at the clock, over all instances."""
    columns: ClassVar[int] = 4
    """Of the state."""

    def __init__(
        self,
        gain: np.ndarray,
        weight: np.ndarray,
        count: np.ndarray,
        tolerance: float,
        max_boxes: int,
    ):
        rows, links = weight.shape
        self.gain, self.weight, self.count = gain, weight, count
        self.tolerance, self.max_boxes = tolerance * (1 - _MARGIN), max_boxes
        self.power, self.state = np.zeros((rows, links)), np.zeros((rows, self.columns))
        self.bound = np.zeros(rows)

    def run(self, end: float) -> None:
        """Until every gap is closed or the time or the boxes are spent."""
        running = np.flatnonzero(self.count > 0)
        queue = self.begin(running)
        budget = 1  # of boxes of each instance
        while running.size:
            queue = _with_room(queue, int(self.state[running, kernels.SIZE].max()) + budget + 2)
            self._advance(running, queue, budget)
            spent = self.state[running, kernels.NODES].max()
            over = time.perf_counter() >= end or spent >= self.max_boxes
            waiting = self.state[running, kernels.SIZE] > 0
            top = np.where(waiting, queue[0][:, 0], 0.0)
            best = self.state[running, kernels.BEST]
            self.bound[running] = np.maximum(np.maximum(top, self.state[running, kernels.CLOSED]), best)
            open_ = (top > best * (1 + self.tolerance)) & (not over)
            if 2 * open_.sum() <= len(open_):  # the closed ones stay till then: queues are large to copy
                running, queue = running[open_], (queue[0][open_], queue[1][open_], queue[2][open_])
            share = max(self.slice_ // max(int(open_.sum()), 1), 32)
            budget = min(share, self.max_boxes - int(spent))
        self.settle()

    @abstractmethod
    def begin(self, rows: np.ndarray) -> Queue:
        """Queues that hold the first box of each row."""

    @abstractmethod
    def explore(
        self, rows: np.ndarray, queue: Queue, state: np.ndarray, power: np.ndarray, budget: int
    ) -> None:
        """Bound so many boxes of each row, in place."""

    @abstractmethod
    def settle(self) -> None:
        """Finish powers and bounds."""

    def _advance(self, rows: np.ndarray, queue: Queue, budget: int) -> None:
        state, power = self.state[rows], self.power[rows]
        self.explore(rows, queue, state, power, budget)
        self.state[rows], self.power[rows] = state, power


def new_queue(rows: int, width: int) -> Queue:
    """Bounds, slots and boxes of empty queues."""
    slot = np.tile(np.arange(_ROOM), (rows, 1))
    return np.empty((rows, _ROOM)), slot, np.empty((rows, _ROOM, width))


class _PowerSearch(Search):
    """Searches over boxes of powers."""

    def __init__(self, gain: np.ndarray, weight: np.ndarray, count: np.ndarray, settings: BranchAndBound):
        super().__init__(gain, weight, count, settings.tolerance, settings.max_boxes)
        self.starts, self.scale = settings.starts, _SCALES[settings.split]

    def begin(self, rows: np.ndarray) -> Queue:
        kernels.plant_batch(self.gain, self.weight, self.count, self.starts, self.state, self.power)
        state, queue = self.state[rows], new_queue(len(rows), 3 * self.weight.shape[1] + 2)
        kernels.sow_batch(self.count[rows], queue, state)
        self.state[rows] = state
        return queue

    def explore(
        self, rows: np.ndarray, queue: Queue, state: np.ndarray, power: np.ndarray, budget: int
    ) -> None:
        fixed = self.gain[rows], self.weight[rows], self.count[rows]
        kernels.explore_batch(*fixed, queue, state, power, (self.tolerance, self.scale), budget)

    def settle(self) -> None:
        kernels.settle_batch(self.gain, self.weight, self.count, self.state, self.power)
        self.bound = np.maximum(self.bound, self.state[:, kernels.BEST])


def _with_room(queue: Queue, room: int) -> Queue:
    """The queues, grown if they have less room than that."""
    key, slot, box = queue
    more = max(2 * key.shape[1], room) - key.shape[1]
    if key.shape[1] >= room:
        return queue
    rows, places = len(key), np.arange(key.shape[1], key.shape[1] + more)
    return (
        np.concatenate((key, np.empty((rows, more))), 1),
        np.concatenate((slot, np.tile(places, (rows, 1))), 1),
        np.concatenate((box, np.empty((rows, more, box.shape[-1]))), 1),
    )
