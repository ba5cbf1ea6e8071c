"""Figures of the recipe: shortfalls by case, training layer by layer, a map of users and antennas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from torchrrm.bench import metrics
from torchrrm.bench.figures.style import MARKERS, PALETTE, QUIET, common_legend, panel_grid, second, styles

__all__ = [
    "LEAST_MISSING",
    "Estimate",
    "Label",
    "Trace",
    "layer_counts",
    "layer_traces",
    "shortfall_map",
    "shortfalls",
]

Label = tuple[str, int]
"""A cell and a number of users."""
Estimate = tuple[float, tuple[float, float] | None]
LEAST_MISSING = 1e-4
"""In per cent: below, a shortfall is drawn at this."""


def shortfalls(ratios: Mapping[str, Sequence[Estimate | None]], cases: Sequence[Label], base: str) -> Figure:
    """How much less than a base methods reach in each case, `1 - ratio` in per cent, on a logarithmic scale.

    Args:
        ratios: to the base with their 95 % intervals, a case each, by method; None where there is none.
        cases: cell and number of users of each; those of one cell stand together.
        base: its name.
    """
    figure = Figure(figsize=(3.2 + 0.55 * len(cases), 4.4), layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(ratios.items()):
        offset = 0.6 * (i / max(1, len(ratios) - 1) - 0.5)
        known = [(at + offset, _short(value)) for at, value in enumerate(values) if value is not None]
        height, low, high = np.array([value for _, value in known]).reshape(-1, 3).T
        axes.errorbar(
            [x for x, _ in known],
            height,
            yerr=np.array([height - low, high - height]),
            color=PALETTE[i % len(PALETTE)],
            marker=second(MARKERS, i),
            markersize=5,
            markeredgecolor="#222222",
            markeredgewidth=0.6,
            linestyle="none",
            elinewidth=1.0,
            label=name,
        )
    axes.set(yscale="log", ylabel=f"less than {base} / %", xlabel="users K", xlim=(-0.5, len(cases) - 0.5))
    axes.set_ylim(0.7 * LEAST_MISSING, None)
    axes.set_xticks(range(len(cases)), [str(users) for _, users in cases])
    axes.grid(alpha=0.25, axis="y")
    _mark_cells(axes, cases)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _mark_cells(axes: Axes, cases: Sequence[Label]) -> None:
    """Lines between cells, their names above."""
    first = 0
    for at, (cell, _) in enumerate(cases):
        last = at == len(cases) - 1 or cases[at + 1][0] != cell
        axes.axvline(at + 0.5, color=QUIET, linewidth=1.0 if last else 0.3)
        if last:
            text = cell.replace(", ", "\n")
            axes.annotate(
                text,
                ((first + at) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize="x-small",
            )
            first = at + 1


def _short(ratio: Estimate) -> tuple[float, float, float]:
    """`1 - ratio` in per cent and the ends of its interval, none below what is drawn."""
    value, interval = ratio
    low, high = interval or (value, value)
    least, middle, most = (max(LEAST_MISSING, 100 * (1 - end)) for end in (high, value, low))
    return middle, least, most


@dataclass(frozen=True)
class Trace:
    """A quantity over the training of several layers, one after the other.

    Attributes:
        values: by the name of the run, `[layer point]`.
        label: of the axis, with the unit.
        log: on a logarithmic scale.
    """

    values: Mapping[str, Tensor]
    label: str
    log: bool = False


def layer_traces(traces: Sequence[Trace], epochs: Tensor) -> Figure:
    """A panel a quantity over the epochs of all layers; vertical lines part the layers.

    Args:
        traces: of the same layers and points.
        epochs: of the points within a layer; the first is its beginning.
    """
    figure = Figure(figsize=(8.6, 0.6 + 2.3 * len(traces)), layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(len(traces), 1, sharex=True)))
    span, epochs = float(epochs[-1]), epochs.double()
    layers = len(next(iter(traces[0].values.values())))
    for axes, trace in zip(panels, traces, strict=True):
        for (name, values), (colour, line) in zip(trace.values.items(), styles(), strict=False):
            for layer, curve in enumerate(values.double()):
                label = name if layer == 0 else None
                axes.plot(
                    layer * span + epochs, curve, color=colour, linestyle=line, linewidth=1.3, label=label
                )
        for layer in range(layers + 1):
            axes.axvline(layer * span, color=QUIET, linewidth=0.6)
        axes.set_ylabel(trace.label)
        axes.set_xlim(0, layers * span)
        if trace.log:
            axes.set_yscale("log")
        axes.grid(alpha=0.25)
    for layer in range(layers):
        panels[0].annotate(
            f"layer {layer + 1}", ((layer + 0.5) * span, 1.0), xycoords=("data", "axes fraction"),
            xytext=(0, 3), textcoords="offset points", ha="center", va="bottom", fontsize="small",
        )  # fmt: skip
    panels[-1].set_xlabel("epochs of training, layer after layer")
    common_legend(figure, panels)
    return figure


def layer_counts(panels: Mapping[str, Mapping[str, Tensor]], label: str) -> Figure:
    """Means over draws with 95 % intervals against the number of layers: a panel a cell, a curve a series.

    Args:
        panels: `[draw layer]` by cell and series.
        label: of the values, with the unit.
    """
    figure, axes = panel_grid(len(panels), width=3.4, height=2.8, sharey=False)
    names = sorted(
        {name for series in panels.values() for name in series}, key=lambda name: (len(name), name)
    )
    for one, (cell, series) in zip(axes, panels.items(), strict=True):
        for name, values in series.items():
            found = [metrics.mean_interval(column) for column in values.T]
            mean = np.array([value for value, _ in found])
            half = np.array([interval[1] - value if interval else 0.0 for value, interval in found])
            i = names.index(name)
            one.errorbar(
                range(1, len(mean) + 1),
                mean,
                yerr=half,
                color=PALETTE[i % len(PALETTE)],
                marker=second(MARKERS, i),
                capsize=2.0,
                linewidth=1.0,
                label=name,
            )
        one.set_title(cell, fontsize="small")
        one.grid(alpha=0.25)
    axes[0].set_xticks(
        range(1, 1 + max(values.shape[1] for series in panels.values() for values in series.values()))
    )
    figure.supxlabel("layers", fontsize="medium")
    figure.supylabel(label, fontsize="medium")
    common_legend(figure, axes)
    return figure


def shortfall_map(ratios: Tensor, users: Sequence[int], antennas: Sequence[int], label: str) -> Figure:
    """A map over users and antennas of `1 - ratio` in per cent, on a logarithmic scale; grey where there is none.

    Args:
        ratios: `[antennas users]`, not a number where there is none.
        users: of the columns.
        antennas: of the rows.
        label: of the values, with the unit.
    """
    figure = Figure(figsize=(2.6 + 0.85 * len(users), 1.4 + 0.7 * len(antennas)), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("#dddddd")
    values = (100 * (1 - ratios)).clamp_min(LEAST_MISSING).numpy()
    scale = LogNorm(LEAST_MISSING, 1.0)
    image = axes.imshow(values, cmap="cividis_r", norm=scale, aspect="auto", origin="lower")
    for (i, j), value in np.ndenumerate(values):
        text = (
            "–" if np.isnan(value) else f"< {LEAST_MISSING:g}" if value <= LEAST_MISSING else f"{value:.2g}"
        )
        dark = not np.isnan(value) and scale(value) > 0.5
        colour = "white" if dark else "#111111"
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize="small")
    axes.set_xticks(range(len(users)), [str(count) for count in users])
    axes.set_yticks(range(len(antennas)), [str(count) for count in antennas])
    axes.set(xlabel="users K", ylabel="antennas $N_t$")
    figure.colorbar(image, label=label)
    return figure
