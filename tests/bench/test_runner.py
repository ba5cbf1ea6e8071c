import dataclasses

import pytest
import torch
from tests.bench.toy import Equal, Winner, pies
from tests.testing.sharing import LinearSharing, Pie, Shares

from torchrrm import records
from torchrrm.bench import Bound, Latency, Measure, best_known, certified, in_double, score
from torchrrm.bench.assessment import comparable
from torchrrm.problems import KINDS, SliceAction, SliceInstance
from torchrrm.solvers import ExactSlicing

QUICK = Latency(warmup=1, calls=3)


def test_rows_hold_what_hand_calculation_gives() -> None:
    # best gains 3, 6, 9, 12 and a budget of 3: the optima are 9, 18, 27, 36, equal splits 6, 15, 24, 33
    rows = score(
        LinearSharing(),
        pies(),
        {"winner": Winner(), "equal": Equal()},
        setting="three users",
        bound=Winner(),
        published={"equal": 0.9},
        latency=QUICK,
    )
    winner, equal = rows
    assert (winner.problem, winner.setting, winner.kind, equal.kind) == (
        "sharing",
        "three users",
        "trivial",
        "policy",
    )
    assert (winner.objective, winner.bound, winner.optimality, winner.bound_kind) == (
        22.5,
        22.5,
        None,  # its actions violate a constraint
        "certified",
    )
    assert equal.optimality == pytest.approx(19.5 / 22.5)
    assert equal.objective_ci95 is not None
    assert equal.objective_ci95[0] < 19.5 < equal.objective_ci95[1]
    assert (winner.violation_max, winner.violation_rate) == (1.0, 1.0)  # two of three go hungry
    assert winner.served_fraction == pytest.approx(1 / 3)
    assert (equal.violation_max, equal.violation_rate, equal.served_fraction) == (0.0, 0.0, 1.0)
    assert (equal.instances, equal.infeasible, equal.published, winner.published) == (4, 0, 0.9, None)
    assert 0 < equal.p50_us <= equal.p99_us


def test_infeasible_instances_are_counted_and_kept() -> None:
    instances = records.replace(pies(), budget=torch.tensor([3.0, 0.0, 3.0, 3.0]))
    (row,) = score(LinearSharing(), instances, {"equal": Equal()}, setting="-", bound=Winner(), latency=QUICK)
    assert (row.instances, row.infeasible) == (4, 1)
    assert row.objective == pytest.approx((6 + 0 + 24 + 33) / 4)


class Strict(LinearSharing):
    leaves_out_infeasible = True


def test_infeasible_instances_are_left_out_where_the_problem_says_so() -> None:
    instances = records.replace(pies(), budget=torch.tensor([3.0, 0.0, 3.0, 3.0]))
    (row,) = score(Strict(), instances, {"equal": Equal()}, setting="-", bound=Winner(), latency=QUICK)
    assert (row.instances, row.infeasible, row.left_out) == (4, 1, 1)
    assert row.objective == pytest.approx((6 + 24 + 33) / 3)
    assert row.bound == pytest.approx((9 + 27 + 36) / 3)
    assert row.violation_rate == 0.0


def test_where_every_instance_is_infeasible_none_is_left_out() -> None:
    instances = records.replace(pies(), budget=torch.zeros(4))
    (row,) = score(Strict(), instances, {"equal": Equal()}, setting="-", latency=QUICK)
    assert (row.infeasible, row.left_out, row.objective) == (4, 0, 0.0)


def test_best_known_takes_the_best_valid_action_only() -> None:
    bound = best_known(LinearSharing(), pies(), {"winner": Winner(), "equal": Equal()})
    assert bound is not None
    assert bound.kind == "best known"
    assert bound.value.tolist() == [6.0, 15.0, 24.0, 33.0]  # the winner's actions violate


def test_where_no_action_is_valid_nothing_is_known() -> None:
    assert best_known(LinearSharing(), pies(), {"winner": Winner()}) is None


