import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.channels import (
    ConstantLoss,
    DualSlope,
    LosNlos,
    PowerLaw,
    UrbanMacro,
    UrbanMicro,
    breakpoint_distance_m,
    uma_los_probability,
    umi_los_probability,
)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss_db(model, horizontal_m: float, station_m: float = 0.0, user_m: float = 0.0) -> float:
    gain = model.gain(tensor(horizontal_m), tensor(station_m), tensor(user_m))
    return float(-10.0 * gain.log10())


def test_constant_loss():
    gain = ConstantLoss(20.0).gain(tensor(0.0, 1.0, 1e4), tensor(0.0), tensor(10.0))
    torch.testing.assert_close(gain, tensor(1e-2, 1e-2, 1e-2))
    assert float(ConstantLoss().gain(tensor(7.0), tensor(0.0), tensor(0.0))) == 1.0


class TestPowerLaw:
    @pytest.mark.parametrize(
        ("distance", "exponent", "gain"), [(10.0, 2.0, 1e-2), (100.0, 4.0, 1e-8), (0.2, 3.0, 1.0)]
    )
    def test_literal(self, distance, exponent, gain):
        assert float(PowerLaw(exponent).gain(tensor(distance), tensor(0.0), tensor(0.0))) == pytest.approx(
            gain
        )

    def test_heights_and_offset(self):
        assert loss_db(PowerLaw(2.0, loss_at_1m_db=30.0), 3.0, 5.5, 1.5) == pytest.approx(
            30.0 + 20 * math.log10(5)
        )

    def test_distance_on_the_ground(self):
        model = PowerLaw(2.0, loss_at_1m_db=30.0, horizontal=True)
        assert loss_db(model, 3.0, 5.5, 1.5) == pytest.approx(30.0 + 20 * math.log10(3))
        assert loss_db(model, 0.5, 5.5, 1.5) == pytest.approx(30.0)


class TestDualSlope:
    def test_published_form(self):
        """39 + 20 log10 d dB up to 100 m, then 39 + 40 log10 d - 40."""
        model = DualSlope(2.0, 4.0, breakpoint_m=100.0, loss_at_1m_db=39.0)
        assert loss_db(model, 50.0) == pytest.approx(39.0 + 20.0 * math.log10(50.0))
        assert loss_db(model, 300.0) == pytest.approx(39.0 + 40.0 * math.log10(300.0) - 40.0)
        assert loss_db(model, 0.3) == pytest.approx(39.0)

    def test_continuous(self):
        model = DualSlope(2.0, 4.0, breakpoint_m=80.0)
        assert loss_db(model, 80.0 - 1e-9) == pytest.approx(loss_db(model, 80.0 + 1e-9), abs=1e-6)


class TestUrbanMicro:
    """Values worked out by hand from Table 7.4.1-1, at 3.5 GHz (20 log10 f = 10.881361) and 28 GHz."""

    LOS, NLOS = UrbanMicro(3.5e9), UrbanMicro(3.5e9, line_of_sight=False)

    @pytest.mark.parametrize(
        ("horizontal", "expected"),
        [
            # d3D = 13.124405: 32.4 + 21 * 1.118080 + 10.881361
            (10.0, 66.7610),
            # d3D = 100.360600: 32.4 + 21 * 2.001563 + 10.881361
            (100.0, 85.3142),
            # behind d'BP = 210 m; d3D = 300.120401:
            # 32.4 + 40 * 2.477296 + 10.881361 - 9.5 * log10(210^2 + 8.5^2)
            (300.0, 98.2442),
            # below 10 m as at 10 m
            (3.0, 66.7610),
        ],
    )
    def test_line_of_sight(self, horizontal, expected):
        assert loss_db(self.LOS, horizontal, 10.0, 1.5) == pytest.approx(expected, abs=1e-3)

    @pytest.mark.parametrize(
        ("model", "horizontal", "user", "expected"),
        [
            # 35.3 * 2.001563 + 22.4 + 21.3 * 0.544068
            (NLOS, 100.0, 1.5, 104.6438),
            # d3D = 200.090 (h_UT = 4): 35.3 * 2.301225 + 22.4 + 21.3 * 1.447158 - 0.3 * 2.5
            (UrbanMicro(28e9, False), 200.0, 4.0, 133.7077),
        ],
    )
    def test_no_line_of_sight(self, model, horizontal, user, expected):
        assert loss_db(model, horizontal, 10.0, user) == pytest.approx(expected, abs=1e-3)

    def test_never_better_without_line_of_sight(self):
        distance = torch.logspace(0, 3.7, 200, dtype=torch.float64)
        ends = tensor(10.0), tensor(1.5)
        assert bool((self.NLOS.gain(distance, *ends) <= self.LOS.gain(distance, *ends)).all())


class TestUrbanMacro:
    LOS, NLOS = UrbanMacro(3.5e9), UrbanMacro(3.5e9, line_of_sight=False)

    @pytest.mark.parametrize(
        ("horizontal", "expected"),
        [
            # d3D = 102.724145: 28 + 22 * 2.011672 + 10.881361
            (100.0, 83.1382),
            # behind d'BP = 560 m; d3D = 1000.276: 28 + 40 * 3.000120 + 10.881361 - 9 * log10(560^2 + 23.5^2)
            (1000.0, 109.4115),
        ],
    )
    def test_line_of_sight(self, horizontal, expected):
        assert loss_db(self.LOS, horizontal, 25.0, 1.5) == pytest.approx(expected, abs=1e-3)

    @pytest.mark.parametrize(
        ("user", "expected"),
        [
            # 13.54 + 39.08 * 2.011672 + 10.881361
            (1.5, 103.0375),
            # d3D = 101.272: 13.54 + 39.08 * 2.005491 + 10.881361 - 0.6 * 7.5
            (9.0, 98.2959),
        ],
    )
    def test_no_line_of_sight(self, user, expected):
        assert loss_db(self.NLOS, 100.0, 25.0, user) == pytest.approx(expected, abs=1e-3)


