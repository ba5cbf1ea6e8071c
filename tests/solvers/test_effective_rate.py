"""Association by effective rates: parameters, powers by a fixed point, and what they reach."""

import itertools

import numpy as np
import pytest
import torch
from benchmarks.plain.association import effective_rate_plain
from tests.testing.association import CELLS, network, sample, sample_sparse

from torchrrm.kernels import effective_rate as kernels
from torchrrm.kernels.cells import rates
from torchrrm.problems.association import UNSERVED, SumRateAssociation, in_reach, relative_snr
from torchrrm.records import index, replace, to
from torchrrm.solvers import ControlledEffectiveRate, EffectiveRateAssociation, MaxSignalAssociation
from torchrrm.testing import check_solver

SOLVERS = {"max": EffectiveRateAssociation, "control": ControlledEffectiveRate}


def value(instance, action):
    return SumRateAssociation().evaluate(instance, action).objective


def snr_of(instance):
    return relative_snr(to(instance, dtype=torch.float64)).numpy()


@pytest.mark.parametrize("power", SOLVERS)
@pytest.mark.parametrize("draw", [sample, sample_sparse])
def test_conforms(power, draw):
    check_solver(SOLVERS[power](), SumRateAssociation(), draw, expected=CELLS)


def test_near_the_best_association_at_full_power(generator):
    instance = network(100, 4, 3, generator=generator)
    found = EffectiveRateAssociation()(instance)
    out_of_reach = ~in_reach(instance)
    best = torch.zeros(100)
    for station in itertools.product(range(3), repeat=4):
        chosen = torch.where(out_of_reach, UNSERVED, torch.tensor(station).expand(100, 4))
        best = torch.maximum(best, value(instance, replace(found, station=chosen)))
    reached = value(instance, found)
    assert (reached <= best * (1 + 1e-5)).all()
    assert (reached / best).mean() > 0.9


def test_never_worse_than_the_start(generator):
    instance = network(50, 12, 6, generator=generator)
    start = MaxSignalAssociation()(instance)
    assert (
        value(instance, EffectiveRateAssociation()(instance)) >= value(instance, start) * (1 - 1e-5)
    ).all()


def test_powers_only_raise_the_sum_and_end_where_its_derivative_does(generator):
    for snr in snr_of(network(5, 7, 5, generator=generator)):
        station = np.empty(7, np.int64)
        kernels.solve(snr, np.ones(5), station, False, (20, 1, 1, 0.0))
        share = np.ones(5)
        values = [kernels.climb(snr, station, share, 1, 0.0)[0] for _ in range(2000)]
        assert (np.diff(values) >= -1e-12).all()

        def total(power, snr=snr, station=station):
            rate, count = rates(snr, power), np.bincount(station[station >= 0], minlength=5)
            return sum(rate[i, j] / count[j] for i, j in enumerate(station) if j >= 0)

        assert values[-1] == pytest.approx(total(share), rel=1e-9)
        step = 1e-6
        for j in np.flatnonzero(share > 1e-6):
            up, down = share.copy(), share.copy()
            up[j], down[j] = share[j] * (1 + step), share[j] * (1 - step)
            slope = (total(up) - total(down)) / (2 * step)
            assert slope > -2e-3 if share[j] == 1 else abs(slope) < 2e-3


@pytest.mark.parametrize("start", ["equal", "max"])
def test_control_gains(generator, start):
    instance = network(20, 20, 10, generator=generator)
    fixed = value(instance, EffectiveRateAssociation()(instance))
    controlled = EffectiveRateAssociation("control", start=start).solve(instance)
    assert (value(instance, controlled.action) / fixed).mean() > 1.2
    assert controlled.converged.float().mean() > 0.9


@pytest.mark.parametrize("power", ["max", "control"])
@pytest.mark.parametrize(("users", "stations"), [(7, 5), (3, 8), (12, 4)])
def test_the_plain_form_finds_the_same(generator, power, users, stations):
    instance = to(network(6, users, stations, generator=generator), dtype=torch.float64)
    for start in ("equal", "max"):
        for steps in (1, 5):
            solver = EffectiveRateAssociation(power, start=start, association_steps=steps, max_steps=15)
            for i in range(6):
                single = index(instance, i)
                plain = effective_rate_plain(
                    single.gain.numpy(),
                    single.noise_power_w.item(),
                    single.max_power_w.numpy(),
                    control=power == "control",
                    start=start,
                    association_steps=steps,
                    max_steps=15,
                )
                action = solver(single)
                np.testing.assert_allclose(action.power_w.numpy(), plain[1], rtol=1e-6, atol=1e-9)
                assert value(single, action).item() == pytest.approx(plain[2], rel=1e-6)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power": "some"}, "power: must be 'max' or 'control', received 'some'"),
        ({"start": "low"}, "start: must be 'equal' or 'max', received 'low'"),
        ({"association_steps": 0}, "association_steps: must be at least 1, received 0"),
        ({"power_steps": 0}, "power_steps: must be at least 1, received 0"),
        ({"max_steps": 0}, "max_steps: must be at least 1, received 0"),
        ({"tol": -1.0}, "tol: must not be negative, received -1.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        EffectiveRateAssociation(**arguments)
