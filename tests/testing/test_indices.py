"""The suites on an action that points at entries of an axis, in instances with several masks."""

import pytest
import torch
from tests.testing.association import CELLS, FAIR_CELLS, sample, sample_sparse
from torch import nn

from torchrrm.problems.association import (
    UNSERVED,
    AssociationAction,
    ProportionalFairAssociation,
    RelaxedAssociation,
    SumRateAssociation,
    harden,
    reachable,
    relative_snr,
)
from torchrrm.records import replace
from torchrrm.testing import ConformanceError, check_policy, check_problem, check_solver
from torchrrm.testing.surgery import draw, draw_action, emptied, take

PROBLEM = SumRateAssociation()


def strongest(instance):
    """Full power, and everybody at the station that is received loudest."""
    best, station = relative_snr(instance).max(-1)
    power = torch.where(instance.active_bs, instance.max_power_w, 0.0)
    return AssociationAction(station=torch.where(best > 0, station, UNSERVED), power_w=power)


class Altered:
    """The strongest station with something done to it."""

    def __init__(self, alter):
        self.alter = alter

    def __call__(self, instance):
        return self.alter(instance, strongest(instance))


class Scored(nn.Module):
    """Learned weights of signal and noise, in a form that can be trained and one that decides."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.5))
        self.arguments = {}

    def relax(self, instance):
        score = self.slope * relative_snr(instance).log1p()
        among = reachable(instance)
        probability = torch.softmax(torch.where(among, score, -1e9), -1) * among
        power = torch.where(instance.active_bs, instance.max_power_w, 0.0) * torch.sigmoid(self.slope)
        return RelaxedAssociation(probability=probability, power_w=power)

    def forward(self, instance):
        return harden(self.relax(instance))


def first_in_reach(instance, action):
    """The lowest index: which station that is depends on how they are numbered."""
    best, station = reachable(instance).int().max(-1)
    return replace(action, station=torch.where(best > 0, station, UNSERVED))


def of_full_length(instance, action):
    """Counts inactive stations."""
    return replace(action, power_w=action.power_w / instance.gain.shape[-1])


def deaf_to_masks(instance, action):
    scale = instance.max_power_w / instance.noise_power_w[..., None]
    station = (instance.gain * scale[..., None, :]).argmax(-1)
    return replace(action, station=torch.where(instance.active_user, station, UNSERVED))


@pytest.mark.parametrize("draws", [sample, sample_sparse])
def test_a_sound_solver_conforms(draws):
    check_solver(strongest, PROBLEM, draws, expected=CELLS)
    check_solver(strongest, ProportionalFairAssociation(), draws, expected=FAIR_CELLS)


def test_a_discrete_policy_conforms():
    check_policy(Scored(), PROBLEM, sample, expected=CELLS)


def test_a_discrete_policy_that_cannot_be_trained_is_caught():
    class Frozen(Scored):
        def relax(self, instance):
            relaxed = super().relax(instance)
            return replace(
                relaxed, probability=relaxed.probability.detach(), power_w=relaxed.power_w.detach()
            )

    with pytest.raises(ConformanceError, match=r"^gradient: the objective must be differentiable"):
        check_policy(Frozen(), PROBLEM, sample, expected=CELLS)


@pytest.mark.parametrize(
    ("alter", "rule"),
    [
        (
            lambda i, a: replace(a, station=a.station.clamp_min(0)),
            "form: station of inactive user must be -1",
        ),
        (lambda i, a: replace(a, station=a.station.int()), "form: station must be torch.int64"),
        (
            lambda i, a: replace(a, station=a.station + 5),
            r"form: station (must be -1 or an index of 5 bs|of)",
        ),
        (lambda i, a: replace(a, power_w=i.max_power_w), "form: power_w of inactive bs must be 0"),
        (lambda i, a: replace(a, power_w=2 * a.power_w), "feasibility: violation 'power'"),
        (deaf_to_masks, "feasibility: violation 'station'"),
        (first_in_reach, "permutation: station must not change"),
        (of_full_length, "padding: power_w must not change"),
    ],
)
def test_broken_associations_are_caught(alter, rule):
    with pytest.raises(ConformanceError, match=f"^({rule})"):
        check_solver(Altered(alter), PROBLEM, sample, expected=CELLS)


def test_a_problem_that_counts_inactive_stations_is_caught():
    class Charged(SumRateAssociation):
        def evaluate(self, instance, action: AssociationAction):
            found = super().evaluate(instance, action)
            return replace(found, violation={**found.violation, "price": instance.max_power_w})

    with pytest.raises(ConformanceError, match=r"^inactive: violation 'price' must be 0 outside active_bs"):
        check_problem(Charged(), sample, expected=CELLS)


def test_masks_of_one_size_are_refused(generator):
    def square(batch_size, *, generator):
        return take(sample(batch_size, generator=generator), {"user": torch.arange(5)})

    with pytest.raises(ConformanceError, match=r"^sample: axes of different masks must differ in size"):
        check_problem(PROBLEM, square, expected=CELLS)


def test_indices_move_with_their_axis():
    action = AssociationAction(station=torch.tensor([2, 0, -1, 1]), power_w=torch.tensor([1.0, 2.0, 3.0]))
    moved = take(action, {"user": torch.tensor([1, 0, 2, 3]), "bs": torch.tensor([2, 0, 1])})
    assert moved.station.tolist() == [1, 0, -1, 2]
    assert moved.power_w.tolist() == [3.0, 1.0, 2.0]
    assert take(action, {"bs": torch.tensor([0, 1])}).station.tolist() == [-1, 0, -1, 1]


def test_drawn_actions_point_at_active_entries(generator):
    instance = draw(sample, 50, generator)
    action = draw_action(PROBLEM, instance, generator)
    assert torch.equal(action.station >= 0, instance.active_user & instance.active_bs.any(-1, keepdim=True))
    assert instance.active_bs.gather(-1, action.station.clamp_min(0))[action.station >= 0].all()
    assert {*action.station.unique().tolist()} == {-1, 0, 1, 2, 3, 4}
    assert [*emptied(instance)] == ["nobody active", "no active_user", "no active_bs"]
