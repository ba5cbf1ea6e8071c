"""Optimal bandwidth allocation of a slice, with a certificate."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import slicing as kernels
from torchrrm.kernels.slice_price import FLOOR, ROUNDING
from torchrrm.problems.slicing import QoS, SliceAction, SliceBandwidth, SliceInstance, SliceSchedule
from torchrrm.problems.slicing.schedule import arrays, before_peak, is_compilable
from torchrrm.problems.structure import require_record
from torchrrm.records import replace, tensor_record, to
from torchrrm.solvers.base import IterativeSolver, Solution, rounded_up

__all__ = ["ExactSlicing", "PriceSearch"]

_TANGENT_STEPS = 48
_DEMAND_STEPS = 40
_CLOSE = 1e-9  # relative size of a Newton step after which the next would be below rounding
_CREEPING = 3  # steps in a row that may leave more than half of what the last one missed


@tensor_record
class PriceSearch:
    """State of the search for the price of bandwidth.

    Attributes:
        least, most: bandwidth that each user must and may have, in Hz.
        start: bandwidth from which on its curve is concave or above its own chord from `least`, in Hz.
        entry: price in bit/s/Hz below which the user takes more than `least`.
        low, high: prices at which the demand is above, and at most, the slice's bandwidth.
        trial: the price to try next.
        width, over: demand of each user at `high` and at `low`, in Hz.
        missed: what the demand at the last price missed the slice by, in Hz.
        creeping: last steps in a row that left more than half of that.
        guess: demand at the last price, from which the next search starts.
    """

    least: Float[Tensor, "*batch user"]
    most: Float[Tensor, "*batch user"]
    start: Float[Tensor, "*batch user"]
    entry: Float[Tensor, "*batch user"]
    low: Float[Tensor, "*batch"]
    high: Float[Tensor, "*batch"]
    trial: Float[Tensor, "*batch"]
    width: Float[Tensor, "*batch user"]
    over: Float[Tensor, "*batch user"]
    missed: Float[Tensor, "*batch"]
    creeping: Float[Tensor, "*batch"]
    guess: Float[Tensor, "*batch user"]


class ExactSlicing(IterativeSolver[SliceSchedule, SliceAction, PriceSearch]):
    """Optimum of `SliceBandwidth`, all six kinds, with a certified upper bound.

    *Data rate, long blocks*: `w = max(w_min, t c)` in closed form; one `t` makes it spend the slice.

    *The others*: a user's rate `r` is increasing up to its useful bandwidth and convex, then concave, from `w_min` on;
    concave throughout for long blocks (Appendix A of [Hao2024]; [Xiong2013] for the effective capacity). Short blocks
    have negative rates at small bandwidths; a user counts with `u = max(r, 0)` there as in the objective. The concave
    envelope of `u` is a chord from `(w_min, u(w_min))` up to `start`, where the chord is tangent, then `r` itself. At a
    price `p` per Hz a user demands the maximiser of the envelope less `p w`; the demand falls with the price, and the
    price at which the slice is spent is found by safeguarded Newton steps. The dual value

        D(p) = p W + sum_k max_w [u_k(w) - p w]

    bounds every allocation at any `p`, and is attained unless the demand of a user jumps at `p`, from `w_min` to
    `start`: short-block secrecy, one instance in a few hundred, and short blocks without minimum rates in slices of few
    hertz. Then the compiled form splits that user's range by branch and bound, on or off first, until the bound is
    within 1e-5 or 400 branches are spent; the torch form returns the best of two completions. Either way the bound
    tells the gap. Branches are spent where dozens of users are almost alike but none is better in both channels, or
    in effective capacity: largest gaps seen 4.5e-4 with minimum rates, 6e-3 without.

    A least bandwidth is known to rounding of the rate by its slope. Where a minimum rate is near what any bandwidth can
    carry, that is few digits; what less of it would be worth at the price is part of the bound, which is loose there.

    The order of convex and concave parts is proven for long blocks. For short blocks it was verified
    numerically over the range of parameters (tests), against the text of [Hao2024], which calls all of them
    concave after [Sun2019ShortBlocklength].

    On a CPU, without gradients, the compiled kernel serves single instances and batches. Elsewhere the torch
    form runs in float64 and its action carries the gradient of the optimum with respect to the instance, by
    the implicit function theorem.
    """

    def __init__(self, problem: SliceBandwidth, max_steps: int = 100, tolerance: float = 1e-12):
        self.problem = problem
        self.max_steps = max_steps
        self.tolerance = tolerance

    def solve(self, instance: SliceInstance) -> Solution[SliceAction]:
        """Optimal action and upper bound in bit/s; where nobody can be scheduled, zeros and a bound of 0."""
        if is_compilable(require_record(instance, SliceInstance)):
            return self._solve_compiled(instance)
        schedule = self.problem.schedule(instance)
        with torch.no_grad():
            exact = to(schedule, dtype=torch.float64)
            state, converged, iterations = self.iterate(exact)
            bound = rounded_up(self._bound(exact, state), schedule.cn0_hz.dtype)
            width = self.action(exact, state).bandwidth_hz.to(schedule.cn0_hz.dtype)
        action = SliceAction(bandwidth_hz=self._attach_gradient(schedule, width))
        return Solution(action, converged, iterations, bound)

    def __call__(self, instance: SliceInstance) -> SliceAction:
        return self.solve(instance).action

    def _solve_compiled(self, instance: SliceInstance) -> Solution[SliceAction]:
        cn0, heard, rate, limit, active, law = arrays(self.problem, instance)
        if len(limit) == 1:  # a control loop's: no threads to wait for
            width, bound = kernels.solve(cn0[0], heard[0], rate[0], limit[0], active[0], law)
            bound = np.array([bound])
        else:
            width, bound = kernels.solve_batch(cn0, heard, rate, limit, active, law)
        shape, dtype = instance.cn0_hz.shape, instance.cn0_hz.dtype
        batch = shape[:-1]
        return Solution(
            SliceAction(bandwidth_hz=torch.from_numpy(width).reshape(shape).to(dtype)),
            torch.ones(batch, dtype=torch.bool),
            torch.ones(batch, dtype=torch.int64),
            rounded_up(torch.from_numpy(bound).reshape(batch), dtype),
        )

    def init(self, instance: SliceSchedule) -> PriceSearch:
        problem = self.problem
        floor = FLOOR * instance.bandwidth_hz[..., None]
        least = torch.where(instance.active, torch.maximum(instance.minimum_bandwidth_hz, floor), floor)
        most = least + instance.surplus_hz[..., None]
        value, start = problem.utility(instance, least), least
        entry = problem.slope(instance, least)
        if problem.finite_blocklength:
            most = before_peak(problem, instance, least, most)
            chorded = (problem.rate(instance, least) < 0) | (problem.curvature(instance, least) > 0)
            start = torch.where(chorded, _tangent(problem, instance, least, most), least)
            chord = (problem.utility(instance, start) - value) / torch.clamp(start - least, min=1e-300)
            entry = torch.where(start > least, chord, entry)
        entry = torch.where(instance.active, entry, torch.full_like(entry, -torch.inf))
        slope = torch.where(instance.active, problem.slope(instance, most), torch.full_like(entry, torch.inf))
        high = torch.clamp(entry.amax(-1), min=0)
        low = torch.clamp(torch.minimum(slope.amin(-1), high), min=0)
        share = instance.surplus_hz / torch.clamp(instance.active.sum(-1), min=1)
        guess = torch.minimum(least + share[..., None], most)
        return PriceSearch(
            least=least,
            most=most,
            start=start,
            entry=entry,
            low=low,
            high=high,
            trial=0.5 * (low + high),
            width=least,
            over=most,
            missed=torch.full_like(low, torch.inf),
            creeping=torch.zeros_like(low),
            guess=guess,
        )

    def step(self, instance: SliceSchedule, state: PriceSearch) -> PriceSearch:
        if self.problem.qos is QoS.DATA_RATE and not self.problem.finite_blocklength:
            return _closed_form(instance, state)
        width = _demand(self.problem, instance, state, state.trial)
        limit = _limit(instance, state)
        excess = width.sum(-1) - limit
        above = excess > (self.tolerance or 0.0) * limit
        low, high = torch.where(above, state.trial, state.low), torch.where(above, state.high, state.trial)
        served = (width > state.start) & (width < state.most)
        bend = torch.where(
            served, self.problem.curvature(instance, width), torch.full_like(width, -torch.inf)
        )
        # In log scale on both axes: demand is nearly a power of the price.
        total, slope = width.sum(-1), (1 / bend).sum(-1)
        ratio = torch.log(limit / total) * total / (slope * state.trial)
        newton = state.trial * torch.exp(torch.clamp(torch.nan_to_num(ratio), -5, 5))
        # Newton's steps may creep to a jump from one side; then the bracket is halved.
        missed = excess.abs()
        creeping = torch.where(missed > 0.5 * state.missed, state.creeping + 1, torch.zeros_like(missed))
        inside = (newton > low) & (newton < high) & (creeping < _CREEPING)
        trial = torch.where(inside, newton, 0.5 * (low + high))
        over = torch.where(above[..., None], width, state.over)
        width, guess = torch.where(above[..., None], state.width, width), width
        prices = {"low": low, "high": high, "trial": trial, "missed": missed, "creeping": creeping}
        return replace(state, width=width, over=over, guess=guess, **prices)

    def residual(self, instance: SliceSchedule, old: PriceSearch, new: PriceSearch) -> Tensor:
        spare = (_limit(instance, new) - new.width.sum(-1)) / instance.bandwidth_hz
        bracket = (new.high - new.low) / torch.clamp(new.high, min=1e-300)
        return torch.minimum(spare.abs(), bracket)

    def action(self, instance: SliceSchedule, state: PriceSearch) -> SliceAction:
        """The demands at the price; what a jump leaves goes to the user at the edge or, if better, all to one user.

        Curves that are straight to rounding (at 100 dB of SNR and more) jump too: there demands at both
        prices are mixed.
        """
        problem, zero = self.problem, torch.zeros_like(state.width)
        spare = torch.clamp(_limit(instance, state) - state.width.sum(-1), min=0)[..., None]
        jumping = (state.start > state.least) & instance.active
        room = torch.where(jumping | ~instance.active, zero, torch.clamp(state.over - state.width, min=0))
        total = torch.clamp(room.sum(-1, keepdim=True), min=1e-300)
        width = state.width + torch.clamp(spare / total, max=1) * room
        spare = torch.clamp(spare - total, min=0)
        distance = torch.where(
            jumping, (state.entry - state.high[..., None]).abs(), torch.full_like(zero, torch.inf)
        )
        edge = torch.zeros_like(zero).scatter(-1, distance.argmin(-1, keepdim=True), 1.0) * jumping
        served = torch.minimum(width + edge * spare, torch.maximum(state.most, width))
        gain = problem.utility(instance, state.most) - problem.utility(instance, state.least)
        best = torch.where(instance.active, gain, torch.full_like(gain, -torch.inf)).argmax(-1, keepdim=True)
        alone = torch.where(torch.zeros_like(zero).scatter(-1, best, 1.0) > 0, state.most, state.least)
        value = [
            torch.where(instance.active, problem.utility(instance, w), zero).sum(-1) for w in (served, alone)
        ]
        width = torch.where((value[1] > value[0])[..., None], alone, served)
        return SliceAction(bandwidth_hz=torch.where(instance.active, width, zero))

    def _bound(self, instance: SliceSchedule, state: PriceSearch) -> Tensor:
        """`D(p)` at the price reached, raised by what demands may miss of their maximum: `|r' - p|` times the range."""
        price, width, zero = state.high[..., None], state.width, torch.zeros_like(state.width)
        value = self.problem.utility(instance, width) - price * width
        slope = self.problem.slope(instance, width) - price
        value = value + torch.clamp(-slope, min=0) * self._blur(instance, width)
        missed = torch.clamp(
            torch.maximum(slope * (state.most - width), slope * (state.start - width)), min=0
        )
        value = value + torch.where(state.entry > price, missed, zero)
        dual = torch.where(instance.active, value, zero).sum(-1)
        budget = torch.where(instance.active, zero, state.least).sum(-1)  # what padding holds of the limit
        return torch.where(
            instance.active.any(-1), dual + state.high * (_limit(instance, state) - budget), zero.sum(-1)
        )

    def _blur(self, instance: SliceSchedule, width: Tensor) -> Tensor:
        """What bandwidths may be off by that were found as the least ones of their rates, see the kernel's `blur`."""
        error = ROUNDING / math.log(2) * width * torch.log1p(instance.cn0_hz / width)
        slope, bend = self.problem.slope(instance, width), self.problem.curvature(instance, width)
        straight = torch.where(slope > 0, error / slope, torch.inf)
        bent = torch.where(bend < 0, torch.sqrt(-2 * error / bend), torch.inf)
        held = instance.minimum_bandwidth_hz > FLOOR * instance.bandwidth_hz[..., None]
        off = torch.minimum(torch.minimum(straight, bent), width)
        return torch.where(held, off, torch.zeros_like(off))

    def _attach_gradient(self, schedule: SliceSchedule, width: Tensor) -> Tensor:
        """The same widths, as one Newton step on the optimality conditions: it moves nothing but gradients."""
        least = schedule.minimum_bandwidth_hz
        if not torch.is_grad_enabled() or not (least.requires_grad or schedule.cn0_hz.requires_grad):
            return width
        free = schedule.active & (width > least.detach() * (1 + 1e-6))
        bend = torch.where(
            free, self.problem.curvature(schedule, width).detach(), torch.full_like(width, -torch.inf)
        )
        ease = -1 / bend  # [*batch, user], 0 where fixed
        target = torch.where(free, width + self.problem.slope(schedule, width) * ease, least)
        excess = target.sum(-1) - schedule.bandwidth_hz
        price = excess / torch.where(free.any(-1), ease.sum(-1), torch.ones_like(excess))
        moved = target - price[..., None] * ease
        moved = torch.where(schedule.active & free.any(-1, keepdim=True), moved, least)
        return width + (moved - moved.detach())


