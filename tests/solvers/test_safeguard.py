"""Local searches that start where all links are alike: their results are never below the trivial rules."""

import dataclasses
from typing import Any

import pytest
import torch
from tests.testing.forms import traced
from tests.testing.links import hall, some, symmetric

from torchrrm.problems import (
    Evaluation,
    LinkInstance,
    PowerAction,
    SparseLinkInstance,
    WeightedSumRate,
    link_instance,
)
from torchrrm.problems.association import ProportionalFairAssociation, cell_instance
from torchrrm.records import replace
from torchrrm.solvers import (
    WMMSE,
    ControlledMaxSumUtility,
    FPLinQ,
    FractionalProgramming,
    GeometricProgram,
    MaxPower,
    MaxSumUtility,
    QosWMMSE,
    SparseWMMSE,
    StrongestLink,
)
from torchrrm.solvers.base import best_action

PROBLEM = WeightedSumRate()


def objective(instance: LinkInstance, allocator: Any) -> torch.Tensor:
    return PROBLEM.evaluate(instance, allocator(instance)).objective.detach()


SOLVERS = [WMMSE(), WMMSE(starts=4), WMMSE(init="random"), FractionalProgramming(), FPLinQ()]


@pytest.mark.parametrize("form", [lambda instance: instance, traced], ids=["compiled", "torch"])
@pytest.mark.parametrize("solver", [*SOLVERS, GeometricProgram(), QosWMMSE()], ids=lambda s: type(s).__name__)
def test_one_link_alone_is_found_where_all_are_alike(solver: Any, form: Any) -> None:
    """The best link alone: `log2(1 + 10 dBm / -104 dBm * gain)`, which is the best known value of both."""
    assert objective(form(symmetric()), solver).item() == pytest.approx(11.30, abs=0.005)
    assert objective(form(hall()), solver).item() == pytest.approx(11.44, abs=0.005)


@pytest.mark.parametrize("solver", [WMMSE, FractionalProgramming])
def test_the_published_iteration_stays_at_full_power(solver: Any) -> None:
    found = objective(symmetric(), solver(safeguard=False)).item()
    assert (
        found
        == pytest.approx(objective(symmetric(), MaxPower()).item(), rel=1e-12)
        == pytest.approx(1.578, abs=1e-3)
    )


def drawn(generator: torch.Generator) -> LinkInstance:
    """Links of which one alone, all, or some in between are best, some of them paused."""
    links = some(300, 6, generator=generator)
    far = 10 ** (-4 * torch.rand(300, 1, 1, generator=generator))
    own = torch.eye(6, dtype=torch.bool)
    active = torch.rand(300, 6, generator=generator) < 0.8
    return replace(links, gain=torch.where(own, links.gain, links.gain * far), active=active)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "solver", [WMMSE(), WMMSE(20, starts=2), WMMSE(1, init="quarter"), FractionalProgramming(5)]
)
def test_it_is_the_best_of_the_iteration_and_the_rules(
    solver: Any, dtype: torch.dtype, generator: torch.Generator
) -> None:
    instance = drawn(generator)
    instance = replace(
        instance, **{n: v.to(dtype) for n, v in vars(instance).items() if v.is_floating_point()}
    )
    arguments = {"init": solver.first_start, "starts": solver.starts} if isinstance(solver, WMMSE) else {}
    plain = type(solver)(solver.max_steps, safeguard=False, **arguments)
    rules = torch.stack([objective(instance, rule) for rule in (plain, MaxPower(), StrongestLink())])
    assert {0, 2} <= {*rules.argmax(0).tolist()}
    for form in (instance, traced(instance)):
        torch.testing.assert_close(objective(form, solver), rules.amax(0), rtol=2e-5, atol=0)
    kept = rules[0] > rules[1:].amax(0) * (1 + 1e-4)
    assert torch.equal(solver(instance).power_w[kept], plain(instance).power_w[kept])


def test_control_loops_call_the_same_rule() -> None:
    table = WMMSE(30, starts=2).rule(5)
    assert table.safeguard
    assert not WMMSE(30, safeguard=False).rule(5).safeguard