def test_breakpoint_of_table_note():
    """4 * 9 * 0.5 * 3.5e9 / 3e8 = 210 m in UMi, 4 * 24 * 0.5 * 3.5e9 / 3e8 = 560 m in UMa."""
    assert float(breakpoint_distance_m(tensor(10.0), tensor(1.5), 3.5e9)) == pytest.approx(210.0)
    assert float(breakpoint_distance_m(tensor(1.5), tensor(25.0), 3.5e9)) == pytest.approx(560.0)


@given(
    model=st.sampled_from([UrbanMicro, UrbanMacro]),
    carrier_hz=st.floats(0.5e9, 100e9),
    station=st.floats(5.0, 40.0),
    user=st.floats(1.5, 4.0),
)
def test_continuous_at_the_breakpoint(model, carrier_hz, station, user):
    """At d_2D = d_BP the last term of PL2 is a multiple of log10 d_3D: 40 - 2 * 9.5 = 21, 40 - 2 * 9 = 22."""
    edge = float(breakpoint_distance_m(tensor(station), tensor(user), carrier_hz))
    if edge > 10.0:
        before = loss_db(model(carrier_hz), edge * (1 - 1e-12), station, user)
        behind = loss_db(model(carrier_hz), edge * (1 + 1e-12), station, user)
        assert behind == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("model", [UrbanMicro, UrbanMacro, DualSlope, PowerLaw])
def test_reciprocal_and_decreasing(model):
    model = {
        PowerLaw: PowerLaw(3.0),
        DualSlope: DualSlope(2.0, 4.0, 50.0),
    }.get(model) or model(3.5e9, line_of_sight=False)
    distance = torch.linspace(12.0, 2000.0, 400, dtype=torch.float64)
    forth = model.gain(distance, tensor(10.0), tensor(1.5))
    back = model.gain(distance, tensor(1.5), tensor(10.0))
    assert torch.equal(forth, back)
    assert bool((forth.diff() < 0).all())


class TestLosProbability:
    @pytest.mark.parametrize(
        ("distance", "expected"),
        # 18 / 100 + exp(-100 / 36) * 0.82; 1 up to 18 m
        [(5.0, 1.0), (18.0, 1.0), (100.0, 0.2309847)],
    )
    def test_umi(self, distance, expected):
        assert float(umi_los_probability(tensor(distance), tensor(1.5))) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("distance", "height", "expected"),
        [
            (10.0, 1.5, 1.0),
            # 18 / 100 + exp(-100 / 63) * 0.82
            (100.0, 1.5, 0.3476714),
            # the same * (1 + 1 * 1.25 * exp(-100 / 150))
            (100.0, 23.0, 0.5707955),
        ],
    )
    def test_uma(self, distance, height, expected):
        assert float(uma_los_probability(tensor(distance), tensor(height))) == pytest.approx(
            expected, abs=1e-6
        )

    @given(distance=st.floats(0.0, 5000.0), height=st.floats(0.0, 30.0))
    def test_is_a_probability(self, distance, height):
        for probability in (umi_los_probability, uma_los_probability):
            assert 0.0 <= float(probability(tensor(distance), tensor(height))) <= 1.0


class TestLosNlos:
    MODEL = LosNlos(PowerLaw(2.0), PowerLaw(4.0), umi_los_probability)

    def test_mask(self):
        mask = torch.tensor([True, False])
        gain = self.MODEL.gain_given(mask, tensor(10.0, 10.0), tensor(0.0), tensor(0.0))
        torch.testing.assert_close(gain, tensor(1e-2, 1e-4))

    def test_mean(self):
        p = float(umi_los_probability(tensor(100.0), tensor(0.0)))
        gain = self.MODEL.gain(tensor(100.0), tensor(0.0), tensor(0.0))
        assert float(gain) == pytest.approx(p * 1e-4 + (1 - p) * 1e-8)

    def test_the_lower_end_is_the_user(self):
        model = LosNlos(PowerLaw(2.0), PowerLaw(4.0), uma_los_probability)
        for ends in ((tensor(25.0), tensor(23.0)), (tensor(23.0), tensor(25.0))):
            assert float(model.los_probability(tensor(100.0), *ends)) == pytest.approx(0.5707955, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PowerLaw(0.0), "exponent: must be finite and positive, received 0.0"),
        (lambda: ConstantLoss(math.inf), "loss_db: must be finite, received inf"),
        (lambda: DualSlope(2.0, 4.0, 0.5), "breakpoint_m: must be finite and at least 1, received 0.5"),
        (lambda: UrbanMicro(-3.5e9), "carrier_hz: must be finite and positive, received -3500000000.0"),
        (
            lambda: UrbanMicro(3.5e9).gain(tensor(50.0), tensor(10.0), tensor(0.0)),
            "height: antennas of TR 38.901 must be higher than 1 m, received 0 m",
        ),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
