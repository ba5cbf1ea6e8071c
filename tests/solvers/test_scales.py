"""Certificates over the whole range of ratios to the noise, against evaluators in long double that share no code.

Links far below the noise test `log1p`; links above 150 dB test that objective and bound see the same instance.
"""

import itertools

import numpy as np
import pytest
import torch

from torchrrm.learning.switching import switching_gain
from torchrrm.policies import OnlineDual
from torchrrm.problems import (
    AssociationAction,
    CellInstance,
    ErgodicPower,
    PowerAction,
    SumRateAssociation,
    UrllcBeamforming,
    WeightedSumRate,
    ergodic_instance,
    link_instance,
    miso_instance,
)
from torchrrm.problems.association import cell_instance
from torchrrm.problems.links import SparseSumRate, sparsify
from torchrrm.records import replace
from torchrrm.solvers import (
    WMMSE,
    BeamformingBound,
    BranchAndBound,
    ErgodicDualBound,
    ExhaustiveAssociation,
    GramAscent,
    ITLinQ,
    SparseWMMSE,
    certify_out_of_reach,
)

LEVELS_DB = [-120, -90, -60, 0, 90, 150, 180, 240]
SLACK = 1e-9
CAP = 1e15
Wide = np.longdouble


def ratios(gain: torch.Tensor, limit: torch.Tensor, noise: float) -> np.ndarray:
    """Ratios to the noise at full power, at most 150 dB."""
    return np.minimum(gain.numpy().astype(Wide) * limit.numpy().astype(Wide) / Wide(noise), Wide(CAP))


