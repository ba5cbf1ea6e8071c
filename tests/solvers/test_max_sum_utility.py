"""Association by the sum of the logarithms of rates: optimal at fixed powers, optimal powers at fixed associations."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, minimize
from tests.testing.association import CELLS, FAIR_CELLS, network, sample, sample_sparse

from torchrrm.kernels import max_sum_utility as kernels
from torchrrm.kernels.cells import rates, served
from torchrrm.kernels.exchange import exchange, levels, worth
from torchrrm.problems.association import (
    UNSERVED,
    ProportionalFairAssociation,
    SumRateAssociation,
    cell_instance,
    in_reach,
    relative_snr,
)
from torchrrm.records import index, replace, to
from torchrrm.solvers import ControlledMaxSumUtility, MaxGainAssociation, MaxSignalAssociation, MaxSumUtility
from torchrrm.testing import check_solver

SOLVERS = {"max": MaxSumUtility, "control": ControlledMaxSumUtility}


def log_utility(instance, action):
    """Sum of the users' logarithms, straight from the problem's rates."""
    rate = SumRateAssociation().rate(instance, action)
    return torch.where(in_reach(instance), rate, 1.0).log().sum(-1)


def snr_of(instance):
    return relative_snr(to(instance, dtype=torch.float64)).numpy()


def optimum_by_slots(level, most):
    """Users assigned to slots of stations, of which the k-th costs `k ln k - (k - 1) ln(k - 1)`: the same, by scipy."""
    k = np.arange(1, most + 1)
    cost = np.diff(np.concatenate([[0.0], k * np.log(k)]))
    table = (cost - level[:, :, None]).reshape(level.shape[0], -1)
    table[~np.isfinite(table)] = 1e9
    row, column = linear_sum_assignment(table)
    return -table[row, column].sum()


@pytest.mark.parametrize("power", SOLVERS)
@pytest.mark.parametrize("draw", [sample, sample_sparse])
def test_conforms(power, draw):
    check_solver(SOLVERS[power](), SumRateAssociation(), draw, expected=CELLS)
    check_solver(SOLVERS[power](), ProportionalFairAssociation(), draw, expected=FAIR_CELLS)


def test_no_association_is_better_at_full_power(generator):
    instance = network(20, 4, 3, generator=generator)
    found = MaxSumUtility()(instance)
    utility = log_utility(instance, found)
    best = torch.full_like(utility, -torch.inf)
    out_of_reach = ~in_reach(instance)
    for station in itertools.product(range(3), repeat=4):
        chosen = torch.where(out_of_reach, UNSERVED, torch.tensor(station).expand(20, 4))
        best = torch.maximum(best, log_utility(instance, replace(found, station=chosen)))
    torch.testing.assert_close(utility, best, rtol=0, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 50])
def test_exchanges_end_at_the_optimum(generator, steps):
    for snr in snr_of(network(10, 40, 12, generator=generator)):
        snr = snr[(snr > 0).any(-1)]
        level = levels(rates(snr, np.ones(12)))
        station = kernels.associate(level, steps, True)
        best = optimum_by_slots(level, 40)
        assert worth(level, station, served(station, 12)) == pytest.approx(best, rel=1e-9)


def test_prices_alone_come_close_and_never_above(generator):
    instance = network(30, 40, 12, generator=generator)
    best = log_utility(instance, MaxSumUtility()(instance))
    priced = log_utility(instance, MaxSumUtility(exact=False)(instance))
    assert (priced <= best + 1e-4).all()
    assert ((best - priced) / 40).mean() < 0.02


def test_the_association_is_below_the_relaxed_optimum(generator):
    """The concave program of fractional associations that prices solve the dual of, by cvxpy."""
    snr = snr_of(network(1, 8, 4, generator=generator))[0]
    snr = snr[(snr > 0).any(-1)]
    level = levels(rates(snr, np.ones(4)))
    reached = np.isfinite(level)
    share = cp.Variable(level.shape, nonneg=True)
    value = cp.sum(cp.multiply(np.where(reached, level, 0.0), share)) + cp.sum(cp.entr(cp.sum(share, 0)))
    limits = [cp.sum(share, 1) == 1, cp.multiply(share, ~reached) == 0]
    program = cp.Problem(cp.Maximize(value), limits)
    program.solve(solver=cp.CLARABEL)
    relaxed = float(np.asarray(program.value))
    station = kernels.associate(level, 50, True)
    found = worth(level, station, served(station, 4))
    assert found <= relaxed + 1e-6
    assert (
        relaxed - found < 0.35 * 8
    )  # a station of a whole number of users loses at most 1/e to the relaxed one


def test_powers_are_optimal_at_their_association(generator):
    """The utility is concave in logarithms of powers: L-BFGS with numerical derivatives finds the same value."""
    for snr in snr_of(network(4, 7, 5, generator=generator)):
        station = kernels.associate(levels(rates(snr, np.ones(5))), 50, True)
        used = served(station, 5) > 0
        share = used * 1.0
        value, _ = kernels.climb(snr, station, share, 20_000, 1e-14)

        def loss(log_power, snr=snr, station=station, used=used):
            power = np.zeros(5)
            power[used] = np.exp(log_power)
            return -kernels.utility(snr, station, power)

        start, limits = np.full(used.sum(), -1.0), [(-30.0, 0.0)] * int(used.sum())
        assert value == pytest.approx(-minimize(loss, start, bounds=limits).fun, rel=1e-5, abs=1e-5)
        assert (share <= 1).all()
        assert (share[~used] == 0).all()


def test_powers_only_raise_the_utility(generator):
    snr = snr_of(network(1, 12, 6, generator=generator))[0]
    station = kernels.associate(levels(rates(snr, np.ones(6))), 50, True)
    share = (served(station, 6) > 0) * 1.0
    values = [kernels.utility(snr, station, share)]
    values += [kernels.climb(snr, station, share, 1, 0.0)[0] for _ in range(30)]
    assert (np.diff(values) >= 0).all()
    assert values[-1] > values[0]


@pytest.mark.parametrize("start", ["equal", "max"])
def test_control_gains(generator, start):
    instance = network(20, 30, 12, generator=generator)
    controlled = MaxSumUtility("control", start=start).solve(instance)
    assert (
        log_utility(instance, controlled.action) >= log_utility(instance, MaxSumUtility()(instance))
    ).all()
    assert controlled.converged.all()
    more = MaxSumUtility("control", start=start, max_steps=1).solve(instance)
    assert (log_utility(instance, more.action) <= log_utility(instance, controlled.action) + 1e-3).all()
    assert (more.iterations == 1).all()


def test_stations_that_nobody_needs_fall_silent(generator):
    instance = network(5, 3, 8, generator=generator)
    action = ControlledMaxSumUtility()(instance)
    used = torch.nn.functional.one_hot(action.station.clamp_min(0), 8).sum(-2) > 0
    assert (action.power_w[~used] == 0).all()
    assert (MaxSumUtility()(instance).power_w == instance.max_power_w).all()


@pytest.mark.parametrize("power", SOLVERS)
def test_edges(generator, power):
    solver = SOLVERS[power]()
    lone = network(3, 5, 1, generator=generator)
    assert (solver(lone).station == torch.where(in_reach(lone), 0, UNSERVED)).all()
    nobody = network(2, 0, 4, generator=generator)
    assert solver.solve(nobody).converged.all()
    assert solver(nobody).station.shape == (2, 0)
    deaf = network(2, 4, 3, generator=generator)
    deaf = replace(deaf, gain=torch.zeros_like(deaf.gain))
    assert (solver(deaf).station == UNSERVED).all()
    assert not torch.isnan(solver(deaf).power_w).any()
    assert solver(index(lone, slice(0, 0))).station.shape == (0, 5)


def test_the_same_at_every_start_of_the_exchange(generator):
    snr = snr_of(network(1, 20, 6, generator=generator))[0]
    snr = snr[(snr > 0).any(-1)]
    level = levels(rates(snr, np.ones(6)))
    first = kernels.associate(level, 50, True)
    second = np.argmax(level, 1)
    assert exchange(level, second, served(second, 6)) >= 0
    assert (first == second).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power": "some"}, "power: must be 'max' or 'control', received 'some'"),
        ({"start": "low"}, "start: must be 'equal' or 'max', received 'low'"),
        ({"price_steps": 0}, "price_steps: must be at least 1, received 0"),
        ({"max_steps": 0}, "max_steps: must be at least 1, received 0"),
        ({"tol": float("nan")}, "tol: must not be negative, received nan"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaxSumUtility(**arguments)


@pytest.mark.parametrize(
    ("rule", "stations"), [(MaxSignalAssociation(), [0, 1, -1, -1]), (MaxGainAssociation(), [1, 1, -1, -1])]
)
def test_rules_leave_users_out_of_reach_unserved(rule, stations):
    """The first user hears the first station louder, and the second one over a better path; two hear no active one."""
    gain = torch.tensor([[2.0, 3.0, 9.0], [0.0, 1.0, 9.0], [0.0, 0.0, 9.0], [0.0, 0.0, 0.0]])
    cells = cell_instance(gain, max_power_w=torch.tensor([2.0, 1.0, 1.0]))
    action = rule(replace(cells, active_bs=torch.tensor([True, True, False])))
    assert action.station.tolist() == stations
    assert action.power_w.tolist() == [2.0, 1.0, 0.0]
