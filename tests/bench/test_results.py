import dataclasses
import json
import math
from pathlib import Path

import pytest
from tests.bench.samples import RESULTS, ROW

from torchrrm.bench.results import Measure, Results, on_front, source_commit


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    text = RESULTS.to_json(path)
    assert path.read_text(encoding="utf-8") == text
    assert Results.from_json(path) == Results.from_json(text) == RESULTS


def test_json_has_the_documented_keys() -> None:
    data = json.loads(RESULTS.to_json())
    assert set(data) == {"schema", "command", "commit", "device", "threads", "seed", "settings", "rows"}
    documented = """problem setting allocator kind objective objective_ci95 bound bound_kind optimality
        violation_max violation_rate served_fraction p50_us p99_us instances infeasible published left_out
        measures utility_quantiles"""
    assert set(data["rows"][0]) == {*documented.split(), "optimality_ci95"}


def test_what_is_not_finite_becomes_null_and_comes_back_as_nan() -> None:
    broken = dataclasses.replace(ROW, objective=math.inf, violation_max=math.nan)
    text = dataclasses.replace(RESULTS, rows=[broken]).to_json()
    assert json.loads(text)["rows"][0]["objective"] is None
    (row,) = Results.from_json(text).rows
    assert math.isnan(row.objective)
    assert math.isnan(row.violation_max)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 1, received 2"),
        ({"seed": "3"}, "results.seed: must be int, received '3'"),
        ({"seed": True}, "results.seed"),
        ({"rows": {}}, "rows must be a list"),
        ({"rows": [{}]}, "row: must have exactly its keys"),
        ({"rows": [7]}, "row: must be an object, received int"),
        ({"extra": 1}, r"unknown \['extra'\]"),
    ],
)
def test_foreign_json_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Results.from_json(json.dumps({**json.loads(RESULTS.to_json()), **change}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "oracle"}, "row.kind"),
        ({"instances": 1.5}, "row.instances"),
        ({"optimality": "1"}, "row.optimality"),
        ({"objective_ci95": [1.0]}, "row.objective_ci95"),
    ],
)
def test_rows_are_checked(change: dict[str, object], message: str) -> None:
    data = json.loads(RESULTS.to_json())
    data["rows"][0] |= change
    with pytest.raises(ValueError, match=message):
        Results.from_json(json.dumps(data))


def test_truncated_json_is_refused() -> None:
    with pytest.raises(ValueError, match="must be JSON"):
        Results.from_json(RESULTS.to_json()[:-20])


@pytest.mark.parametrize(
    ("optimality", "p50_us", "violation_rate", "first", "second"),
    [
        (0.9, 10.0, 0.0, True, True),  # alike
        (0.9, 9.0, 0.0, False, True),  # faster
        (0.8, 9.0, 0.0, True, True),  # faster and worse
        (0.95, 11.0, 0.0, True, True),  # better and slower
        (0.95, 10.0, 0.0, False, True),  # better and no slower
        (0.95, 9.0, 0.5, True, False),  # better and faster, but it violates
    ],
)
def test_the_front_is_of_those_that_none_beats(
    optimality: float, p50_us: float, violation_rate: float, first: bool, second: bool
) -> None:
    row = dataclasses.replace(ROW, optimality=0.9, p50_us=10.0)
    other = dataclasses.replace(
        row, allocator="other", optimality=optimality, p50_us=p50_us, violation_rate=violation_rate
    )
    assert (on_front(row, [row, other]), on_front(other, [row, other])) == (first, second)
    elsewhere = dataclasses.replace(other, setting="elsewhere")
    assert on_front(row, [row, elsewhere])


def test_commit_is_known() -> None:
    assert source_commit()


MEASURED = dataclasses.replace(
    RESULTS, rows=[dataclasses.replace(ROW, measures={"least / W": Measure(0.5, (0.1, 0.9))})]
)


def test_measures_come_back() -> None:
    assert Results.from_json(MEASURED.to_json()) == MEASURED


def test_rows_of_before_any_were_left_out_are_read() -> None:
    data = json.loads(RESULTS.to_json())
    del data["rows"][0]["left_out"]
    assert Results.from_json(json.dumps(data)).rows[0].left_out == 0


def test_rows_of_before_there_were_measures_are_read() -> None:
    data = json.loads(RESULTS.to_json())
    del data["rows"][0]["measures"], data["rows"][0]["utility_quantiles"]
    assert Results.from_json(json.dumps(data)) == RESULTS


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ([], "row.measures: must be an object"),
        ({"a": 1.0}, "measure: must be an object"),
        ({"a": {"value": 1.0}}, "measure: must have exactly its keys"),
        ({"a": {"value": "1", "ci95": None}}, "measure.value"),
    ],
)
def test_measures_are_checked(measures: object, message: str) -> None:
    data = json.loads(RESULTS.to_json())
    data["rows"][0]["measures"] = measures
    with pytest.raises(ValueError, match=message):
        Results.from_json(json.dumps(data))
