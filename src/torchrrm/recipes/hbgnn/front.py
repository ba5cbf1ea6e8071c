"""Latencies of single calls, rows of all methods, and quality against latency."""

import functools
from collections.abc import Mapping, Sequence

import torch

from torchrrm import bench, records
from torchrrm.bench import Row, figures, metrics, on_front
from torchrrm.problems import CellInstance
from torchrrm.recipes.exhibits import Exhibit, percent_text
from torchrrm.recipes.hbgnn.allocators import CellAllocator
from torchrrm.recipes.hbgnn.cases import Case
from torchrrm.recipes.hbgnn.judging import CaseResult
from torchrrm.recipes.hbgnn.published import RATES
from torchrrm.recipes.hbgnn.scoring import row
from torchrrm.recipes.hbgnn.settings import HbgnnSettings
from torchrrm.recipes.hbgnn.tables import Latencies, printed_of

__all__ = ["case_rows", "front_exhibit", "latencies"]

_TIMED = 20  # drops that calls take in turn


def latencies(
    instance: CellInstance, allocators: Mapping[str, CellAllocator], settings: HbgnnSettings
) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile of single calls in microseconds, by allocator."""
    how = bench.Latency(calls=settings.latency_calls, budget_s=settings.latency_budget_s)
    drops = [records.index(instance, i) for i in range(min(_TIMED, records.batch_shape(instance)[0]))]
    found = {}
    with torch.no_grad():
        for name, allocator in allocators.items():
            calls = [functools.partial(allocator, drop) for drop in drops]
            found[name] = metrics.measure_latency(calls, how, instance.gain.device)
    return found


def case_rows(case: Case, result: CaseResult, timed: Latencies) -> list[Row]:
    """A row for each allocator, held against the best that any of them reaches on a drop.

    The printed rates are told relative to the best of them.
    """
    best = max(RATES.values())
    printed = {name: RATES[one] / best for name in result.names if (one := printed_of(name)) in RATES}
    published = printed if case.where == "paper" else {}
    return [
        row(case.setting, name, result.judged[name], result.best, timed[name], published.get(name))
        for name in result.names
    ]


def front_exhibit(rows: Sequence[Row], settings: HbgnnSettings) -> Exhibit:
    """Sum of rates against latency, a panel a kind of network."""
    return Exhibit(
        name="front",
        title="Sum of rates against latency",
        note=f"In per cent of the best that any of them reaches on a drop; {settings.drops} drops of the square, "
        f"{settings.munich_drops} of each network of Munich; single calls from Python on one thread. SRL and searches "
        "with a time limit were timed beside another worker.",
        figure=figures.latency_front(rows),
        header=[
            "network",
            "method",
            "sum of rates / (bit/s/Hz)",
            "of the best / %",
            "p50 / ms",
            "p99 / ms",
            "front",
        ],
        rows=[
            [
                one.setting,
                one.allocator,
                f"{one.objective:.2f}",
                percent_text(one.optimality),
                f"{one.p50_us / 1e3:,.2f}",
                f"{one.p99_us / 1e3:,.2f}",
                "yes" if on_front(one, rows) else "",
            ]
            for one in rows
        ],
    )
