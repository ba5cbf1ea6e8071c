import dataclasses
from typing import Any

import pytest
from tests.bench.toy import Equal, Winner, pies
from tests.testing.sharing import LinearSharing

from torchrrm.bench import Latency, Row, incomplete, score

QUICK = Latency(warmup=0, calls=3)


@pytest.fixture
def rows() -> list[Row]:
    both = {"winner": Winner(), "equal": Equal()}
    return score(LinearSharing(), pies(), both, setting="three", bound=Winner(), latency=QUICK)


def test_rows_of_the_runner_are_complete(rows: list[Row]) -> None:
    assert incomplete(rows) == []


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ({"bound": None, "bound_kind": "none"}, "a bound or best known value"),
        ({"optimality": None}, "optimality"),
        ({"objective": float("nan")}, "an objective"),
        ({"objective_ci95": None}, "intervals"),
        ({"violation_max": float("nan")}, "violations"),
        ({"served_fraction": None}, "the part that is served"),
        ({"p99_us": float("nan")}, "latencies"),
        ({"utility_quantiles": ()}, "quantiles of utilities"),
    ],
)
def test_what_a_row_lacks_is_told(rows: list[Row], change: dict[str, Any], lack: str) -> None:
    winner, equal = rows
    assert incomplete([winner, dataclasses.replace(equal, **change)]) == [
        f"equal of sharing, three: lacks {lack}"
    ]


def test_rows_that_violate_need_no_optimality(rows: list[Row]) -> None:
    broken = dataclasses.replace(rows[1], violation_rate=0.5, optimality=None, optimality_ci95=None)
    assert incomplete([rows[0], broken]) == []
    assert "intervals" in incomplete([rows[0], dataclasses.replace(broken, objective_ci95=None)])[0]


def test_a_method_without_a_trivial_rule_beside_it_is_told(rows: list[Row]) -> None:
    elsewhere = dataclasses.replace(rows[1], setting="other")
    (told,) = incomplete([rows[0], elsewhere])
    assert told == "equal of sharing, other: lacks a trivial rule beside it"


def test_a_single_instance_that_counts_has_no_intervals(rows: list[Row]) -> None:
    alone = {"instances": 4, "left_out": 3, "objective_ci95": None, "optimality_ci95": None}
    assert incomplete([dataclasses.replace(row, **alone) for row in rows]) == []
