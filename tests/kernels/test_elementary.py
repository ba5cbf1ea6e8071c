"""Branch-free logarithm and exponential against the C library's, in units in the last place."""

import mpmath
import numpy as np
import pytest
from numba import njit

from torchrrm.kernels.elementary import exp_nonpositive, log1p_nonnegative, log_positive


@njit
def _log(values):
    return np.array([log_positive(value) for value in values])


@njit
def _log1p(values):
    return np.array([log1p_nonnegative(value) for value in values])


@njit
def _exp(values):
    return np.array([exp_nonpositive(value) for value in values])


def ulps(found, exact):
    return np.abs(found - exact) / np.spacing(np.abs(exact))


def test_logarithm_over_all_magnitudes():
    values = np.exp(np.random.default_rng(0).uniform(-700, 700, 20000))
    assert ulps(_log(values), np.log(values)).max() <= 3


def test_logarithm_near_one():
    values = 1 + np.geomspace(1e-15, 0.9, 4000) * np.where(np.arange(4000) % 2, 1, -1)
    assert ulps(_log(values), np.log(values)).max() <= 4
    assert _log(np.array([1.0]))[0] == 0.0


def test_log1p_from_tiny_to_huge():
    values = np.concatenate([np.zeros(1), np.geomspace(1e-300, 1e300, 20000)])
    assert ulps(_log1p(values), np.log1p(values))[1:].max() <= 4
    assert _log1p(values)[0] == 0.0


def test_exponential():
    values = np.concatenate([np.random.default_rng(0).uniform(-700, 1, 20000), -np.geomspace(1e-20, 1, 1000)])
    assert ulps(_exp(values), np.exp(values)).max() <= 4
    assert _exp(np.array([0.0]))[0] == 1.0


def test_exponential_far_below_is_negligible_and_not_negative():
    values = _exp(np.array([-701.0, -1e4, -1e300, -np.inf]))
    assert ((values >= 0) & (values < 1e-303)).all()


@pytest.mark.parametrize("value", [1e-10, 0.3, 0.7071, 1.5, 3e8])
def test_against_arbitrary_precision(value):
    assert abs(_log(np.array([value]))[0] - float(mpmath.log(value))) <= 3 * np.spacing(abs(np.log(value)))
    assert abs(_log1p(np.array([value]))[0] - float(mpmath.log1p(value))) <= 3 * np.spacing(np.log1p(value))
