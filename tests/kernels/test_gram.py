"""The Gram form as kernels compute it, against the tensors'."""

import math

import mpmath
import numpy as np
import pytest
import torch
from tests.testing.beams import complex_normal

from torchrrm.kernels import gram as kernels
from torchrrm.problems import miso_instance
from torchrrm.problems.beamforming import (
    least_sinr,
    mmse_beams,
    mmse_error,
    power_slope,
    relative_gram,
)
from torchrrm.records import replace

SIZES = ((1, 1), (2, 8), (6, 64), (16, 64), (8, 4))


def case(users, antennas, generator):
    """A single instance of double precision, shares, and the arrays that kernels start from."""
    instance = miso_instance(complex_normal(users, antennas, generator=generator, dtype=torch.float64))
    noise = 0.5 + torch.rand(users, generator=generator, dtype=torch.float64)
    instance = replace(instance, noise_power_w=noise)
    share = torch.rand(users, generator=generator, dtype=torch.float64) / users
    channel = instance.channel.numpy()
    chosen = kernels.listed(channel, instance.active.numpy())
    real, imag = kernels.planes(channel, noise.numpy(), instance.max_power_w.item(), chosen)
    return instance, share, chosen, (real, imag), kernels.gram(real, imag)


def close(received, wanted):
    np.testing.assert_allclose(received, wanted.numpy(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("users", "antennas"), SIZES)
def test_kernels_agree_with_tensors(generator, users, antennas):
    instance, share, chosen, parts, (g_real, g_imag) = case(users, antennas, generator)
    matrix = relative_gram(instance)
    close(g_real + 1j * g_imag, matrix)
    a_real, a_imag, error = np.empty((users, users)), np.empty((users, users)), np.empty(users)
    kernels.sweep(g_real, g_imag, share.numpy(), a_real, a_imag, error)
    one = torch.eye(users, dtype=matrix.dtype)
    close(error, mmse_error(matrix, share))
    close(a_real + 1j * a_imag, torch.linalg.solve(one + matrix * share, matrix))
    slope = np.empty((users, users))
    kernels.slopes(a_real, a_imag, share.numpy(), error, slope)
    close(slope, power_slope(matrix, share))
    beam = np.empty((users, antennas), np.complex128)
    kernels.beams(*parts, g_real, g_imag, share.numpy(), chosen, beam)
    close(beam, mmse_beams(instance, share * instance.max_power_w))


def test_errors_have_no_cancellation_at_high_sinr():
    """At 140 dB `1 - q A` would have lost all but two digits."""
    g_real, g_imag = np.diag([1e14, 3e13]), np.zeros((2, 2))
    a_real, a_imag, error = np.empty((2, 2)), np.empty((2, 2)), np.empty(2)
    kernels.sweep(g_real, g_imag, np.array([0.5, 0.5]), a_real, a_imag, error)
    np.testing.assert_allclose(error, 1 / (1 + 0.5 * np.diag(g_real)), rtol=1e-14)


def test_only_users_that_can_hear_are_listed():
    channel = np.ones((4, 2), np.complex64)
    channel[1] = 0
    channel[3, 0] = 0
    assert kernels.listed(channel, np.array([False, True, True, True])).tolist() == [2, 3]


@pytest.mark.parametrize("error", [0.4, 0.1, 1e-5, 1e-9, 1e-30])
def test_back_off_is_the_quantile(error):
    quantile = 4 * mpmath.mpf(kernels.back_off(error, 16.0))
    assert float(mpmath.erfc(quantile / mpmath.sqrt(2)) / 2) == pytest.approx(error, rel=1e-12)


def test_least_sinr_is_that_of_the_problem(generator):
    instance = case(4, 4, generator)[0]
    payload = torch.tensor([0.0, 8.0, 256.0, 4000.0], dtype=torch.float64)
    instance = replace(instance, payload_bits=payload)
    length = instance.blocklength.item()
    theta = kernels.back_off(instance.error_probability.item(), length)
    found = kernels.least_sinrs(payload.numpy(), length, theta, np.arange(4))
    np.testing.assert_allclose(found, least_sinr(instance).numpy(), rtol=1e-12)
    assert found[0] == 0
    assert kernels.least_sinr(math.log(2), 0.0) == pytest.approx(1.0)