def test_quantiles_are_of_all_active_users_together() -> None:
    instances = records.replace(pies(2), active=torch.tensor([[True, True, False], [True, False, False]]))
    (row,) = score(LinearSharing(), instances, {"equal": Equal()}, setting="-", latency=QUICK)
    # gains 1, 2 share 3, and a gain of 4 has 3: utilities 1.5, 3, 12
    assert len(row.utility_quantiles) == 41
    assert [row.utility_quantiles[i] for i in (0, 10, 20, 30, 40)] == pytest.approx(
        [1.5, 2.25, 3.0, 7.5, 12.0]
    )


def test_certified_bound_tells_its_gap() -> None:
    assert certified(LinearSharing(), pies(), Winner()).gap == 0.0

    class Loose(Winner):
        def solve(self, instance):
            bound = torch.full((4,), 45.0)
            return dataclasses.replace(super().solve(instance), upper_bound=bound)

    assert certified(LinearSharing(), pies(), Loose()).gap == pytest.approx(1 - 9 / 45)


class Greedy(Winner):
    """All but a crumb to the best user, so that nobody goes hungry; its bound can be lowered."""

    def __init__(self, lowered: float = 0.0, crumb: float = 1e-9):
        self.lowered, self.crumb = lowered, crumb

    def __call__(self, instance):
        share = super().__call__(instance).share
        return Shares(share=torch.where(share > 0, share * (1 - 2 * self.crumb), share.sum() * self.crumb))

    def bound(self, instance: Pie) -> torch.Tensor:
        return instance.gain.amax(-1) * instance.budget * (1 - self.lowered)

    def solve(self, instance):
        return dataclasses.replace(super().solve(instance), upper_bound=self.bound(instance))


def test_optimality_needs_all_actions_to_be_feasible() -> None:
    instances = records.replace(
        pies(), active=torch.eye(4, 3).flip(0).bool() | (torch.arange(4) > 1)[:, None]
    )
    methods = {
        "winner": Winner(),
        "equal": Equal(),
    }  # with one active user in two of four, the winner serves all
    winner, equal = score(LinearSharing(), instances, methods, setting="-", bound=Winner(), latency=QUICK)
    assert 0 < winner.violation_rate < 1
    assert (winner.optimality, winner.optimality_ci95, winner.bound) == (None, None, equal.bound)
    assert equal.optimality is not None


def test_optimality_may_violate_what_the_objective_prices() -> None:
    (row,) = score(
        LinearSharing(),
        pies(),
        {"w": Winner()},
        setting="-",
        bound=Winner(),
        latency=QUICK,
        priced=("hunger",),
    )
    assert (row.optimality, row.violation_rate) == (1.0, 1.0)


def test_feasibility_is_told_in_double_precision() -> None:
    class Wide(LinearSharing):
        def feasible(self, instance):
            assert instance.gain.dtype == torch.float64
            return super().feasible(instance)

    score(Wide(), pies(), {"equal": Equal()}, setting="-", latency=QUICK)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_rounding_above_a_bound_of_either_sign_is_allowed(sign: float) -> None:
    bound = Bound(torch.tensor([sign * 10.0], dtype=torch.float64), "certified", 0.0)
    objective = bound.value + 0.9e-5 * torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=torch.float64)[:, None]
    nothing = torch.zeros(1)
    for value in objective[:3]:
        assert comparable(bound, value, nothing, "sharing").all()
    with pytest.raises(ValueError, match="the certificate is wrong"):
        comparable(bound, objective[3], nothing, "sharing")


