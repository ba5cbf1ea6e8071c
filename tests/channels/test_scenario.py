import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.channels import (
    SCENARIOS,
    BoundedPowerLaw,
    CellularLinks,
    ChannelDraw,
    Drop,
    LosNlos,
    Nakagami,
    PairedLinks,
    PowerLaw,
    Rayleigh,
    Rice,
    Scenario,
    SquareCell,
    UrbanMicro,
    hml_scenario,
    metagnn_scenario,
    seven_cell_scenario,
    uma_scenario,
    umi_scenario,
    urllc_scenario,
)
from torchrrm.channels.ends import Direction
from torchrrm.records import batch_shape, stack


class FixedPlaces:
    """Two transmitters and three receivers on a line, none at the same distance from another."""

    direction: Direction = "unknown"

    def sample(self, *batch_shape, transmitters, receivers, generator, dtype=torch.float32) -> Drop:
        rx = torch.tensor([[0.0, 0.0, 0.0], [20.0, 0.0, 0.0], [70.0, 0.0, 0.0]], dtype=dtype)
        tx = torch.tensor([[10.0, 0.0, 0.0], [60.0, 0.0, 8.0]], dtype=dtype)
        return Drop(rx_position_m=rx.expand(*batch_shape, 3, 3), tx_position_m=tx.expand(*batch_shape, 2, 3))


class TestIndexOrder:
    """`gain[..., rx, tx]`: a transposed gain changes rates in silence."""

    def test_gain_is_receiver_by_transmitter(self, generator):
        scenario = Scenario(FixedPlaces(), PowerLaw(2.0))
        draw = scenario.sample(4, transmitters=2, receivers=3, generator=generator, dtype=torch.float64)
        expected = torch.tensor(
            [[1 / 100, 1 / 3664], [1 / 100, 1 / 1664], [1 / 3600, 1 / 164]], dtype=torch.float64
        )
        torch.testing.assert_close(draw.large_scale_gain, expected.expand(4, 3, 2))

    def test_station_is_receiver_zero(self, generator):
        draw = hml_scenario(shadowing_db=0.0).sample(
            transmitters=5, receivers=2, generator=generator, dtype=torch.float64
        )
        for receiver in range(2):
            distance = (draw.rx_position_m[receiver] - draw.tx_position_m).norm(dim=-1)
            torch.testing.assert_close(draw.large_scale_gain[receiver], distance.clamp_min(1.0) ** -4.0)
        assert draw.rx_position_m[0].tolist() == [0.0, 0.0, 0.0]


