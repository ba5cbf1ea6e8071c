"""Compile every kernel once, so that the first call of a program or of a control loop does not wait for it.

Compiled code is cached on disk beside the sources: `python -m torchrrm.kernels.warm` after an installation is enough.
"""

import functools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Lock
from typing import Any

import numpy as np
from numba.core.caching import IndexDataCacheFile

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

__all__ = ["warm"]


def warm(processes: int = 1) -> None:
    """Call every kernel on the smallest instance, in as many processes as asked for."""
    if processes == 1:
        for group in _GROUPS:
            group()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _save_alone, (context.Lock(),)) as pool:
        for done in [pool.submit(group) for group in _GROUPS]:
            done.result()


def _save_alone(lock: Lock) -> None:
    """Let one process at a time save: two that save a function for other types would take the same file for it."""
    save = IndexDataCacheFile.save

    def save_locked(self: IndexDataCacheFile, key: Any, data: Any) -> None:
        with lock:
            save(self, key, data)

    IndexDataCacheFile.save = save_locked


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


def _warm_beams(real: Any, whole: Any) -> None:
    """Call the kernels of beams in a precision of real and of complex numbers, on a single user and antenna."""
    inner, outer = np.zeros((usrmnet.INPUTS + 1, 8), np.float32), np.zeros((9, 1), np.float32)
    net = usrmnet.pack([inner, outer] * 4)  # two layers of two networks
    share, limit, active = np.ones((1, 1)), np.ones(1), np.ones((1, 1), np.bool_)
    channel, row = np.ones((1, 1, 1), whole), np.ones((1, 1), real)
    single = (channel[0], row[0], 1.0, (1.0, 0.1, row[0]), active[0])
    batch = (channel, row, limit, (limit, 0.1 * limit, row), active)
    plan = (np.ones((1, 1)), 1, 1e-9)
    beam_power.least(*single, share[0], share[0].copy(), channel[0].copy())
    beam_power.least_batch(*batch, channel.copy())
    beam_power.restore(*single, row[0], share[0])
    beam_power.restore_batch(*batch, row)
    for one, many in (
        (beam_ascent.solve, beam_ascent.solve_batch),
        (beam_ascent.refine, beam_ascent.refine_batch),
    ):
        one(*single, row[0], plan, share[0], channel[0].copy())
        many(*batch, row, plan, share, channel.copy())
    usrmnet.solve(*single, row[0], net, share[0], channel[0].copy())
    usrmnet.solve_batch(*batch, row, net, share, channel.copy())
    beam_baselines.equal_power(*single[:3], active[0], row[0].copy(), channel[0].copy())
    beam_baselines.equal_power_batch(*batch[:3], active, row.copy(), channel.copy())
    beam_terms.terms_batch(share, limit, 0.1 * limit, active)


def _warm_links(dtype: Any) -> None:
    """Call the kernels of links in a precision, on a single link."""
    one, row, active, start = (
        np.ones((1, 1, 1), dtype),
        np.ones((1, 1), dtype),
        np.ones((1, 1), np.bool_),
        np.ones((1, 1)),
    )
    signs.negative(row[0])
    signs.negative_links(one[0], row[0], row[0], active[0])
    signs.negative_links(one, row, row, active)
    signs.negative_rows(row[0], row[0], row[0], active[0])
    signs.negative_rows(row, row, row, active)
    wmmse.solve(one[0], 1.0, row[0], row[0], active[0], start, 1, -1.0, True)
    wmmse.solve_batch(one, row[0], row, row, active, start, 1, -1.0, True)
    wmmse.refine(one[0], 1.0, row[0], row[0], active[0], row[0], 1, -1.0)
    wmmse.refine_batch(one, row[0], row, row, active, row, 1, -1.0)
    itlinq.admit(one[0], 1.0, row[0], start[0], active[0], 1.0, 0.5)
    itlinq.admit_batch(one, row[0], row, start, active, 1.0, 0.5)
    net = np.ones((1, 7), dtype), np.ones(1, dtype), np.ones((1, 1), dtype), np.ones(1, dtype)
    link_greedy.solve(one[0], 1.0, row[0], row[0], active[0], 1, 1, 0)
    link_greedy.solve_batch(one, row[0], row, row, active, 1, 1, 0)
    unfolded.solve(one[0], 1.0, row[0], row[0], active[0], net, 0.5, 1, 1, 0)
    unfolded.solve_batch(one, row[0], row, row, active, net, 0.5, 1, 1, 0)
    lists = np.zeros((1, 1, 1), np.int64)
    sparse_wmmse.solve(row[0], lists[0], one[0], 1.0, row[0], row[0], active[0], 1, -1.0, True)
    sparse_wmmse.solve_batch(row, lists, one, row[0], row, row, active, 1, -1.0, True)
    order = link_graph.neighbourly(lists[0])
    rows = link_graph.rows(lists[0], row[0], row, order)
    list_messages.to_users(one, lists[0], row)
    list_messages.to_stations(one, lists[0], row, 1)
    link_graph.mix(row, rows, link_graph.transpose(*rows), True, 0, np.empty((1, 8), dtype))
    neighbours.nearest(np.zeros((2, 2)), np.zeros((2, 2)), 1, True)


def _warm_loops() -> None:
    """Call the control loops over rules of one slot, in single precision, on a single link and slot."""
    gain, row, active = (
        np.ones((1, 1, 1, 1), np.float32),
        np.ones((1, 1), np.float32),
        np.ones((1, 1), np.bool_),
    )
    links, clock = (row[0], row, active, np.zeros((1, 1))), np.zeros((1, 2), np.int64)
    for rule in (WmmseRule(np.ones((1, 1)), 1, -1.0, True), GreedyRule(1, 1, 0)):
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


def _warm_cells() -> None:
    """Call the kernels of association on a single user and station."""
    one, row, station, plan = np.ones((1, 1, 1)), np.ones((1, 1)), np.zeros((1, 1), np.int64), (1, 1, 0.0)
    assignment.assign_batch(one)
    association.associate_batch(one, row, row, station)
    hungarian_wmmse.solve_batch(one, row, one, plan, station)
    hungarian_wmmse.refine_batch(one, row, row.copy(), plan, station)
    state = row.copy(), station, row[0].copy()
    hungarian_wmmse.search_batch(one, row, one, plan, (0, 1), 0, state)
    association_branch.search_batch(one, 1e-2, 10, station.copy(), row.copy(), np.zeros((1, 3)))
    for run, run_batch, settings in (
        (max_sum_utility.solve, max_sum_utility.solve_batch, (1, 1, True, 1e-6)),
        (effective_rate.solve, effective_rate.solve_batch, (1, 1, 1, 1e-6)),
    ):
        run(one[0], row[0].copy(), station[0], True, settings)
        run_batch(one, row.copy(), station, True, settings)


_GROUPS = (
    _warm_qos_branches,
    _warm_cells,
    functools.partial(_warm_beams, np.float32, np.complex64),
    functools.partial(_warm_beams, np.float64, np.complex128),
    functools.partial(_warm_links, np.float32),
    functools.partial(_warm_links, np.float64),
    _warm_beam_branches,
    _warm_slices,
    _warm_loops,
    _warm_branches,
)
"""Those that take longest first."""


if __name__ == "__main__":
    warm(processes=min(len(_GROUPS), len(os.sched_getaffinity(0))))
