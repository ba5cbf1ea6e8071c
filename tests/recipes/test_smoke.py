"""Each recipe once at its smallest scale, by its line of the README; a stopped run goes on where it was."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from tests.readme import commands, smaller

from torchrrm import cli
from torchrrm.bench import Results
from torchrrm.policies import (
    HBGNN,
    CentralPower,
    LocalPower,
    MetaGNN,
    PowerGNN,
    SliceGNN,
    StateAugmented,
    UnfoldedPower,
    load_policy,
)
from torchrrm.policies.usrmnet import USRMNet
from torchrrm.problems import KINDS
from torchrrm.recipes import RECIPES
from torchrrm.recipes.hbgnn import allocators as associations
from torchrrm.recipes.hbgnn import judging as association_judging
from torchrrm.recipes.hbgnn import plan as association_plan
from torchrrm.recipes.hbgnn import settings as association_settings
from torchrrm.recipes.hbgnn.cases import PAPER, munich_cases
from torchrrm.recipes.hml import settings as slice_settings
from torchrrm.recipes.hml import studies
from torchrrm.recipes.hml.tasksets import TrainingSet
from torchrrm.recipes.jobs import Workers
from torchrrm.recipes.usrmnet import judging as beam_judging
from torchrrm.recipes.usrmnet import plan as beam_plan
from torchrrm.recipes.usrmnet import settings as beam_settings


def line_of(name: str) -> str:
    """The README's command that runs the recipe."""
    (line,) = (line for line in commands() if line.startswith(f"torchrrm reproduce {name} "))
    return line


def stamps(out: Path) -> dict[Path, int]:
    """When each job of a run was done."""
    return {path: path.stat().st_mtime_ns for path in (out / "jobs").rglob("*") if path.is_file()}


def kept(out: Path, pictures: Iterable[str], tables: Iterable[str], problems: Iterable[str]) -> Results:
    """The results of a run that drew all pictures, told all numbers and has rows of every kind."""
    assert all((out / f"{name}.png").stat().st_size > 1000 for name in pictures)
    assert set(json.loads((out / "exhibits.json").read_text())) == {*pictures, *tables}
    results = Results.from_json(out / "results.json")
    assert {row.problem for row in results.rows} == set(problems)
    assert {row.kind for row in results.rows} == {"policy", "solver", "trivial"}
    return results


def goes_on(name: str, out: Path, results: Results) -> None:
    """A second run takes the finished jobs and finds the same."""
    done = stamps(out)
    again = RECIPES[name](scale="smoke", out=out, seed=0, command="test")
    assert stamps(out) == done
    assert [row.objective for row in again.rows] == [row.objective for row in results.rows]


def holds_weights(out: Path, kinds: Mapping[str, type]) -> None:
    """The weights of a run are policies of these kinds."""
    for name, kind in kinds.items():
        assert isinstance(load_policy(str(out / "weights" / f"{name}.safetensors")), kind)


def check_alcor(out: Path) -> None:
    figures = ("fig01", "fig02a", "fig02b", "fig04a", "fig04b", "front", "local")
    tables = (
        "table1",
        "table2",
        "table3",
        "table4",
        "beyond",
        "distributed",
        "updates",
        "programs",
        "any-size",
    )
    results = kept(out, figures, tables, {"sum-rate", "demands"})
    power = {"central-power-20": CentralPower, "local-power": LocalPower, "unfolded-power": UnfoldedPower}
    rayleigh = {"power-gnn-rayleigh": PowerGNN, "state-augmented-rayleigh": StateAugmented}
    holds_weights(out, power | rayleigh)
    goes_on("alcor", out, results)


def check_metagnn(out: Path) -> None:
    figures = ("fig06", "fig07", "fig08", "cdf", "fig09", "fig10", "munich", "front")
    results = kept(out, figures, {"certified"}, {"sum-rate", "ergodic-power"})
    holds_weights(out, {"metagnn": MetaGNN, "state-augmented": StateAugmented, "power-gnn": PowerGNN})
    goes_on("metagnn", out, results)


