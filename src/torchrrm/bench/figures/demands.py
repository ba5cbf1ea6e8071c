"""Figure of demands over slots: what users ask for, what they get, and the multipliers behind it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from torchrrm.bench.figures.style import PALETTE, QUIET

__all__ = ["DemandTraces", "demands_over_slots"]

_MOST_POINTS = 800  # a line has; more would be drawn on top of each other
_MOST_COLOURED = 10
_PALE = "#c4c4c4"
_AVERAGES = ("-", "-.", ":", (0, (8, 2)))  # styles of lines; dashes are demands
_DASH = 4.0
_MOST_LEGEND = 26  # entries in a column


@dataclass(frozen=True)
class DemandTraces:
    """What a control loop did, block by block in the order of time.

    Attributes:
        slot: slots up to the end of each block, ascending.
        window: number of the block's window; demands stay in it.
        rate_bps_hz: mean rates over the block in bit/s/Hz.
        demand_bps_hz: what was asked for, 0 for nothing.
        multiplier: after the block.
    """

    slot: Int[np.ndarray, " block"]
    window: Int[np.ndarray, " block"]
    rate_bps_hz: Float[np.ndarray, "block user"]
    demand_bps_hz: Float[np.ndarray, "block user"]
    multiplier: Float[np.ndarray, "block user"]

    def __post_init__(self) -> None:
        if not len(self.slot):
            raise ValueError("slot: must have at least one block, received none")


class _Pen(NamedTuple):
    """How a user is drawn; those without a name are all alike."""

    user: int
    colour: str
    line: Any
    name: str


def demands_over_slots(
    traces: DemandTraces, *, averaged: int = 10, multiplier: str = "multiplier", title: str = ""
) -> Figure:
    """Rates of each user against its demand, and below them the multipliers; vertical lines part the windows.

    As Figs. 2 and 3 of [Behmandpoor2024], whose rates are those of single slots. Of more than 10 users only those
    with a demand have a colour. Of more than 800 blocks neighbours are averaged.

    Args:
        traces: of at least one block.
        averaged: blocks of a moving average, which does not reach back beyond a change of demands.
        multiplier: what the loop moves, for the axis.
        title: of the figure.
    """
    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    rates, multipliers = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    average = moving_average(traces.rate_bps_hz, traces.window, averaged)
    pens, curve = _pens(traces.demand_bps_hz), _Curve.of(traces)
    faint = 0.3 if len(pens) <= _MOST_COLOURED else 0.12
    for pen in pens:
        order = 2 if pen.name else 1
        rates.plot(
            *curve(traces.rate_bps_hz, pen), color=pen.colour, alpha=faint, linewidth=0.7, zorder=order
        )
        rates.plot(*curve(average, pen), color=pen.colour, linestyle=pen.line, linewidth=1.5, zorder=order)
        multipliers.plot(
            *curve(traces.multiplier, pen), color=pen.colour, linestyle=pen.line, linewidth=1.2, zorder=order
        )
    _draw_demands(rates, traces, pens)
    for axes in (rates, multipliers):
        for _, first, _ in list(_windows(traces))[1:]:
            axes.axvline(first, color=QUIET, linewidth=0.8)
        axes.grid(alpha=0.25)
        axes.margins(x=0)
        axes.set_ylim(bottom=0)
    rates.set(ylabel="rate / (bit/s/Hz)", title=title)
    multipliers.set(ylabel=multiplier, xlabel="slot")
    figure.align_ylabels()
    handles = _legend(traces, pens, averaged)
    figure.legend(
        handles=handles, loc="outside right upper", frameon=False, ncols=1 + len(handles) // _MOST_LEGEND
    )
    return figure


def moving_average(
    values: Float[np.ndarray, "block user"], window: Int[np.ndarray, " block"], blocks: int
) -> Float[np.ndarray, "block user"]:
    """Means of each block and those before it, at most so many in all, within its window."""
    number = np.arange(len(values))
    first = np.maximum(_window_start(window), number - blocks + 1)
    total = np.concatenate((np.zeros((1, values.shape[1])), np.cumsum(values, 0, dtype=float)))
    return (total[number + 1] - total[first]) / (number + 1 - first)[:, None]


def _window_start(window: Int[np.ndarray, " block"]) -> Int[np.ndarray, " block"]:
    """The first block of each block's window."""
    return np.maximum.accumulate(
        np.where(np.diff(window, prepend=window[0] - 1) != 0, np.arange(len(window)), 0)
    )