def _limit(instance: SliceSchedule, state: PriceSearch) -> Tensor:
    """What may be spent, `[*batch]`: the least bandwidths and the surplus, which is the slice to rounding."""
    return state.least.sum(-1) + instance.surplus_hz


def _closed_form(instance: SliceSchedule, state: PriceSearch) -> PriceSearch:
    """Long-block data rate: with the users sorted by `w_min / c`, those of the lowest ratios share at one level `t`."""
    ratio = torch.where(
        instance.active, state.least / instance.cn0_hz, torch.full_like(state.least, torch.inf)
    )
    ordered, order = ratio.sort(-1)
    cn0 = torch.where(instance.active, instance.cn0_hz, torch.zeros_like(instance.cn0_hz)).gather(-1, order)
    least = torch.where(instance.active, state.least, torch.zeros_like(state.least)).gather(-1, order)
    level = (instance.surplus_hz[..., None] + least.cumsum(-1)) / cn0.cumsum(
        -1
    )  # [*batch, user], of the first k users
    count = (torch.isfinite(ordered) & (level > ordered)).sum(-1, keepdim=True)
    level = level.gather(-1, torch.clamp(count - 1, min=0))
    width = torch.where(instance.active, torch.maximum(state.least, level * instance.cn0_hz), state.least)
    width = torch.where(count > 0, width, state.least)
    price = torch.log1p(1 / level) - 1 / (1 + level)
    price = torch.where(
        count > 0, price / torch.log(torch.tensor(2.0, dtype=price.dtype)), torch.zeros_like(price)
    )
    return replace(state, width=width, low=price[..., 0], high=price[..., 0])


