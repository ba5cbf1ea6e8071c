"""The HBGNN recipe: printed numbers and its own parts."""

import pytest
import torch

from torchrrm.problems import AssociationAction, SumRateAssociation
from torchrrm.recipes.hbgnn.allocators import JOINT, JOINT_STRONG, MAX_SIGNAL, in_order, solvers
from torchrrm.recipes.hbgnn.cases import PAPER, REPORT, TRAIN, Case, drops_of, munich_cases
from torchrrm.recipes.hbgnn.convergence import NETWORKS
from torchrrm.recipes.hbgnn.published import PARAMETERS, RATES, SECONDS
from torchrrm.recipes.hbgnn.scoring import judged, kept
from torchrrm.records import to


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
