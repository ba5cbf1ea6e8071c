"""Compile kernels ahead, so that the first call of a program or of a control loop does not wait for it.

Each step calls some kernels on the smallest instance. Compiled code is kept on disk, see `torchrrm.kernels.compiled`:
`torchrrm warm` after an installation is enough.
"""

import functools
import multiprocessing
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import numpy as np

from torchrrm.kernels import (
    assignment,
    association,
    association_branch,
    bandwidth,
    beam_ascent,
    beam_baselines,
    beam_branch,
    beam_power,
    beam_terms,
    control,
    effective_rate,
    greedy,
    hungarian_wmmse,
    itlinq,
    link_ascent,
    link_branch,
    link_graph,
    link_greedy,
    link_rates,
    list_messages,
    max_sum_utility,
    minimum_power,
    neighbours,
    qos_branch,
    signs,
    slice_check,
    slice_features,
    slicing,
    sparse_wmmse,
    unfolded,
    usrmnet,
    wmmse,
)
from torchrrm.kernels.link_rules import GreedyRule, WmmseRule

__all__ = ["FAMILIES", "count_steps", "warm"]


def warm(families: Collection[str] | None = None, *, processes: int = 1) -> Iterator[str]:
    """Compile kernels, and yield the family of each step that is done.

    Args:
        families: keys of `FAMILIES`; all if not given.
        processes: that work side by side; 1 works in this one.
    """
    steps = _steps(families)
    if processes == 1:
        for family, step in steps:
            step()
            yield family
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(step): family for family, step in steps}
        try:
            for future in as_completed(running):
                future.result()
                yield running[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def count_steps(families: Collection[str] | None = None) -> int:
    """Return how many steps `warm` takes."""
    return len(_steps(families))


def _steps(families: Collection[str] | None) -> list[tuple[str, Callable[[], None]]]:
    chosen = FAMILIES if families is None else families
    return [(family, step) for family in chosen for step in FAMILIES[family]]


def _warm_slices() -> None:
    """Call the kernels of slices on a single user."""
    one, rate, limit = np.array([[1e9]]), np.array([[1e6]]), np.array([1e7])
    active, none = np.array([[True]]), np.zeros((1, 1))
    law = (0.0, 0.0, 0.0, np.ones(1), np.ones(1))
    slice_ = (one, none, rate, limit, active, law)
    served, least, surplus = bandwidth.schedule_batch(*slice_)
    bandwidth.minimum_bandwidth_batch(*slice_)
    slicing.solve_batch(*slice_)
    slicing.solve(one[0], none[0], rate[0], limit[0], active[0], law)
    greedy.greedy_batch(least, surplus, 1e6, one, none, served, law)
    link_rates.curves(limit, one[0], none[0], law)
    slice_features.marginal(one, none, limit, served, least, surplus, law)
    minimum_power.minimum_power(one, 1e-3, limit, active[0], np.ones(1), 0.0)
    minimum_power.minimum_power_batch(one[None], np.ones(1), one, active, none, 0.0)
    slice_check.violations(least, one, none, rate, limit, served, law)


class _Beams:
    """Arguments of kernels of beams: a single user and antenna."""

    def __init__(self) -> None:
        self.share, self.limit, active = np.ones((1, 1)), np.ones(1), np.ones((1, 1), np.bool_)
        self.channel, self.packet = (
            np.ones((1, 1, 1), np.complex128),
            (self.limit, 0.1 * self.limit, self.share),
        )
        self.batch = (self.channel, self.share, self.limit, self.packet, active)


def _warm_beam_powers() -> None:
    """Call the kernels of least powers, of equal powers and of packets."""
    a = _Beams()
    channel, noise, limit, _, active = a.batch
    beam_power.least_batch(*a.batch, channel.copy())
    beam_power.restore_batch(*a.batch, a.share)
    beam_baselines.equal_power_batch(channel, noise, limit, active, a.share.copy(), channel.copy())
    beam_terms.terms_batch(a.share, limit, 0.1 * limit, active)


def _warm_beam_ascent() -> None:
    """Call the kernels of the ascent."""
    a, plan = _Beams(), (np.ones((1, 1)), 1, 1e-9)
    for run in (beam_ascent.solve_batch, beam_ascent.refine_batch):
        run(*a.batch, a.share, plan, a.share.copy(), a.channel.copy())


def _warm_usrmnet() -> None:
    """Call the kernel of the unrolled network, of two layers of two networks."""
    a = _Beams()
    inner, outer = np.zeros((usrmnet.INPUTS + 1, 8), np.float32), np.zeros((9, 1), np.float32)
    usrmnet.solve_batch(*a.batch, a.share, usrmnet.pack([inner, outer] * 4), a.share.copy(), a.channel.copy())


class _Links:
    """Arguments of kernels of links in a precision: a single link."""

    def __init__(self, dtype: Any):
        self.gain, self.row = np.ones((1, 1, 1), dtype), np.ones((1, 1), dtype)
        self.active, self.start = np.ones((1, 1), np.bool_), np.ones((1, 1))
        row = self.row[0]
        self.single = (self.gain[0], 1.0, row, row, self.active[0])
        self.batch = (self.gain, row, self.row, self.row, self.active)


def _warm_wmmse(dtype: Any) -> None:
    """Call WMMSE and what checks its instances."""
    a = _Links(dtype)
    row, rows = a.row[0], a.row
    signs.negative(row)
    signs.negative_links(a.gain[0], row, row, a.active[0])
    signs.negative_links(a.gain, rows, rows, a.active)
    signs.negative_rows(row, row, row, a.active[0])
    signs.negative_rows(rows, rows, rows, a.active)
    wmmse.solve(*a.single, a.start, 1, -1.0, True)
    wmmse.solve_batch(*a.batch, a.start, 1, -1.0, True)
    wmmse.refine(*a.single, row, 1, -1.0)
    wmmse.refine_batch(*a.batch, rows, 1, -1.0)


def _warm_admission(dtype: Any) -> None:
    """Call the kernels that switch links on and off."""
    a = _Links(dtype)
    net = np.ones((1, 7), dtype), np.ones(1, dtype), np.ones((1, 1), dtype), np.ones(1, dtype)
    itlinq.admit(a.gain[0], 1.0, a.row[0], a.start[0], a.active[0], 1.0, 0.5)
    itlinq.admit_batch(a.gain, a.row[0], a.row, a.start, a.active, 1.0, 0.5)
    link_greedy.solve(*a.single, 1, 1, 0)
    link_greedy.solve_batch(*a.batch, 1, 1, 0)
    unfolded.solve(*a.single, net, 0.5, 1, 1, 0)
    unfolded.solve_batch(*a.batch, net, 0.5, 1, 1, 0)


def _warm_sparse_links(dtype: Any) -> None:
    """Call the kernels of links with lists of neighbours."""
    a = _Links(dtype)
    row, rows, lists = a.row[0], a.row, np.zeros((1, 1, 1), np.int64)
    sparse_wmmse.solve(row, lists[0], *a.single, 1, -1.0, True)
    sparse_wmmse.solve_batch(rows, lists, *a.batch, 1, -1.0, True)
    order = link_graph.neighbourly(lists[0])
    edges = link_graph.rows(lists[0], row, rows, order)
    list_messages.to_users(a.gain, lists[0], rows)
    list_messages.to_stations(a.gain, lists[0], rows, 1)
    link_graph.mix(rows, edges, link_graph.transpose(*edges), True, 0, np.empty((1, 8), dtype))
    neighbours.nearest(np.zeros((2, 2)), np.zeros((2, 2)), 1, True)


def _warm_loops(rule: Any) -> None:
    """Call the control loops over a rule of one slot, in single precision, on a single link and slot."""
    gain, row, active = (
        np.ones((1, 1, 1, 1), np.float32),
        np.ones((1, 1), np.float32),
        np.ones((1, 1), np.bool_),
    )
    links, clock = (row[0], row, active, np.zeros((1, 1))), np.zeros((1, 2), np.int64)
    control.dual_batch(rule, gain, *links, np.zeros((1, 1)), (0.1, 0.0, 1.0))
    how = (control.SIMPLE, 1, 1.0, 1.0, 0.0, 1.0)
    control.sharing_batch(rule, gain, *links, np.zeros((1, 5, 1)), clock, how)


def _warm_branches() -> None:
    """Call the kernels of branch and bound on a single link."""
    gain, row, count, state = np.ones((1, 1, 1)), np.ones((1, 1)), np.ones(1, np.int64), np.zeros((1, 4))
    queue, power = (np.empty((1, 8)), np.arange(8)[None].copy(), np.empty((1, 8, 5))), np.zeros((1, 1))
    link_branch.plant_batch(gain, row, count, 1, state, power)
    link_branch.sow_batch(count, queue, state)
    link_branch.explore_batch(gain, row, count, queue, state, power, (0.01, link_branch.AUTO), 1)
    link_branch.settle_batch(gain, row, count, state, power)
    link_ascent.follow_batch(power, gain, row, count)


def _warm_qos_branches() -> None:
    """Call the kernel of branch and bound under minimum rates on a single link."""
    gain, row, count = np.ones((1, 1, 1)), np.ones((1, 1)), np.ones(1, np.int64)
    queue, state = (
        (np.empty((1, 8)), np.arange(8)[None].copy(), np.empty((1, 8, 4))),
        np.zeros((1, qos_branch.COLUMNS)),
    )
    qos_branch.explore_batch(gain, row, count, np.zeros((1, 5, 1)), queue, state, np.zeros((1, 1)), 0.01, 1)


def _warm_beam_branches() -> None:
    """Call the kernels of branch and bound of beams on a single user."""
    one, row, active = np.ones(1), np.ones((1, 1)), np.ones((1, 1), np.bool_)
    terms = np.zeros((1, 1, 1), np.complex128), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1), np.int64)
    sizes, corner = (np.zeros((1, 1)), np.zeros((1, 1), np.int64)), np.empty((1, 8, 3, 1))
    rows = (*terms, *sizes, corner, np.zeros((1, 5)), np.zeros((1, 1)))
    channel, packets = np.ones((1, 1, 1), np.complex128), (one, np.full(1, 1e-5), row)
    beam_branch.plant_batch(channel, (row, one), packets, active, row, row, rows)
    beam_branch.explore_batch(rows, (np.full((1, 8), np.inf), np.zeros((1, 8, 3), np.int32)), (0.01, 1))