@given(
    name=st.sampled_from(sorted(SCENARIOS)),
    batch=st.lists(st.integers(0, 3), max_size=2),
    transmitters=st.integers(1, 5),
    receivers=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_shapes_range_and_reproducibility(name, batch, transmitters, receivers, dtype):
    if isinstance(SCENARIOS[name]().topology, PairedLinks | CellularLinks):
        receivers = transmitters
    draws = [
        SCENARIOS[name]().sample(
            *batch,
            transmitters=transmitters,
            receivers=receivers,
            generator=torch.Generator().manual_seed(3),
            dtype=dtype,
        )
        for _ in range(2)
    ]
    shape = (*batch, receivers, transmitters)
    assert draws[0].large_scale_gain.shape == draws[0].small_scale_gain.shape == draws[0].gain.shape == shape
    assert draws[0].gain.dtype == dtype
    assert batch_shape(draws[0]) == tuple(batch)
    assert bool((draws[0].gain >= 0.0).all() and draws[0].gain.isfinite().all())
    assert torch.equal(draws[0].gain, draws[1].gain)


def test_gain_is_the_product(generator):
    draw = hml_scenario().sample(7, transmitters=3, generator=generator)
    assert torch.equal(draw.gain, draw.large_scale_gain * draw.small_scale_gain)


def test_draws_stack(generator):
    draws = [hml_scenario().sample(transmitters=k, receivers=2, generator=generator) for k in (3, 5)]
    stacked = stack(draws)
    assert isinstance(stacked, ChannelDraw)
    assert stacked.gain.shape == (2, 2, 5)


@pytest.mark.parametrize("fading", [Rayleigh(), Nakagami(3), Rice.from_amplitude(2)], ids=str)
def test_small_scale_gain_has_unit_mean(fading, generator):
    draw = hml_scenario(fading=fading).sample(1000, transmitters=50, generator=generator, dtype=torch.float64)
    size = draw.small_scale_gain.numel()
    assert float(draw.small_scale_gain.mean()) == pytest.approx(1.0, abs=5.0 / math.sqrt(size))


def test_shadowing_in_decibels(generator):
    draw = Scenario(SquareCell(), PowerLaw(3.0), shadowing_db=5.0).sample(
        2000, transmitters=20, generator=generator, dtype=torch.float64
    )
    distance = (draw.rx_position_m - draw.tx_position_m).norm(dim=-1).clamp_min(1.0)
    residual_db = 10.0 * (draw.large_scale_gain[:, 0] * distance**3.0).log10()
    assert abs(float(residual_db.mean())) < 5 * 5.0 / math.sqrt(residual_db.numel())
    assert float(residual_db.std()) == pytest.approx(5.0, rel=0.02)


def test_hml_defaults_are_the_meta_testing_channels():
    assert hml_scenario() == Scenario(SquareCell(200.0), PowerLaw(4.0), 8.0, Rayleigh())


def test_line_of_sight_by_its_probability_and_shadowing_by_state(generator):
    """Two constant path losses 200 dB apart tell the state of each link."""
    path_loss = LosNlos(
        PowerLaw(1e-9), PowerLaw(1e-9, loss_at_1m_db=200.0), lambda d, h: torch.full_like(d, 0.3)
    )
    scenario = Scenario(SquareCell(), path_loss, shadowing_db=2.0, nlos_shadowing_db=6.0)
    draw = scenario.sample(1000, transmitters=50, generator=generator, dtype=torch.float64)
    gain_db = 10.0 * draw.large_scale_gain.log10()
    seen = gain_db > -100.0
    assert float(seen.double().mean()) == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 50_000))
    assert float(gain_db[seen].std()) == pytest.approx(2.0, rel=0.03)
    assert float(gain_db[~seen].std()) == pytest.approx(6.0, rel=0.03)
    shared = Scenario(SquareCell(), path_loss, shadowing_db=2.0).sample(
        1000, transmitters=50, generator=generator, dtype=torch.float64
    )
    gain_db = 10.0 * shared.large_scale_gain.log10()
    assert float(gain_db[gain_db < -100.0].std()) == pytest.approx(2.0, rel=0.03)


def test_3gpp_cells_are_plausible(generator):
    """Median loss of outdoor users: some 100 dB in the small cell, more in the large one."""
    median_db = {}
    for name in ("umi", "uma"):
        draw = SCENARIOS[name]().sample(2000, transmitters=10, generator=generator)
        median_db[name] = float(-10.0 * draw.large_scale_gain.log10().median())
    assert 85.0 < median_db["umi"] < median_db["uma"] < 125.0


@pytest.mark.parametrize(
    ("state", "deviation_db"), [(1.0, {"umi": 4.0, "uma": 4.0}), (0.0, {"umi": 7.82, "uma": 6.0})]
)
@pytest.mark.parametrize("name", ["umi", "uma"])
def test_shadowing_of_3gpp_cells_is_that_of_the_state(name, state, deviation_db, generator):
    """Table 7.4.1-1 of TR 38.901: with line of sight everywhere, and with none."""
    scenario: Any = SCENARIOS[name]()
    loss = dataclasses.replace(scenario.path_loss, probability=lambda away, _: torch.full_like(away, state))
    draw = dataclasses.replace(scenario, path_loss=loss).sample(
        4000, transmitters=5, generator=generator, dtype=torch.float64
    )
    away = (draw.rx_position_m - draw.tx_position_m)[..., :2].norm(dim=-1)
    heights = {"station_height_m": draw.rx_position_m[..., 2], "user_height_m": draw.tx_position_m[..., 2]}
    mean = (loss.los if state else loss.nlos).gain(away, **heights)
    shadowing_db = 10.0 * (draw.large_scale_gain[:, 0] / mean).log10()
    assert float(shadowing_db.std()) == pytest.approx(deviation_db[name], rel=0.03)


@dataclasses.dataclass(frozen=True)
class OneLink:
    """One link of 150 m between a station at 10 m and a user at 22.5 m."""

    direction: Direction

    def sample(self, *batch_shape, transmitters, receivers, generator, dtype=torch.float32):
        station, user = (torch.tensor([[x, 0.0, z]], dtype=dtype) for x, z in ((0.0, 10.0), (150.0, 22.5)))
        ends = (station, user) if self.direction == "uplink" else (user, station)
        return Drop(rx_position_m=ends[0], tx_position_m=ends[1])


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
def test_the_topology_tells_the_station(direction, generator):
    """104.558 dB in both directions, although the user is above its station."""
    scenario = Scenario(OneLink(direction), UrbanMicro(3.5e9, False))
    draw = scenario.sample(transmitters=1, generator=generator, dtype=torch.float64)
    assert float(-10.0 * draw.large_scale_gain.log10()) == pytest.approx(104.558, abs=1e-3)


