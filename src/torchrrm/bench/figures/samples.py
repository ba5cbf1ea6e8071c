"""Figures of samples: distributions of rates, curves over epochs, mean rates against the least."""

import math
from collections.abc import Mapping
from itertools import cycle

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from torchrrm.bench import metrics
from torchrrm.bench.figures.style import (
    LINES,
    MARKERS,
    PALETTE,
    QUIET,
    common_legend,
    panel_grid,
    second,
    styles,
)

__all__ = ["cdf_panels", "curve_panels", "curves", "mean_against_least", "rate_cdf", "values_beside_print"]


def rate_cdf(
    samples: Mapping[str, ArrayLike],
    *,
    label: str = "rate / (Mbit/s)",
    title: str = "",
    log: bool = False,
    population: str = "users",
    demands: Mapping[str, float] | None = None,
) -> Figure:
    """Empirical distribution functions: the fraction of values at or below x, a curve an entry.

    Args:
        samples: values of any shape by name; those that are not a number are left out, as of padded links.
        label: of the values, with the unit.
        title: of the figure.
        log: values on a logarithmic scale.
        population: what the values are of.
        demands: vertical lines by name, such as a minimum rate.
    """
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    _draw_cdf(axes, samples)
    for (name, value), line in zip((demands or {}).items(), cycle(LINES[::-1]), strict=False):
        axes.axvline(value, label=name, color=QUIET, linewidth=1.0, linestyle=line)
    axes.set(xlabel=label, ylabel=f"fraction of {population}", ylim=(0, 1), title=title)
    if log:
        axes.set_xscale("log")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def cdf_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    label: str,
    log: bool = False,
    population: str = "users",
    title: str = "",
) -> Figure:
    """`rate_cdf` of several cases, a panel each; names have the same colour and line in all, and one legend.

    Args:
        panels: values of any shape by case and name.
        label: of the values, with the unit.
        log: values on a logarithmic scale.
        population: what the values are of.
        title: of the figure.
    """
    figure, grid = panel_grid(len(panels), width=3.2, height=3.0, sharey=True)
    for axes, (case, samples) in zip(grid, panels.items(), strict=True):
        _draw_cdf(axes, samples)
        axes.set(ylim=(0, 1), title=case, xscale="log" if log else "linear")
    figure.supxlabel(label, fontsize="medium")
    figure.supylabel(f"fraction of {population}", fontsize="medium")
    figure.suptitle(title)
    common_legend(figure, grid)
    return figure


def _draw_cdf(axes: Axes, samples: Mapping[str, ArrayLike]) -> None:
    """The distribution functions of one panel."""
    for (name, values), (colour, line) in zip(samples.items(), styles(), strict=False):
        known = np.asarray(values, float).reshape(-1)
        axes.ecdf(known[~np.isnan(known)], label=name, color=colour, linestyle=line)
    axes.grid(alpha=0.25)


def mean_against_least(
    rates: Mapping[str, ArrayLike], *, unit: str = "bit/s/Hz", demand: float | None = None, title: str = ""
) -> Figure:
    """Mean rate against the minimum and against the 5th percentile, a point a method, with 95 % intervals.

    Up and to the right is better. Mean and minimum are those of each instance, averaged; the percentile is that of
    all links of all instances.

    Args:
        rates: `[instance, link]` by name; not a number for padded links.
        unit: of the rates.
        demand: a minimum rate, drawn as a line.
        title: of the figure.
    """
    figure, panels = panel_grid(2, width=3.4, height=3.2, sharey=True, sharex=False)
    for i, (name, values) in enumerate(rates.items()):
        rate = torch.as_tensor(np.asarray(values, float))
        mean = metrics.mean_interval(rate.nanmean(-1))
        least = metrics.mean_interval(rate.nan_to_num(nan=math.inf).amin(-1))
        for axes, low in zip(panels, (least, metrics.quantile_interval(rate, 0.05)), strict=True):
            _draw_cross(axes, low, mean, name, i)
    for axes, what in zip(panels, ("minimum", "5th percentile"), strict=True):
        if demand is not None:
            axes.axvline(demand, label="demand", color=QUIET, linewidth=1.0, linestyle="--")
        axes.set_xlabel(f"{what} rate / ({unit})")
        axes.grid(alpha=0.25)
    figure.supylabel(f"mean rate / ({unit})", fontsize="medium")
    figure.suptitle(title)
    common_legend(figure, panels)
    return figure


Estimate = tuple[float, tuple[float, float] | None]


