"""Losses of associations: closed forms, gradients, temperature, what is measured, and training by them."""

import math
from typing import Any

import pytest
import torch
from tests.testing.association import network, sample

from torchrrm.learning import (
    AssociationLoss,
    AssociationTrainee,
    History,
    LabelledCells,
    LabelledSource,
    PolicyLoss,
    RunSettings,
    SoftAssociation,
    TrainerSettings,
    WindowedDecay,
    train,
)
from torchrrm.learning.association import (
    association_entropy,
    label_entropy,
    served_scale,
    share_error,
)
from torchrrm.policies.hbgnn import HBGNN, AssociationScores, temperature_of
from torchrrm.problems.association import (
    UNSERVED,
    AssociationAction,
    ProportionalFairAssociation,
    RelaxedAssociation,
    SumRateAssociation,
    cell_instance,
    harden,
    one_hot,
    reachable,
    relative_snr,
)
from torchrrm.problems.base import Task
from torchrrm.records import index, pad, replace, stack
from torchrrm.solvers import HungarianWMMSE
from torchrrm.solvers.association_baselines import MaxSignalAssociation

PROBLEM = SumRateAssociation()


class Linear(torch.nn.Module):
    """Scores and shares that are parameters times logarithms of SNRs."""

    def __init__(self, head="softmax"):
        super().__init__()
        self.head = head
        self.slope = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.level = torch.nn.Parameter(torch.tensor(-0.2, dtype=torch.float64))

    def score(self, instance):
        snr = relative_snr(instance)
        level = torch.log(snr.clamp_min(1e-3))
        score = torch.where(snr > 0, self.slope * level, -1e9)
        return AssociationScores(score=score, share=torch.sigmoid(self.level * level.mean(-2)))


def labelled(batch=5, generator=None):
    cells = network(batch, 7, 5, generator=generator or torch.Generator().manual_seed(0))
    cells = replace(cells, **{name: getattr(cells, name).double() for name in _REAL})
    return LabelledCells.of(cells, HungarianWMMSE()(cells))


_REAL = ("gain", "noise_power_w", "max_power_w", "bandwidth_hz")


def soft(cells, score, share):
    """What a policy of these scores and shares says at temperature 1."""
    reach = reachable(cells)
    level = torch.log_softmax(torch.where(reach, score, -1e9), -1)
    level = torch.where(reach, level, 0.0)
    chance = torch.where(reach, level.exp(), 0.0)
    relaxed = RelaxedAssociation(probability=chance, power_w=share * cells.max_power_w)
    return SoftAssociation(relaxed, level, torch.tensor(1.0))


def test_entropy_of_equal_chances_is_the_logarithm_of_how_many_there_are():
    cells = labelled().cells
    level = soft(cells, torch.zeros_like(cells.gain), torch.ones_like(cells.max_power_w)).log_probability
    choices = reachable(cells).sum(-1).double()
    wanted = torch.where(choices > 0, choices.clamp_min(1).log(), 0.0).sum(-1) / served_scale(cells)
    torch.testing.assert_close(association_entropy(level, cells), wanted)


def test_entropy_of_two_stations_by_its_closed_form():
    cells = cell_instance(torch.ones(1, 2, dtype=torch.float64))
    level = torch.log(torch.tensor([[0.2, 0.8]], dtype=torch.float64))
    wanted = -0.2 * math.log(0.2) - 0.8 * math.log(0.8)
    assert float(association_entropy(level, cells)) == pytest.approx(wanted)
    sure = torch.tensor([[-1e9, 0.0]], dtype=torch.float64)
    assert float(association_entropy(sure, cells)) == 0.0


def test_cross_entropy_is_the_mean_logarithm_at_the_labels_of_users_in_reach():
    given = labelled()
    cells = given.cells
    level = soft(cells, torch.randn_like(cells.gain), torch.ones_like(cells.max_power_w)).log_probability
    wanted = []
    for k in range(5):
        users = [i for i in range(7) if given.station[k, i] != UNSERVED]
        total = sum(float(level[k, i, given.station[k, i]]) for i in users)
        wanted.append(-total / len(users))
    torch.testing.assert_close(label_entropy(level, given), torch.tensor(wanted, dtype=torch.float64))


def test_error_of_shares_is_their_mean_square():
    given = labelled()
    power = given.power_w + 0.1 * given.max_power_w
    torch.testing.assert_close(share_error(power, given), torch.full((5,), 0.01, dtype=torch.float64))


