"""BeamformingBound: brute force, random points, closed forms, symmetry, bad channels."""

import itertools
import math

import pytest
import torch
from tests.testing.beams import BEAMS, complex_normal, loaded, sample

from torchrrm.problems import MisoInstance, UrllcBeamforming, miso_instance
from torchrrm.problems.beamforming import least_sinr, mmse_sinr, relative_gram
from torchrrm.rates import packet_back_off, packet_rate
from torchrrm.records import map_tensors, replace, to
from torchrrm.solvers import (
    BeamformingBound,
    EqualPowerMMSE,
    GramAscent,
    MinimumPowerBeamforming,
    interference_free_bound,
    restored_power,
)
from torchrrm.testing import check_solver

PROBLEM, SOLVER = UrllcBeamforming(), BeamformingBound()


def draw(
    seed: int, users: int, antennas: int, *, batch: int = 6, payload_bits: float = 256.0
) -> MisoInstance:
    generator = torch.Generator().manual_seed(seed)
    channel = loaded(batch, users, antennas, generator=generator, near_m=30.0, far_m=150.0)
    weight = 0.2 + torch.rand(batch, users, generator=generator, dtype=torch.float64)
    instance = miso_instance(channel, max_power_w=60.0, blocklength=256.0, payload_bits=payload_bits)
    return replace(instance, weight=weight)


def values(instance: MisoInstance, share: torch.Tensor) -> torch.Tensor:
    """Weighted sum rate `[share *batch]` at shares `[share 1 user]`, minus infinity where a minimum is missed."""
    sinr = mmse_sinr(relative_gram(instance), share)
    theta = packet_back_off(instance.error_probability, instance.blocklength)[..., None]
    total = (instance.weight * packet_rate(sinr, theta)).sum(-1)
    return torch.where((sinr >= least_sinr(instance) * (1 - 1e-12)).all(-1), total, -math.inf)


def grid(users: int, steps: int) -> torch.Tensor:
    """Shares of the simplex, `[share 1 user]`."""
    heads = itertools.product(range(steps + 1), repeat=users - 1)
    counts = [(*head, steps - sum(head)) for head in heads if sum(head) <= steps]
    return torch.tensor(counts, dtype=torch.float64)[:, None] / steps


@pytest.mark.parametrize("payload_bits", [0.0, 60.0, 256.0])
@pytest.mark.parametrize(
    ("users", "antennas", "steps"), [(2, 2, 4000), (2, 8, 4000), (3, 2, 120), (3, 6, 120)]
)
def test_brute_force(users: int, antennas: int, steps: int, payload_bits: float) -> None:
    instance = draw(1, users, antennas, payload_bits=payload_bits)
    solution = SOLVER.solve(instance)
    assert solution.upper_bound is not None
    best = values(instance, grid(users, steps)).amax(0)
    assert bool((solution.upper_bound >= best).all())
    met = torch.isfinite(solution.upper_bound)
    assert bool(met.any())
    if users == 2:  # a finer grid
        near = 1.001 * best + 5e-4
        assert bool((solution.upper_bound <= near)[met & torch.isfinite(best)].all())
    assert torch.equal(solution.converged, met)
    value = PROBLEM.evaluate(instance, solution.action).objective
    assert bool((solution.upper_bound <= 1.001 * value + 1e-8)[met].all())
    assert bool((solution.upper_bound >= value)[met].all())
    assert bool((value >= best - 1e-3 * best.abs())[met].all())


@pytest.mark.parametrize("payload_bits", [0.0, 120.0])
def test_never_below_a_feasible_point(payload_bits: float) -> None:
    """Bounds of searches that end early, too."""
    generator = torch.Generator().manual_seed(2)
    for users, antennas in ((2, 1), (4, 4), (5, 3), (7, 16)):
        instance = draw(users, users, antennas, batch=20, payload_bits=payload_bits)
        wanted = torch.distributions.Dirichlet(torch.full((users,), 0.7, dtype=torch.float64))
        torch.manual_seed(int(torch.randint(1000, (), generator=generator)))
        bounds = [BeamformingBound(max_nodes=nodes).bound(instance) for nodes in (1, 20)]
        bounds.append(interference_free_bound(instance))
        for _ in range(30):
            power_w, feasible = restored_power(instance, 60 * wanted.sample((20,)))
            value = torch.where(feasible, values(instance, power_w / 60), -math.inf)
            for bound in bounds:
                assert bool((value <= bound).all())
        assert bool((bounds[1] <= bounds[0] + 1e-12).all())


