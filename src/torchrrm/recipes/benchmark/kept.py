"""Assessments and bounds as tensors, which is what finished jobs are kept as."""

import math
import typing
from collections.abc import Mapping

import torch
from torch import Tensor

from torchrrm.bench import Assessment, Bound, Measure
from torchrrm.bench.results import Kind

__all__ = ["assessment_of", "bound_of", "tensors_of", "tensors_of_bound"]

Tensors = dict[str, Tensor]
_KINDS: tuple[Kind, ...] = typing.get_args(Kind)
_MEASURE = "measure "


def tensors_of(one: Assessment) -> Tensors:
    """All but the latencies."""
    served = math.nan if one.served_fraction is None else one.served_fraction
    measures = {
        _MEASURE + name: _numbers(measure.value, *(measure.ci95 or (math.nan, math.nan)))
        for name, measure in one.measures.items()
    }
    return {
        "kind": torch.tensor(_KINDS.index(one.kind)),
        "objective": one.objective,
        "violation": one.violation,
        "violation and service": _numbers(one.violation_max, one.violation_rate, served),
        "utility quantiles": _numbers(*one.utility_quantiles),
        **measures,
    }


def assessment_of(tensors: Mapping[str, Tensor], p50_us: float, p99_us: float) -> Assessment:
    """The assessment of `tensors_of`, with latencies."""
    violation_max, violation_rate, served = tensors["violation and service"].tolist()
    measures: dict[str, Measure] = {}
    for name in sorted(tensors):
        if name.startswith(_MEASURE):
            value, low, high = tensors[name].tolist()
            interval = None if math.isnan(low) else (low, high)
            measures[name.removeprefix(_MEASURE)] = Measure(value, interval)
    return Assessment(
        kind=_KINDS[int(tensors["kind"])],
        objective=tensors["objective"],
        violation=tensors["violation"],
        violation_max=violation_max,
        violation_rate=violation_rate,
        served_fraction=None if math.isnan(served) else served,
        utility_quantiles=tuple(tensors["utility quantiles"].tolist()),
        measures=measures,
        p50_us=p50_us,
        p99_us=p99_us,
    )


def tensors_of_bound(bound: Bound | None) -> Tensors:
    """Nothing of none."""
    if bound is None:
        return {}
    return {bound.kind: bound.value.double(), "gap": _numbers(bound.gap)}


def bound_of(tensors: Mapping[str, Tensor]) -> Bound | None:
    """The bound of `tensors_of_bound`."""
    for kind in ("certified", "best known"):
        if kind in tensors:
            return Bound(tensors[kind], kind, tensors["gap"].item())
    return None


def _numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
