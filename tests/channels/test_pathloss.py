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
from torchrrm.channels.ends import heights_by_role


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gain_of(model, horizontal_m: torch.Tensor, station_m: float = 0.0, user_m: float = 0.0) -> torch.Tensor:
    return model.gain(horizontal_m, station_height_m=tensor(station_m), user_height_m=tensor(user_m))


def loss_db(model, horizontal_m: float, station_m: float = 0.0, user_m: float = 0.0) -> float:
    gain = gain_of(model, tensor(horizontal_m), station_m, user_m)
    return float(-10.0 * gain.log10())


def test_constant_loss():
    gain = gain_of(ConstantLoss(20.0), tensor(0.0, 1.0, 1e4), 0.0, 10.0)
    torch.testing.assert_close(gain, tensor(1e-2, 1e-2, 1e-2))
    assert float(gain_of(ConstantLoss(), tensor(7.0))) == 1.0


class TestPowerLaw:
    @pytest.mark.parametrize(
        ("distance", "exponent", "gain"), [(10.0, 2.0, 1e-2), (100.0, 4.0, 1e-8), (0.2, 3.0, 1.0)]
    )
    def test_literal(self, distance, exponent, gain):
        assert float(gain_of(PowerLaw(exponent), tensor(distance))) == pytest.approx(gain)

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
            # d3D = 13.124405, at 10 m and below: 35.3 * 1.118080 + 22.4 + 21.3 * 0.544068
            (NLOS, 10.0, 1.5, 73.4569),
            (NLOS, 3.0, 1.5, 73.4569),
        ],
    )
    def test_no_line_of_sight(self, model, horizontal, user, expected):
        assert loss_db(model, horizontal, 10.0, user) == pytest.approx(expected, abs=1e-3)

    def test_between_users_the_loss_with_line_of_sight_is_the_larger_one(self):
        """The breakpoint is at 4 * 0.5 * 0.5 * 3.5e9 / 3e8 m: 32.4 + 120 + 10.881361 - 9.5 log10(11.6667^2)."""
        assert loss_db(self.NLOS, 1000.0, 1.5, 1.5) == pytest.approx(143.0094, abs=1e-3)

    def test_never_better_without_line_of_sight(self):
        distance = torch.logspace(0, 3.7, 200, dtype=torch.float64)
        los, nlos = (gain_of(model, distance, 10.0, 1.5) for model in (self.LOS, self.NLOS))
        assert bool((nlos <= los).all())


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


def breakpoint_m(station_m: float, user_m: float, carrier_hz: float) -> float:
    heights = {"station_height_m": tensor(station_m), "user_height_m": tensor(user_m)}
    return float(breakpoint_distance_m(**heights, carrier_hz=carrier_hz))


def test_breakpoint_of_table_note():
    """4 * 9 * 0.5 * 3.5e9 / 3e8 = 210 m in UMi, 4 * 24 * 0.5 * 3.5e9 / 3e8 = 560 m in UMa."""
    assert breakpoint_m(10.0, 1.5, 3.5e9) == pytest.approx(210.0)
    assert breakpoint_m(25.0, 1.5, 3.5e9) == pytest.approx(560.0)


@given(
    model=st.sampled_from([UrbanMicro, UrbanMacro]),
    carrier_hz=st.floats(0.5e9, 100e9),
    station=st.floats(5.0, 40.0),
    user=st.floats(1.5, 4.0),
)
def test_continuous_at_the_breakpoint(model, carrier_hz, station, user):
    """At d_2D = d_BP the last term of PL2 is a multiple of log10 d_3D: 40 - 2 * 9.5 = 21, 40 - 2 * 9 = 22."""
    edge = breakpoint_m(station, user, carrier_hz)
    if edge > 10.0:
        before = loss_db(model(carrier_hz), edge * (1 - 1e-12), station, user)
        behind = loss_db(model(carrier_hz), edge * (1 + 1e-12), station, user)
        assert behind == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize(
    "model", [UrbanMicro(3.5e9, False), UrbanMacro(3.5e9, False), DualSlope(2.0, 4.0, 50.0), PowerLaw(3.0)]
)
@pytest.mark.parametrize("user", [1.5, 22.5])
def test_decreasing(model, user):
    distance = torch.linspace(12.0, 2000.0, 400, dtype=torch.float64)
    assert bool((gain_of(model, distance, 10.0, user).diff() < 0).all())


