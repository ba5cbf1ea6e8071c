"""The demo, with few slices: its table follows the honesty rules, and its files stand alone."""

import json
from pathlib import Path

import pytest

from torchrrm.bench import Results
from torchrrm.problems import KINDS
from torchrrm.recipes.demo import DemoSettings, run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    out = tmp_path_factory.mktemp("demo")
    return out, run(DemoSettings(out=out, instances=4, users=20, epochs=1))


def test_every_kind_has_the_policy_the_solvers_and_the_trivial_rules(demo: tuple[Path, Results]) -> None:
    _, results = demo
    for kind in KINDS:
        rows = {row.allocator: row for row in results.rows if row.problem == kind}
        assert {row.kind for row in rows.values()} == {"policy", "solver", "trivial"}
        assert rows["exact"].optimality == pytest.approx(1, abs=1e-6)
        for row in rows.values():
            assert row.violation_max <= 1e-5
            assert row.optimality is not None
            assert row.optimality <= 1 + 1e-6


def test_the_shipped_policy_beats_the_trivial_rules_on_a_city_that_it_has_not_seen(
    demo: tuple[Path, Results],
) -> None:
    _, results = demo
    for kind in KINDS:
        share = {row.allocator: row.optimality or 0.0 for row in results.rows if row.problem == kind}
        for rule in ("equal-surplus", "one-winner"):
            if share[rule] < 0.99:
                assert share["policy, zero-shot"] > share[rule]


def test_files(demo: tuple[Path, Results]) -> None:
    out, results = demo
    page = (out / "report.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(data["scenes"]) == len(data["cases"]) == len(KINDS)
    for scene in data["scenes"]:
        assert "OpenStreetMap" in scene["attribution"]
        assert len(scene["services"]) == len(results.rows) / len(KINDS)
    assert (out / "munich_slice.png").stat().st_size > 50_000
    assert len(Results.from_json(out / "results.json").rows) == len(results.rows)
