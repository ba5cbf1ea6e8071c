"""The benchmark: what is compared, runs that go on, and what is written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from torchrrm import bench, cli
from torchrrm.bench import Results
from torchrrm.policies import list_pretrained
from torchrrm.problems import KINDS
from torchrrm.recipes.benchmark import benchmark, board, plan, work
from torchrrm.recipes.benchmark.settings import LATENCY
from torchrrm.setups import workbench
from torchrrm.setups.registry import CASES, SETUPS

ROOT = Path(__file__).parents[2]
FULL = ROOT / "docs" / "results" / "benchmark-full" / "leaderboard.json"
SMALL = [
    case for case in CASES if case.setting in ("Rayleigh at 15 dB, 5 links", "Munich, 6 users, 64 antennas")
]


class TestCases:
    """What is compared."""

    @pytest.mark.parametrize("name", SETUPS)
    def test_every_problem_has_every_regime(self, name: str) -> None:
        assert {case.regime for case in CASES if case.setup.name == name} == {"paper", "hard", "munich"}

    def test_every_kind_of_slicing_has_every_regime(self) -> None:
        found = {
            (bench.label_of(case.setup.problem), case.regime)
            for case in CASES
            if case.setup.name == "slicing"
        }
        assert found == {(kind, regime) for kind in KINDS for regime in ("paper", "hard", "munich")}

    @pytest.mark.parametrize("name", SETUPS)
    def test_every_solver_is_compared_somewhere_or_left_out_for_a_reason(self, name: str) -> None:
        cases = [case for case in CASES if case.setup.name == name]
        for case in cases:
            names = {*case.setup.solvers, *workbench.serving_policies(case.setup)}
            names |= workbench.unsuited_policies(case.setup).keys()
            assert set(plan.allocators_of(case)) | set(case.left_out) == names
            assert all(case.left_out.values())
            trivial = set(workbench.with_trivial([], case.setup))
            assert trivial <= set(plan.allocators_of(case))
        everywhere = {name for case in cases for name in plan.allocators_of(case)}
        assert everywhere >= set(SETUPS[name].solvers)

    def test_every_policy_that_ships_is_compared_somewhere(self) -> None:
        compared = {name for case in CASES for name in plan.allocators_of(case)}
        assert compared >= set(list_pretrained())

    def test_names_tell_cases_apart(self) -> None:
        wanted = plan.compared(CASES, "smoke", 0)
        assert len({one.of.name for one in wanted}) == len(CASES)
        assert all(work.find_case(one.of) is one.case for one in wanted)
        assert all(set(one.case.instances) == set(LATENCY) for one in wanted)

    def test_all_jobs_meet_the_same_instances(self) -> None:
        of = work.Of("sum-rate", SMALL[0].setting, 3, 0)
        first = work.judged(of).drawn.gain
        work.judged.cache_clear()
        assert torch.equal(work.judged(of).drawn.gain, first)
        other = work.judged(work.Of("sum-rate", SMALL[0].setting, 3, 1)).drawn.gain
        assert not torch.equal(other, first)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a small benchmark."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "CASES", SMALL)
        _again(out)
    return out


def _again(out: Path, **change: Any) -> Results:
    usual: dict[str, Any] = {"scale": "smoke", "out": out, "seed": 0, "command": "benchmark", "processes": 0}
    return benchmark(**usual | change)


def test_all_rows_are_complete_and_written(run: Path) -> None:
    results = Results.from_json(run / "leaderboard.json")
    assert bench.incomplete(results.rows) == []
    assert {row.bound_kind for row in results.rows} == {"certified"}
    assert all((row.optimality or 0.0) <= 1 + 1e-6 for row in results.rows if row.violation_rate == 0)
    assert set(results.settings["left out"].popitem()[1]) <= set(list_pretrained())
    text = (run / "leaderboard.md").read_text(encoding="utf-8")
    assert "## sum-rate" in text
    assert "serves 20 links only" in text
    assert "plotly" in (run / "leaderboard.html").read_text(encoding="utf-8")


def test_the_best_of_a_table_stands_first(run: Path) -> None:
    rows = Results.from_json(run / "leaderboard.json").rows
    for case in board.cases_of(rows).values():
        values = [-1.0 if row.optimality is None else row.optimality for row in case]  # what violates is last
        assert values == sorted(values, reverse=True)
        assert all(row.violation_rate > 0 for row in case if row.optimality is None)


def test_finished_jobs_are_not_repeated(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def repeated(job: object) -> None:
        raise RuntimeError(f"{job} is repeated")

    out = tmp_path / "out"
    shutil.copytree(run, out)
    monkeypatch.setattr(plan, "CASES", SMALL)
    for kind in (work.Held, work.Assessed, work.Timed):
        monkeypatch.setattr(kind, "__call__", repeated)
    before = json.loads((out / "leaderboard.json").read_text())
    _again(out)
    assert json.loads((out / "leaderboard.json").read_text()) == before
    next((out / "jobs").glob("*wmmse.safetensors")).unlink()  # as if it had been stopped there
    with pytest.raises(RuntimeError, match="wmmse"):
        _again(out)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"seed": 5}, "seed 0, not 5"), ({"scale": "quick"}, "scale smoke, not quick")],
)
def test_a_folder_takes_one_run_only(run: Path, change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=rf"^out: must be a new folder or one of this very run.*{told}"):
        _again(run, **change)


def test_bad_names_and_foreign_folders_get_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["benchmark", "--problems", "sum-rat", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: problems: must be one of slicing, sum-rate")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "benchmark.json").write_text("[]")
    with pytest.raises(ValueError, match="foreign"):
        _again(tmp_path)


class TestReadme:
    """The table that is made of the leaderboard."""

    def test_a_row_a_setting_without_what_violates(self, run: Path) -> None:
        results = Results.from_json(run / "leaderboard.json")
        header, lines = board.summary(results)
        assert [line[:2] for line in lines] == [["sum-rate", SMALL[0].setting], ["urllc", SMALL[1].setting]]
        assert {len(line) for line in lines} == {len(header)}
        text = board.with_summary(f"before\n{board.BEGIN}\nstale\n{board.END}\nafter\n", results)
        assert "stale" not in text
        assert board.with_summary(text, results) == text

    def test_a_text_without_the_comments_is_refused(self, run: Path) -> None:
        results = Results.from_json(run / "leaderboard.json")
        with pytest.raises(ValueError, match=r"^README: must have"):
            board.with_summary(f"{board.END} {board.BEGIN}", results)

    @pytest.mark.skipif(not FULL.exists(), reason="the full benchmark has not been kept yet")
    def test_the_readme_has_the_numbers_of_the_leaderboard(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        assert board.with_summary(text, Results.from_json(FULL)) == text
