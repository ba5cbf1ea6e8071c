"""Effective capacity against adaptive integration of its expectation."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from torchrrm import rates
from torchrrm.channels import Nakagami

LOSS = rates.back_off(1e-5, 0.125e-3)


def integrated(width, cn0, theta, loss, density):
    """`-1/theta ln E[exp(-theta r)]` by adaptive quadrature in `ln g`."""

    def integrand(u):
        gain = math.exp(u)
        snr = cn0 * gain / width
        rate = width * math.log2(1 + snr) - loss * math.sqrt(width * (1 - (1 + snr) ** -2))
        return math.expm1(-theta * rate) * density(gain) * gain

    parts = [
        integrate.quad(integrand, low, low + 3.0, epsabs=1e-15, epsrel=1e-11)[0]
        for low in np.arange(-60, 6, 3.0)
    ]
    return -math.log1p(math.fsum(parts)) / theta


@pytest.mark.parametrize("loss", [0.0, LOSS], ids=["long", "short"])
@pytest.mark.parametrize(("width", "cn0"), [(1e4, 1e7), (3e5, 2e9), (2e6, 4e5), (1e8, 1e9)])
@pytest.mark.parametrize("theta", [1e-8, 1e-6])
def test_rayleigh(rayleigh, width, cn0, theta, loss):
    point = torch.tensor(width, dtype=torch.float64), torch.tensor(cn0, dtype=torch.float64)
    found = rates.effective_capacity(*point, rayleigh, theta, loss)
    assert found.item() == pytest.approx(
        integrated(width, cn0, theta, loss, lambda g: math.exp(-g)), rel=1e-8
    )


def test_nakagami():
    fading = Nakagami(2.0)
    width, cn0 = torch.tensor(1e6, dtype=torch.float64), torch.tensor(1e8, dtype=torch.float64)
    found = rates.effective_capacity(width, cn0, fading.quadrature(), 1e-6)
    assert found.item() == pytest.approx(
        integrated(1e6, 1e8, 1e-6, 0.0, lambda g: 4 * g * math.exp(-2 * g)), rel=1e-8
    )


def test_float32_is_as_good_as_float64(rayleigh):
    width = torch.logspace(0, 9, 60)
    for snr in (1e-4, 1.0, 1e5, 1e14):
        cn0 = snr * width
        for loss in (0.0, LOSS):
            found = rates.effective_capacity(width, cn0, rayleigh, 1e-6, loss)
            exact = rates.effective_capacity(width.double(), cn0.double(), rayleigh, 1e-6, loss)
            scale = exact.abs() + loss * width.sqrt()
            assert ((found - exact).abs() <= 1e-5 * scale).all()