def test_links_with_lists_of_neighbours(generator: torch.Generator) -> None:
    dense = symmetric()
    other = torch.tensor([[j for j in range(6) if j != k] for k in range(6)])
    sparse = SparseLinkInstance(
        direct_gain=dense.gain.diagonal(),
        neighbour=other,
        neighbour_gain=dense.gain.gather(1, other),
        noise_power_w=dense.noise_power_w,
        max_power_w=dense.max_power_w,
        weight=dense.weight,
        active=dense.active,
    )
    for form in (sparse, traced(sparse)):
        on = SparseWMMSE()(form).power_w > 1e-9 * sparse.max_power_w
        assert on.tolist() == [True, False, False, False, False, False]
    assert torch.equal(SparseWMMSE(safeguard=False)(sparse).power_w, sparse.max_power_w)


def test_minimum_rates_are_kept_and_an_infeasible_instance_stays_as_it_was() -> None:
    pair = link_instance(
        torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=torch.float64), noise_power_w=0.1, max_power_w=1.0
    )
    for kind in (GeometricProgram, QosWMMSE):
        least = torch.tensor([0.3, 0.0], dtype=torch.float64)
        assert kind(least)(pair).power_w[0] > 0.99  # one winner serves the link that asks for something
        plain, guarded = (kind(2.0, safeguard=flag)(pair).power_w for flag in (False, True))
        assert torch.equal(plain, guarded)


def test_power_control_of_cells_is_not_below_full_power(generator: torch.Generator) -> None:
    """One station of 40 W among small ones: at equal powers users without another station have no signal."""
    gain = 10 ** (-8 - 8 * torch.rand(200, 6, 4, generator=generator, dtype=torch.float64))
    limit = torch.tensor([40.0, 0.1, 0.1, 0.1], dtype=torch.float64).expand(200, 4)
    cells, problem = replace(cell_instance(gain), max_power_w=limit), ProportionalFairAssociation()
    equal, full, best = (
        problem.evaluate(cells, solver(cells)).objective
        for solver in (MaxSumUtility("control"), MaxSumUtility(), ControlledMaxSumUtility())
    )
    assert (full > 1.01 * equal).any()
    assert torch.equal(best, torch.maximum(equal, full))


def test_the_best_action_violates_least_and_may_break_what_is_priced() -> None:
    instance = some(3, 4, generator=torch.Generator().manual_seed(0))
    full = MaxPower()(instance)
    above = PowerAction(power_w=2 * full.power_w)
    _, chosen = best_action(PROBLEM, instance, [full, above])
    assert chosen.tolist() == [0, 0, 0]
    best, chosen = best_action(PROBLEM, instance, [full, above], priced=("power",))
    assert chosen.tolist() == [1, 1, 1]
    assert torch.equal(best.power_w, above.power_w)
    broken = PowerAction(power_w=torch.full_like(full.power_w, torch.nan))
    assert best_action(PROBLEM, instance, [broken, full])[1].tolist() == [1, 1, 1]


def test_of_actions_within_the_tolerance_the_best_is_taken() -> None:
    instance = some(3, 4, generator=torch.Generator().manual_seed(0))
    full = MaxPower()(instance)
    slightly = PowerAction(power_w=(1 + 1e-6) * full.power_w)
    low = PowerAction(power_w=0.1 * full.power_w)
    assert best_action(PROBLEM, instance, [low, slightly])[1].tolist() == [1, 1, 1]
    assert best_action(PROBLEM, instance, [low, slightly], tolerance=1e-8)[1].tolist() == [0, 0, 0]


def test_an_objective_that_is_no_number_is_worse_than_any() -> None:
    class Odd(WeightedSumRate):
        def evaluate(self, instance: LinkInstance, action: PowerAction) -> Evaluation:
            found = super().evaluate(instance, action)
            full = action.power_w[..., 0] == instance.max_power_w[..., 0]
            return dataclasses.replace(found, objective=found.objective.masked_fill(full, torch.nan))

    instance = some(3, 4, generator=torch.Generator().manual_seed(0))
    full = MaxPower()(instance)
    low = PowerAction(power_w=0.1 * full.power_w)
    assert best_action(Odd(), instance, [full, low])[1].tolist() == [1, 1, 1]