def _draw_cross(axes: Axes, x: Estimate, y: Estimate, name: str, i: int) -> None:
    """The point of the i-th method with its intervals along both axes."""
    axes.errorbar(
        x[0],
        y[0],
        xerr=_whiskers(x),
        yerr=_whiskers(y),
        color=PALETTE[i % len(PALETTE)],
        marker=second(MARKERS, i),
        markersize=7,
        markeredgecolor="#222222",
        linestyle="none",
        elinewidth=1.0,
        capsize=2.0,
        label=name,
    )


def _whiskers(estimate: Estimate) -> np.ndarray | None:
    """Lengths of the interval below and above the value, `[2, 1]`."""
    value, interval = estimate
    return None if interval is None else np.array([[value - interval[0]], [interval[1] - value]])


def curves(
    series: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    x_label: str = "epoch",
    y_label: str = "objective",
    reference: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Curves with 95 % bands: the mean over runs and its Student's t interval, a curve an entry.

    Args:
        series: `[run, point]` values by name; of a single run the curve is drawn without a band.
        x: `[point]` positions; 0, 1, ... if not given.
        x_label: with the unit.
        y_label: with the unit.
        reference: horizontal lines by name, such as a published value.
        title: of the figure.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    _draw_curves(axes, series, x)
    for (name, value), line in zip((reference or {}).items(), cycle(LINES[::-1]), strict=False):
        axes.axhline(value, label=name, color=QUIET, linewidth=1.0, linestyle=line)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def curve_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    x: ArrayLike | None = None,
    x_label: str = "epoch",
    y_label: str = "objective",
    reference: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
) -> Figure:
    """`curves` of several cases, a panel each; names have the same colour and line in all, and one legend.

    Args:
        panels: `[run, point]` values by case and name: methods of several tasks, or mean and minimum rate of one.
        x: `[point]` positions; 0, 1, ... if not given.
        x_label: with the unit.
        y_label: with the unit, of all panels.
        reference: horizontal lines by case and name, such as the value of a baseline.
        title: of the figure.
    """
    figure, grid = panel_grid(len(panels), width=3.0, height=2.6, sharey=False)
    lines = dict.fromkeys(name for values in (reference or {}).values() for name in values)
    of_reference = dict(zip(lines, cycle(LINES[::-1]), strict=False))
    for axes, (case, series) in zip(grid, panels.items(), strict=True):
        _draw_curves(axes, series, x)
        for name, value in (reference or {}).get(case, {}).items():
            axes.axhline(value, label=name, color=QUIET, linewidth=1.0, linestyle=of_reference[name])
        axes.set_title(case, fontsize="medium")
    figure.supxlabel(x_label, fontsize="medium")
    figure.supylabel(y_label, fontsize="medium")
    figure.suptitle(title)
    common_legend(figure, grid)
    return figure


def _draw_curves(axes: Axes, series: Mapping[str, ArrayLike], x: ArrayLike | None) -> None:
    """Mean over runs and its band, a curve an entry."""
    for (name, values), (colour, line) in zip(series.items(), styles(), strict=False):
        runs = np.atleast_2d(np.asarray(values, float))
        at = np.arange(runs.shape[1]) if x is None else np.asarray(x, float)
        mean = runs.mean(axis=0)
        axes.plot(at, mean, label=name, color=colour, linestyle=line)
        if len(runs) > 1:
            half = metrics.t_975(len(runs) - 1) * runs.std(axis=0, ddof=1) / math.sqrt(len(runs))
            axes.fill_between(at, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
    axes.grid(alpha=0.25)


def values_beside_print(
    samples: Mapping[str, ArrayLike], published: Mapping[str, float], *, label: str, title: str = ""
) -> Figure:
    """Bars of means with 95 % intervals, and a diamond at each number in print.

    Args:
        samples: `[instance]` values by name.
        published: printed counterparts of some of them.
        label: of the values, with the unit.
        title: of the figure.
    """
    figure = Figure(figsize=(1.6 + 0.5 * len(samples), 4.0), layout="constrained")
    axes = figure.subplots()
    for i, values in enumerate(samples.values()):
        mean, interval = metrics.mean_interval(torch.as_tensor(np.asarray(values, float)))
        spread = _whiskers((mean, interval))
        axes.bar(i, mean, yerr=spread, width=0.7, color=PALETTE[0], edgecolor="#222222", capsize=2.0)
        axes.text(i, 0.02 * mean, f"{mean:.1f}", ha="center", va="bottom", fontsize="x-small", color="white")
    places = [i for i, name in enumerate(samples) if name in published]
    printed = [published[name] for name in samples if name in published]
    axes.plot(places, printed, "D", color=PALETTE[1], markeredgecolor="#222222", label="in print")
    axes.set_xticks(range(len(samples)), list(samples), rotation=35, ha="right")
    axes.set(ylabel=label, title=title)
    axes.grid(alpha=0.25, axis="y")
    figure.legend(loc="outside upper right", frameon=False)
    return figure
