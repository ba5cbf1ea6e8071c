"""The bound under minimum rates against a fine grid of powers, and how it compares with that without them."""

import math

import pytest
import torch
from tests.testing.links import sample

from torchrrm.problems import LinkInstance, PowerAction, QosSumRate, link_instance
from torchrrm.records import index, map_tensors, replace
from torchrrm.solvers import BranchAndBound, GeometricProgram, MinimumPower, QosBound, RaisedPower


def close_links(count: int, size: int, generator: torch.Generator) -> LinkInstance:
    """Links that disturb each other enough for minimum rates to bind."""
    gain = torch.empty(count, size, size, dtype=torch.float64).exponential_(generator=generator)
    own = torch.eye(size, dtype=torch.float64)
    return link_instance(gain * (0.3 + own), noise_power_w=0.05, max_power_w=1.0)


def best_on_grid(problem: QosSumRate, instance: LinkInstance, points: int) -> torch.Tensor:
    """Largest objective of powers on a grid that keep the minimum rates, of each instance of three links."""
    axis = torch.linspace(0, 1, points, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis, axis)
    many = map_tensors(lambda t: t[:, None].expand(-1, len(grid), *t.shape[1:]), instance)
    found = problem.evaluate(many, PowerAction(power_w=grid.expand(*many.active.shape)))
    met = (found.violation["min_rate"] <= 1e-9).all(-1)
    return torch.where(met, found.objective, -math.inf).amax(-1)


def test_no_powers_that_keep_the_minima_are_above(generator: torch.Generator) -> None:
    problem = QosSumRate(torch.tensor([0.6, 0.3, 0.0]))
    drawn = close_links(20, 3, generator)
    kept = index(drawn, problem.feasible(drawn))
    weighted = replace(kept, weight=0.5 + torch.rand(kept.weight.shape, generator=generator).double())
    found = QosBound(problem.min_rate_bps_hz).solve(weighted)
    assert found.upper_bound is not None
    assert len(found.upper_bound) >= 4
    assert bool((found.upper_bound >= best_on_grid(problem, weighted, 21) - 1e-9).all())
    free = BranchAndBound().solve(weighted).upper_bound
    assert free is not None
    assert bool((found.upper_bound <= free * (1 + 1e-9)).all())
    assert bool((found.upper_bound < 0.99 * free).any())  # the minima count for something


def test_without_minima_it_is_the_optimum(generator: torch.Generator) -> None:
    drawn = sample(4, generator=generator)
    found, free = QosBound(0.0).solve(drawn).upper_bound, BranchAndBound().solve(drawn).upper_bound
    torch.testing.assert_close(found, free)


def test_padding_and_what_cannot_be_reached(generator: torch.Generator) -> None:
    drawn = close_links(6, 3, generator)
    quiet = torch.tensor([True, True, False])
    few = replace(drawn, active=drawn.active & quiet)
    part = replace(
        drawn,
        gain=drawn.gain[:, :2, :2],
        max_power_w=drawn.max_power_w[:, :2],
        weight=drawn.weight[:, :2],
        active=drawn.active[:, :2],
    )
    padded, alone = QosBound(0.4).solve(few), QosBound(0.4).solve(part)
    torch.testing.assert_close(padded.upper_bound, alone.upper_bound)
    nobody = QosBound(50.0).solve(drawn)
    assert nobody.upper_bound is not None
    assert not nobody.converged.any()
    assert bool((nobody.upper_bound == -math.inf).all())


def test_powers_are_those_of_the_geometric_program(generator: torch.Generator) -> None:
    drawn = close_links(3, 3, generator)
    torch.testing.assert_close(QosBound(0.2)(drawn).power_w, GeometricProgram(0.2)(drawn).power_w)
    with pytest.raises(ValueError, match="tolerance: must be positive"):
        QosBound(0.2, tolerance=0.0)
    with pytest.raises(ValueError, match="min_rate_bps_hz: must be"):
        QosBound(-1.0)


def test_raised_powers_keep_the_minima_and_leave_nobody_below_the_limit(generator: torch.Generator) -> None:
    drawn = close_links(40, 3, generator)
    problem, solver = QosSumRate(0.5), RaisedPower(0.5)
    found = solver.solve(drawn)
    met = problem.feasible(drawn)
    assert 0 < int(met.sum()) < 40
    assert torch.equal(found.converged, met)
    power, least = found.action.power_w, MinimumPower(0.5)(drawn).power_w
    torch.testing.assert_close(power[met].amax(-1), torch.ones_like(power[met][:, 0]))
    torch.testing.assert_close(power[~met], least[~met])
    kept = problem.evaluate(index(drawn, met), PowerAction(power_w=power[met]))
    assert float(kept.violation["min_rate"].max()) <= 1e-9
    torch.testing.assert_close(RaisedPower()(drawn).power_w, drawn.max_power_w)
    assert solver.kind == "trivial"