def test_one_user_takes_all_power() -> None:
    instance = draw(3, 1, 4)
    solution = SOLVER.solve(instance)
    assert solution.upper_bound is not None
    value = values(instance, torch.ones(1, 1, dtype=torch.float64))
    torch.testing.assert_close(solution.upper_bound, value, rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(interference_free_bound(instance), value, rtol=1e-6, atol=1e-8)
    assert bool(solution.converged.all())


def test_numbering_and_units_do_not_matter() -> None:
    instance = draw(4, 5, 8)
    bound = SOLVER.bound(instance)
    turned = torch.tensor([3, 0, 4, 1, 2])
    fields = ("noise_power_w", "weight", "payload_bits", "active")
    moved = {name: getattr(instance, name)[:, turned] for name in fields}
    permuted = SOLVER.bound(replace(instance, channel=instance.channel[:, turned], **moved))
    torch.testing.assert_close(permuted, bound, rtol=1e-8, atol=0)
    scaled = replace(
        instance,
        channel=instance.channel * 1e-5,
        max_power_w=instance.max_power_w * 1e3,
        noise_power_w=instance.noise_power_w * 1e-7,
    )
    torch.testing.assert_close(SOLVER.bound(scaled), bound, rtol=1e-8, atol=0)


def test_what_cannot_be_met_is_said() -> None:
    instance = draw(5, 4, 4, payload_bits=5000.0)
    solution = SOLVER.solve(instance)
    assert solution.upper_bound is not None
    assert bool((solution.upper_bound == -math.inf).all())
    assert not bool(solution.converged.any())
    assert bool(torch.isfinite(solution.action.power_w).all())
    assert not bool(MinimumPowerBeamforming().solve(instance).converged.any())


def test_channels_of_zero() -> None:
    instance = draw(6, 3, 4)
    channel = instance.channel.clone()
    channel[:, 1] = 0
    lost = replace(instance, channel=channel)
    assert bool((SOLVER.bound(lost) == -math.inf).all())
    payload = instance.payload_bits.clone()
    payload[:, 1] = 0
    silent = replace(lost, payload_bits=payload)
    keep = torch.tensor([0, 2])
    fields = ("channel", "noise_power_w", "weight", "payload_bits", "active")
    others = replace(silent, **{name: getattr(silent, name)[:, keep] for name in fields})
    torch.testing.assert_close(SOLVER.bound(silent), SOLVER.bound(others))
    nobody = replace(silent, channel=torch.zeros_like(channel), payload_bits=torch.zeros_like(payload))
    torch.testing.assert_close(SOLVER.bound(nobody), torch.zeros(6, dtype=torch.float64), atol=1e-6, rtol=0)


def test_single_precision_and_parallel_channels() -> None:
    instance = to(draw(7, 4, 8), dtype=torch.float32)
    bound = SOLVER.bound(instance)
    assert bound.dtype == torch.float32
    for allocator in (GramAscent(), EqualPowerMMSE()):
        action = allocator(instance)
        evaluation = PROBLEM.evaluate(instance, action)
        kept = (evaluation.violation["min_rate"] <= 0).all(-1)
        assert bool((evaluation.objective <= bound)[kept].all())
    generator = torch.Generator().manual_seed(8)
    one = complex_normal(4, 1, 3, generator=generator, dtype=torch.float64)
    parallel = miso_instance(one.expand(4, 3, 3).clone(), payload_bits=0.0)
    solution = SOLVER.solve(parallel)
    assert solution.upper_bound is not None
    best = values(parallel, grid(3, 100)).amax(0)
    assert bool((solution.upper_bound >= best).all())
    assert bool((solution.upper_bound <= 1.002 * best + 1e-8)[solution.converged].all())


def test_batches_and_limits() -> None:
    instance = draw(9, 6, 8, payload_bits=60.0)
    shaped = map_tensors(lambda x: x.reshape(2, 3, *x.shape[1:]), instance)
    solver = BeamformingBound(tolerance=0.02)
    torch.testing.assert_close(solver.bound(shaped).flatten(), solver.bound(instance))
    assert bool((BeamformingBound(max_nodes=7).solve(instance).iterations <= 8).all())
    with pytest.raises(ValueError, match="tolerance: must be positive"):
        BeamformingBound(tolerance=0.0)
    with pytest.raises(ValueError, match="max_nodes: must be at least 1"):
        BeamformingBound(max_nodes=0)


def test_conformance() -> None:
    check_solver(BeamformingBound(tolerance=0.01), PROBLEM, sample, expected=replace(BEAMS, extremes=False))


@pytest.mark.parametrize("users", [1, 2, 3])
def test_minima_that_all_power_just_reaches_are_not_called_infeasible(users: int) -> None:
    instance = draw(5, users, 2, batch=40, payload_bits=0.0)
    share = torch.full((40, users), 1 / users, dtype=torch.float64)
    theta = packet_back_off(instance.error_probability, instance.blocklength)[..., None]
    rate = packet_rate(mmse_sinr(relative_gram(instance), share), theta)
    bits = torch.clamp(rate, min=0.0) * instance.blocklength[..., None] / math.log(2)
    edge = replace(instance, payload_bits=torch.where(bits > 1e-3, bits, 0.0))
    value = (instance.weight * rate).sum(-1)
    assert (BeamformingBound(1e-6).bound(edge) >= value - 1e-12).all()
    assert (interference_free_bound(edge) >= value - 1e-12).all()


def test_bounds_in_single_precision_are_no_lower() -> None:
    exact = draw(6, 3, 4)
    single = to(exact, dtype=torch.float32)
    for bound in (SOLVER.bound, interference_free_bound):
        assert (bound(single).double() >= bound(to(single, dtype=torch.float64))).all()


def test_no_instance_is_called_infeasible_for_lack_of_digits():
    """Found by `tests/falsify`: three users of two antennas at 73 dB, whose minima half of the power reaches.

    Least powers have no digits there, and none were found.
    """
    channel = [
        [-8.3218 - 47.1136j, -2.2746 - 43.1583j],
        [4.6845 - 7.9783j, -1.5844 - 7.6988j],
        [-21.4431 - 25.5011j, -39.5328 - 6.3202j],
    ]
    instance = miso_instance(
        torch.tensor(channel, dtype=torch.complex128),
        noise_power_w=torch.tensor([54.8015, 68.0878, 55.9303], dtype=torch.float64),
        max_power_w=259524.1406,
        weight=torch.tensor([0.1827, 4.1453, 0.2932], dtype=torch.float64),
        blocklength=1443.3704,
        error_probability=0.0426,
        payload_bits=torch.tensor([11836.9043, 94.3222, 5924.3198], dtype=torch.float64),
    )
    solution = BeamformingBound(1e-4, 500).solve(instance)
    assert solution.upper_bound is not None
    assert solution.upper_bound > 2.06  # what the search reached
    assert not solution.converged
