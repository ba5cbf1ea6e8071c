"""The table of the best allocators."""

import dataclasses

from tests.bench.samples import RESULTS, ROW

from torchrrm.bench import Results
from torchrrm.recipes.benchmark.board import summary


def results(problem: str) -> Results:
    """A row of each kind, and one that is above all others and violates."""
    row = dataclasses.replace(ROW, problem=problem, kind="solver")
    rows = [
        dataclasses.replace(row, allocator="slow", optimality=0.9, p50_us=100.0),
        dataclasses.replace(row, allocator="quick", optimality=0.9, p50_us=10.0),
        dataclasses.replace(row, allocator="rule", kind="trivial", optimality=0.5, p50_us=1.0),
        dataclasses.replace(row, allocator="network", kind="policy", optimality=0.7, p50_us=20.0),
        dataclasses.replace(row, allocator="broken", optimality=0.99, p50_us=1.0, violation_rate=0.5),
    ]
    return dataclasses.replace(RESULTS, rows=rows)


def test_the_best_of_each_kind_that_violates_nothing() -> None:
    header, (line,) = summary(results("sharing"))
    found = dict(zip(header[2:6], line[2:6], strict=True))
    assert found == {"best allocator": "`quick`", "%": "90.00", "of": "certified", "p50 / µs": "10"}
    assert line[6:] == ["`rule`", "50.00", "`network`", "70.00", "20"]


def test_what_is_priced_may_be_missed() -> None:
    _, (line,) = summary(results("ergodic-power"))
    assert line[2:6] == ["`broken`", "99.00", "certified", "1"]
