"""Figs. 2 to 4 of [Behmandpoor2024]: rates, demands and multipliers of loops, slot by slot."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchrrm.bench import figures
from torchrrm.bench.demands import NEVER, block_means, blocks_until_met, shortfall
from torchrrm.bench.figures import DemandTraces
from torchrrm.channels import SCENARIOS
from torchrrm.policies.control import Controller, Track, Window, follow
from torchrrm.problems import ErgodicInstance
from torchrrm.recipes.alcor.cases import REPORT, Case, generator_of, rayleigh
from torchrrm.recipes.alcor.loops import draw_runs
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.setups.links import SEVEN_CELL_TERMS, LinkSource, draw_configurations
from torchrrm.solvers import certify_out_of_reach

__all__ = ["infeasible", "windows"]

BLOCK = 25
_STREAM = 41
FIG4 = Case(
    "Fig. 4",
    tuple(
        {**dict.fromkeys(range(20, 26), 2.0), **dict.fromkeys(range(25, 31), 3.0), 31: 5.0}.get(user, 0.0)
        for user in range(1, 51)
    ),
)
"""The demands of seven cells, which no power control can meet; user 25 is named twice in the paper, 3 is taken."""


def traces_of(tracks: Sequence[Track], schedule: Sequence[Window]) -> DemandTraces:
    """The first run of what a loop did, in blocks."""
    rates, multipliers, demands, windows = [], [], [], []
    for number, (track, window) in enumerate(zip(tracks, schedule, strict=True)):
        rate = block_means(track.rate_bps_hz[0], BLOCK)
        rates.append(rate)
        multipliers.append(track.multiplier[0, BLOCK - 1 :: BLOCK][: len(rate)])
        demands.append(torch.tensor(window.demand_bps_hz).expand(rate.shape))
        windows.append(torch.full((len(rate),), number))
    rate, multiplier, demand = (torch.cat(parts).numpy() for parts in (rates, multipliers, demands))
    slot = BLOCK * np.arange(1, len(rate) + 1)
    return DemandTraces(slot, torch.cat(windows).numpy(), rate, demand, multiplier)


def windows(
    name: str,
    title: str,
    loops: Mapping[str, Controller[Any]],
    cases: Sequence[Case],
    slots: int,
) -> list[Exhibit]:
    """A loop's rates over windows of demands that change, an exhibit a loop: Figs. 2 and 3."""
    schedule = [Window(case.demand_bps_hz, slots) for case in cases]
    links = cases[0].links
    generator = generator_of(REPORT, _STREAM, links)
    instance = draw_runs(rayleigh(links), cases[0].demand, 1, slots * len(cases), generator)
    found = []
    for number, (loop_name, loop) in enumerate(loops.items()):
        with torch.no_grad():
            tracks = follow(loop, instance, schedule)
        traces = traces_of(tracks, schedule)
        rows = [_window_row(case, track) for case, track in zip(cases, tracks, strict=True)]
        found.append(
            Exhibit(
                name=f"{name}{'abc'[number]}",
                title=f"{title}: {loop_name}",
                note=f"One run; windows of {slots} slots, rates of blocks of {BLOCK} slots (thin) and their moving "
                "averages over ten blocks (thick), demands dashed.",
                figure=figures.demands_over_slots(traces, multiplier="multiplier"),
                header=["window", "sum rate / (bit/s/Hz)", "violation (12) / %", "blocks until met"],
                rows=rows,
                data={"rate": traces.rate_bps_hz.tolist(), "multiplier": traces.multiplier.tolist()},
            )
        )
    return found


def _window_row(case: Case, track: Track) -> list[str]:
    rate = track.rate_bps_hz[0]
    until = int(blocks_until_met(rate, case.demand, block=BLOCK))
    mean = rate.mean(0)
    return [
        case.name,
        f"{float(mean.sum()):.2f}",
        f"{100 * float(shortfall(mean, case.demand)):.2f}",
        "never" if until == NEVER else str(until),
    ]


def cellular(links: int, slots: int) -> ErgodicInstance:
    """One run of seven cells whose large-scale fading changes every 50 slots (Section IV-B)."""
    source = LinkSource(SCENARIOS["seven-cells"](), links, SEVEN_CELL_TERMS, redraw_every=50)
    return draw_configurations(source, 1, slots=slots, generator=generator_of(REPORT, _STREAM, 4, links))


def infeasible(loops: Mapping[str, Controller[Any]], slots: int) -> list[Exhibit]:
    """Fig. 4: demands in seven cells that the paper could not meet."""
    instance, schedule = cellular(FIG4.links, slots), [Window(FIG4.demand_bps_hz, slots)]
    found = []
    for number, (name, loop) in enumerate(loops.items()):
        with torch.no_grad():
            tracks = follow(loop, instance, schedule)
        late = tracks[0].rate_bps_hz[0, slots // 2 :].mean(0)
        excess = _excess(instance, tracks[0].multiplier[:, -1])
        found.append(
            Exhibit(
                name=f"fig04{'abc'[number]}",
                title=f"Fig. 4: heavy demands in seven cells, 50 links: {name}",
                note=f"{slots} slots; mean rates of their second half. The largest multiplier seen is "
                f"{float(tracks[0].multiplier.amax()):.1f}. {_verdict(excess)}",
                figure=figures.demands_over_slots(traces_of(tracks, schedule), multiplier="multiplier"),
                header=["users", "demand / (bit/s/Hz)", "mean rate / (bit/s/Hz)", "least of them"],
                rows=_groups(late),
                data={"rate": late.tolist()},
            )
        )
    return found


def _verdict(excess: float) -> str:
    if excess > 0:
        return f"Certified: the demands exceed what any powers give in these slots by {100 * excess:.0f} %."
    return "That the demands are out of reach is not certified: the bound of 50 links is too loose for it."


def _excess(instance: ErgodicInstance, multiplier: Tensor) -> float:
    """What `certify_out_of_reach` says on the first slots."""
    some = instance.between(0, min(50, instance.gain.shape[-3]))
    return float(certify_out_of_reach(some, multiplier, FIG4.demand[None]))


def _groups(rate: Tensor) -> list[list[str]]:
    """Mean and least rates of the users that ask for the same."""
    rows = []
    for demand in (0.0, 2.0, 3.0, 5.0):
        users = (FIG4.demand == demand).nonzero()[:, 0]
        who = f"{len(users)} users"
        rows.append(
            [who, f"{demand:g}", f"{float(rate[users].mean()):.2f}", f"{float(rate[users].min()):.2f}"]
        )
    return rows