def test_topologies_have_a_direction():
    directions = {name: make().topology.direction for name, make in SCENARIOS.items()}
    links = {
        "metagnn": "device-to-device",
        "rayleigh": "unknown",
        "seven-cells": "downlink",
        "hudn": "downlink",
    }
    assert directions == {name: links.get(name, "uplink") for name in SCENARIOS}


@pytest.mark.parametrize("make", [umi_scenario, uma_scenario])
def test_a_carrier_in_ghz_is_refused(make):
    with pytest.raises(
        ValueError, match=r"^carrier_hz: 3.5 Hz is below 1 MHz; give the carrier in Hz \(3.5 GHz is"
    ):
        make(carrier_hz=3.5)


def test_umi_keeps_its_arguments():
    scenario = umi_scenario(carrier_hz=28e9, radius_m=50.0, fading=Nakagami(2))
    assert scenario.topology.outer_radius_m == 50.0  # pyright: ignore[reportAttributeAccessIssue]
    assert scenario.path_loss.los.carrier_hz == 28e9  # pyright: ignore[reportAttributeAccessIssue]
    assert scenario.fading == Nakagami(2)


class TestMetagnn:
    def test_losses_of_both_slopes(self):
        """The printed formula, written in decibels."""
        distance = torch.tensor([1.0, 10.0, 99.0, 100.0, 101.0, 500.0], dtype=torch.float64)
        height = torch.zeros_like(distance)
        loss_db = (
            -10.0
            * metagnn_scenario()
            .path_loss.gain(distance, station_height_m=height, user_height_m=height)
            .log10()
        )
        near, far = 39.0 + 20.0 * distance.log10(), 39.0 + 40.0 * distance.log10() - 40.0
        torch.testing.assert_close(loss_db, torch.where(distance <= 100.0, near, far))

    def test_links_stand_as_described(self, generator):
        draw = metagnn_scenario(shadowing_db=0.0).sample(
            20, transmitters=20, receivers=20, generator=generator, dtype=torch.float64
        )
        apart = torch.cdist(draw.tx_position_m, draw.tx_position_m) + 1e9 * torch.eye(20)
        assert float(apart.min()) >= 35.0
        own = (draw.rx_position_m - draw.tx_position_m).norm(dim=-1)
        assert 10.0 <= float(own.min()) < float(own.max()) <= 50.0
        # Row k is receiver k: its distances to all transmitters give its losses.
        distance = torch.cdist(draw.rx_position_m, draw.tx_position_m)  # [drop rx tx]
        far = distance > 100.0
        loss_db = -10.0 * draw.large_scale_gain.log10()
        torch.testing.assert_close(loss_db[far], 40.0 * distance[far].log10() - 1.0, rtol=1e-9, atol=0.0)
        assert not torch.allclose(draw.large_scale_gain, draw.large_scale_gain.mT, rtol=0.1)


class TestSevenCells:
    """Section IV-B of [Behmandpoor2024]."""

    def test_losses(self):
        """120.9 dB at 1 km; 120.9 - 37.6 = 83.3 dB at 100 m; 132.2187 at 2 km, 71.9813 at 50 m (log10 2 = 0.30103)."""
        distance = torch.tensor([1000.0, 100.0, 2000.0, 50.0], dtype=torch.float64)
        height = torch.zeros_like(distance)
        loss_db = (
            -10.0
            * seven_cell_scenario()
            .path_loss.gain(distance, station_height_m=height, user_height_m=height)
            .log10()
        )
        expected = torch.tensor([120.9, 83.3, 132.218728, 71.981272], dtype=torch.float64)
        torch.testing.assert_close(loss_db, expected, rtol=0.0, atol=1e-6)

    def test_gains_are_those_of_the_distances(self, generator):
        """Row: receiver, column: transmitter; those of one cell are as far from a receiver."""
        draw = seven_cell_scenario().sample(
            5, transmitters=20, receivers=20, generator=generator, dtype=torch.float64
        )
        distance_km = torch.cdist(draw.rx_position_m, draw.tx_position_m) / 1000.0
        torch.testing.assert_close(
            -10.0 * draw.large_scale_gain.log10(), 120.9 + 37.6 * distance_km.log10(), rtol=0.0, atol=1e-4
        )
        torch.testing.assert_close(draw.large_scale_gain[..., 7:], draw.large_scale_gain[..., :13])
        assert not torch.allclose(draw.gain[..., 7:], draw.gain[..., :13])

    def test_cells_of_a_ring_are_alike(self, generator):
        """Mean losses of own links are the same in all cells, those from the ring to the middle in all six."""
        draw = seven_cell_scenario().sample(4000, transmitters=7, receivers=7, generator=generator)
        loss_db = -10.0 * draw.large_scale_gain.log10()
        own = loss_db.diagonal(dim1=-2, dim2=-1)
        error = float(own.std()) / math.sqrt(4000)
        assert float((own.mean(0) - own.mean()).abs().max()) < 5.0 * error
        from_ring = loss_db[:, 0, 1:]
        error = float(from_ring.std()) / math.sqrt(4000)
        assert float((from_ring.mean(0) - from_ring.mean()).abs().max()) < 5.0 * error


