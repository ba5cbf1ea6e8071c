import math
from itertools import pairwise
from typing import Any

import mpmath
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.channels import Fading, LogNormal, Nakagami, NoFading, Rayleigh, Rice

FADINGS = [
    Rayleigh(),
    Nakagami(0.5),
    Nakagami(2),
    Nakagami(3.3),
    Nakagami(6),
    Rice(0.0),
    Rice.from_amplitude(1),
    Rice.from_amplitude(5),
]
RATES = [0.0, 1e-3, 1.0, 1e3, 1e6, 1e10, 1e14]
EXPONENTS = [1e-3, 2.5, 300.0]
SCALES = [1e-6, 1e-2, 1.0, 1e2, 1e5, 1e14]


def oracle(fading: Fading) -> Any:
    """The same gain's distribution by scipy."""
    if isinstance(fading, Rice):
        spread = 0.5 / (fading.k_factor + 1.0)
        return scipy.stats.ncx2(2, 2.0 * fading.k_factor, scale=spread)
    m = fading.m if isinstance(fading, Nakagami) else 1.0
    return scipy.stats.gamma(m, scale=1.0 / m)


def power_variance(fading: Fading) -> float:
    if isinstance(fading, Rice):
        return (2.0 * fading.k_factor + 1.0) / (fading.k_factor + 1.0) ** 2
    return 1.0 / (fading.m if isinstance(fading, Nakagami) else 1.0)


def mean_exponential(fading: Fading, rate: float) -> Any:
    """E[exp(-s g)] in closed form."""
    s = mpmath.mpf(rate)
    if isinstance(fading, Rice):
        k = mpmath.mpf(fading.k_factor)
        return (k + 1) / (k + 1 + s) * mpmath.exp(-k * s / (k + 1 + s))
    m = mpmath.mpf(fading.m) if isinstance(fading, Nakagami) else mpmath.mpf(1)
    return (1 + s / m) ** -m


def mean_power(shape: float, rate: float, scale: float, exponent: float) -> Any:
    """E[(1 + x g)^-p] for a gamma gain: z^m U(m, m + 1 - p, z) with z = rate / x (DLMF 13.4.4)."""
    z = mpmath.mpf(rate) / mpmath.mpf(scale)
    return z**shape * mpmath.hyperu(shape, shape + 1 - mpmath.mpf(exponent), z)


@pytest.mark.parametrize("fading", FADINGS, ids=str)
class TestSampling:
    SIZE = 200_000

    def test_unit_mean_power(self, fading, generator):
        gain = fading.sample_gain((self.SIZE,), generator=generator, dtype=torch.float64)
        deviation = math.sqrt(power_variance(fading) / self.SIZE)
        assert abs(float(gain.mean()) - 1.0) < 5.0 * deviation

    def test_gain_follows_the_density(self, fading, generator):
        gain = fading.sample_gain((20_000,), generator=generator, dtype=torch.float64)
        assert scipy.stats.kstest(gain.numpy(), oracle(fading).cdf).pvalue > 1e-3

    def test_channel_has_the_gain_and_a_uniform_phase(self, fading, generator):
        channel = fading.sample_channel((20_000,), generator=generator, dtype=torch.complex128)
        assert scipy.stats.kstest(channel.abs().square().numpy(), oracle(fading).cdf).pvalue > 1e-3
        turn = (channel.angle() / (2 * math.pi) + 0.5).numpy()
        assert scipy.stats.kstest(turn, "uniform").pvalue > 1e-3

    def test_reproducible_and_shaped(self, fading):
        draws = [
            fading.sample_gain((3, 4), generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
        ]
        assert draws[0].shape == (3, 4)
        assert draws[0].dtype == torch.float32
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])
        channel = fading.sample_channel((2,), generator=torch.Generator())
        assert channel.dtype == torch.complex64

    def test_leaves_the_global_generator_alone(self, fading, generator):
        before = torch.get_rng_state()
        fading.sample_gain((8,), generator=generator)
        fading.sample_channel((8,), generator=generator)
        assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("fading", FADINGS, ids=str)
