import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from tests.testing.association import CELLS, FAIR_CELLS, network, sample, sample_sparse

from torchrrm.kernels import hungarian_wmmse as kernels
from torchrrm.policies.compose import Refined
from torchrrm.problems.association import (
    UNSERVED,
    AssociationAction,
    CellInstance,
    ProportionalFairAssociation,
    SumRateAssociation,
    cell_instance,
    in_reach,
    relative_snr,
    station_rate,
    user_rate,
)
from torchrrm.problems.base import largest_violation
from torchrrm.records import index, pad, replace, to
from torchrrm.solvers import (
    HungarianWMMSE,
    MaxGainAssociation,
    MaxSignalAssociation,
    hungarian_wmmse,
    matched_association,
)
from torchrrm.testing import check_solver

PROBLEM = SumRateAssociation()


@pytest.mark.parametrize(
    "solver", [HungarianWMMSE(), HungarianWMMSE(restarts=3), MaxSignalAssociation(), MaxGainAssociation()]
)
@pytest.mark.parametrize("source", [sample, sample_sparse])
def test_conforms(solver: Any, source: Callable[..., CellInstance]) -> None:
    check_solver(solver, PROBLEM, source, expected=CELLS)


@pytest.mark.parametrize("solver", [MaxSignalAssociation(), MaxGainAssociation()])
def test_rules_conform_under_fairness(solver: Any) -> None:
    check_solver(solver, ProportionalFairAssociation(), sample, expected=FAIR_CELLS)


def draw(batch: int, users: int, stations: int, seed: int = 0, idle: float = 0.2) -> CellInstance:
    """Gains over 60 dB, some paths missing, some users and stations not active, a third of the stations loud."""
    generator = torch.Generator().manual_seed(seed)
    gain = 10 ** (-12 + 6 * torch.rand(batch, users, stations, generator=generator, dtype=torch.float64))
    gain = torch.where(torch.rand(gain.shape, generator=generator) < 0.1, 0.0, gain)
    macro = torch.rand(batch, stations, generator=generator) < 0.3
    instance = cell_instance(gain, macro=macro)
    return replace(
        instance,
        active_user=torch.rand(batch, users, generator=generator) >= idle,
        active_bs=torch.rand(batch, stations, generator=generator) >= idle,
    )


def objective(instance: CellInstance, action: AssociationAction) -> torch.Tensor:
    return PROBLEM.evaluate(instance, action).objective


def check(instance: CellInstance, action: AssociationAction) -> None:
    for value in PROBLEM.evaluate(instance, action).violation.values():
        assert bool((value <= 1e-6).all())
    served = in_reach(instance)
    assert bool((action.station[~served] == UNSERVED).all())
    assert bool((action.station[served] >= 0).all())
    assert bool((action.power_w[~instance.active_bs] == 0).all())
    assert torch.isfinite(action.power_w).all()


def numpy_rates(snr: np.ndarray, share: np.ndarray) -> np.ndarray:
    heard = snr * share
    others = np.stack([np.delete(heard, j, -1).sum(-1) for j in range(share.size)], -1)
    return np.log2(1 + heard / (1 + others))


def numpy_alternation(
    snr: np.ndarray, share: np.ndarray, rounds: int, steps: int
) -> tuple[float, np.ndarray]:
    """Matching by scipy and WMMSE as printed in [Shi2011], with receivers and weights."""
    value = 0.0
    for _ in range(rounds):
        rate = numpy_rates(snr, share)
        users, stations = linear_sum_assignment(-np.where(share > 0, rate, 0.0))
        kept = rate[users, stations] > 0
        users, stations = users[kept], stations[kept]
        gain, v = snr[np.ix_(users, stations)], np.sqrt(share[stations])
        direct = np.sqrt(gain.diagonal())
        for _ in range(steps):
            u = direct * v / (1 + gain @ v**2)
            w = 1 / (1 - u * direct * v)
            v = np.minimum(1.0, w * u * direct / (gain.T @ (w * u**2)))
        v[v < 1e-6] = 0.0
        share = np.zeros_like(share)
        share[stations] = v**2
        value = np.log2(1 + gain.diagonal() * v**2 / (1 + (gain - np.diag(gain.diagonal())) @ v**2)).sum()
    return value, share