def test_losses_of_grl_and_srl_are_weighted_sums():
    given = labelled()
    cells = given.cells
    said = soft(cells, torch.randn_like(cells.gain), torch.rand_like(cells.max_power_w))
    rate = PROBLEM.relaxed(cells, said.relaxed) / served_scale(cells)
    supervised = label_entropy(said.log_probability, given) + share_error(said.relaxed.power_w, given)
    torch.testing.assert_close(AssociationLoss()(PROBLEM, given, said), (10 * supervised - rate).mean())
    entropy = association_entropy(said.log_probability, cells)
    srl = AssociationLoss.specialising()
    torch.testing.assert_close(srl(PROBLEM, cells, said), -(rate + 1e-2 * entropy).mean())


def test_the_relaxed_rate_is_the_problems_for_either_problem():
    cells = labelled().cells
    said = soft(cells, torch.randn_like(cells.gain), torch.rand_like(cells.max_power_w))
    problem = ProportionalFairAssociation()
    loss = AssociationLoss(supervised=0, scale=lambda cells: torch.ones_like(cells.bandwidth_hz))
    torch.testing.assert_close(loss(problem, cells, said), -problem.relaxed(cells, said.relaxed).mean())


@pytest.mark.parametrize("objective", [AssociationLoss(), AssociationLoss.specialising(0.3)])
def test_gradients_are_those_of_differences(objective):
    given, trainee = labelled(3), AssociationTrainee(Linear()).eval()
    loss = PolicyLoss(trainee, objective)

    def value(slope, level):
        return loss({"policy.slope": slope, "policy.level": level}, PROBLEM, given)

    start = [value.detach().clone().requires_grad_() for value in trainee.parameters()]
    assert torch.autograd.gradcheck(value, start)


def test_padding_changes_no_loss():
    given = labelled()
    padded = pad(given, user=9, bs=8)
    for objective in (AssociationLoss(), AssociationLoss.specialising()):
        loss = PolicyLoss(AssociationTrainee(HBGNN().double()).eval(), objective)
        values = [loss(dict(loss.policy.named_parameters()), PROBLEM, each) for each in (given, padded)]
        torch.testing.assert_close(values[0], values[1])


def test_temperature_follows_theorem_5_from_step_to_step_in_training_only():
    cells, trainee = labelled().cells, AssociationTrainee(Linear(), temperature=0.7)
    trainee.eval()(cells)
    assert float(trainee.temperature) == pytest.approx(0.7)
    said = trainee.train()(cells)
    assert float(said.temperature) == pytest.approx(0.7)
    heard = reachable(cells).any(-1)
    surest = torch.where(reachable(cells), said.log_probability.exp(), 0.0).amax(-1)[heard].mean()
    torch.testing.assert_close(trainee.temperature, temperature_of(surest).float().detach())
    assert float(trainee(cells).temperature) == pytest.approx(float(temperature_of(surest.detach())))


def test_lower_temperatures_err_less():
    cells, errors = labelled().cells, []
    for temperature in (1.0, 0.05):
        said = AssociationTrainee(Linear(), temperature=temperature).eval()(cells)
        measured = AssociationLoss.specialising().measures(PROBLEM, cells, said)
        hard = PROBLEM.evaluate(cells, harden(said.relaxed)).objective
        error = ((PROBLEM.relaxed(cells, said.relaxed) - hard) / hard).mean()
        torch.testing.assert_close(measured["relaxation_error"], error)
        torch.testing.assert_close(measured["objective"], hard.mean())
        torch.testing.assert_close(measured["best_objective"], hard.max())
        errors.append(abs(float(error.detach())))
    assert errors[1] < errors[0]


def test_parts_can_be_learned_alone():
    given = labelled()
    both = AssociationTrainee(Linear()).eval()(given).relaxed
    one = AssociationTrainee(Linear(), only="association").eval()(given).relaxed
    assert torch.equal(one.probability, both.probability)
    assert torch.equal(one.power_w, given.max_power_w)
    other = AssociationTrainee(Linear(), only="power").eval()(given).relaxed
    assert torch.equal(other.power_w, both.power_w)
    assert torch.equal(other.probability, one_hot(given.station, 5, dtype=torch.float64))