def link_rates(ratio: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rate of each link in bit/s/Hz, one sum at a time."""
    size = len(share)
    rate = np.zeros(size, Wide)
    for k in range(size):
        heard = Wide(1) + sum(ratio[k, j] * share[j] for j in range(size) if j != k)
        rate[k] = np.log1p(ratio[k, k] * share[k] / heard) / np.log(Wide(2))
    return rate


def shares(power_w: torch.Tensor, limit: torch.Tensor) -> np.ndarray:
    return power_w.numpy().astype(Wide) / limit.numpy().astype(Wide)


def links(level_db: float, size: int, seed: int, slots: int | None = None) -> torch.Tensor:
    """Gains of which the largest are at the level over a noise of 1 W at 1 W, spread over 30 dB."""
    generator = torch.Generator().manual_seed(seed)
    shape = (size, size) if slots is None else (slots, size, size)
    return 10 ** (level_db / 10 - 3 * torch.rand(shape, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("level_db", LEVELS_DB)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_branch_and_bound(level_db, size):
    generator = torch.Generator().manual_seed(size)
    instance = replace(
        link_instance(links(level_db, size, seed=size), noise_power_w=1e-3, max_power_w=1e-3),
        weight=0.5 + torch.rand(size, generator=generator, dtype=torch.float64),
    )
    solution = BranchAndBound(1e-4).solve(instance)
    own = WeightedSumRate().evaluate(instance, solution.action).objective.item()
    ratio = ratios(instance.gain, instance.max_power_w, 1e-3)
    weight = instance.weight.numpy().astype(Wide)
    exact = float(weight @ link_rates(ratio, shares(solution.action.power_w, instance.max_power_w)))
    assert solution.upper_bound is not None
    bound = solution.upper_bound.item()
    assert own == pytest.approx(exact, rel=1e-12)
    assert exact <= bound * (1 + SLACK)
    assert bound <= exact * (1 + 1e-4) * (1 + SLACK)
    for corner in itertools.product((0.0, 0.03, 1.0), repeat=size):
        assert float(weight @ link_rates(ratio, np.array(corner, Wide))) <= bound * (1 + SLACK)


def test_two_links_at_180_db():
    """Alone, a link has `log2(1 + 1e15)`; both have it where they do not hear each other."""
    gain = 1e18 * torch.eye(2, dtype=torch.float64)
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=1.0)
    solution = BranchAndBound(1e-6).solve(instance)
    own = WeightedSumRate().evaluate(instance, solution.action).objective
    assert solution.upper_bound is not None
    assert own.item() == pytest.approx(2 * np.log2(1 + 1e15), rel=1e-14)
    assert own <= solution.upper_bound <= own * (1 + 2e-6)


@pytest.mark.parametrize("level_db", LEVELS_DB)
@pytest.mark.parametrize("minimum", [0.0, 0.5])
def test_ergodic_dual_bound(level_db, minimum):
    instance = ergodic_instance(
        links(level_db, 3, seed=0, slots=4), noise_power_w=1.0, max_power_w=1.0, min_rate_bps_hz=minimum
    )
    solution = ErgodicDualBound(steps=8, tolerance=1e-4).solve(instance)
    own = ErgodicPower().evaluate(instance, solution.action).objective.item()
    rate = np.mean(
        [
            link_rates(ratios(gain, instance.max_power_w, 1.0), shares(power, instance.max_power_w))
            for gain, power in zip(instance.gain, solution.action.power_w, strict=True)
        ],
        axis=0,
    )
    exact = float(rate.sum() - 2 * (np.maximum(minimum - rate, 0) ** 2).sum())
    assert solution.upper_bound is not None
    assert own == pytest.approx(exact, rel=1e-12)
    assert exact <= solution.upper_bound.item() + SLACK * abs(solution.upper_bound.item())


@pytest.mark.parametrize("level_db", LEVELS_DB)
def test_demands_that_a_loop_met_are_not_out_of_reach(level_db):
    """The loop's rates, compiled, are those of the problem; no weights certify that they cannot be reached."""
    gain = links(level_db, 3, seed=1, slots=20)[None]
    instance = ergodic_instance(gain, noise_power_w=1.0, max_power_w=1.0, min_rate_bps_hz=1.0)
    loop = OnlineDual(WMMSE(10))
    track, _ = loop.track(instance, loop.start(instance))
    rate = WeightedSumRate().rate(instance.slots(), track.power_w)
    torch.testing.assert_close(track.rate_bps_hz, rate, rtol=1e-12, atol=0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        weight = torch.rand(1, 3, generator=generator, dtype=torch.float64)
        assert certify_out_of_reach(instance, weight, rate.mean(-2), tolerance=1e-4).item() <= SLACK


def cells(level_db: float, users: int, stations: int) -> CellInstance:
    generator = torch.Generator().manual_seed(users)
    gain = 10 ** (level_db / 10 - 3 * torch.rand(users, stations, generator=generator, dtype=torch.float64))
    limit = torch.tensor([40.0, 0.1, 1.0], dtype=torch.float64)[:stations]
    return cell_instance(gain, max_power_w=limit, noise_power_w=1.0)


def association_value(instance: CellInstance, action: AssociationAction) -> float:
    """Sum over stations of the mean rate of their users."""
    ratio = ratios(instance.gain, instance.max_power_w, float(instance.noise_power_w))
    share, station = shares(action.power_w, instance.max_power_w), action.station.tolist()
    total = Wide(0)
    for user, own in enumerate(station):
        heard = Wide(1) + sum(ratio[user, j] * share[j] for j in range(len(share)) if j != own)
        total += np.log1p(ratio[user, own] * share[own] / heard) / np.log(Wide(2)) / station.count(own)
    return float(total)


@pytest.mark.parametrize("level_db", LEVELS_DB)
@pytest.mark.parametrize(("users", "stations"), [(1, 1), (2, 2), (4, 2), (3, 3)])
def test_exhaustive_association(level_db, users, stations):
    instance = cells(level_db, users, stations)
    solution = ExhaustiveAssociation().solve(instance)
    own = SumRateAssociation().evaluate(instance, solution.action).objective.item()
    exact = association_value(instance, solution.action)
    assert solution.upper_bound is not None
    bound = solution.upper_bound.item()
    assert own == pytest.approx(exact, rel=1e-12)
    assert exact <= bound * (1 + SLACK)
    # Powers are split down to 1e-9 of the limit, which may not do above 90 dB; then the bound says so.
    assert solution.converged or level_db > 90
    assert not solution.converged or bound <= exact * (1 + 1e-3) * (1 + SLACK)


@pytest.mark.parametrize("level_db", LEVELS_DB)
@pytest.mark.parametrize(("length", "error"), [(128.0, 1e-5), (1e15, 0.49)])
def test_beamforming_bound(level_db, length, error):
    """Against the SINR of beams in long double; above 120 dB a user counts as at it, in objective and bound."""
    generator = torch.Generator().manual_seed(3)
    real, imag = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64) * 10 ** (level_db / 20)
    terms = {"blocklength": length, "error_probability": error, "payload_bits": 0.0}
    instance = miso_instance(torch.complex(real, imag), max_power_w=1.0, **terms)
    solution = BeamformingBound(max_nodes=300).solve(instance)
    assert solution.upper_bound is not None
    for action in (solution.action, GramAscent()(instance)):
        own = UrllcBeamforming().evaluate(instance, action).objective.item()
        assert own <= solution.upper_bound.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level_db", LEVELS_DB)
def test_compiled_and_torch_objectives_of_wmmse(level_db, dtype):
    """Both forms choose among starts by the same objective, that of the problem."""
    gain = links(level_db, 4, seed=5).to(dtype)
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=1.0)
    solver = WMMSE(20, starts=3)
    compiled, tensors = solver(instance), solver(replace(instance, gain=gain.clone().requires_grad_()))
    values = [WeightedSumRate().evaluate(instance, action).objective.item() for action in (compiled, tensors)]
    assert values[0] == pytest.approx(values[1], rel=1e-3 if dtype == torch.float32 else 1e-6)


