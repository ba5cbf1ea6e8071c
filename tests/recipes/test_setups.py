"""What commands need of each problem."""

import math

import numpy as np
import pytest
import torch
from tests.testing.links import sample, sample_ergodic

from torchrrm import bench, records
from torchrrm.policies import OnlineDual, PowerGNN, ProportionalFair
from torchrrm.recipes import workbench
from torchrrm.recipes.link_setups import MOST_CERTIFIED, ErgodicSetup, SumRateSetup, rate_measures
from torchrrm.recipes.setups import SETUPS, display_of, names
from torchrrm.solvers import WMMSE, BranchAndBound, MaxPower


@pytest.mark.parametrize("name", SETUPS)
def test_every_problem_has_a_trivial_rule_and_its_names(name: str) -> None:
    setup = SETUPS[name]
    assert setup.name == name
    assert workbench.with_trivial(["x"], setup)[0] == "x"
    assert len(workbench.with_trivial([], setup)) >= 1
    assert names()[f"solvers of {name}"] == list(setup.solvers)
    for solver in setup.solvers:
        assert callable(workbench.find_allocator(solver, setup))
    with pytest.raises(ValueError, match=r"^allocator: must be a file of weights or one of .*'oracle'$"):
        workbench.find_allocator("oracle", setup)


def test_only_some_problems_are_trained_for() -> None:
    assert workbench.trainable(SETUPS["sum-rate"]) is SETUPS["sum-rate"]
    with pytest.raises(ValueError, match="received ergodic-power"):
        workbench.trainable(SETUPS["ergodic-power"])


def test_measures_of_rates_leave_out_padding() -> None:
    rate = torch.tensor([[1.0, 3.0, 9.0], [2.0, 6.0, 4.0]])
    active = torch.tensor([[True, True, False], [True, True, True]])
    mean, low, least = rate_measures(rate, active).values()
    assert mean.value == pytest.approx(3.0)
    assert least.value == pytest.approx(1.5)
    assert low.value == pytest.approx(float(np.percentile([1, 3, 2, 6, 4], 5)))
    nobody = rate_measures(rate[:1], torch.zeros(1, 3, dtype=torch.bool))
    assert all(math.isnan(measure.value) for measure in nobody.values())


def test_the_sum_rate_of_few_links_is_certified(generator: torch.Generator) -> None:
    setup, drawn = SumRateSetup(), sample(4, generator=generator)
    bound = setup.bound(drawn, {"max-power": MaxPower()})
    assert bound is not None
    assert bound.kind == "certified"
    best = setup.problem.evaluate(drawn, BranchAndBound()(drawn)).objective
    assert (bound.value >= best * (1 - 1e-6)).all()


def test_the_sum_rate_of_many_links_is_held_against_the_best(generator: torch.Generator) -> None:
    setup = SumRateSetup()
    few = sample(2, generator=generator)
    wide = records.pad(few, rx=MOST_CERTIFIED + 1, tx=MOST_CERTIFIED + 1)
    padded = setup.bound(wide, {"max-power": MaxPower()})
    assert padded is not None
    assert padded.kind == "certified"  # padding is no link
    many = records.replace(
        wide,
        gain=wide.gain + 1e-10 * torch.eye(MOST_CERTIFIED + 1),
        max_power_w=torch.full_like(wide.max_power_w, 0.01),
        weight=torch.ones_like(wide.weight),
        active=torch.ones_like(wide.active),
    )
    methods = {"max-power": MaxPower(), "wmmse": WMMSE()}
    bound = setup.bound(many, methods)
    assert bound is not None
    assert bound.kind == "best known"
    assert setup.bound(many, {"wmmse": WMMSE()}) is None


def test_missed_minima_are_priced_not_refused(generator: torch.Generator) -> None:
    setup, drawn = ErgodicSetup(), sample_ergodic(3, generator=generator)
    asking = records.replace(drawn, min_rate_bps_hz=torch.full_like(drawn.min_rate_bps_hz, 50.0))
    methods = {name: setup.solvers[name]() for name in ("max-power", "online-dual")}
    bound = setup.bound(asking, methods)
    assert bound is not None
    reached = [setup.problem.evaluate(asking, method(asking)).objective for method in methods.values()]
    assert bound.value.tolist() == pytest.approx(torch.stack(reached).amax(0).tolist())


def test_policies_over_slots_get_what_they_read() -> None:
    setup = ErgodicSetup()
    assert isinstance(setup.serving(PowerGNN("weight", widths=(4,))), OnlineDual)
    assert isinstance(setup.serving(PowerGNN("priority", widths=(4,))), ProportionalFair)
    assert bench.kind_of(setup.serving(PowerGNN("weight", widths=(4,)))) == "policy"


def test_results_are_shown_as_those_of_their_problem() -> None:
    def results(*problems: str) -> bench.Results:
        row = dict.fromkeys(bench.Row.__dataclass_fields__)
        rows = [bench.Row(**row | {"problem": problem}) for problem in problems]  # pyright: ignore
        return bench.Results(command="", seed=0, rows=rows)

    assert display_of(results("secrecy", "data-rate")).objective == "sum rate"
    assert display_of(results("ergodic-power")).objective == "penalised sum rate"
    assert display_of(results("sum-rate", "data-rate")) == bench.Display()
    assert display_of(results("something")) == bench.Display()