def test_a_gumbel_head_draws_by_the_generator():
    given = labelled()
    trainee = AssociationTrainee(Linear("gumbel"), generator=torch.Generator().manual_seed(0)).eval()
    first, second = (trainee(given).relaxed.probability for _ in range(2))
    assert ((first - first.round()).abs() < 1e-9).all()
    assert not torch.equal(first.round(), second.round())
    sure = AssociationTrainee(Linear("gumbel")).eval()
    assert torch.equal(sure(given).relaxed.probability, sure(given).relaxed.probability)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: AssociationLoss(rate=-1.0), "rate: must be at least 0 and finite, received -1.0"),
        (
            lambda: AssociationTrainee(Linear(), only="all"),  # pyright: ignore[reportArgumentType]
            "only: must be both, association or power, received 'all'",
        ),
        (
            lambda: AssociationTrainee(Linear(), only="power")(labelled().cells),
            "only: must be both or association without labels, received power",
        ),
        (
            lambda: AssociationLoss()(PROBLEM, labelled().cells, AssociationTrainee(Linear())(labelled())),
            "supervised: must be 0 without labels, received 10.0",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, line):
    with pytest.raises(ValueError, match=f"^{line}$"):
        make()


def test_labelled_networks_are_records():
    given = labelled()
    one, other = index(given, 0), index(given, 1)
    assert torch.equal(stack([one, other]).station, given.station[:2])
    assert isinstance(given.label, AssociationAction)
    assert torch.equal(given.cells.gain, given.gain)
    drawn = LabelledSource(given)(50, generator=torch.Generator().manual_seed(0))
    assert drawn.gain.shape == (50, 7, 5)
    assert {float(gain) for gain in drawn.gain[:, 0, 0]} <= {float(gain) for gain in given.gain[:, 0, 0]}


def small():
    torch.manual_seed(0)
    return HBGNN(width=16, heads=2, hidden=8, steps=2)


def test_supervised_and_unsupervised_training_learns_and_measures():
    cells = network(64, 7, 5, generator=torch.Generator().manual_seed(1))
    given, history = LabelledCells.of(cells, HungarianWMMSE()(cells)), History()
    start, trainee = small(), AssociationTrainee(small())
    settings = TrainerSettings(
        steps=60, batch_size=32, learning_rate=3e-3, decay=WindowedDecay(window=10, measure="objective")
    )
    judge: Any = PROBLEM  # of the networks; labels come along
    task = Task(judge, LabelledSource(given))
    run = RunSettings(history=history, progress=False)
    losses = train(
        PolicyLoss(trainee, AssociationLoss()),
        [task],
        settings,
        generator=torch.Generator().manual_seed(0),
        run=run,
    )
    assert losses[-10:].mean() < losses[:10].mean()
    assert set(history.names) == {
        "loss",
        "learning_rate",
        "relaxed_objective",
        "objective",
        "best_objective",
        "relaxation_error",
        "temperature",
        "label_objective",
    }
    assert (history["label_objective"] > 0).all()
    trivial = PROBLEM.evaluate(cells, MaxSignalAssociation()(cells)).objective.mean()
    with torch.no_grad():
        before, after = (
            PROBLEM.evaluate(cells, net(cells)).objective.mean() for net in (start, trainee.policy)
        )
    assert after > max(before, trivial)


@pytest.mark.parametrize("head", ["softmax", "gumbel"])
def test_a_resumed_training_is_the_same_with_its_temperature_and_noise(tmp_path, head):
    def go(steps, path):
        generator = torch.Generator().manual_seed(3)
        policy = Linear(head)
        trainee = AssociationTrainee(policy, generator=generator)

        def draw(batch_size, *, generator):
            cells = sample(batch_size, generator=generator)
            return replace(cells, **{name: getattr(cells, name).double() for name in _REAL})

        loss = PolicyLoss(trainee, AssociationLoss.specialising())
        settings = TrainerSettings(steps=steps, batch_size=8, learning_rate=0.05)
        run = RunSettings(checkpoint=path, progress=False)
        losses = train(loss, [Task(PROBLEM, draw)], settings, generator=generator, run=run)
        return losses, trainee.state_dict()

    losses, whole = go(8, tmp_path / "whole")
    go(3, tmp_path / "parts")
    again, resumed = go(8, tmp_path / "parts")
    assert torch.equal(losses, again)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert float(whole["temperature"]) != 1.0
