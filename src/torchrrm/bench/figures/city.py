"""Maps: who gets what, where."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from torchrrm.bench.figures.style import PALETTE, QUIET, panel_grid

__all__ = ["city_map"]


def city_map(
    users_m: ArrayLike,
    site_m: ArrayLike,
    amounts: Mapping[str, ArrayLike],
    *,
    amount_label: str = "bandwidth / MHz",
    title: str = "",
    attribution: str = "",
) -> Figure:
    """Who gets what, where: a panel for each entry of `amounts`, all on one scale.

    A user's marker has an area in proportion to its amount; one who gets nothing is a grey cross.

    Args:
        users_m: positions `[user, 2 or 3]`; height is not drawn.
        site_m: the base station's position.
        amounts: `[user]` values by the panel's title.
        amount_label: of the legend, with the unit.
        title: of the figure.
        attribution: the data's licence line, at the foot.
    """
    users, site = np.asarray(users_m, float), np.asarray(site_m, float).reshape(-1)
    values = {name: np.asarray(amount, float) for name, amount in amounts.items()}
    top = max((amount.max(initial=0.0) for amount in values.values()), default=0.0) or 1.0
    figure, panels = panel_grid(len(values), width=3.4, height=3.4, sharey=True)
    for axes, (name, amount) in zip(panels, values.items(), strict=True):
        _draw_users(axes, users, amount, top)
        axes.plot(*site[:2], marker="^", color="#000000", markersize=10, linestyle="none")
        axes.set(
            title=f"{name}: {np.count_nonzero(amount > 0)} of {len(amount)} users served", aspect="equal"
        )
        axes.title.set_fontsize("medium")
        axes.grid(alpha=0.25)
    figure.supxlabel(f"x / m\n{attribution}".rstrip(), fontsize="medium")
    figure.supylabel("y / m", fontsize="medium")
    figure.suptitle(title)
    _map_legend(figure, panels[0], top, amount_label)
    return figure


LARGEST_AREA = 400.0  # of a marker, in square points


def _draw_users(axes: Axes, users: np.ndarray, amount: np.ndarray, top: float) -> None:
    served = amount > 0
    axes.scatter(
        *users[served, :2].T,
        s=LARGEST_AREA * amount[served] / top,
        color=PALETTE[0],
        alpha=0.55,
        edgecolor="#003a5c",
        linewidth=0.8,
    )
    axes.scatter(*users[~served, :2].T, s=22, marker="x", color=QUIET, linewidth=1.0)


def _map_legend(figure: Figure, axes: Axes, top: float, label: str) -> None:
    """Outside of the panels: three amounts to read areas by, the site and the unserved."""
    steps = [float(f"{top * share:.1g}") for share in (0.1, 0.4, 1.0)]
    handles: list[Any] = [
        axes.scatter([], [], s=LARGEST_AREA * step / top, color=PALETTE[0], alpha=0.55, edgecolor="#003a5c")
        for step in steps
    ]
    handles.append(axes.scatter([], [], s=22, marker="x", color=QUIET))
    handles.append(axes.scatter([], [], s=80, marker="^", color="#000000"))
    figure.legend(
        handles,
        [*(f"{step:g}" for step in steps), "not served", "base station"],
        loc="outside right upper",
        title=label,
        labelspacing=1.2,
        frameon=False,
    )
