"""What a run leaves behind: rows of results, traces for the figure, and a line for each demand that is not met."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchrrm import bench, records
from torchrrm.bench import Measure, Row, metrics
from torchrrm.bench.figures import DemandTraces
from torchrrm.setups.demands.history import TRIVIAL, Settled, weighted_mean
from torchrrm.setups.demands.run import DemandRun
from torchrrm.solvers.demand_reach import MOST_SEARCHED, certify_out_of_reach

__all__ = ["MISSED", "excess_of", "missed_demands", "rows_of", "traces_of", "windows_of"]

MISSED = 0.01
"""Relative shortfall from which a demand counts as not met in the end."""
_SEARCHED_SLOTS = 40  # that demands of few links are certified over
_BOUNDED_LINKS = 2000  # the same of many: slots times links, since a slot costs more the more links there are


def windows_of(run: DemandRun) -> Iterator[tuple[int, slice]]:
    """Number and blocks of each window, as far as it is done."""
    window = run.timetable.window[: run.blocks]
    for number in window.unique().tolist():
        own = (window == number).nonzero()[:, 0]
        yield number, slice(int(own[0]), int(own[-1]) + 1)


def settled(run: DemandRun, number: int, blocks: slice, rate_bps_hz: Tensor) -> Settled:
    """A window of a run, with these rates `[block user]`."""
    demand = torch.tensor(run.timetable.schedule[number].demand_bps_hz)
    return Settled.of(rate_bps_hz[blocks], run.timetable.slots[blocks], demand)


def rows_of(run: DemandRun, name: str, setting: str, excess: Mapping[int, float]) -> list[Row]:
    """Rows of each window: the loop's, and those of rules that need no thought and take no notice of demands.

    The objective is the sum rate over the whole window in bit/s/Hz, the violation Eq. (12) of [Behmandpoor2024] once
    the window has settled (see `Settled`). Users count as served if their demand is met to 1 %. Latency is that of a
    slot within the chunks that are run at once, for the rules that of a call. Windows with certified `excess` (see
    `excess_of`) count as infeasible, of the others it is not known.
    """
    history, rows = run.history, []
    trivial_us = _trivial_latencies(run)
    for number, blocks in windows_of(run):
        latency = history.latency_us[blocks].double()
        own_us = (latency.quantile(0.5).item(), latency.quantile(0.99).item())
        found = [(name, bench.kind_of(run.loop), history.rate_bps_hz, own_us)]
        for i, rule in enumerate(TRIVIAL):
            found.append((rule, "trivial", history.trivial_rate_bps_hz[:, i], trivial_us[rule]))
        slots = run.timetable.slots[blocks]
        case = f"{setting}, window {number + 1}"
        for allocator, kind, rate, (p50_us, p99_us) in found:
            common = {"problem": "demands", "setting": case, "allocator": allocator, "kind": kind}
            total = weighted_mean(rate[blocks], slots).sum().item()
            told = _told(settled(run, number, blocks, rate), int(slots.sum()))
            told["infeasible"] = 1 if number in excess else None
            rows.append(Row(**common, **_single(total), **told, p50_us=p50_us, p99_us=p99_us))
    return rows


def _single(objective: float) -> dict[str, Any]:
    """Columns of a run of its own that no bound is known for."""
    return {
        "objective": objective,
        "objective_ci95": None,
        "bound": None,
        "bound_kind": "none",
        "optimality": None,
        "optimality_ci95": None,
        "instances": 1,
        "published": None,
    }


def _told(window: Settled, slots: int) -> dict[str, Any]:
    """Columns of constraints, of a window of so many slots."""
    asked = window.demand_bps_hz > 0
    met = window.rate_bps_hz >= (1 - MISSED) * window.demand_bps_hz
    until = torch.nan if window.slots_until_met is None else window.slots_until_met
    return {
        "violation_max": window.shortfall,
        "violation_rate": float(window.shortfall > metrics.VIOLATION_TOLERANCE),
        "served_fraction": met[asked].float().mean().item() if asked.any() else None,
        "measures": {
            "slots": Measure(float(slots), None),
            "slots until met": Measure(float(until), None),
            "violation from slot 1": Measure(window.whole_shortfall, None),
        },
    }


def _trivial_latencies(run: DemandRun) -> dict[str, tuple[float, float]]:
    links = run.stream.take(run.channels, 1)[0].slot(0)
    how = bench.Latency(calls=200, budget_s=0.1)
    return {
        name: metrics.measure_latency([partial(rule, links)], how, links.gain.device)
        for name, rule in TRIVIAL.items()
    }


def missed_demands(run: DemandRun, excess: Mapping[int, float]) -> list[str]:
    """A line for each demand that a window ended without, and one on whether any powers could have met them.

    Args:
        run: of at least one block.
        excess: what `excess_of` found.
    """
    lines = []
    several = len(run.timetable.schedule) > 1
    for number, window in _missed(run):
        where = f"window {number + 1}: " if several else ""
        for user in _short(window):
            asked, got = window.demand_bps_hz[user].item(), window.rate_bps_hz[user].item()
            digits = 2 if asked >= 0.1 else 4
            lines.append(f"{where}user {user + 1} asked {asked:.{digits}f}, got {got:.{digits}f} bit/s/Hz")
        told = "it is not known whether any powers meet these demands"
        if number in excess:
            slots = _certified_slots(run)
            told = f"out of reach of any powers by {100 * excess[number]:.0f} %, certified over {slots} slots"
        lines.append(f"{where}{told}")
    return lines


def excess_of(run: DemandRun) -> dict[int, float]:
    """Windows whose demands are missed and certified to be out of reach of any powers, and by which part.

    The lower end of the 95 % interval of `certify_out_of_reach`, over slots of the same channels that come after the
    run's, weighted by the multipliers with which the window ended.
    """
    slots, found = _certified_slots(run), {}
    links, _ = run.stream.take(run.channels, slots)
    each = records.stack([links.between(slot, slot + 1) for slot in range(slots)])  # gain [run slot=1 rx tx]
    ends = {number: blocks.stop - 1 for number, blocks in windows_of(run)}
    for number, window in _missed(run):
        multiplier = run.history.multiplier[ends[number]].expand(slots, -1)
        excess = certify_out_of_reach(each, multiplier, window.demand_bps_hz.expand(slots, -1))
        _, interval = metrics.mean_interval(excess)
        if interval is not None and interval[0] > 0:
            found[number] = interval[0]
    return found


def _certified_slots(run: DemandRun) -> int:
    links = run.stream.links
    return _SEARCHED_SLOTS if links <= MOST_SEARCHED else max(2, _BOUNDED_LINKS // links)


def _missed(run: DemandRun) -> Iterator[tuple[int, Settled]]:
    """Windows that ended without some of their demands."""
    for number, blocks in windows_of(run):
        window = settled(run, number, blocks, run.history.rate_bps_hz)
        if _short(window):
            yield number, window


def _short(window: Settled) -> list[int]:
    """Users who miss their demand."""
    return (window.rate_bps_hz < (1 - MISSED) * window.demand_bps_hz).nonzero()[:, 0].tolist()


def traces_of(run: DemandRun) -> DemandTraces:
    """What the figure draws."""
    done = slice(0, run.blocks)
    return DemandTraces(
        slot=run.timetable.end_slot()[done].numpy(),
        window=run.timetable.window[done].numpy(),
        rate_bps_hz=run.history.rate_bps_hz[done].numpy(),
        demand_bps_hz=run.timetable.demand_bps_hz[done].numpy(),
        multiplier=run.history.multiplier[done].numpy(),
    )