def test_actions_are_evaluated_in_double_precision() -> None:
    class Wide(LinearSharing):
        def evaluate(self, instance, action):
            assert {instance.gain.dtype, instance.budget.dtype, action.share.dtype} == {torch.float64}
            return super().evaluate(instance, action)

    class Seen(Equal):
        def forward(self, instance):
            assert instance.gain.dtype == torch.float32  # that is what it works and is timed in
            return super().forward(instance)

    class Exact(Winner):
        def solve(self, instance):
            assert instance.gain.dtype == torch.float64
            return super().solve(instance)

    def wide(instance, action):
        assert instance.gain.dtype == action.share.dtype == torch.float64
        return {}

    instances = records.replace(pies(), gain=pies().gain / 7)
    (row,) = score(Wide(), instances, {"e": Seen()}, setting="-", bound=Exact(), latency=QUICK, measures=wide)
    exact = in_double(instances)
    assert row.bound == (exact.gain.amax(-1) * exact.budget).mean().item()


@pytest.mark.parametrize("lowered", [3e-6, 0.5])
def test_a_feasible_objective_above_its_certified_bound_is_an_error(lowered: float) -> None:
    instances = records.replace(pies(), budget=torch.tensor([3.0, 0.0, 3.0, 3.0]))
    value = Greedy(lowered).bound(in_double(instances))
    value[2:] *= 1 + lowered + lowered**2 * 2  # only that of instance 0 is too low
    with pytest.raises(ValueError, match=r"^bound: sharing, four pies, greedy, instance 0: must [^\n]+$"):
        score(
            LinearSharing(),
            instances,
            {"greedy": Greedy()},
            setting="four pies",
            bound=Bound(value, "certified", 0.0),
            latency=QUICK,
        )


def test_the_error_counts_instances_as_they_were_drawn() -> None:
    instances = records.replace(pies(), budget=torch.tensor([3.0, 0.0, 0.0, 3.0]))
    value = torch.tensor([9.0, 0.0, 0.0, 30.0])
    with pytest.raises(ValueError, match="instance 3"):
        score(
            Strict(),
            instances,
            {"greedy": Greedy()},
            setting="-",
            bound=Bound(value, "certified", 0.0),
            latency=QUICK,
        )


@pytest.mark.parametrize(
    ("kind", "lowered", "allocator"),
    [
        ("certified", 0.0, Greedy()),
        ("certified", 2e-7, Greedy()),  # rounding of single precision
        ("certified", 0.5, Winner()),  # violates, so that its objective may be anything
        ("best known", 0.5, Greedy()),
    ],
)
def test_what_is_no_error(kind, lowered: float, allocator) -> None:
    bound = Bound(Greedy(lowered).bound(in_double(pies())), kind, 0.0)
    (row,) = score(LinearSharing(), pies(), {"any": allocator}, setting="-", bound=bound, latency=QUICK)
    valid = row.violation_rate == 0
    assert valid == isinstance(allocator, Greedy)
    assert row.optimality == (pytest.approx(1 / (1 - lowered), rel=1e-6) if valid else None)


def test_what_the_tolerance_buys_has_no_percentage() -> None:
    """Minima of a slice that leave 1e-9 of it: 1e-5 of bandwidth too much is worth a quarter of the optimum."""
    problem, width = KINDS["data-rate"], 1e6
    cn0 = torch.tensor([[1e3, 1e12]], dtype=torch.float64)
    least = torch.tensor([[width * (1 - 1e-9), 0.0]], dtype=torch.float64)
    instance = SliceInstance(
        cn0_hz=cn0,
        eavesdropper_cn0_hz=torch.zeros_like(cn0),
        min_rate_bps=least * torch.log2(1 + cn0 / least.clamp(min=1)),
        bandwidth_hz=torch.tensor([width], dtype=torch.float64),
        active=torch.ones(1, 2, dtype=torch.bool),
    )

    def generous(_: SliceInstance) -> SliceAction:
        return SliceAction(bandwidth_hz=least + torch.tensor([[0.0, 0.99e-5 * width]]))

    def mixed(both: SliceInstance) -> SliceAction:
        width = generous(both).bandwidth_hz.expand(2, 2).clone()
        width[1] = torch.nan
        return SliceAction(bandwidth_hz=width)

    exact = ExactSlicing(problem)
    rules = {"generous": generous, "exact": exact}
    one, other = score(problem, instance, rules, setting="-", bound=exact, latency=QUICK)
    twice = records.map_tensors(lambda value: value.expand(2, *value.shape[1:]), instance)
    (beside,) = score(problem, twice, {"mixed": mixed}, setting="-", bound=exact)
    assert beside.optimality is None  # what violates without bounds eases nothing
    assert (one.violation_rate, one.optimality) == (0.0, None)
    assert one.bound is not None
    assert one.objective > 1.2 * one.bound
    assert other.optimality == pytest.approx(1, abs=1e-6)