@pytest.mark.parametrize(("users", "stations"), [(12, 8), (8, 12), (30, 10)])
def test_equals_an_alternation_in_numpy(users: int, stations: int) -> None:
    instance = draw(4, users, stations, idle=0.0)
    for i in range(4):
        snr = relative_snr(index(instance, i)).numpy()
        share = np.minimum(1.0, 0.01 / index(instance, i).max_power_w.numpy())
        wanted, shares = numpy_alternation(snr, share, 6, 20)
        value, _, _ = kernels.alternate(snr.T.copy(), share, 6, 20, -1.0)
        assert value == pytest.approx(wanted, rel=1e-8)
        assert share == pytest.approx(shares, abs=1e-6)


def test_the_sum_never_falls() -> None:
    for i, (users, stations) in enumerate([(30, 20), (10, 25), (40, 6)] * 4):
        instance = draw(1, users, stations, seed=i)
        snr = relative_snr(instance)[0].mT.contiguous().numpy()
        start = np.minimum(1.0, 0.01 / instance.max_power_w[0].numpy())
        values = [kernels.alternate(snr, start.copy(), rounds, 5, -1.0)[0] for rounds in range(1, 30)]
        assert (np.diff(values) >= -1e-12 * values[-1]).all()


@pytest.mark.parametrize(("users", "stations"), [(20, 12), (12, 20), (1, 1), (3, 1), (1, 4)])
def test_the_association_step_is_scipys_assignment(users: int, stations: int) -> None:
    instance = draw(20, users, stations, seed=3)
    generator = torch.Generator().manual_seed(4)
    share = torch.rand(20, stations, generator=generator, dtype=torch.float64)
    power = torch.where(share < 0.5, 0.0, share) * instance.max_power_w
    action = matched_association(instance, power)
    check(instance, replace(action, power_w=action.power_w))
    assert torch.equal(action.power_w, torch.where(instance.active_bs, power, 0.0))
    rate = torch.where(action.power_w[..., None, :] > 0, station_rate(instance, power), 0.0).numpy()
    silent = instance.active_bs & (power == 0)
    for i in range(20):
        bound = rate[i][linear_sum_assignment(-rate[i])].sum()
        value = float(objective(index(instance, i), index(action, i)))
        assert value <= bound * (1 + 1e-12)
        if silent[i].any() or in_reach(instance)[i].sum() <= instance.active_bs[i].sum():
            assert value == pytest.approx(bound, rel=1e-12, abs=1e-12)


def test_others_are_parked_at_the_strongest_silent_station() -> None:
    gain = torch.tensor([[9.0, 1, 2, 3], [1, 9, 3, 2], [5, 4, 1, 2], [5, 4, 3, 0], [0, 0, 0, 0]]).double()
    instance = replace(cell_instance(1e-10 * gain), max_power_w=torch.tensor([1.0, 1, 1, 0.1]).double())
    action = matched_association(instance, torch.tensor([1.0, 1, 0, 0]).double())
    assert action.station.tolist() == [0, 1, 3, 2, UNSERVED]


def test_users_without_a_silent_station_are_put_where_they_cost_least() -> None:
    """All three ways for the third user: with the first, with the second; with two such users, both at one."""
    gain = 1e-10 * torch.tensor([[100.0, 1], [1, 10], [0.1, 5]]).double()
    instance = cell_instance(gain)
    action = matched_association(instance, instance.max_power_w)
    values = []
    for first in range(2):
        for second in range(2):
            for third in range(2):
                station = torch.tensor([first, second, third])
                values.append(float(objective(instance, replace(action, station=station))))
    assert float(objective(instance, action)) == pytest.approx(max(values), rel=1e-12)
    many = cell_instance(torch.cat([gain, gain[2:].expand(20, 2)]))
    action = matched_association(many, many.max_power_w)
    spread = replace(action, station=torch.tensor([0, 1] + [0] * 10 + [1] * 11))
    assert float(objective(many, action)) > float(objective(many, spread))
    assert len(set(action.station[2:].tolist())) == 1


