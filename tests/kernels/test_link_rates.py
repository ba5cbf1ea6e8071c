"""The compiled curves against the tensors' rates, and the shapes that the exact solver relies on."""

import dataclasses

import numpy as np
import pytest
import torch

from torchrrm.channels import Nakagami, Rice
from torchrrm.kernels.bandwidth import minimum_bandwidth
from torchrrm.kernels.link_rates import curves
from torchrrm.problems import KINDS, QoS, SliceInstance

WIRETAP = [name for name in KINDS if name.startswith("secrecy")]
SHORT = [name for name in KINDS if name.endswith("-short")]


def points(wiretap):
    width, snr = np.meshgrid(np.geomspace(1.0, 1e9, 25), np.geomspace(1e-4, 1e14, 28), indexing="ij")
    width, cn0 = width.reshape(-1), (snr * width).reshape(-1)
    eavesdropper = (
        cn0 * np.resize([0.0, 1e-6, 0.3, 0.999, 1.0, 2.0], cn0.size) if wiretap else np.zeros(cn0.size)
    )
    return width, cn0, eavesdropper


@pytest.mark.parametrize("name", KINDS)
def test_curves_are_those_of_rates(name):
    problem = KINDS[name]
    width, cn0, eavesdropper = points(name in WIRETAP)
    instance = SliceInstance(
        cn0_hz=torch.from_numpy(cn0),
        eavesdropper_cn0_hz=torch.from_numpy(eavesdropper),
        min_rate_bps=torch.ones(cn0.size, dtype=torch.float64),
        bandwidth_hz=torch.tensor(1e9, dtype=torch.float64),
        active=torch.ones(cn0.size, dtype=torch.bool),
    )
    tensor = torch.from_numpy(width)
    # Of the tensors' formulae: a gradient by the instance keeps `rate` from the compiled curve.
    asked = dataclasses.replace(instance, cn0_hz=instance.cn0_hz.clone().requires_grad_())
    expected = [f(asked, tensor).detach().numpy() for f in (problem.rate, problem.slope, problem.curvature)]
    found = curves(width, cn0, eavesdropper, problem.law)
    size = np.log2(1 + cn0 / width) + 900 / np.sqrt(width)
    for order in range(3):
        assert (np.abs(found[order] - expected[order]) <= 1e-9 * size * width ** (1 - order)).all()
    well = cn0 > eavesdropper
    assert not any(np.any(value[~well]) for value in found)


@pytest.mark.parametrize("rate_bps", [1e-9, 1e-3, 1e2, 1e5])
def test_effective_capacity_of_low_rates_is_their_mean(rate_bps):
    # At exponents far below 1 the capacity is the mean rate less `theta / 2` times the variance.
    gain, weight = (x.numpy() for x in KINDS["effective-capacity"].quadrature)
    width, cn0 = np.array([rate_bps]), np.array([rate_bps])
    rate = width * np.log1p(gain) / np.log(2)
    theta, mean = KINDS["effective-capacity"].qos_exponent_per_bit, weight @ rate / weight.sum()
    expected = mean - theta / 2 * (weight @ (rate - mean) ** 2)
    found = curves(width, cn0, np.zeros(1), KINDS["effective-capacity"].law)[0]
    assert found == pytest.approx(expected, rel=1e-12 + 0.1 * (theta * rate_bps) ** 2)


@pytest.mark.parametrize("name", KINDS)
def test_no_bandwidth_no_rate(name):
    found = curves(np.zeros(1), np.ones(1), np.zeros(1), KINDS[name].law)
    assert [value.item() for value in found] == [0.0, 0.0, 0.0]


def bends(problem, cn0, eavesdropper, start_hz):
    """Signs of the curvature in the useful range from `start_hz` on, without rounding; whether that ends at a peak."""
    width = np.geomspace(start_hz, 1e9, 400)
    many = np.ones_like(width)
    rate, slope, curvature = curves(width, cn0 * many, eavesdropper * many, problem.law)
    falling = np.flatnonzero(slope < 0)
    useful = slice(0, falling[0] if falling.size else width.size)
    relative = curvature[useful] * width[useful] ** 2 / np.maximum(np.abs(rate[useful]), 1.0)
    signs = np.sign(relative[np.abs(relative) > 1e-9])
    return signs, not (slope[useful.stop :] > 0).any()


def check_shape(problem, users, rates, seed=0):
    """Convex, then concave, from the minimum bandwidth on, and never rising again after the peak."""
    rng = np.random.default_rng(seed)
    cn0 = 10 ** rng.uniform(3.0, 20.0, users)
    close = np.where(
        rng.random(users) < 0.5, 10 ** rng.uniform(-9, 0, users), 1 - 10 ** rng.uniform(-6, 0, users)
    )
    eavesdropper = cn0 * close if problem.qos is QoS.SECRECY else np.zeros(users)
    min_rate = 10 ** rng.uniform(rates[0], rates[1], users)
    least = minimum_bandwidth(cn0, eavesdropper, min_rate, 1e9, np.ones(users, np.bool_), problem.law)
    seen = 0
    for i in np.flatnonzero(least < 1e9):
        signs, unimodal = bends(problem, cn0[i], eavesdropper[i], least[i])
        assert unimodal, (cn0[i], eavesdropper[i], min_rate[i])
        assert (np.diff(signs) <= 0).all(), (cn0[i], eavesdropper[i], min_rate[i])
        seen += 1
    assert seen > users / 20


@pytest.mark.parametrize("name", SHORT)
def test_short_blocks_are_convex_then_concave(name):
    """`ExactSlicing` is exact because of this; over 170 dB of channel, from 1 bit/s to 1 Gbit/s."""
    check_shape(KINDS[name], 300 if KINDS[name].qos is QoS.EFFECTIVE_CAPACITY else 4000, (0.0, 9.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"fading": Nakagami(6.0)},
        {"fading": Rice(12.5)},
        {"qos_exponent_per_bit": 1e-4},
        {"qos_exponent_per_bit": 1e-8},
        {"error_probability": 1e-9, "block_duration_s": 1e-5},
    ],
)
def test_short_block_effective_capacity_is_so_for_other_settings(changes):
    check_shape(dataclasses.replace(KINDS["effective-capacity-short"], **changes), 150, (0.0, 8.0), seed=1)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in SHORT])
def test_long_blocks_are_concave_and_increase(name):
    width, cn0, eavesdropper = points(name in WIRETAP)
    well = (eavesdropper < cn0) & (cn0 < 1e9 * width)  # above 90 dB of SNR curves are straight to rounding
    _, slope, curvature = curves(width[well], cn0[well], eavesdropper[well], KINDS[name].law)
    assert (slope >= 0).all()
    assert (curvature <= 1e-9 * slope / width[well]).all()
