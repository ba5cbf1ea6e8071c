"""Rates of packets against arbitrary precision; the least SINR is the inverse."""

import itertools
import math

import pytest
import torch
from tests.rates.precise import mpf, mpmath

from torchrrm.rates import (
    least_packet_sinr,
    packet_back_off,
    packet_rate,
    packet_rate_slope,
)

SINRS = (1e-6, 1e-3, 0.3, 1.0, 7.0, 120.0, 1e5)
BACK_OFFS = (0.0, 0.05, 0.377, 1.9)


def grid(*axes, dtype=torch.float64):
    return torch.tensor(list(itertools.product(*axes)), dtype=dtype).unbind(-1)


def exact_rate(sinr, back_off):
    return mpmath.log(1 + sinr) - back_off * mpmath.sqrt(1 - (1 + sinr) ** -2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_rate(dtype, tolerance):
    sinr, back_off = grid(SINRS, BACK_OFFS, dtype=dtype)
    found = packet_rate(sinr, back_off)
    for g, b, rate in zip(sinr.tolist(), back_off.tolist(), found.tolist(), strict=True):
        scale = math.log1p(g) + b * math.sqrt(g * (g + 2)) / (1 + g)
        assert abs(rate - float(exact_rate(mpf(g), mpf(b)))) <= tolerance * scale


def test_slope_by_the_logarithm():
    log_sinr, back_off = grid((1e-4, 0.02, 0.7, 3.0, 9.0), BACK_OFFS)
    found = packet_rate_slope(log_sinr, back_off)
    for r, b, slope in zip(log_sinr.tolist(), back_off.tolist(), found.tolist(), strict=True):
        exact = mpmath.diff(lambda x, b=b: exact_rate(mpmath.expm1(x), mpf(b)), mpf(r))
        assert slope == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


def test_back_off():
    error, blocklength = grid((1e-9, 1e-5, 0.1, 0.49), (16.0, 128.0, 2000.0))
    found = packet_back_off(error, blocklength)
    for eps, n, value in zip(error.tolist(), blocklength.tolist(), found.tolist(), strict=True):
        exact = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpf(eps)) / mpmath.sqrt(n)
        assert value == pytest.approx(float(exact), rel=1e-10)


def test_least_sinr_is_the_inverse():
    rate, back_off = grid((1e-4, 0.05, 0.69, 1.39, 5.0), BACK_OFFS)
    least = least_packet_sinr(rate, back_off)
    torch.testing.assert_close(packet_rate(least, back_off), rate, rtol=1e-11, atol=1e-14)
    beyond = least[:, None] * torch.logspace(0, 6, 50, dtype=torch.float64)
    assert (packet_rate(beyond, back_off[:, None]).diff(dim=-1) > 0).all()  # no larger SINR has that rate


def test_nothing_asked_for_needs_nothing():
    rate, back_off = torch.tensor([0.0, 1.0]), torch.tensor(0.3)
    least = least_packet_sinr(rate, back_off)
    assert least[0] == 0
    assert least[1] > 0


def test_gradients():
    sinr, back_off = grid((1e-3, 0.3, 7.0, 120.0), BACK_OFFS)
    assert torch.autograd.gradcheck(packet_rate, (sinr.requires_grad_(), back_off.requires_grad_()))
    nothing = torch.zeros(3, requires_grad=True)
    packet_rate(nothing, torch.tensor(0.3)).sum().backward()
    assert nothing.grad is not None
    assert torch.isfinite(nothing.grad).all()
