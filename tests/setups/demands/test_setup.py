"""Control loops that meet demands, as the benchmark sees them."""

import time

import pytest
import torch

from torchrrm import bench
from torchrrm.channels import SCENARIOS
from torchrrm.policies import CentralPower, PowerGNN, StateAugmented
from torchrrm.policies.control import OnlineDual, TimeSharing
from torchrrm.problems import ErgodicPower
from torchrrm.problems.links.demands import DemandInstance, MetDemands, SlotPowers
from torchrrm.records import replace
from torchrrm.setups import workbench
from torchrrm.setups.demands import DemandSetup, demand_task
from torchrrm.setups.demands.cases import cases
from torchrrm.setups.demands.setup import OverWindows
from torchrrm.setups.links import RAYLEIGH_TERMS, LinkSource
from torchrrm.setups.workbench import Given
from torchrrm.solvers import WMMSE

DEMANDS = ((0.5, 1.0, 0.0), (1.0, 0.2, 0.4))
ONCE = bench.Latency(0, 1)


@pytest.fixture
def runs(generator: torch.Generator) -> DemandInstance:
    source = LinkSource(SCENARIOS["rayleigh"](), 3, RAYLEIGH_TERMS)
    return demand_task(source, DEMANDS, 200, MetDemands()).sample(3, generator=generator)


def test_rates_count_once_they_have_settled(runs: DemandInstance) -> None:
    problem, power = MetDemands(settle=0.25), torch.rand(3, 400, 3) * runs.max_power_w[:, None]
    found = problem.rate(runs, power)
    for number, first in enumerate((50, 250)):
        part = runs.window(number, 50)
        wanted = ErgodicPower().rate(part, power[:, first : first + 150])
        torch.testing.assert_close(found[:, number], wanted)
    score = problem.evaluate(runs, SlotPowers(power_w=power))
    torch.testing.assert_close(score.objective, found.sum(-1).mean(-1))
    demand = torch.tensor(DEMANDS)
    missing = torch.where(demand > 0, 0.95 - found / demand.clamp(min=1e-9), 0.0)
    torch.testing.assert_close(score.violation["min_rate"], missing.amax(1))


def test_a_loop_keeps_its_state_and_aims_anew(runs: DemandInstance) -> None:
    loop = OnlineDual(WMMSE())
    found = OverWindows(loop)(runs).power_w
    first, state = loop.track(runs.window(0), loop.start(runs.window(0)))
    second, _ = loop.track(runs.window(1), loop.retarget(state, runs.window(1)))
    torch.testing.assert_close(found, torch.cat((first.power_w, second.power_w), dim=-2))


def test_rows_of_loops_and_rules_are_held_against_the_dual(runs: DemandInstance) -> None:
    setup = DemandSetup(certifies=True)
    allocators = {
        name: workbench.find_allocator(name, setup) for name in setup.solvers if "fplinq" not in name
    }
    rows = {row.allocator: row for row in workbench.judge(setup, runs, allocators, "some", latency=ONCE)}
    assert [row.kind for row in rows.values()] == ["solver"] * 4 + ["trivial"] * 2
    for row in rows.values():
        assert (row.problem, row.bound_kind, row.instances) == ("demands", "certified", 3)
        assert (row.optimality or 9.0) <= 1.0 or row.violation_rate > 0
    met = rows["online-dual over greedy-links"]
    assert met.measures["shortfall / %"].value < 5.0 < rows["max-power"].measures["shortfall / %"].value
    assert met.optimality is not None
    assert met.optimality > 0.85


def test_latency_is_that_of_a_slot(runs: DemandInstance) -> None:
    served, slots = runs.timed()
    assert (served.gain.shape[1], served.windows, slots) == (40, 1, 40)
    sizes: list[int] = []

    def silence(instance: DemandInstance) -> SlotPowers:
        sizes.append(instance.gain.shape[-3])
        time.sleep(0.02)
        return SlotPowers(power_w=torch.zeros(instance.gain.shape[:-1]))

    (row,) = workbench.judge(DemandSetup(), runs, {"silence": silence}, "some", latency=ONCE)
    assert sizes == [400, 40]
    assert 500 <= row.p50_us < 5000  # microseconds: 20 ms are those of 40 slots


def test_policies_get_the_loop_that_they_can_use() -> None:
    setup = DemandSetup()
    assert isinstance(setup.serving(PowerGNN("weight", widths=(4,))).loop, OnlineDual)
    assert isinstance(setup.serving(CentralPower(3, (4,))).loop, TimeSharing)
    assert setup.serving(StateAugmented(widths=(4,))).kind == "policy"
    with pytest.raises(ValueError, match="policy: must be exported as one of sum-rate"):
        setup.exported(PowerGNN("weight", widths=(4,)))


def test_bad_runs_are_refused(runs: DemandInstance) -> None:
    with pytest.raises(ValueError, match="gain: must have a multiple of 2 slots, one a window, received 399"):
        MetDemands().validate(replace(runs, gain=runs.gain[:, 1:]))
    with pytest.raises(ValueError, match=r"settle: must lie in \[0, 1\), received 1"):
        MetDemands(settle=1.0)


def test_one_run_in_columns_words_and_a_scene(runs: DemandInstance) -> None:
    setup, rule = DemandSetup(), workbench.find_allocator("max-power", DemandSetup())
    one = DemandInstance(**{name: value[0] for name, value in vars(runs).items()})
    given: Given[DemandInstance] = Given(one, "a run")
    action = rule(one)
    columns = setup.columns(given, action)
    assert columns["demand_2_bps_hz"].tolist() == pytest.approx(DEMANDS[1])
    assert "of 3 links have their demands" in setup.summary(given, action)
    scene = workbench.scene_of(setup, given, {"max-power": rule})
    assert scene is not None
    assert scene.users == 3


def test_cases_have_demands_for_each_link(generator: torch.Generator) -> None:
    found = cases()
    assert [case.regime for case in found] == ["paper", "hard", "munich"]
    for case in found:
        drawn = case.task().sample(1, generator=generator)
        case.setup.validate(drawn)
        assert drawn.demand_bps_hz.shape == (1, 2, drawn.active.shape[-1])