def _warm_association() -> None:
    """Call the kernels of association and power on a single user and station."""
    one, row, station, plan = np.ones((1, 1, 1)), np.ones((1, 1)), np.zeros((1, 1), np.int64), (1, 1, 0.0)
    assignment.assign_batch(one)
    association.associate_batch(one, row, row, station)
    hungarian_wmmse.solve_batch(one, row, one, plan, station)
    hungarian_wmmse.refine_batch(one, row, row.copy(), plan, station)
    state = row.copy(), station, row[0].copy()
    hungarian_wmmse.search_batch(one, row, one, plan, (0, 1), 0, state)


def _warm_association_branch() -> None:
    """Call branch and bound over associations on a single user and station."""
    one, row, station = np.ones((1, 1, 1)), np.ones((1, 1)), np.zeros((1, 1), np.int64)
    association_branch.search_batch(one, 1e-2, 10, station, row, np.zeros((1, 3)))


def _warm_fair_association() -> None:
    """Call the kernels of fair association on a single user and station."""
    one, row, station = np.ones((1, 1, 1)), np.ones((1, 1)), np.zeros((1, 1), np.int64)
    for run, run_batch, settings in (
        (max_sum_utility.solve, max_sum_utility.solve_batch, (1, 1, True, 1e-6)),
        (effective_rate.solve, effective_rate.solve_batch, (1, 1, 1, 1e-6)),
    ):
        run(one[0], row[0].copy(), station[0], True, settings)
        run_batch(one, row.copy(), station, True, settings)


def _in_each(step: Callable[[Any], None]) -> list[Callable[[], None]]:
    """Return the step of links in single and in double precision."""
    return [functools.partial(step, dtype) for dtype in (np.float32, np.float64)]


FAMILIES: dict[str, list[Callable[[], None]]] = {
    "association": [_warm_association, _warm_association_branch, _warm_fair_association],
    "beams": [
        _warm_beam_branches,
        _warm_beam_ascent,
        _warm_usrmnet,
        _warm_beam_powers,
    ],
    "links": [
        _warm_qos_branches,
        _warm_branches,
        *_in_each(_warm_wmmse),
        *_in_each(_warm_admission),
        *_in_each(_warm_sparse_links),
    ],
    "loops": [
        functools.partial(_warm_loops, WmmseRule(np.ones((1, 1)), 1, -1.0, True)),
        functools.partial(_warm_loops, GreedyRule(1, 1, 0)),
    ],
    "slicing": [_warm_slices],
}
"""Steps by family."""
