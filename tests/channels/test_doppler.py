import math

import pytest
import scipy.special
import scipy.stats
import torch

from torchrrm.channels import CorrelatedRayleigh, Rayleigh

FAST = CorrelatedRayleigh(speed_m_per_s=10.0, sinusoids=16)
SHAPE = (40, 64, 10, 10)  # [batch slot rx tx]


@pytest.fixture(scope="module")
def channel() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return FAST.sample_slot_channel(SHAPE, generator=generator, dtype=torch.complex128)


def test_doppler_of_the_defaults():
    """1 m/s at 2.4 GHz: the wavelength is 12.5 cm, so 8 Hz."""
    assert CorrelatedRayleigh().doppler_hz == pytest.approx(8.0055, rel=1e-4)


def test_autocorrelation_is_the_bessel_function(channel):
    links = SHAPE[0] * SHAPE[2] * SHAPE[3]
    for lag in (0, 1, 3, 8, 20, 63):
        product = channel[:, lag:] * channel[:, : SHAPE[1] - lag].conj()
        # One link's slots are dependent, so that the error is that of the 4000 links.
        expected = scipy.special.j0(2.0 * math.pi * FAST.doppler_hz * lag * FAST.slot_s)
        assert abs(complex(product.mean()) - expected) < 5.0 / math.sqrt(links)


def test_amplitude_at_any_time_is_rayleigh(channel):
    """`E |z|^4 = 2 - 1 / N` exactly; the whole distribution only nearly."""
    for slot in (0, 63):
        gain = channel[:, slot].abs().square()
        assert float(gain.mean()) == pytest.approx(1.0, abs=0.08)
        assert float(gain.square().mean()) == pytest.approx(2.0 - 1.0 / 16.0, abs=0.35)
        assert scipy.stats.kstest(gain.flatten().numpy(), "expon").pvalue > 1e-3
    amplitude = channel.abs()
    assert float(amplitude.mean()) == pytest.approx(math.sqrt(math.pi) / 2.0, abs=0.02)


def test_links_are_uncorrelated(channel):
    one, other = channel[:, :, :-1], channel[:, :, 1:]
    assert abs(complex((one * other.conj()).mean())) < 0.05
    assert abs(complex((channel * channel.conj().mT).mean() - 0.1)) < 0.05  # the diagonal is a tenth of all


def test_gain_is_the_channels_power():
    draws = [torch.Generator().manual_seed(2) for _ in range(2)]
    channel = FAST.sample_slot_channel((3, 5, 2, 2), generator=draws[0], dtype=torch.complex128)
    gain = FAST.sample_slot_gain((3, 5, 2, 2), generator=draws[1], dtype=torch.float64)
    torch.testing.assert_close(gain, channel.abs().square())


def test_slow_fading_stays():
    """Over 4 slots of 1 ms at 1 cm/s nothing changes; precision and device are the caller's."""
    still = CorrelatedRayleigh(speed_m_per_s=0.01)
    for dtype in (torch.float32, torch.float64):
        gain = still.sample_slot_gain((4, 3, 3), generator=torch.Generator().manual_seed(0), dtype=dtype)
        assert gain.dtype == dtype
        torch.testing.assert_close(gain[0], gain[3], rtol=0.0, atol=0.05)
        assert float(gain.std(dim=(1, 2))[0]) > 0.1


def test_without_time_it_is_rayleigh():
    draws = [
        fading.sample_gain((50,), generator=torch.Generator().manual_seed(4)) for fading in (FAST, Rayleigh())
    ]
    assert torch.equal(*draws)
    draws = [
        fading.sample_channel((50,), generator=torch.Generator().manual_seed(4))
        for fading in (FAST, Rayleigh())
    ]
    assert torch.equal(*draws)
    gain = torch.linspace(-1.0, 3.0, 9)
    assert torch.equal(FAST.pdf(gain), Rayleigh().pdf(gain))
    assert torch.equal(FAST.log_pdf(gain), Rayleigh().log_pdf(gain))
    nodes, weights = FAST.quadrature()
    assert float((nodes * weights).sum()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slot_s": 0.0}, "slot_s: must be finite and positive, received 0.0"),
        ({"speed_m_per_s": math.nan}, "speed_m_per_s: must be finite and positive, received nan"),
        ({"carrier_hz": -1.0}, "carrier_hz: must be finite and positive, received -1.0"),
        ({"carrier_hz": 2.4}, "carrier_hz: 2.4 Hz is below 1 MHz; give the carrier in Hz .*"),
        ({"sinusoids": 0}, "sinusoids: must be at least 1, received 0"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        CorrelatedRayleigh(**change)