def _tangent(problem: SliceBandwidth, instance: SliceSchedule, least: Tensor, most: Tensor) -> Tensor:
    """Where the chord from `least` is tangent to the curve, by bisection; `most` if it is nowhere before."""
    value = problem.utility(instance, least)

    def rising(width: Tensor) -> Tensor:
        return problem.slope(instance, width) * (width - least) > problem.rate(instance, width) - value

    low, high = least, most
    for _ in range(_TANGENT_STEPS):
        middle = torch.sqrt(low * high)
        up = rising(middle)
        low, high = torch.where(up, middle, low), torch.where(up, high, middle)
    return torch.where(rising(most), most, high)


def _demand(problem: SliceBandwidth, instance: SliceSchedule, state: PriceSearch, price: Tensor) -> Tensor:
    """Each user's demand at a price: the bandwidth in `[start, most]` of that slope, by Newton steps in log scale."""
    low, high, price = state.start, state.most, price[..., None]
    width = torch.minimum(torch.maximum(state.guess, low), high)
    for _ in range(_DEMAND_STEPS):
        slope = problem.slope(instance, width)
        low = torch.where(slope > price, width, low)
        high = torch.where(slope > price, high, width)
        ratio = (price - slope) / (width * problem.curvature(instance, width))
        trial = width * torch.exp(torch.clamp(torch.nan_to_num(ratio), -3, 3))
        settled = (ratio.abs() < _CLOSE) | (high - low <= 1e-15 * high)
        inside = (trial > low * (1 + _CLOSE)) & (
            trial < high * (1 - _CLOSE)
        )  # else steps could go to and fro
        width = torch.where(
            settled,
            torch.clamp(trial, state.start, state.most),
            torch.where(inside, trial, (low * high).sqrt()),
        )
        if bool((settled | ~instance.active).all()):
            break
    return torch.where(state.entry > price, width, state.least)
