"""The optimum of small networks: against all associations and grids of powers, and its certificate."""

import itertools

import numpy as np
import pytest
import torch
from tests.testing.association import CELLS, network, sample

from torchrrm.channels import UrbanSquare, hudn_scenario
from torchrrm.kernels.association_branch import candidates
from torchrrm.problems.association import (
    CellInstance,
    SumRateAssociation,
    cell_instance,
    in_reach,
    relative_snr,
)
from torchrrm.records import index, replace, to
from torchrrm.setups.association import CellSource, draw_cells
from torchrrm.solvers import ExhaustiveAssociation, HungarianWMMSE, Solution
from torchrrm.solvers.exhaustive_association import associations
from torchrrm.testing import check_solver
from torchrrm.testing.surgery import draw, draw_action

PROBLEM, SOLVER = SumRateAssociation(), ExhaustiveAssociation()


def double(count: int, users: int, stations: int, seed: int = 0) -> CellInstance:
    generator = torch.Generator().manual_seed(seed)
    return to(network(count, users, stations, generator=generator), dtype=torch.float64)


def bound_of(solution: Solution) -> torch.Tensor:
    assert solution.upper_bound is not None
    return solution.upper_bound


def brute_force(instance: CellInstance) -> float:
    """Best sum rate of a single instance over every association of users in reach, and powers on a grid."""
    snr = relative_snr(instance)[in_reach(instance)].numpy()
    users, stations = snr.shape
    axis = np.concatenate(([0.0], np.logspace(-4, 0, 33 if stations == 2 else 17), np.linspace(0.1, 0.9, 9)))
    grid = np.stack(np.meshgrid(*[axis] * stations), -1).reshape(-1, stations)
    heard = grid[:, None, :] * snr  # [point user bs]
    rate = np.log2(1 + heard / (1 + heard.sum(-1, keepdims=True) - heard))
    best = 0.0
    for station in itertools.product(range(stations), repeat=users):
        load = np.bincount(station, minlength=stations)
        total = sum(rate[:, i, j] / load[j] for i, j in enumerate(station))
        best = max(best, float(np.max(total)))
    return best


def assert_optimal(instance: CellInstance) -> None:
    solution = SOLVER.solve(instance)
    found = PROBLEM.evaluate(instance, solution.action)
    assert solution.converged.all()
    assert (bound_of(solution) <= found.objective * (1 + SOLVER.tolerance)).all()
    assert max(float(value.max()) for value in found.violation.values()) <= 0
    for i in range(len(found.objective)):
        wanted = brute_force(index(instance, i))
        assert wanted <= bound_of(solution)[i]
        assert wanted <= found.objective[i] * (1 + SOLVER.tolerance)
        assert found.objective[i] <= wanted * 1.1  # what the grid misses


@pytest.mark.parametrize(("users", "stations"), [(3, 2), (2, 3), (3, 3), (1, 3), (4, 1), (4, 2)])
def test_optimum_is_that_of_all_associations_and_powers(users, stations):
    assert_optimal(double(8, users, stations))


@pytest.mark.parametrize("leak", [0.0, 1e-3, 300.0])
def test_stations_far_apart_share_rather_than_fall_silent(leak, generator):
    """Everything transmits, so that one user more dilutes a station."""
    gain = leak * torch.rand(6, 3, 2, generator=generator, dtype=torch.float64)
    gain[:, 0, 0], gain[:, 1, 1], gain[:, 2] = 1000.0, 800.0, gain[:, 2] + torch.tensor([3.0, 1.0])
    instance = cell_instance(gain, max_power_w=torch.ones(6, 2, dtype=torch.float64), noise_power_w=1.0)
    assert_optimal(instance)
    action = SOLVER(instance)
    assert (action.power_w > 0).all() == (leak < 1)


def test_one_station_serves_everybody():
    snr = torch.tensor([3.0, 1.0, 0.0, 7.0], dtype=torch.float64)
    instance = cell_instance(snr[:, None], max_power_w=torch.ones(1, dtype=torch.float64), noise_power_w=1.0)
    solution = SOLVER.solve(instance)
    assert solution.action.station.tolist() == [0, 0, -1, 0]
    assert bound_of(solution).item() == pytest.approx(2.0, rel=2e-3)
    assert PROBLEM.evaluate(instance, solution.action).objective.item() == pytest.approx(2.0)


