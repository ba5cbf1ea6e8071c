"""Everything in the registries conforms."""

from dataclasses import replace

import pytest
import torch
from tests.testing import beams, links
from tests.testing.slices import SLICE, sample

from torchrrm.policies import (
    POLICIES,
    CentralPower,
    MetaGNN,
    PowerGNN,
    SliceGNN,
    StateAugmented,
    UnrolledPower,
)
from torchrrm.policies.power_gnn import EDGES
from torchrrm.problems import KINDS, ErgodicPower, QosSumRate, UrllcBeamforming, WeightedSumRate
from torchrrm.solvers import SOLVERS, MaxPower, StrongestLink
from torchrrm.testing import check_policy, check_problem, check_solver

FEATURES = ("raw", "log", "marginal")


def test_some_samples_do_not_fit(generator):
    instance = sample(500, generator=generator)
    for problem in KINDS.values():
        feasible = problem.feasible(instance)
        assert not feasible.all()
        assert problem.schedule(instance).active.any(-1).float().mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_problem_conforms(kind):
    check_problem(KINDS[kind], sample)


@pytest.mark.parametrize("solver", SOLVERS["slicing"])
@pytest.mark.parametrize("kind", KINDS)
def test_solver_conforms(kind, solver):
    check_solver(SOLVERS["slicing"][solver](KINDS[kind]), KINDS[kind], sample, expected=SLICE)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
def test_slice_policy_conforms(kind, features):
    torch.manual_seed(0)
    check_policy(SliceGNN(KINDS[kind], features=features), KINDS[kind], sample, expected=SLICE)


@pytest.mark.parametrize("outgoing", [False, True])
@pytest.mark.parametrize("enriched", [False, True])
@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("condition", ["priority", "weight"])
def test_power_policy_conforms(condition, edges, enriched, outgoing):
    torch.manual_seed(0)
    policy = PowerGNN(condition, edges=edges, enriched=enriched, outgoing=outgoing)
    check_policy(policy, WeightedSumRate(), links.sample, expected=links.LINKS)


def test_central_policy_conforms():
    torch.manual_seed(0)
    expected = replace(links.LINKS, any_size=False)
    check_policy(CentralPower(6, (16, 12)), WeightedSumRate(), links.sample, expected=expected)


@pytest.mark.parametrize("restore", [False, True])
def test_unrolled_policy_conforms(restore):
    torch.manual_seed(0)
    problem = QosSumRate(0.1)
    policy = UnrolledPower(0.1, depth=2, restore=restore)
    allowed = {} if restore else {"min_rate": 1.0}
    expected = replace(links.LINKS, violation=allowed)
    check_policy(policy, problem, links.sample, expected=expected)


@pytest.mark.parametrize("policy", [MetaGNN, StateAugmented])
def test_ergodic_policy_conforms(policy):
    torch.manual_seed(0)
    expected = replace(links.ERGODIC, auxiliary=("slack.", "multiplier.") if policy is MetaGNN else ())
    check_policy(policy(), ErgodicPower(), links.sample_ergodic, expected=expected)


def test_every_policy_is_tried():
    assert set(POLICIES) == {
        "CentralPower",
        "CnnAssociation",  # in tests/policies/hbgnn: of fixed size, it breaks the rule of permutations
        "FcnnAssociation",  # likewise
        "HBGNN",  # in tests/policies/hbgnn
        "LiteralHBGNN",  # there, too; of fixed size
        "LiteralUSRMNet",  # in tests/policies/usrmnet: it breaks the rule of permutations, as printed
        "LocalPower",
        "MetaGNN",
        "PowerGNN",
        "SliceGNN",
        "StateAugmented",
        "UnfoldedPower",
        "UnrolledPower",
        "USRMNet",
    }


@pytest.mark.parametrize("rule", [MaxPower, StrongestLink])
def test_rule_of_links_conforms(rule):
    check_solver(rule(), WeightedSumRate(), links.sample, expected=links.LINKS)


@pytest.mark.parametrize("solver", [name for name in SOLVERS["urllc"] if name != "he-bf"])
def test_beamforming_solver_conforms(solver):
    check_solver(SOLVERS["urllc"][solver](), UrllcBeamforming(), beams.sample, expected=beams.BEAMS)
