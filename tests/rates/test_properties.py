"""Limits, order, gradients and published facts of the rates."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm import rates

LOSS = rates.back_off(1e-5, 0.125e-3)
LEAKAGE = rates.back_off(1e-2, 0.125e-3)


def spread(dtype=torch.float64):
    """Bandwidths and SNRs over the whole range, with users that have no bandwidth and users that have no channel."""
    width = torch.cat([torch.zeros(1), torch.logspace(0, 9, 28)]).to(dtype)
    snr = torch.cat([torch.zeros(1), torch.logspace(-4, 14, 37)]).to(dtype)
    width, snr = torch.meshgrid(width, snr, indexing="ij")
    return width.reshape(-1), (snr * torch.clamp(width, min=1.0)).reshape(-1)


CURVES = {
    "shannon": (
        lambda w, c: rates.shannon_rate(w, c),
        lambda w, c: rates.shannon_slope(w, c),
        lambda w, c: rates.shannon_curvature(w, c),
    ),
    "short": tuple(
        (lambda w, c, f=f: f(w, c, LOSS))
        for f in (
            rates.finite_blocklength_rate,
            rates.finite_blocklength_slope,
            rates.finite_blocklength_curvature,
        )
    ),
    "secrecy": tuple(
        (lambda w, c, f=f: f(w, c, 0.3 * c))
        for f in (rates.secrecy_rate, rates.secrecy_slope, rates.secrecy_curvature)
    ),
    "secrecy-short": tuple(
        (lambda w, c, f=f: f(w, c, 0.3 * c, LOSS, LEAKAGE))
        for f in (rates.secrecy_rate, rates.secrecy_slope, rates.secrecy_curvature)
    ),
}


@pytest.mark.parametrize("name", CURVES)
def test_slope_and_curvature_are_derivatives(name):
    rate, slope, curvature = CURVES[name]
    width, cn0 = spread()
    kept = (width > 0) & (cn0 > 0)
    width, cn0 = width[kept].requires_grad_(), cn0[kept]
    # Autograd loses digits in terms that cancel analytically; the bound is on their size.
    (first,) = torch.autograd.grad(rate(width, cn0).sum(), width, create_graph=True)
    size = torch.log2(1 + cn0 / width) + LOSS / width.sqrt()
    assert ((first - slope(width, cn0)).abs() <= 1e-12 * size).all()
    (second,) = torch.autograd.grad(slope(width, cn0).sum(), width)
    assert ((second - curvature(width, cn0)).abs() <= 1e-9 * size / width).all()


@pytest.mark.parametrize("name", CURVES)
def test_gradcheck(name):
    rate, slope, _ = CURVES[name]
    # In units of 1 MHz, so that gradcheck's differences are sensible.
    scale, cn0 = 1e6, torch.tensor([0.3, 4.0, 70.0], dtype=torch.float64, requires_grad=True)
    width = torch.tensor([1.0, 0.2, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w, c: rate(w * scale, c * scale) / scale, (width, cn0))
    assert torch.autograd.gradcheck(lambda w, c: slope(w * scale, c * scale), (width, cn0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CURVES)
def test_finite_everywhere_with_finite_gradients(name, dtype):
    width, cn0 = (tensor.requires_grad_() for tensor in spread(dtype))
    for function in CURVES[name]:
        value = function(width, cn0)
        assert torch.isfinite(value).all()
    assert (CURVES[name][0](torch.zeros(1, dtype=dtype), torch.ones(1, dtype=dtype)) == 0).all()
    gradients = torch.autograd.grad(CURVES[name][0](width, cn0).sum(), (width, cn0))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("loss", [0.0, LOSS])
def test_effective_capacity_is_finite_with_finite_gradients(rayleigh, loss):
    width, cn0 = (tensor.requires_grad_() for tensor in spread(torch.float32))
    for function in (
        rates.effective_capacity,
        rates.effective_capacity_slope,
        rates.effective_capacity_curvature,
    ):
        assert torch.isfinite(function(width, cn0, rayleigh, 1e-6, loss)).all()
    value = rates.effective_capacity(width, cn0, rayleigh, 1e-6, loss)
    assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(value.sum(), (width, cn0)))


def test_nobody_listening_is_the_data_rate():
    width, cn0 = spread()
    silent = torch.zeros_like(cn0)
    for secret, plain in zip(
        (rates.secrecy_rate, rates.secrecy_slope, rates.secrecy_curvature),
        (rates.shannon_rate, rates.shannon_slope, rates.shannon_curvature),
        strict=True,
    ):
        torch.testing.assert_close(secret(width, cn0, silent), plain(width, cn0), rtol=1e-9, atol=1e-300)
    short = rates.secrecy_rate(width, cn0, silent, LOSS, LEAKAGE)
    torch.testing.assert_close(short, rates.finite_blocklength_rate(width, cn0, LOSS), rtol=1e-12, atol=1e-9)


@given(st.floats(0.0, 1e18), st.floats(1.0, 10.0), st.floats(1.0, 1e9))
def test_a_better_eavesdropper_leaves_nothing(cn0, factor, width):
    own, w, e = (torch.tensor(value, dtype=torch.float64) for value in (cn0, width, cn0 * factor))
    for function in (rates.secrecy_rate, rates.secrecy_slope, rates.secrecy_curvature):
        assert function(w, own, e) == 0
        assert function(w, own, e, LOSS, LEAKAGE) == 0


def test_finite_blocklength_tends_to_shannon():
    width, cn0 = torch.tensor(1e6, dtype=torch.float64), torch.tensor(3e7, dtype=torch.float64)
    shannon = rates.shannon_rate(width, cn0)
    gaps = [
        (1 - rates.finite_blocklength_rate(width, cn0, rates.back_off(1e-5, duration_s)) / shannon).item()
        for duration_s in (1e-5, 1e-3, 1e-1, 1e1)
    ]
    for longer, shorter in zip(gaps[1:], gaps[:-1], strict=True):
        assert longer == pytest.approx(shorter / 10, rel=1e-6)  # as the square root of the duration
    assert gaps[-1] < 1e-3


def test_back_off_at_half_is_nothing():
    assert rates.back_off(0.5, 1e-3) == pytest.approx(0.0, abs=1e-12)
    assert rates.back_off(1e-9, 1e-3) > rates.back_off(1e-3, 1e-3) > 0


@pytest.mark.parametrize("name", ["shannon", "secrecy"])
def test_long_blocks_increase_and_are_concave(name):
    """Appendix A of [Hao2024], for the data rate and the secrecy rate."""
    _, slope, curvature = CURVES[name]
    width, cn0 = spread()
    kept = (width > 0) & (cn0 > 0)
    assert (slope(width[kept], cn0[kept]) > 0).all()
    assert (curvature(width[kept], cn0[kept]) < 0).all()


def test_short_block_data_rate_is_convex_below_nine_kilohertz_only():
    """At high SNR the inflection is at `(Q^-1(eps))^2 / (16 T)`; [Hao2024] has it concave after [Sun2019]."""
    inflection_hz = (LOSS * math.log(2)) ** 2 / 16
    assert inflection_hz == pytest.approx(9.1e3, rel=0.01)
    width = torch.logspace(1, 9, 400, dtype=torch.float64)
    for cn0 in (1e9, 1e11, 1e14):
        below = width < 0.999 * inflection_hz
        bend = rates.finite_blocklength_curvature(width, torch.full_like(width, cn0), LOSS)
        assert (bend[below] > 0).all()
        assert (bend[width > 1.001 * inflection_hz] < 0).all()


def test_short_block_secrecy_is_convex_far_beyond():
    """With `e` well below `c` the rate is nearly linear, and the losses, which are concave, make it convex."""
    width = torch.logspace(3, 7, 50, dtype=torch.float64)
    bend = rates.secrecy_curvature(
        width, torch.full_like(width, 1e11), torch.full_like(width, 1e9), LOSS, LEAKAGE
    )
    assert (bend > 0).all()


@given(st.floats(5.0, 12.0), st.floats(4.0, 8.0), st.sampled_from([0.0, LOSS]))
def test_effective_capacity_falls_with_the_exponent_from_the_mean_rate(rayleigh, log_cn0, log_width, loss):
    width = torch.tensor(10**log_width, dtype=torch.float64)
    cn0 = torch.tensor(10**log_cn0, dtype=torch.float64)
    gain, weight = rayleigh
    mean = (weight * rates.finite_blocklength_rate(width, cn0 * gain, loss)).sum()
    scale = (weight * rates.shannon_rate(width, cn0 * gain)).sum() + loss * width.sqrt()
    values = [
        rates.effective_capacity(width, cn0, rayleigh, theta, loss)
        for theta in (1e-15, 1e-8, 1e-7, 1e-6, 1e-5)
    ]
    assert abs(values[0] - mean) <= 1e-6 * scale
    assert all(more <= less + 1e-12 * scale for more, less in zip(values[1:], values[:-1], strict=True))


@pytest.mark.parametrize("loss", [0.0, LOSS])
def test_effective_capacity_derivatives(rayleigh, loss):
    width = torch.logspace(3, 8, 30, dtype=torch.float64).requires_grad_()
    cn0 = torch.logspace(5, 12, 30, dtype=torch.float64).flip(0)
    value = rates.effective_capacity(width, cn0, rayleigh, 1e-6, loss)
    slope = rates.effective_capacity_slope(width, cn0, rayleigh, 1e-6, loss)
    curvature = rates.effective_capacity_curvature(width, cn0, rayleigh, 1e-6, loss)
    size = torch.log2(2 + cn0 / width) + loss / width.sqrt()
    (first,) = torch.autograd.grad(value.sum(), width, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), width)
    assert ((first - slope).abs() <= 1e-9 * size).all()
    assert ((second - curvature).abs() <= 1e-9 * size / width * (1 + 1e-6 * value.abs())).all()
    if not loss:
        assert (slope > 0).all()
        assert (curvature < 0).all()


def test_a_ratio_that_overflows_has_the_rate_of_the_largest_number():
    """2^128 in single precision."""
    gain, power, noise = torch.tensor([[1e30]]), torch.tensor([1e10]), torch.tensor(1e-10)
    torch.testing.assert_close(rates.interference_rate(gain, power, noise), torch.tensor([128.0]))