def _pens(demand_bps_hz: Float[np.ndarray, "block user"]) -> list[_Pen]:
    """Of all users, those without a demand in pale grey if there are many."""
    users = demand_bps_hz.shape[1]
    asking = set(np.flatnonzero(demand_bps_hz.max(axis=0)))
    marks = cycle((colour, line) for line in _AVERAGES for colour in PALETTE[:-2])
    pens = []
    for user in range(users):
        coloured = users <= _MOST_COLOURED or user in asking
        colour, line = next(marks) if coloured else (_PALE, "-")
        pens.append(_Pen(user, colour, line, f"user {user + 1}" if coloured else ""))
    return pens


def _windows(traces: DemandTraces) -> Iterator[tuple[int, int, int]]:
    """Last block, first and last slot of each window."""
    first = 0
    for block in np.flatnonzero(np.diff(traces.window, append=traces.window[-1] + 1)):
        yield int(block), first, int(traces.slot[block])
        first = int(traces.slot[block])


class _Curve(NamedTuple):
    """Points of a curve: groups of neighbouring blocks of a window, and gaps between windows."""

    slot: Float[np.ndarray, " group"]
    first: Int[np.ndarray, " group"]
    blocks: Int[np.ndarray, " group"]
    gaps: Int[np.ndarray, " gap"]

    @classmethod
    def of(cls, traces: DemandTraces) -> "_Curve":
        each = -(-len(traces.slot) // _MOST_POINTS)
        number = np.arange(len(traces.slot))
        first = np.flatnonzero((number - _window_start(traces.window)) % each == 0)
        blocks = np.diff(first, append=len(number))
        begin = np.concatenate(([0], traces.slot[first[1:] - 1]))
        middle = (begin + traces.slot[first + blocks - 1]) / 2
        gaps = np.flatnonzero(np.diff(traces.window[first])) + 1
        return cls(middle, first, blocks, gaps)

    def __call__(
        self, values: Float[np.ndarray, "block user"], pen: _Pen
    ) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
        mean = np.add.reduceat(values[:, pen.user].astype(float), self.first) / self.blocks
        return np.insert(self.slot, self.gaps, np.nan), np.insert(mean, self.gaps, np.nan)


def _draw_demands(axes: Axes, traces: DemandTraces, pens: Sequence[_Pen]) -> None:
    """Dashed lines; users who ask for the same share one, their dashes in turn."""
    for block, first, last in _windows(traces):
        asked = traces.demand_bps_hz[block]
        for value in np.unique(asked[asked > 0]):
            alike = [pen for pen in pens if asked[pen.user] == value]
            for i, pen in enumerate(alike):
                dashes = (_DASH * i, (_DASH, _DASH * max(1, len(alike) - 1)))
                axes.plot(
                    [first, last], [value, value], color=pen.colour, linestyle=dashes, linewidth=1.4, zorder=3
                )


def _legend(traces: DemandTraces, pens: Sequence[_Pen], averaged: int) -> list[Line2D]:
    slots = int(traces.slot[0])
    handles = [
        Line2D([], [], color=pen.colour, linestyle=pen.line, linewidth=1.5, label=pen.name)
        for pen in pens
        if pen.name
    ]
    if len(handles) < len(pens):
        handles.append(Line2D([], [], color=_PALE, label="other users"))
    handles.append(Line2D([], [], color=QUIET, alpha=0.5, linewidth=0.7, label=f"mean of {slots} slots"))
    handles.append(Line2D([], [], color=QUIET, linewidth=1.5, label=f"mean of {averaged * slots} slots"))
    if traces.demand_bps_hz.any():
        handles.append(Line2D([], [], color=QUIET, linestyle=(0, (_DASH, _DASH)), label="demand"))
    return handles
