"""Links with minimum rates, as commands and the benchmark see them."""

from typing import Any, cast

import pytest
import torch
from tests.testing.links import sample

from torchrrm import bench
from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.deploy.contract import Contract
from torchrrm.policies import UnrolledPower
from torchrrm.problems import LinkInstance
from torchrrm.records import index
from torchrrm.setups import workbench
from torchrrm.setups.links import (
    LinkSource,
    LinkTerms,
    QosOfDraws,
    QosSetup,
    given_links,
    new_unrolled_policy,
    qos_task,
)
from torchrrm.setups.links.qos_cases import qos_cases
from torchrrm.solvers import MinimumPower

RATE = 0.4  # bit/s/Hz, which some of the instances of `sample` cannot give


@pytest.fixture
def setup() -> QosSetup:
    return QosSetup(QosOfDraws(RATE))


@pytest.fixture
def drawn(generator: torch.Generator, setup: QosSetup) -> LinkInstance:
    """Some feasible, some not."""
    links = sample(12, generator=generator)
    met = setup.problem.feasible(links)
    assert 1 < int(met.sum()) < 12
    return links


def test_infeasible_draws_are_counted_and_left_out(setup: QosSetup, drawn: LinkInstance) -> None:
    names = ["geometric-program", "raised-power", "max-power"]
    allocators = {name: workbench.find_allocator(name, setup) for name in names}
    rows = workbench.judge(setup, drawn, allocators, "some", latency=bench.Latency(0, 1))
    infeasible = int((~setup.problem.feasible(drawn)).sum())
    for row in rows:
        assert (row.infeasible, row.left_out, row.bound_kind) == (infeasible, infeasible, "certified")
        assert (row.optimality or 9.0) <= 1.0 or row.violation_rate > 0
    program, raised, full = rows
    assert (
        program.measures["all minima met / %"].value == raised.measures["all minima met / %"].value == 100.0
    )
    assert program.objective > raised.objective
    assert full.measures["all minima met / %"].value < 100.0
    assert [row.kind for row in rows] == ["solver", "trivial", "trivial"]


def test_the_bound_is_of_few_links_that_can_all_be_served(setup: QosSetup, drawn: LinkInstance) -> None:
    met = setup.problem.feasible(drawn)
    bound = setup.certify(index(drawn, met))
    assert bound is not None
    assert bound.kind == "certified"
    assert setup.certify(drawn) is None
    many = LinkSource(SCENARIOS["metagnn"](), 21)
    task = qos_task(many, QosOfDraws(0.0))
    wide = task.sample(1, generator=torch.Generator().manual_seed(0))
    assert setup.certify(wide) is None
    assert set(setup.references()) <= set(setup.solvers)


def test_policies_serve_any_minima(setup: QosSetup, drawn: LinkInstance) -> None:
    policy = new_unrolled_policy(0.5, seed=0)
    served = setup.serving(policy)
    assert served.problem.min_rate_bps_hz == RATE
    assert served.arguments["min_rate_bps_hz"] == RATE
    assert policy.problem.min_rate_bps_hz == 0.5
    assert all(a is b for a, b in zip(policy.parameters(), served.parameters(), strict=True))
    kept = index(drawn, setup.problem.feasible(drawn))
    with torch.no_grad():
        score = setup.problem.evaluate(kept, served(kept))
    assert float(score.violation["min_rate"].max()) <= 1e-5
    with pytest.raises(
        ValueError, match="received UnrolledPower, but its least powers are solved for outside"
    ):
        Contract.of(cast(Any, setup.exported(policy)))


def test_draws_that_nobody_can_serve_teach_nothing_and_break_nothing(generator: torch.Generator) -> None:
    drawn, setup = sample(4, generator=generator), QosSetup(QosOfDraws(30.0))
    policy = new_unrolled_policy(30.0, seed=0)
    assert not setup.problem.feasible(drawn).any()
    action = policy(drawn)
    torch.testing.assert_close(action.power_w, MinimumPower(30.0)(drawn).power_w)
    score = setup.problem.evaluate(drawn, action)
    if score.objective.requires_grad:
        score.objective.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in policy.parameters() if p.grad is not None)


def test_a_given_drop_tells_rates_above_their_minima() -> None:
    snapshot = bundled_snapshot("munich_d2d")
    given = given_links(snapshot, LinkTerms(), drop=1)
    for least, told in (
        (0.1, "20 of 20 links have their minimum rate"),
        (8.0, "infeasible: no powers serve all"),
    ):
        setup = QosSetup(QosOfDraws(least))
        action = MinimumPower(least)(given.instance)
        assert told in setup.summary(given, action)
        columns = setup.columns(given, action)
        torch.testing.assert_close(columns["slack_bps_hz"], columns["rate_bps_hz"] - least)
        assert {len(column) for column in columns.values()} == {20}


def test_cases_are_what_they_say(generator: torch.Generator) -> None:
    found = qos_cases()
    assert {case.regime for case in found} == {"paper", "hard", "munich"}
    for case in found:
        assert isinstance(case.setup, QosSetup)
        feasible = case.setup.problem.feasible(case.task().sample(6, generator=generator))
        assert bool(feasible.any())
        assert bool(feasible.all()) or "edge" not in case.setting
    (on_map,) = [case.given() for case in found if case.given is not None]
    setup = found[-1].setup
    assert isinstance(setup, QosSetup)
    assert bool(setup.problem.feasible(on_map.instance))
    scene = workbench.scene_of(setup, on_map, {"least": MinimumPower(setup.problem.min_rate_bps_hz)})
    assert scene is not None
    assert scene.users == 20


def test_it_trains() -> None:
    setup = workbench.trainable(QosSetup())
    assert isinstance(new_unrolled_policy(0.5, seed=1), UnrolledPower)
    assert setup.name == "qos-sum-rate"
