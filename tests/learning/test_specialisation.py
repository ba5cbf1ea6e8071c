"""SRL: weights tuned to one network, its stopping rule, and the allocator."""

import dataclasses

import pytest
import torch
from tests.testing.association import CELLS, network, sample

from torchrrm.learning import Specialised, SpecialiseSettings, specialise
from torchrrm.learning.specialisation import converged
from torchrrm.policies.hbgnn import HBGNN
from torchrrm.problems.association import ProportionalFairAssociation, SumRateAssociation
from torchrrm.records import index, map_tensors
from torchrrm.solvers import HungarianWMMSE
from torchrrm.testing.allocator import AllocatorSuite

PROBLEM = SumRateAssociation()
SETTINGS = SpecialiseSettings(steps=12, learning_rate=1e-2, tolerance=0.0)


def small(**arguments):
    torch.manual_seed(0)
    return HBGNN(width=16, heads=2, hidden=8, steps=2, **arguments).eval()


@pytest.fixture
def instance(generator):
    return index(network(1, 7, 5, generator=generator), 0)


def test_the_stopping_rule_by_hand():
    rewards = [10.0, 12.0, 14.0, 14.0, 14.0, 14.2]
    # means of two, before and now: 11, 14; 13, 14; 14, 14.1
    assert not converged(rewards[:3], 2, 1.0)  # too few
    assert not converged(rewards[:4], 2, 0.2)
    assert not converged(rewards[:5], 2, 0.05)
    assert converged(rewards[:5], 2, 0.1)
    assert converged(rewards, 2, 0.01)
    assert not converged(rewards, 2, 0.005)
    assert converged([-rate for rate in rewards], 2, 0.01)
    assert not converged([1.0] * 4, 2, 0.0)


def test_it_raises_the_relaxed_objective_and_keeps_the_best_action(instance):
    policy = small()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    found = specialise(policy, instance, SETTINGS)
    assert found.relaxed_objective[-4:].mean() > found.relaxed_objective[:4].mean()
    assert found.steps == 12
    assert not found.converged
    assert found.seconds > 0
    value = float(PROBLEM.evaluate(instance, found.action).objective)
    assert value == pytest.approx(float(found.objective.max()))
    with torch.no_grad():
        start = float(PROBLEM.evaluate(instance, policy(instance)).objective)
    assert float(found.objective[0]) == pytest.approx(start)
    assert torch.equal(found.best_objective, found.objective.cummax(0).values)
    for name, kept in policy.state_dict().items():
        assert torch.equal(kept, before[name])
    assert found.parameters.keys() < before.keys()  # those of the last stage
    assert any(not torch.equal(value, before[name]) for name, value in found.parameters.items())


def test_its_gradient_is_that_of_the_printed_loss(instance):
    """The first step of plain descent by hand."""
    policy = small()
    settings = dataclasses.replace(SETTINGS, steps=1, optimiser="ascent", entropy=0.3, adapted=())
    found = specialise(policy, instance, settings)
    relaxed = policy.relax(instance)
    chance = relaxed.probability
    heard = (chance.sum(-1) > 0).sum()
    entropy = -torch.special.xlogy(chance, chance).sum() / heard
    (-PROBLEM.relaxed(instance, relaxed) / heard - 0.3 * entropy).backward()
    for name, value in policy.named_parameters():
        step = torch.zeros_like(value) if value.grad is None else value.grad
        torch.testing.assert_close(found.parameters[name], value.detach() - 1e-2 * step, rtol=1e-4, atol=1e-6)


def test_it_stops_where_the_mean_rests(instance):
    settings = SpecialiseSettings(steps=50, learning_rate=1e-9, window=3, tolerance=1e-3)
    found = specialise(small(), instance, settings)
    assert found.converged
    # the temperature moves after the first step, and then nothing does
    assert 5 <= found.steps <= 8
    assert converged(found.relaxed_objective.tolist(), 3, 1e-3)


def test_zero_steps_are_the_policy(instance):
    policy, settings = small(), dataclasses.replace(SETTINGS, steps=0)
    found, wanted = specialise(policy, instance, settings).action, policy(instance)
    assert torch.equal(found.station, wanted.station)
    torch.testing.assert_close(found.power_w, wanted.power_w)


def test_refinement_is_kept_where_it_is_better(instance):
    solver = HungarianWMMSE()
    bare = specialise(small(), instance, SETTINGS)
    refined = specialise(small(), instance, SETTINGS, refine=solver)
    assert torch.equal(bare.objective, refined.objective)
    assert refined.best_objective[-1] >= bare.best_objective[-1]
    first = solver.refine(instance, small()(instance), SETTINGS.rounds)
    assert refined.best_objective[-1] >= PROBLEM.evaluate(instance, first).objective - 1e-5


def test_only_what_is_to_be_adapted_moves(instance):
    policy = small()
    found = specialise(policy, instance, dataclasses.replace(SETTINGS, steps=2, adapted=("choice", "stride")))
    assert found.parameters
    assert all(name.startswith(("choice", "stride")) for name in found.parameters)


def test_it_ascends_the_problem_that_is_given(instance):
    problem = ProportionalFairAssociation()
    found = specialise(small(), instance, SETTINGS, problem=problem)
    value = float(problem.evaluate(instance, found.action).objective)
    assert value == pytest.approx(float(found.best_objective[-1]), rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"window": 0}, "window: must be at least 1, received 0"),
        ({"tolerance": -1.0}, "tolerance: must be at least 0 and finite, received -1.0"),
        ({"every": 0}, "every: must be at least 1, received 0"),
        ({"steps": -1}, "steps: must be at least 0, received -1"),
    ],
)
def test_bad_settings_are_refused(wrong, line):
    with pytest.raises(ValueError, match=f"^{line}$"):
        SpecialiseSettings(**wrong)


def test_what_cannot_be_specialised_is_refused(instance, generator):
    with pytest.raises(ValueError, match=r"^instance: must be a single one, received a batch of \(2,\)$"):
        specialise(small(), network(2, 7, 5, generator=generator), SETTINGS)
    with pytest.raises(ValueError, match=r"^adapted: must begin one of .*, received \('nothing',\)$"):
        specialise(small(), instance, dataclasses.replace(SETTINGS, adapted=("nothing",)))


@pytest.mark.parametrize("head", ["softmax", "gumbel"])
def test_as_an_allocator_it_takes_each_network_of_a_batch_by_itself(head, generator):
    batch, policy = network(4, 7, 5, generator=generator), small(head=head)
    allocator = Specialised(policy, dataclasses.replace(SETTINGS, steps=3))
    with torch.no_grad():
        action = allocator(map_tensors(lambda value: value.unflatten(0, (2, 2)), batch))
    assert allocator.kind == "policy"
    assert allocator.steps == [3, 3, 3, 3]
    assert len(allocator.seconds) == 4
    for k in range(4):
        one = allocator.specialise(index(batch, k)).action
        assert torch.equal(action.station.flatten(0, 1)[k], one.station)
        torch.testing.assert_close(action.power_w.flatten(0, 1)[k], one.power_w)
    objective = PROBLEM.evaluate(batch, map_tensors(lambda value: value.flatten(0, 1), action)).objective
    if head == "softmax":
        assert (objective >= PROBLEM.evaluate(batch, policy(batch)).objective - 1e-4).all()
    assert allocator(index(batch, slice(0, 0))).station.shape == (0, 7)


def test_it_conforms_as_allocators_do():
    allocator = Specialised(small(), dataclasses.replace(SETTINGS, steps=0))
    AllocatorSuite(PROBLEM, sample, CELLS, None).run(allocator)
