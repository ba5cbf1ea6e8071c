"""Statistics of rates `[configuration link]` that the exhibits share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from torchrrm.bench import metrics
from torchrrm.recipes.exhibits import interval_text

__all__ = [
    "RATE_HEADER",
    "epochs_to_reach",
    "gain_over",
    "least",
    "method_rows",
    "penalised",
    "rate_cells",
    "together",
]

RATE_HEADER = ("mean rate", "5th percentile", "minimum rate")


def together(rates: Sequence[Tensor]) -> Tensor:
    """Rates of configurations of several sizes as one tensor, links that a configuration lacks not a number."""
    most = max(rate.shape[-1] for rate in rates)
    return torch.cat(
        [torch.nn.functional.pad(rate, (0, most - rate.shape[-1]), value=torch.nan) for rate in rates]
    )


def least(rates: Tensor) -> Tensor:
    """Minimum over the links, `[... configuration]`."""
    return rates.nan_to_num(nan=torch.inf).amin(-1)


def rate_cells(rates: Tensor) -> list[str]:
    """Mean, 5th percentile and minimum rate in bit/s/Hz, with half their 95 % intervals."""
    value, interval = metrics.quantile_interval(rates, 0.05)
    percentile = f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
    return [
        interval_text(rates.double().nanmean(-1), digits=3),
        percentile,
        interval_text(least(rates), digits=3),
    ]


def gain_over(rates: Tensor, base: Tensor) -> str:
    """Mean rate over that of a base on the same configurations, in per cent, with its 95 % interval."""
    ratio, interval = metrics.ratio_interval(rates.double().nanmean(-1), base.double().nanmean(-1))
    if ratio is None:
        return "–"
    half = f" ± {100 * (interval[1] - ratio):.2f}" if interval else ""
    return f"{100 * (ratio - 1):+.2f}{half}"


def penalised(rates: Tensor, slack_penalty: float = 4.0, demand: float = 1.0) -> Tensor:
    """Objective of Eq. (4) of [Huang2024] per link, with the least slack, `[... configuration]`."""
    short = torch.clamp(demand - rates, min=0)
    return (rates - slack_penalty / 2 * short.square()).double().nanmean(-1)


def epochs_to_reach(points: Tensor, rates: Tensor, goal: float) -> float | None:
    """First point at which the mean penalised rate of `[point configuration link]` reaches the goal."""
    value = penalised(rates).mean(-1)
    reached = (value >= goal).nonzero()
    return float(points[reached[0, 0]]) if len(reached) else None


def method_rows(rates: Mapping[str, Tensor], base: str, *, label: str = "") -> list[list[str]]:
    """A line of a table for each method; the last column holds its mean rate against that of the base."""
    return [
        [label if i == 0 else "", name, *rate_cells(rate), gain_over(rate, rates[base])]
        for i, (name, rate) in enumerate(rates.items())
    ]
