"""Rows of all cases with the latency of single calls, and objective against latency."""

import functools
from collections.abc import Mapping, Sequence

import torch

from torchrrm import bench, records
from torchrrm.bench import Row, figures, metrics, on_front
from torchrrm.problems import MisoInstance
from torchrrm.recipes.exhibits import Exhibit, percent_text
from torchrrm.recipes.usrmnet import pictures
from torchrrm.recipes.usrmnet.allocators import HEBF, BeamAllocator, kind_of_name
from torchrrm.recipes.usrmnet.cases import Case, draws_of
from torchrrm.recipes.usrmnet.judging import CaseResult
from torchrrm.recipes.usrmnet.scoring import Reference, row
from torchrrm.recipes.usrmnet.settings import UsrmnetSettings

__all__ = ["Latencies", "best_known", "case_rows", "front_exhibit", "latencies", "reference"]

Latencies = Mapping[str, tuple[float, float]]
"""Median and 99th percentile of single calls in microseconds, by allocator."""

_TIMED = 50  # draws that calls take in turn


def timed(allocator: BeamAllocator, instance: MisoInstance, settings: UsrmnetSettings) -> tuple[float, float]:
    """Median and 99th percentile of single calls in microseconds."""
    how = bench.Latency(calls=settings.latency_calls, budget_s=settings.latency_budget_s)
    draws = records.batch_shape(instance)[0]
    calls = [functools.partial(allocator, records.index(instance, i)) for i in range(draws)]
    with torch.no_grad():
        return metrics.measure_latency(calls, how, instance.active.device)


def best_known(result: CaseResult) -> Reference:
    """The best that any allocator reaches without a violation."""
    draws = len(result.feasible)
    best = torch.full((draws,), -torch.inf, dtype=torch.float64)
    for name in result.names:
        scores = result.scores(name)
        count = len(scores.objective)
        reached = torch.where(scores.met, scores.objective, -torch.inf)
        best[:count] = torch.maximum(best[:count], reached)
    return Reference(best, "best known", result.feasible & best.isfinite())


def reference(result: CaseResult) -> Reference:
    """Certified bounds where every draw has one, else the best known."""
    if result.bound is not None and len(result.bound) == len(result.feasible):
        return Reference(result.bound, "certified", result.feasible)
    return best_known(result)


def latencies(
    case: Case, result: CaseResult, allocators: Mapping[str, BeamAllocator], settings: UsrmnetSettings
) -> dict[str, tuple[float, float]]:
    """Medians and 99th percentiles of single calls in microseconds, by allocator; HeBF's are those of its job."""
    instance = draws_of(case, min(_TIMED, len(result.feasible)))
    found = {name: timed(allocator, instance, settings) for name, allocator in allocators.items()}
    if HEBF in result.names:
        taken_us = result.hebf_us
        found[HEBF] = taken_us.quantile(0.5).item(), taken_us.quantile(0.99).item()
    return found


def case_rows(
    case: Case, result: CaseResult, against: Reference, latency: Latencies, published: Mapping[str, float]
) -> list[Row]:
    """A row for each allocator that has feasible draws."""
    rows = []
    for name in result.names:
        scores = result.scores(name)
        if bool(against.feasible[: len(scores.objective)].any()):
            kind, printed = kind_of_name(name), published.get(name)
            rows.append(row(case.setting, name, kind, scores, against, latency[name], printed))
    return rows


def front_exhibit(rows: Sequence[Row], cases: Sequence[Case], settings: UsrmnetSettings) -> Exhibit:
    """Objective against latency, drawn for each case."""
    titles = {case.setting: f"{case.cell},\nK = {case.users}" for case in cases}
    table = [
        [
            one.setting,
            one.allocator,
            f"{one.objective:.4f}",
            percent_text(one.optimality, 3),
            one.bound_kind,
            f"{100 * one.violation_rate:.1f}",
            f"{one.p50_us:,.0f}",
            f"{one.p99_us:,.0f}",
            "yes" if on_front(one, rows) else "",
        ]
        for one in rows
    ]
    return Exhibit(
        name="front",
        title="Objective against latency",
        note="Against the best that any of them reaches on a draw, which is within the tolerance of the certified "
        f"bound where there is one. The feasible of {settings.draws} draws of each case ({HEBF}: of its first ones); "
        f"single calls from Python on one thread, {HEBF}'s beside another worker. What violates minimum rates on "
        "some draws has an objective that the rules do not allow: it is not drawn, and has no percentage. What is "
        "below 1e-4 % is drawn there.",
        figure=figures.latency_front(rows, names=titles, least_missing=pictures.LEAST_MISSING),
        header=[
            "",
            "allocator",
            "objective",
            "of the bound / %",
            "bound",
            "violated / %",
            "p50 / µs",
            "p99 / µs",
            "on the front",
        ],
        rows=table,
    )