class TestUrllc:
    """Section V-A of [He2022USRMNet]."""

    @pytest.mark.parametrize(
        ("name", "least", "most"),
        [("urllc", 120.0, 140.0), ("urllc-wide", 30.0, 200.0), ("urllc-edge", 50.0, 300.0)],
    )
    def test_users_are_uniform_by_area(self, name, least, most, generator):
        draw = SCENARIOS[name]().sample(500, transmitters=20, generator=generator, dtype=torch.float64)
        distance = (draw.tx_position_m - draw.rx_position_m).norm(dim=-1)
        assert least <= float(distance.min()) < float(distance.max()) <= most
        area = (distance.square() - least**2) / (most**2 - least**2)
        assert float(area.mean()) == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / area.numel()))
        torch.testing.assert_close(draw.large_scale_gain[:, 0], 1 / (1 + (distance / 50) ** 3))

    def test_gain_by_hand(self):
        """1 at the station, 1/2 at 50 m, 1/9 at 100 m."""
        distance = torch.tensor([0.0, 50.0, 100.0], dtype=torch.float64)
        height = torch.zeros_like(distance)
        gain = urllc_scenario().path_loss.gain(distance, station_height_m=height, user_height_m=height)
        torch.testing.assert_close(gain, torch.tensor([1.0, 1 / 2, 1 / 9], dtype=torch.float64))

    @pytest.mark.parametrize("setting", [{"exponent": 0.0}, {"reference_m": math.inf}])
    def test_bad_losses(self, setting):
        (name,) = setting
        with pytest.raises(ValueError, match=f"{name}: must be finite and positive, received"):
            BoundedPowerLaw(**setting)


class TestAntennas:
    """Complex channels, `[*batch sample rx rx_ant tx tx_ant]`."""

    @pytest.mark.parametrize("name", sorted(SCENARIOS))
    def test_every_scenario_has_them(self, name):
        draws = [
            SCENARIOS[name]().sample_channel(
                5,
                transmitters=3,
                receivers=3,
                antennas=(4, 2),
                samples=6,
                generator=torch.Generator().manual_seed(1),
                dtype=torch.complex128,
            )
            for _ in range(2)
        ]
        assert draws[0].channel.shape == (5, 6, 3, 4, 3, 2)
        assert draws[0].channel.dtype == torch.complex128
        assert draws[0].large_scale_gain.shape == (5, 3, 3)
        assert draws[0].large_scale_gain.dtype == torch.float64
        assert torch.equal(draws[0].channel, draws[1].channel)

    def test_entries_are_complex_normal_of_the_gain(self, generator):
        """Independent over antennas, links and samples: variance `gain`, half of it in each part."""
        draw = urllc_scenario().sample_channel(
            100, transmitters=3, antennas=(8, 1), samples=20, generator=generator, dtype=torch.complex128
        )
        entry = draw.channel / draw.large_scale_gain.sqrt()[..., None, :, None, :, None]
        assert float(entry.real.square().mean()) == pytest.approx(0.5, rel=0.03)
        assert float(entry.imag.square().mean()) == pytest.approx(0.5, rel=0.03)
        assert abs(complex((entry * entry).mean())) < 0.03
        for axis in (-2, -3, -5):  # transmitters, antennas of the receiver, samples
            assert abs(complex((entry * entry.roll(1, axis).conj()).mean())) < 0.03

    @pytest.mark.parametrize("bad", [{"antennas": (0, 1)}, {"samples": 0}])
    def test_bad_numbers(self, bad, generator):
        with pytest.raises(ValueError, match="antennas, samples: must be at least 1, received"):
            urllc_scenario().sample_channel(2, transmitters=3, generator=generator, **bad)