@pytest.mark.parametrize(("model", "slope_db"), [(UrbanMicro, 0.3), (UrbanMacro, 0.6)])
@given(distance=st.floats(30.0, 300.0), low=st.floats(1.5, 10.0), rise=st.floats(1.0, 12.5))
def test_a_user_gains_with_its_height_above_the_station_too(model, slope_db, distance, low, rise):
    """An independent form of the table: a h_UT - b log10 d_3D, whichever end is higher."""
    other = (
        loss_db(model(3.5e9, False), distance, 10.0, low),
        loss_db(model(3.5e9, False), distance, 10.0, low + rise),
    )
    slope = 35.3 if model is UrbanMicro else 39.08
    far, near = (math.log10(math.hypot(distance, 10.0 - user)) for user in (low + rise, low))
    assert other[1] - other[0] == pytest.approx(slope * (far - near) - slope_db * rise, abs=1e-9)


def test_a_user_above_its_station():
    """UMi NLoS at 3.5 GHz: 35.3 log10(hypot(150, 12.5)) + 22.4 + 21.3 log10 3.5 - 0.3 (22.5 - 1.5) = 104.558 dB."""
    assert loss_db(UrbanMicro(3.5e9, False), 150.0, 10.0, 22.5) == pytest.approx(104.558, abs=1e-3)


class TestHeightsByRole:
    RX, TX = tensor(10.0, 30.0), tensor(22.5, 1.5)

    def test_the_direction_tells_the_station(self):
        assert heights_by_role("uplink", self.RX, self.TX) == (self.RX, self.TX)
        assert heights_by_role("downlink", self.RX, self.TX) == (self.TX, self.RX)

    @pytest.mark.parametrize("direction", ["device-to-device", "unknown"])
    def test_links_without_a_station_are_reciprocal(self, direction):
        for ends in ((self.RX, self.TX), (self.TX, self.RX)):
            station, user = heights_by_role(direction, *ends)
            assert (station.tolist(), user.tolist()) == ([22.5, 30.0], [10.0, 1.5])


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
            (100.0, 30.0, 0.5707955),
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
        gain = self.MODEL.gain_given(
            mask, tensor(10.0, 10.0), station_height_m=tensor(0.0), user_height_m=tensor(0.0)
        )
        torch.testing.assert_close(gain, tensor(1e-2, 1e-4))

    def test_mean(self):
        p = float(umi_los_probability(tensor(100.0), tensor(0.0)))
        gain = gain_of(self.MODEL, tensor(100.0))
        assert float(gain) == pytest.approx(p * 1e-4 + (1 - p) * 1e-8)

    def test_reads_the_height_of_the_user(self):
        model = LosNlos(PowerLaw(2.0), PowerLaw(4.0), uma_los_probability)
        probability = model.los_probability(tensor(100.0), user_height_m=tensor(23.0))
        assert float(probability) == pytest.approx(0.5707955, abs=1e-6)
        p, gain = float(probability), gain_of(model, tensor(100.0), 10.0, 23.0)
        d = math.hypot(100.0, 13.0)
        assert float(gain) == pytest.approx(p * d**-2 + (1 - p) * d**-4)


GIGAHERTZ = r"carrier_hz: 3.5 Hz is below 1 MHz; give the carrier in Hz \(3.5 GHz is 3.5e9\)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PowerLaw(0.0), "exponent: must be finite and positive, received 0.0"),
        (lambda: ConstantLoss(math.inf), "loss_db: must be finite, received inf"),
        (lambda: DualSlope(2.0, 4.0, 0.5), "breakpoint_m: must be finite and at least 1, received 0.5"),
        (lambda: UrbanMicro(-3.5e9), "carrier_hz: must be finite and positive, received -3500000000.0"),
        (lambda: UrbanMacro(3.5), GIGAHERTZ),
        (lambda: UrbanMicro(3.5), GIGAHERTZ),
        (lambda: breakpoint_m(10.0, 1.5, 3.5), GIGAHERTZ),
        (
            lambda: gain_of(UrbanMicro(3.5e9), tensor(50.0), 10.0, 0.0),
            "height: antennas of TR 38.901 must be higher than 1 m, received 0 m",
        ),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
