"""What commands need of each problem."""

import math

import numpy as np
import pytest
import torch
from tests.setups.bounds import held_against
from tests.testing.links import sample, sample_ergodic

from torchrrm import bench, records
from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.policies import OnlineDual, PowerGNN, ProportionalFair
from torchrrm.problems.beamforming import mmse_action
from torchrrm.setups import workbench
from torchrrm.setups.beamforming import (
    CITY_TERMS,
    BeamSetup,
    BeamSource,
    BeamTerms,
    draw_beams,
    given_beams,
    random_users,
)
from torchrrm.setups.links import MOST_CERTIFIED, ErgodicSetup, SumRateSetup
from torchrrm.setups.registry import CASES, SETUPS, display_of, names
from torchrrm.solvers import WMMSE, BranchAndBound, EqualPowerMMSE, GramAscent, MaxPower, least_power_w


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


def test_every_problem_of_the_benchmark_has_a_trivial_rule_in_its_tables(generator: torch.Generator) -> None:
    for setup in {case.setup.name: case.setup for case in CASES}.values():
        trivial = workbench.with_trivial([], setup)
        assert trivial, setup.name
        assert {bench.kind_of(setup.solvers[name]()) for name in trivial} == {"trivial"}
    drawn, setup = sample_ergodic(2, generator=generator), SETUPS["ergodic-power"]
    rules = {name: setup.solvers[name]() for name in ("max-power", "one-winner", "wmmse")}
    rows = workbench.judge(setup, drawn, rules, "some", latency=bench.Latency(0, 1))
    assert [row.kind for row in rows] == ["trivial", "trivial", "solver"]


def test_only_some_problems_are_trained_for() -> None:
    assert workbench.trainable(SETUPS["sum-rate"]) is SETUPS["sum-rate"]
    with pytest.raises(ValueError, match="received ergodic-power"):
        workbench.trainable(SETUPS["ergodic-power"])


def test_measures_of_rates_leave_out_padding() -> None:
    rate = torch.tensor([[1.0, 3.0, 9.0], [2.0, 6.0, 4.0]])
    active = torch.tensor([[True, True, False], [True, True, True]])
    mean, low, least = workbench.rate_measures(rate, active).values()
    assert mean.value == pytest.approx(3.0)
    assert least.value == pytest.approx(1.5)
    assert low.value == pytest.approx(float(np.percentile([1, 3, 2, 6, 4], 5)))
    nobody = workbench.rate_measures(rate[:1], torch.zeros(1, 3, dtype=torch.bool))
    assert all(math.isnan(measure.value) for measure in nobody.values())


def test_the_sum_rate_of_few_links_is_certified(generator: torch.Generator) -> None:
    setup, drawn = SumRateSetup(), sample(4, generator=generator)
    bound = held_against(setup, drawn, {"max-power": MaxPower()})
    assert bound is not None
    assert bound.kind == "certified"
    best = setup.problem.evaluate(drawn, BranchAndBound()(drawn)).objective
    assert (bound.value >= best * (1 - 1e-6)).all()


def test_the_sum_rate_of_many_links_is_held_against_the_best(generator: torch.Generator) -> None:
    setup = SumRateSetup()
    few = sample(2, generator=generator)
    wide = records.pad(few, rx=MOST_CERTIFIED + 1, tx=MOST_CERTIFIED + 1)
    padded = held_against(setup, wide, {"max-power": MaxPower()})
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
    bound = held_against(setup, many, methods)
    assert bound is not None
    assert bound.kind == "best known"
    assert held_against(setup, many, {"wmmse": WMMSE()}) is None


def test_missed_minima_are_priced_not_refused(generator: torch.Generator) -> None:
    setup, drawn = ErgodicSetup(), sample_ergodic(3, generator=generator)
    asking = records.replace(drawn, min_rate_bps_hz=torch.full_like(drawn.min_rate_bps_hz, 50.0))
    methods = {name: setup.solvers[name]() for name in ("max-power", "online-dual")}
    bound = held_against(setup, asking, methods)
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


class TestBeams:
    """Short packets of a station."""

    @pytest.mark.parametrize(("users", "kind"), [(4, "certified"), (7, "best known")])
    def test_infeasible_draws_have_no_reference(
        self, users: int, kind: str, generator: torch.Generator
    ) -> None:
        setup = BeamSetup()
        terms = BeamTerms.at_snr(15.0 if users == 4 else 20.0, 128 if users == 4 else 256)
        source = BeamSource(SCENARIOS["urllc-edge"](), users, 16, terms)
        drawn = draw_beams(source, 30, generator=generator)
        met = least_power_w(drawn) <= drawn.max_power_w
        assert 0 < int(met.sum()) < 30
        bound = held_against(setup, drawn, {"equal-power": EqualPowerMMSE()})
        assert bound is not None
        assert bound.kind == kind
        kept = records.index(drawn, met)
        best = setup.problem.evaluate(kept, GramAscent()(kept)).objective.double()
        assert bool((bound.value >= best * (1 - 1e-6)).all())
        nobody = records.replace(drawn, max_power_w=1e-9 * drawn.max_power_w)
        assert held_against(setup, nobody, {}) is None

    def test_given_users_of_munich(self) -> None:
        snapshot = bundled_snapshot("munich_miso64")
        given = given_beams(snapshot, CITY_TERMS, users=[7, 3], frequency=1, antennas=16)
        assert given.instance.channel.shape == (2, 16)
        assert snapshot.channel is not None
        assert torch.equal(given.instance.channel, snapshot.channel[1, [7, 3], 0, 0, :16].conj())
        assert snapshot.rx_position_m is not None
        assert torch.equal(given.place["x_m"], snapshot.rx_position_m[[7, 3], 0])
        assert given.attribution == snapshot.attribution

    def test_columns_of_both_directions(self) -> None:
        snapshot = bundled_snapshot("munich_miso64")
        generator = torch.Generator().manual_seed(3)
        chosen = random_users(snapshot, 5, generator=generator)
        assert len(set(chosen)) == 5
        given = given_beams(snapshot, CITY_TERMS, users=chosen)
        power = CITY_TERMS.max_power_w * given.instance.weight
        columns = BeamSetup().columns(given, mmse_action(given.instance, power))
        assert {len(column) for column in columns.values()} == {5}
        sums = [float(columns[f"{way}link_power_w"].sum()) for way in ("up", "down")]
        assert sums == pytest.approx([CITY_TERMS.max_power_w] * 2, rel=1e-5)
        assert columns["min_rate_nats"].tolist() == pytest.approx([math.log(2)] * 5)
