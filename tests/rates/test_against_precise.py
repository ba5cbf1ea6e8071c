"""Value, slope and curvature against arbitrary precision, over 180 dB of SNR and nine decades of bandwidth."""

import itertools

import pytest
import torch
from tests.rates import precise

from torchrrm import rates

WIDTHS_HZ = (1.0, 37.0, 1.8e4, 1e6, 2.3e8, 1e9)
SNRS_DB = (-40.0, -9.6, -5.1, 0.0, 4.5, 25.0, 60.0, 101.0, 140.0)
EAVESDROPPERS = (0.0, 1e-9, 1e-2, 0.7, 1 - 1e-4, 1 - 1e-9)
LOSS = rates.back_off(1e-5, 0.125e-3)
LEAKAGE = rates.back_off(1e-2, 0.125e-3)

PLAIN = {
    "shannon": (rates.shannon_rate, rates.shannon_slope, rates.shannon_curvature),
    "short": (
        lambda w, c: rates.finite_blocklength_rate(w, c, LOSS),
        lambda w, c: rates.finite_blocklength_slope(w, c, LOSS),
        lambda w, c: rates.finite_blocklength_curvature(w, c, LOSS),
    ),
}


def plain_points(dtype):
    points = [(w, 10 ** (snr_db / 10) * w) for w, snr_db in itertools.product(WIDTHS_HZ, SNRS_DB)]
    return torch.tensor(points, dtype=dtype).unbind(-1)


def wiretap_points(dtype):
    grid = itertools.product(WIDTHS_HZ, SNRS_DB, EAVESDROPPERS)
    points = [(w, 10 ** (snr_db / 10) * w, share * 10 ** (snr_db / 10) * w) for w, snr_db, share in grid]
    width, cn0, eavesdropper = torch.tensor(points, dtype=torch.float64).to(dtype).unbind(-1)
    heard = eavesdropper < cn0  # not so in float32 where they are alike to 1e-9
    return width[heard], cn0[heard], eavesdropper[heard]


def check(functions, terms, points, tolerance):
    for order, function in enumerate(functions):
        found = function(*points).double()
        assert torch.isfinite(found).all()
        for i, point in enumerate(zip(*(column.tolist() for column in points), strict=True)):
            exact, scale = precise.derivatives(terms, *point)[order]
            assert abs(found[i].item() - exact) <= tolerance * scale + 1e-37, (
                order,
                point,
                found[i].item(),
                exact,
            )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("kind", PLAIN)
def test_data_rate(kind, dtype, tolerance):
    check(PLAIN[kind], precise.short(LOSS if kind == "short" else 0.0), plain_points(dtype), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("factors", [(0.0, 0.0), (LOSS, LEAKAGE)], ids=["long", "short"])
def test_secrecy(factors, dtype, tolerance):
    functions = [
        lambda w, c, e, f=f: f(w, c, e, *factors)
        for f in (rates.secrecy_rate, rates.secrecy_slope, rates.secrecy_curvature)
    ]
    check(functions, precise.secrecy(*factors), wiretap_points(dtype), tolerance)
