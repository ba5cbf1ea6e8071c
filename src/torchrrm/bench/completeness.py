"""What rows of a comparison lack of what it takes to judge them."""

import math
from collections.abc import Sequence

from torchrrm.bench.metrics import QUANTILES
from torchrrm.bench.results import Row

__all__ = ["incomplete"]


def incomplete(rows: Sequence[Row]) -> list[str]:
    """What is missing, a sentence each; nothing of complete rows.

    A complete row has what its objective is held against and both intervals (unless a single instance counts),
    violations, service, quantiles of utilities and latencies that are numbers, and beside it a row of a trivial rule.
    Its optimality may be missing where actions violate constraints.
    """
    trivial = {(row.problem, row.setting) for row in rows if row.kind == "trivial"}
    found = []
    for row in rows:
        lacks = _lacks(row) + ([] if (row.problem, row.setting) in trivial else ["a trivial rule beside it"])
        if lacks:
            place = f"{row.allocator} of {row.problem}, {row.setting}"
            found.append(f"{place}: lacks {', '.join(lacks)}")
    return found


def _lacks(row: Row) -> list[str]:
    several = row.instances - row.left_out > 1
    compared = row.optimality is not None or row.violation_rate == 0
    intervals = [row.objective_ci95] + ([row.optimality_ci95] if compared else [])
    needed = {
        "an objective": _is_number(row.objective),
        "a bound or best known value": row.bound_kind != "none" and _is_number(row.bound),
        "optimality": not compared or _is_number(row.optimality),
        "intervals": not several or None not in intervals,
        "violations": row.violation_max >= 0 and _is_number(row.violation_rate),
        "the part that is served": _is_number(row.served_fraction),
        "latencies": 0 < row.p50_us <= row.p99_us < math.inf,
        "quantiles of utilities": len(row.utility_quantiles) == QUANTILES,
    }
    return [name for name, there in needed.items() if not there]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