@pytest.mark.parametrize("solver", [HungarianWMMSE(), HungarianWMMSE(restarts=5), HungarianWMMSE(2, 3)])
@pytest.mark.parametrize(("users", "stations"), [(1, 1), (0, 3), (3, 1), (1, 5), (20, 3), (4, 20), (25, 15)])
def test_hard_sizes(solver: HungarianWMMSE, users: int, stations: int) -> None:
    instance = draw(6, users, stations, seed=users)
    solution = solver.solve(instance)
    check(instance, solution.action)
    assert torch.equal(solver(instance).power_w, solution.action.power_w)
    assert solution.iterations.shape == solution.converged.shape == (6,)
    assert solution.upper_bound is None
    single = solver(index(instance, 2))
    assert torch.equal(single.station, solution.action.station[2])
    assert torch.equal(single.power_w, solution.action.power_w[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nobody_and_nothing(dtype: torch.dtype) -> None:
    solver, instance = HungarianWMMSE(restarts=2), to(draw(2, 5, 4), dtype=dtype)
    none = torch.zeros_like(instance.active_user)
    for case in (
        replace(instance, gain=torch.zeros_like(instance.gain)),
        replace(instance, active_user=none),
        replace(instance, active_bs=torch.zeros_like(instance.active_bs)),
    ):
        action = solver(case)
        check(case, action)
        assert bool((action.station == UNSERVED).all())
        assert not action.power_w.any()
        assert action.power_w.dtype == dtype
    empty = index(instance, slice(0, 0))
    assert solver(empty).station.shape == (0, 5)


def test_one_user_gets_its_strongest_station_at_its_limit() -> None:
    gain = torch.tensor([[3e-10, 5e-10, 4e-10]]).double()
    action = HungarianWMMSE()(cell_instance(gain))
    assert action.station.tolist() == [1]
    assert action.power_w.tolist() == pytest.approx([0.0, 0.1, 0.0])


@given(seed=st.integers(0, 1000), users=st.integers(1, 12), stations=st.integers(1, 8))
def test_numbering_and_padding_do_not_matter(seed: int, users: int, stations: int) -> None:
    solver, instance = HungarianWMMSE(restarts=3), draw(1, users, stations, seed=seed)
    action = solver(instance)
    value = objective(instance, action)
    generator = torch.Generator().manual_seed(seed)
    order, places = torch.randperm(users, generator=generator), torch.randperm(stations, generator=generator)
    moved = CellInstance(
        gain=instance.gain[:, order][:, :, places],
        noise_power_w=instance.noise_power_w,
        bandwidth_hz=instance.bandwidth_hz,
        max_power_w=instance.max_power_w[:, places],
        active_user=instance.active_user[:, order],
        active_bs=instance.active_bs[:, places],
    )
    received = solver(moved)
    assert torch.allclose(objective(moved, received), value, rtol=1e-6)
    assert torch.allclose(received.power_w, action.power_w[:, places], rtol=1e-4, atol=1e-6)
    padded = solver(pad(instance, user=users + 3, bs=stations + 2))
    assert torch.allclose(padded.power_w[:, :stations], action.power_w, rtol=1e-9, atol=0)
    assert torch.equal(padded.station[:, :users], action.station)


def test_units_do_not_matter() -> None:
    """Gains and noise times ten, or the power, the start and the noise times ten."""
    instance, action = draw(5, 20, 12), HungarianWMMSE()(draw(5, 20, 12))
    louder = replace(instance, gain=10 * instance.gain, noise_power_w=10 * instance.noise_power_w)
    assert torch.allclose(HungarianWMMSE()(louder).power_w, action.power_w, rtol=1e-6)
    stronger = replace(
        instance, max_power_w=10 * instance.max_power_w, noise_power_w=10 * instance.noise_power_w
    )
    assert torch.allclose(
        HungarianWMMSE(start_w=(0.1, 10.0, math.inf))(stronger).power_w,
        10 * action.power_w,
        rtol=1e-6,
        atol=1e-12,
    )


def test_beats_the_rules_and_restarts_help() -> None:
    instance = draw(10, 40, 20)
    values = [
        objective(instance, solver(instance)).mean()
        for solver in (
            MaxSignalAssociation(),
            HungarianWMMSE(),
            HungarianWMMSE(restarts=3),
            HungarianWMMSE(restarts=40),
        )
    ]
    assert values[0] * 1.5 < values[1]
    assert values == sorted(values)
    each = [objective(instance, HungarianWMMSE(restarts=n)(instance)) for n in (0, 1, 5, 20)]
    assert all(bool((b >= a * (1 - 1e-9)).all()) for a, b in itertools.pairwise(each))


def test_a_time_limit_ends_the_search() -> None:
    instance = draw(2, 30, 15)
    plain, limited = HungarianWMMSE(), HungarianWMMSE(time_limit_s=0.1)
    plain(instance)
    assert bool((objective(instance, limited(instance)) >= objective(instance, plain(instance)) - 1e-9).all())


def silent_half(instance: CellInstance) -> AssociationAction:
    power = instance.max_power_w.clone()
    power[..., ::2] = 0
    return matched_association(instance, power)


@pytest.mark.parametrize("first", [MaxSignalAssociation(), MaxGainAssociation(), silent_half])
@pytest.mark.parametrize(("users", "stations"), [(20, 12), (5, 10), (12, 3)])
def test_refined_is_never_worse(first: Callable[..., Any], users: int, stations: int) -> None:
    instance = draw(8, users, stations)
    action = first(instance)
    before = objective(instance, action)
    for steps in (0, 1, 10, None):
        refined = HungarianWMMSE().refine(instance, action, steps)
        check(instance, refined)
        assert bool((objective(instance, refined) >= before * (1 - 1e-12)).all())
    composed = Refined(first, HungarianWMMSE(), 10)(instance)
    assert torch.equal(composed.power_w, HungarianWMMSE().refine(instance, action, 10).power_w)
    assert not refined.power_w[action.power_w == 0].any()


def test_single_precision_and_any_batch_shape() -> None:
    instance = draw(6, 15, 10)
    action = HungarianWMMSE()(instance)
    single = HungarianWMMSE()(to(instance, dtype=torch.float32))
    assert single.power_w.dtype == torch.float32
    close = torch.isclose(
        objective(instance, to(single, dtype=torch.float64)), objective(instance, action), rtol=1e-4
    )
    assert close.sum() >= 5
    assert user_rate(instance, action).shape == (6, 15)
    assert largest_violation(PROBLEM.evaluate(to(instance, dtype=torch.float32), single)).max() <= 1e-6


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"rounds": 0}, "rounds"),
        ({"steps": 0}, "steps"),
        ({"start_w": (0.01, 0.0)}, "start_w"),
        ({"start_w": ()}, "start_w"),
        ({"restarts": -1}, "restarts"),
        ({"time_limit_s": -1.0}, "time_limit_s"),
        ({"tol": math.nan}, "tol"),
    ],
)
def test_settings_that_are_none(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: must .*, received"):
        HungarianWMMSE(**arguments)


def test_a_warm_start_with_restarts_is_never_below_one_without() -> None:
    instance = network(8, 9, 6, generator=torch.Generator().manual_seed(5))
    action = MaxSignalAssociation()(instance)
    plain, searched = (HungarianWMMSE(restarts=r).refine(instance, action, 2) for r in (0, 30))
    values = [PROBLEM.evaluate(instance, one).objective for one in (action, plain, searched)]
    assert (values[1] >= values[0]).all()
    assert (values[2] >= values[1] * (1 - 1e-6)).all()
    assert (values[2] > values[1]).any()


def test_restarts_in_chunks_are_those_of_one_call() -> None:
    instance = network(3, 9, 6, generator=torch.Generator().manual_seed(5))
    solver = HungarianWMMSE()
    snr, limit = hungarian_wmmse._arrays(instance)
    plan, start = (solver.rounds, solver.steps, solver.tol), solver._starts(snr, limit)

    def searched(chunks: list[int]) -> np.ndarray:
        station = np.empty((3, 9), np.int64)
        share, value, _, _ = kernels.solve_batch(snr, limit, start, plan, station)
        done = 0
        for chunk in chunks:
            span = done, done + chunk
            value = kernels.search_batch(snr, limit, start, plan, span, 0, (share, station, value))
            done += chunk
        return value

    assert (searched([40]) > searched([])).any()
    np.testing.assert_array_equal(searched([40]), searched([1, 2, 17, 20]))