def test_a_station_that_nobody_hears_takes_the_others():
    gain = torch.tensor([[9.0, 0.0], [3.0, 0.0]])
    instance = cell_instance(gain, max_power_w=torch.ones(2), noise_power_w=1.0)
    action = SOLVER(instance)
    assert action.station.tolist() == [0, 1]
    assert action.power_w.tolist() == [1.0, 0.0]


def test_no_action_is_above_the_bound(generator):
    instance = double(4, 7, 5)
    bound = bound_of(SOLVER.solve(instance))
    for _ in range(200):
        assert (
            PROBLEM.evaluate(instance, draw_action(PROBLEM, instance, generator)).objective <= bound
        ).all()
    assert (PROBLEM.evaluate(instance, HungarianWMMSE(restarts=20)(instance)).objective <= bound).all()


def test_a_search_that_is_cut_short_is_certified():
    instance = double(8, 6, 4)
    whole, short = SOLVER.solve(instance), ExhaustiveAssociation(max_boxes=50).solve(instance)
    assert not short.converged.all()
    objective = PROBLEM.evaluate(instance, whole.action).objective
    assert (bound_of(short) >= objective).all()
    assert (PROBLEM.evaluate(instance, short.action).objective <= bound_of(whole)).all()


def test_it_conforms():
    def small(batch_size: int, *, generator: torch.Generator) -> CellInstance:
        return network(batch_size, 5, 4, generator=generator)

    check_solver(SOLVER, PROBLEM, small, expected=CELLS)


@pytest.mark.parametrize(("users", "stations"), [(1, 1), (2, 4), (4, 4), (5, 3), (6, 4), (4, 1)])
def test_enumerated_associations_are_those_needed(users, stations):
    found = {tuple(row) for row in candidates(users, stations, False).tolist()}
    every = itertools.product(range(-1, stations), repeat=users)
    links = min(users, stations if users <= stations else stations - 1)
    wanted = set()
    for station in every:
        load = np.bincount([j for j in station if j >= 0], minlength=stations)
        matching = load.max(initial=0) <= 1 and load.sum() == links
        cover = users > stations and min(station) >= 0 and load.min() > 0
        if matching or cover:
            wanted.add(station)
    assert found == wanted
    assert len(wanted) == associations(users, stations)


def test_too_large_a_network_is_refused_in_one_line(generator):
    with pytest.raises(
        ValueError, match=r"^instance: must allow at most 200000 associations, .* 12 users and 6"
    ):
        SOLVER(cell_instance(torch.rand(2, 12, 6, generator=generator)))
    few = replace(
        cell_instance(torch.rand(12, 6, generator=generator) + 0.1), active_user=torch.arange(12) < 3
    )
    assert SOLVER.solve(few).converged


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"^tolerance: must be positive and finite, received 0"):
        ExhaustiveAssociation(tolerance=0)
    with pytest.raises(ValueError, match=r"^max_boxes: must be at least 1, received 0"):
        ExhaustiveAssociation(max_boxes=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nobody_and_single_instances(dtype):
    instance = to(draw(sample, 1, torch.Generator().manual_seed(3)), dtype=dtype)
    one = index(instance, 0)
    alone, batch = SOLVER.solve(one), SOLVER.solve(instance)
    assert torch.equal(alone.action.station, batch.action.station[0])
    assert bound_of(alone).dtype == dtype
    empty = replace(one, active_user=torch.zeros_like(one.active_user))
    nobody = SOLVER.solve(empty)
    assert bound_of(nobody) == 0
    assert (nobody.action.station == -1).all()


def test_alternation_is_near_the_optimum_of_the_papers_geometry():
    """6 users, 1 macro and 3 small base stations of [Zhang2022HBGNN]: at least 98 % of the optimum on average."""
    scenario = hudn_scenario()
    assert isinstance(scenario.topology, UrbanSquare)
    scenario = replace(scenario, topology=replace(scenario.topology, macro_stations=1))
    source = CellSource(scenario, users=6, stations=4, dtype=torch.float64)
    instance = draw_cells(source, 50, generator=torch.Generator().manual_seed(33_000_000))
    optimum = SOLVER.solve(instance)
    assert optimum.converged.all()
    best = PROBLEM.evaluate(instance, optimum.action).objective
    for restarts, least in ((0, 0.98), (20, 0.99)):
        ratio = PROBLEM.evaluate(instance, HungarianWMMSE(restarts=restarts)(instance)).objective / best
        assert (ratio <= 1 + SOLVER.tolerance).all()
        assert ratio.mean() >= least