def check_usrmnet(out: Path) -> None:
    figures = ("fig05", "fig06", "fig07", "table1", "hard", "map", "front")
    results = kept(out, figures, ("table1-ratios", "table2", "table3"), {"urllc"})
    assert all(row.violation_rate == 0 for row in results.rows if row.allocator in ("USRMNet", "GramAscent"))
    assert any(row.published for row in results.rows)
    holds_weights(out, {"usrmnet": USRMNet})
    done, settings = stamps(out), beam_settings.SCALES["smoke"]
    workers = Workers(out / "jobs", 0)
    asked = beam_plan.asked(settings, beam_plan.train(settings, workers, 0))
    found = beam_judging.judge("again", asked, workers)
    assert stamps(out) == done
    timed = {one.case: dict.fromkeys(found[one.case].names, (1.0, 1.0)) for one in asked if one.listed}
    again = beam_plan.rows(found, timed)
    assert [row.objective for row in again] == [row.objective for row in results.rows]


def check_hbgnn(out: Path) -> None:
    figures = ("fig06", "fig07", "fig08", "fig09", "fig10", "fig11", "fig12", "front")
    maps = ("network-paper", "network-munich-hudn-200m", "network-munich-hudn-600m")
    results = kept(out, (*figures, *maps), ("table2", "table4", "fairness", "munich"), {"association"})
    assert {row.allocator for row in results.rows} == set(associations.ORDER)
    assert all(row.violation_rate == 0 for row in results.rows)
    assert any(row.published for row in results.rows)
    holds_weights(out, {"hbgnn": HBGNN})
    done, settings = stamps(out), association_settings.SCALES["smoke"]
    workers = Workers(out / "jobs", 0)
    asked = association_plan.asked(settings, association_plan.train(settings, workers, 0).start)
    found = association_judging.judge("again", asked, workers)
    assert stamps(out) == done
    timed = {case: dict.fromkeys(found[case].names, (1.0, 1.0)) for case in (PAPER, *munich_cases())}
    again = association_plan.rows(found, timed)
    assert [row.objective for row in again] == [row.objective for row in results.rows]


def check_hml(out: Path) -> None:
    pictures = {path.stem for path in out.glob("*.png")}
    assert pictures >= {"fig03", "fig04", "fig05to07-raw", "fig08a", "fig08b", "fig08c", "fig09", "fig10"}
    text = (out / "README.md").read_text()
    assert all(f"Fig. {number}" in text for number in (3, 4, 8, 9, 10))
    assert "98.55" in text  # the published number stands beside ours
    assert set(json.loads((out / "exhibits.json").read_text())) >= pictures
    rows = Results.from_json(out / "results.json").rows
    assert {row.problem for row in rows} == set(KINDS)
    for row in rows:
        assert row.bound_kind == "certified"
        assert row.infeasible is not None
        assert row.violation_max <= 1e-5
        assert row.optimality is not None
        assert row.optimality <= 1 + 1e-6
    assert {row.allocator for row in rows if row.kind == "trivial"} == {"equal-surplus", "one-winner"}
    policy = load_policy(str(out / "weights" / "slice-gnn-marginal.safetensors"))
    assert isinstance(policy, SliceGNN)
    assert policy.features == "marginal"
    done, workers, settings = (
        stamps(out),
        Workers(out / "jobs", 0, progress=False),
        slice_settings.SCALES["smoke"],
    )
    random = studies.starts(TrainingSet(KINDS["secrecy"], "raw"), "base", ["random"], settings, workers)
    studies.convergence(random, settings, workers)
    assert stamps(out) == done


CHECKS: dict[str, Callable[[Path], None]] = {
    "alcor": check_alcor,
    "hbgnn": check_hbgnn,
    "hml": check_hml,
    "metagnn": check_metagnn,
    "usrmnet": check_usrmnet,
}


def test_each_recipe_has_a_line_in_the_readme_and_a_check() -> None:
    lines = [line for line in commands() if line.startswith("torchrrm reproduce ")]
    assert sorted(lines) == sorted(line_of(name) for name in CHECKS)
    assert set(CHECKS) == set(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_smoke(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(smaller(line_of(name))) == 0
    CHECKS[name](tmp_path / "out" / name)