class TestDensity:
    def test_matches_scipy(self, fading):
        gain = torch.logspace(-6, 1.3, 40, dtype=torch.float64)
        expected = torch.from_numpy(oracle(fading).logpdf(gain.numpy()))
        torch.testing.assert_close(fading.log_pdf(gain), expected, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(fading.pdf(gain), expected.exp(), rtol=1e-7, atol=0.0)

    def test_nothing_below_zero(self, fading):
        assert torch.equal(fading.pdf(torch.tensor([-1.0, -1e-9])), torch.zeros(2))


@pytest.mark.parametrize("fading", FADINGS, ids=str)
class TestQuadrature:
    def test_form(self, fading):
        gain, weight = fading.quadrature()
        assert gain.dtype == weight.dtype == torch.float64
        assert gain.shape == weight.shape
        assert 120 < len(gain) < 330
        assert bool((gain.diff() > 0).all())
        assert bool((gain > 0).all())
        assert bool((weight >= 0).all())
        assert float(weight.sum()) == pytest.approx(1.0, abs=1e-14)

    def test_mean_is_one(self, fading):
        gain, weight = fading.quadrature()
        assert float(weight @ gain) == pytest.approx(1.0, abs=1e-10)

    @pytest.mark.parametrize("rate", RATES)
    def test_exponential(self, fading, rate):
        gain, weight = fading.quadrature()
        with mpmath.workdps(30):
            expected = float(mean_exponential(fading, rate))
        assert float(weight @ torch.exp(-rate * gain)) == pytest.approx(expected, rel=1e-10, abs=0.0)

    def test_power(self, fading):
        """The expectation of effective capacity, to a relative error of 1e-10 however small it is."""
        gain, weight = fading.quadrature()
        for exponent in EXPONENTS:
            for scale in SCALES:
                expected = self.expected_power(fading, scale, exponent)
                value = float(weight @ torch.exp(-exponent * torch.log1p(scale * gain)))
                assert value == pytest.approx(expected, rel=1e-10, abs=0.0), (exponent, scale)

    @staticmethod
    def expected_power(fading: Fading, scale: float, exponent: float) -> float:
        with mpmath.workdps(30):
            if not isinstance(fading, Rice):
                m = fading.m if isinstance(fading, Nakagami) else 1.0
                return float(mean_power(m, m, scale, exponent))
            k = fading.k_factor
            if not k:
                return float(mean_power(1.0, 1.0, scale, exponent))
        return rice_power(k, scale, exponent)


def rice_power(k: float, scale: float, exponent: float) -> float:
    """E[(1 + x g)^-p] by adaptive quadrature in u = ln g, piecewise, with scipy's density."""
    density = oracle(Rice(k))

    def integrand(u: float) -> float:
        g = math.exp(u)
        return float(density.pdf(g)) * math.exp(u - exponent * math.log1p(scale * g))

    cuts = [-80.0, -60.0, -45.0, -35.0, -25.0, -15.0, -8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.2]
    parts = [
        scipy.integrate.quad(integrand, a, b, epsabs=0.0, epsrel=1e-12, limit=200)[0]
        for a, b in pairwise(cuts)
    ]
    return math.fsum(parts)


def test_quadrature_of_a_chosen_size():
    gain, weight = Rayleigh().quadrature(64)
    assert len(gain) == 64
    assert float(weight @ torch.exp(-gain)) == pytest.approx(0.5, rel=1e-3)
    with pytest.raises(ValueError, match=r"^nodes: must be at least 8, received 2$"):
        Rayleigh().quadrature(2)


@given(m=st.floats(0.5, 60.0), rate=st.floats(-3.0, 6.0).map(lambda e: 10.0**e))
def test_quadrature_for_any_nakagami(m, rate):
    gain, weight = Nakagami(m).quadrature()
    expected = math.exp(-m * math.log1p(rate / m))
    assert float(weight @ torch.exp(-rate * gain)) == pytest.approx(expected, rel=1e-10, abs=0.0)


@given(k=st.floats(0.0, 100.0), rate=st.floats(-3.0, 4.0).map(lambda e: 10.0**e))
def test_quadrature_for_any_rice(k, rate):
    gain, weight = Rice(k).quadrature()
    expected = float(mean_exponential(Rice(k), rate))
    assert float(weight @ torch.exp(-rate * gain)) == pytest.approx(expected, rel=1e-10, abs=0.0)


def test_equal_special_cases():
    gain = torch.linspace(0.01, 10.0, 50, dtype=torch.float64)
    for same in (Nakagami(1.0), Rice(0.0)):
        torch.testing.assert_close(same.log_pdf(gain), Rayleigh().log_pdf(gain), rtol=1e-12, atol=1e-12)


def test_rice_of_the_paper():
    assert Rice.from_amplitude(3).k_factor == pytest.approx(4.5)
    assert Rice.from_amplitude(2, sigma=2.0).k_factor == pytest.approx(0.5)


class TestShadowing:
    def test_median_spread_and_mean(self, generator):
        shadowing = LogNormal(8.0)
        gain = shadowing.sample_gain((200_000,), generator=generator, dtype=torch.float64)
        decibels = 10.0 * gain.log10()
        assert abs(float(decibels.mean())) < 5 * 8.0 / math.sqrt(200_000)
        assert float(decibels.std()) == pytest.approx(8.0, rel=0.01)
        assert LogNormal(3.0).mean_gain == pytest.approx(
            scipy.stats.lognorm(0.3 * math.log(10.0)).mean(), rel=1e-12
        )

    def test_none(self, generator):
        assert torch.equal(LogNormal(0.0).sample_gain((4,), generator=generator), torch.ones(4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Nakagami(0.4), r"m: must be finite and at least 0.5, received 0.4"),
        (lambda: Nakagami(math.nan), r"m: must be finite and at least 0.5, received nan"),
        (lambda: Rice(-1.0), r"k_factor: must be finite and at least 0, received -1.0"),
        (lambda: Rice.from_amplitude(1, sigma=0.0), r"sigma: must be finite and positive, received 0.0"),
        (lambda: LogNormal(-3.0), r"sigma_db: must be finite and at least 0, received -3.0"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_no_fading(generator):
    """A gain of 1, amplitudes on the unit circle, and one node: an expectation is the value at 1."""
    fading = NoFading()
    assert torch.equal(fading.sample_gain((3, 2), generator=generator), torch.ones(3, 2))
    amplitude = fading.sample_channel((4000,), generator=generator, dtype=torch.complex128)
    torch.testing.assert_close(amplitude.abs(), torch.ones(4000, dtype=torch.float64))
    assert abs(complex(amplitude.mean())) < 5 / math.sqrt(4000)
    for nodes in (None, 64):
        gain, weight = fading.quadrature(nodes)
        assert float(weight @ (-3.0 * gain).exp()) == pytest.approx(math.exp(-3.0), rel=1e-15)
    gain = torch.tensor([0.5, 1.0, 2.0])
    assert fading.pdf(gain).tolist() == [0.0, math.inf, 0.0]
    assert fading.log_pdf(gain).tolist() == [-math.inf, math.inf, -math.inf]