def test_a_solver_above_its_own_bound_is_an_error() -> None:
    class Sure(Greedy):
        def solve(self, instance):
            return dataclasses.replace(super().solve(instance), action=self(instance))

    with pytest.raises(ValueError, match="sharing, the action of Sure, instance 0"):
        certified(LinearSharing(), pies(), Sure(0.01))


@pytest.mark.parametrize("value", [-torch.inf, 0.0])
def test_bounds_that_are_no_scale(value: float) -> None:
    idle = records.replace(pies(), gain=torch.zeros(4, 3))
    bound = Bound(torch.full((4,), value), "certified", 0.0)
    nothing = {"winner": Winner()}  # infeasible: two of three go hungry
    (row,) = score(LinearSharing(), idle, nothing, setting="-", bound=bound, latency=QUICK)
    assert (row.optimality, row.bound) == (None, value)
    with pytest.raises(ValueError, match="certificate is wrong"):
        score(LinearSharing(), pies(), {"equal": Equal()}, setting="-", bound=bound, latency=QUICK)


def test_instances_certified_to_be_infeasible_have_no_gap() -> None:
    class Told(Winner):
        def solve(self, instance):
            found = super().solve(instance)
            bound = torch.where(torch.arange(4) == 1, -torch.inf, Greedy().bound(instance))
            return dataclasses.replace(found, upper_bound=bound)

    assert certified(LinearSharing(), pies(), Told()).gap == 0.0


def test_a_solver_without_a_bound_certifies_nothing() -> None:
    class Silent(Winner):
        def solve(self, instance):
            return dataclasses.replace(super().solve(instance), upper_bound=None)

    with pytest.raises(ValueError, match="certifies, received Silent"):
        certified(LinearSharing(), pies(), Silent())


def test_without_a_bound_the_row_says_so() -> None:
    (row,) = score(LinearSharing(), pies(), {"equal": Equal()}, setting="-", latency=QUICK)
    assert (row.bound, row.bound_kind, row.optimality, row.optimality_ci95) == (None, "none", None, None)


def test_instances_need_one_batch_axis() -> None:
    with pytest.raises(ValueError, match="one batch axis"):
        score(LinearSharing(), records.index(pies(), 0), {"equal": Equal()}, setting="-")


def test_a_problem_that_cannot_tell_feasibility() -> None:
    class Untold:
        evaluate = LinearSharing().evaluate

    (row,) = score(Untold(), pies(), {"equal": Equal()}, setting="-", latency=QUICK)
    assert (row.problem, row.infeasible) == ("Untold", None)


def test_best_known_may_violate_what_the_objective_prices() -> None:
    methods = {"winner": Winner(), "equal": Equal()}
    bound = best_known(LinearSharing(), pies(), methods, priced=("hunger",))
    assert bound is not None
    assert bound.value.tolist() == [9.0, 18.0, 27.0, 36.0]


def test_measures_are_of_the_same_action() -> None:
    def largest(instance, action):
        return {"largest share": Measure(action.share.max().item(), None)}

    (row,) = score(
        LinearSharing(), pies(), {"winner": Winner()}, setting="-", latency=QUICK, measures=largest
    )
    assert row.measures == {"largest share": Measure(3.0, None)}