@pytest.mark.parametrize("level_db", [0, 150, 180])
def test_lists_of_neighbours_are_the_dense_links(level_db):
    instance = link_instance(links(level_db, 4, seed=6), noise_power_w=1.0, max_power_w=1.0)
    lists = sparsify(instance, 3)
    generator = torch.Generator().manual_seed(0)
    action = PowerAction(power_w=torch.rand(4, generator=generator, dtype=torch.float64))
    dense = WeightedSumRate().evaluate(instance, action).utility
    torch.testing.assert_close(SparseSumRate().evaluate(lists, action).utility, dense, rtol=1e-12, atol=0)
    forms = [
        SparseWMMSE()(one).power_w
        for one in (lists, replace(lists, direct_gain=lists.direct_gain.clone().requires_grad_()))
    ]
    torch.testing.assert_close(*forms, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("level_db", LEVELS_DB)
def test_both_forms_of_link_scheduling(level_db):
    gain = links(level_db, 8, seed=7)
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=1.0)
    tensors = ITLinQ()(replace(instance, gain=gain.clone().requires_grad_()))
    assert torch.equal(ITLinQ()(instance).power_w, tensors.power_w)


@pytest.mark.parametrize("level_db", LEVELS_DB)
def test_switching_gain_is_a_difference_of_objectives(level_db):
    size = 4
    instance = link_instance(links(level_db, size, seed=8), noise_power_w=1.0, max_power_w=1.0)
    power = torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ratio = ratios(instance.gain, instance.max_power_w, 1.0)
    found = switching_gain(instance, power)
    for j in range(size):
        ends = []
        for end in (1.0, 0.0):
            share = power.numpy().astype(Wide)
            share[j] = end
            ends.append(link_rates(ratio, share).sum())
        assert found[j].item() == pytest.approx(float(ends[0] - ends[1]), rel=1e-6, abs=1e-9 * float(ends[0]))
