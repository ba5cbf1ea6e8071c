"""The HBGNN recipe: printed numbers, its own parts, and all of it at its smallest scale."""

import json

import pytest
import torch

from torchrrm.bench import Results
from torchrrm.policies import HBGNN, load_policy
from torchrrm.problems import AssociationAction, SumRateAssociation
from torchrrm.recipes import RECIPES
from torchrrm.recipes.hbgnn import plan
from torchrrm.recipes.hbgnn.allocators import JOINT, JOINT_STRONG, MAX_SIGNAL, ORDER, in_order, solvers
from torchrrm.recipes.hbgnn.cases import PAPER, REPORT, TRAIN, Case, drops_of, munich_cases
from torchrrm.recipes.hbgnn.convergence import NETWORKS
from torchrrm.recipes.hbgnn.judging import judge
from torchrrm.recipes.hbgnn.published import PARAMETERS, RATES, SECONDS
from torchrrm.recipes.hbgnn.scoring import judged, kept
from torchrrm.recipes.hbgnn.settings import SCALES
from torchrrm.recipes.jobs import Workers
from torchrrm.records import to

FIGURES = ("fig06", "fig07", "fig08", "fig09", "fig10", "fig11", "fig12", "front")
MAPS = ("network-paper", "network-munich-hudn-200m", "network-munich-hudn-600m")
TABLES = ("table2", "table4", "fairness", "munich")


@pytest.mark.slow
def test_smoke_makes_every_exhibit_and_goes_on_where_it_was(tmp_path):
    results = RECIPES["hbgnn"](scale="smoke", out=tmp_path, seed=0, command="test")
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in (*FIGURES, *MAPS))
    assert set(json.loads((tmp_path / "exhibits.json").read_text())) == {*FIGURES, *MAPS, *TABLES}
    rows = Results.from_json(tmp_path / "results.json").rows
    assert {row.problem for row in rows} == {"association"}
    assert {row.allocator for row in rows} == set(ORDER)
    assert {row.kind for row in rows} == {"policy", "solver", "trivial"}
    assert all(row.violation_rate == 0 for row in rows)
    assert any(row.published for row in rows)
    assert isinstance(load_policy(str(tmp_path / "weights" / "hbgnn.safetensors")), HBGNN)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "jobs").rglob("*.safetensors")}
    settings, workers = SCALES["smoke"], Workers(tmp_path / "jobs", 0)
    trained = plan.train(settings, workers, 0)
    found = judge("again", plan.asked(settings, trained.start), workers)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "jobs").rglob("*.safetensors")} == made
    timed = {case: dict.fromkeys(found[case].names, (1.0, 1.0)) for case in (PAPER, *munich_cases())}
    assert [row.objective for row in plan.rows(found, timed)] == [row.objective for row in results.rows]


def test_printed_numbers_are_those_that_the_issue_of_print_rests_on():
    assert RATES["GRL"] / RATES[JOINT] == pytest.approx(1.27, abs=0.01)
    assert RATES["SRL"] / RATES[JOINT] == pytest.approx(1.44, abs=0.01)
    assert set(RATES) == set(SECONDS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_are_as_large_as_printed(name):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in NETWORKS[name]().parameters())
    assert count == pytest.approx(PARAMETERS[name], rel=0.03)


def test_drops_are_the_same_whoever_asks_and_others_in_another_stream():
    case = Case(users=7, stations=9)
    few, many = drops_of(case, 3), drops_of(case, 13)
    assert torch.equal(few.gain, many.gain[:3])
    assert not torch.equal(few.gain, drops_of(case, 3, TRAIN).gain)
    assert REPORT != TRAIN


def test_drops_of_munich_are_those_of_the_snapshot_with_its_macro_stations():
    drops = drops_of(munich_cases()[0], 2)
    assert drops.gain.shape == (2, 120, 105)
    assert (drops.max_power_w[:, :5] > 99).all()
    assert (drops.max_power_w[:, 5:] < 0.11).all()


def test_kept_actions_are_judged_as_the_problem_does():
    drops = to(drops_of(Case(users=7, stations=9), 2), dtype=torch.float64)
    action = solvers()[MAX_SIGNAL](drops)
    mine = judged(drops, kept(MAX_SIGNAL, action))[MAX_SIGNAL]
    assert torch.allclose(mine.objective, SumRateAssociation().evaluate(drops, action).objective)
    assert mine.violation.max() == 0
    assert isinstance(mine.action, AssociationAction)


def test_the_stronger_reading_of_the_joint_baseline_is_stronger():
    drops = drops_of(PAPER, 3, TRAIN)
    found = {name: solvers()[name](drops) for name in (JOINT, JOINT_STRONG)}
    value = {name: SumRateAssociation().evaluate(drops, a).objective.mean() for name, a in found.items()}
    assert value[JOINT_STRONG] > 1.05 * value[JOINT]
    assert in_order([JOINT_STRONG, MAX_SIGNAL, JOINT]) == [MAX_SIGNAL, JOINT, JOINT_STRONG]
