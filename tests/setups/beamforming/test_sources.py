import dataclasses

import numpy as np
import pytest
import torch

from torchrrm.channels import SCENARIOS, Snapshot, SnapshotError, bundled_snapshot, urllc_scenario
from torchrrm.problems.beamforming import UrllcBeamforming, mmse_action, relative_channel
from torchrrm.setups.beamforming import (
    CITY_TERMS,
    BeamSource,
    BeamTerms,
    beam_task,
    draw_beams,
    station_cell,
    station_channel,
    terms_of,
)

MUNICH = bundled_snapshot("munich_miso64")
SOURCES = {
    "cell": BeamSource(urllc_scenario(), 4, 8),
    "wide": BeamSource(SCENARIOS["urllc-wide"](), 4, 8, BeamTerms.at_snr(20.0, 256)),
    "ranges": BeamSource(urllc_scenario(), (2, 6), 8),
    "double": BeamSource(urllc_scenario(), 4, 8, dtype=torch.float64),
    "city": BeamSource(MUNICH, 6),
    "city's ranges": BeamSource(MUNICH, (4, 12), 32, places=(100, 400)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source(name):
    source = SOURCES[name]
    task = beam_task(source)
    instances = [task.sample(16, generator=torch.Generator().manual_seed(2)) for _ in range(2)]
    instance = UrllcBeamforming().validate(instances[0])
    users, antennas = source.span[1], source.antennas or 64
    assert instance.channel.shape == (16, users, antennas)
    assert instance.channel.dtype == source.dtype.to_complex()
    assert instance.weight.dtype == source.dtype
    assert torch.equal(instance.channel, instances[1].channel)
    count = instance.active.sum(-1, keepdim=True)
    torch.testing.assert_close(instance.weight * count, instance.active.to(source.dtype))
    power = instance.max_power_w[:, None] * instance.weight
    evaluation = task.problem.evaluate(instance, mmse_action(instance, power))
    assert bool((evaluation.objective > 0.0).all())


def test_terms_of_the_paper(generator):
    """15 dB over 1 W, 256 bits in 128 uses; those of snapshots 23 dBm and 20 MHz of -174 dBm/Hz with 7 dB more."""
    instance = draw_beams(BeamSource(urllc_scenario(), 3, 4), 2, generator=generator)
    assert instance.max_power_w.tolist() == pytest.approx([10**1.5] * 2)
    assert float(instance.noise_power_w.unique()) == 1.0
    assert float(instance.blocklength.unique()) == 128.0
    assert float(instance.payload_bits.unique()) == 256.0
    assert float(instance.error_probability.unique()) == pytest.approx(1e-5)
    assert terms_of("urllc") == BeamTerms()
    assert terms_of(None) == CITY_TERMS
    assert CITY_TERMS.max_power_w == pytest.approx(10**-0.7)
    assert CITY_TERMS.noise_power_w == pytest.approx(20e6 * 10 ** ((-174 + 7 - 30) / 10), rel=0.01, abs=0.0)
    assert BeamTerms.at_snr(20, 256) == BeamTerms(max_power_w=100.0, blocklength=256)


def test_mean_power_of_channels_is_the_loss(generator):
    instance = draw_beams(BeamSource(urllc_scenario(129.9, 130.0), 5, 16), 400, generator=generator)
    relative = relative_channel(instance).abs().square().mean()
    assert float(relative) == pytest.approx(10**1.5 / (1 + 2.6**3), rel=0.03)


def test_ranges_are_padded(generator):
    instance = draw_beams(SOURCES["ranges"], 300, generator=generator)
    count = instance.active.sum(-1)
    assert count.unique().tolist() == [2, 3, 4, 5, 6]
    assert torch.equal(instance.active, torch.arange(6) < count[:, None])
    assert float(instance.channel[~instance.active].abs().max()) == 0.0


class TestSnapshots:
    def test_users_are_different_ones_of_the_places(self, generator):
        instance = draw_beams(BeamSource(MUNICH, 5, 8, places=(10, 15)), 20, generator=generator)
        offered = station_channel(MUNICH)[0, :, 10:15, :8]  # [frequency user ant]
        for drawn in instance.channel:
            distance = torch.linalg.vector_norm(drawn[None, :, None] - offered[:, None], dim=-1)
            met = (distance == 0).any(0)  # [drawn offered], at one of the frequencies
            assert met.sum(0).tolist() == met.sum(1).tolist() == [1] * 5

    def test_both_directions_of_the_links(self):
        """A beam w reaches user k as h_k^H w: what users hear of a station, and what it hears of them."""
        rng = np.random.default_rng(0)
        heard = 1e-3 * (rng.normal(size=(2, 3, 1, 1, 4)) + 1j * rng.normal(size=(2, 3, 1, 1, 4)))
        gain = np.full((3, 1), 1e-6)
        down = Snapshot(gain=gain, channel=heard, frequency_offset_hz=np.array([-1e6, 1e6]))  # pyright: ignore[reportArgumentType]
        beam = torch.randn(4, dtype=torch.complex64)
        expected = down.channel[:, :, 0, 0] @ beam  # pyright: ignore[reportOptionalSubscript]
        for snapshot in (down, down.reciprocal()):
            channel = station_channel(snapshot)
            assert channel.shape == (1, 2, 3, 4)
            torch.testing.assert_close((channel.conj() @ beam)[0], expected)

    def test_one_user(self):
        channel = np.full((1, 1, 1, 1, 4), 1e-3)
        offset = np.zeros(1)
        one = Snapshot(gain=np.full((1, 1), 1e-6), channel=channel, frequency_offset_hz=offset)  # pyright: ignore[reportArgumentType]
        assert station_channel(one).shape == station_channel(one.reciprocal()).shape == (1, 1, 1, 4)

    def test_drops(self):
        channel = np.full((5, 2, 3, 1, 1, 4), 1e-3)
        many = Snapshot(gain=np.full((5, 3, 1), 1e-6), channel=channel, frequency_offset_hz=np.zeros(2))  # pyright: ignore[reportArgumentType]
        assert station_channel(many).shape == (5, 2, 3, 4)

    @pytest.mark.parametrize("turned", [False, True])
    def test_one_of_several_stations_is_chosen(self, turned):
        gain = torch.full((3, 2), 1e-6)
        heard = 1e-3 * torch.randn(1, 3, 1, 2, 4, dtype=torch.complex64)
        two = Snapshot(gain=gain, channel=heard, frequency_offset_hz=torch.zeros(1), tx_role="station")
        snapshot = two.reciprocal() if turned else two
        channel = station_channel(station_cell(snapshot, 1))
        torch.testing.assert_close(channel, heard[None, :, :, 0, 1].conj())
        with pytest.raises(SnapshotError, match=r"^station: must be chosen with --station, 0 to 1"):
            station_channel(snapshot)

    def test_without_roles_the_single_node_is_the_station(self):
        channel = np.full((1, 3, 1, 1, 4), 1e-3)
        bare = Snapshot(gain=np.full((3, 1), 1e-6), channel=channel, frequency_offset_hz=np.zeros(1))  # pyright: ignore[reportArgumentType]
        assert station_cell(bare).direction == "downlink"
        assert station_cell(bare).notes == (
            "assumed that the one transmitter, of 4 antennas, is the station",
        )
        assert station_cell(bare.reciprocal()).direction == "uplink"
        known = dataclasses.replace(bare, tx_role="user")  # three stations hear one user of four antennas
        with pytest.raises(SnapshotError, match=r"^station: must be chosen with --station, 0 to 2"):
            station_cell(known)

    def test_eavesdroppers_are_no_users(self):
        assert station_channel(bundled_snapshot()).shape == (1, 8, 200, 1)

    def test_what_is_no_station(self):
        with pytest.raises(
            SnapshotError, match="channel: must have one station at one end of all links, rec"
        ):
            station_channel(bundled_snapshot("munich_d2d"))
        with pytest.raises(SnapshotError, match="channel: must be in the snapshot for beams, received none"):
            station_channel(Snapshot(gain=np.full((3, 1), 1e-6)))  # pyright: ignore[reportArgumentType]
        channel, offset = np.full((1, 3, 2, 1, 4), 1e-3), np.zeros(1)
        wide = Snapshot(gain=np.full((3, 1), 1e-6), channel=channel, frequency_offset_hz=offset)  # pyright: ignore[reportArgumentType]
        with pytest.raises(SnapshotError, match="channel: must have one antenna at each user, received 2"):
            station_channel(wide)

    def test_blocked_users_are_refused(self):
        channel = np.full((1, 3, 1, 1, 4), 1e-3)
        channel[:, 1] = 0
        blocked = Snapshot(gain=np.full((3, 1), 1e-6), channel=channel, frequency_offset_hz=np.zeros(1))  # pyright: ignore[reportArgumentType]
        with pytest.raises(
            ValueError, match=r"channels: must have a path to each user, received none of .* \[0, 0, 1\]"
        ):
            BeamSource(blocked, 2)
        BeamSource(blocked, 1, places=(2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: BeamSource(urllc_scenario(), 0),
            "users: must be 1 to inf, or an ascending range in it, received 0",
        ),
        (lambda: BeamSource(urllc_scenario(), (5, 2)), r"users: .* received \(5, 2\)"),
        (lambda: BeamSource(MUNICH, 401), "users: must be 1 to 400"),
        (lambda: BeamSource(MUNICH, 4, 65), "antennas: must be 1 to 64, received 65"),
        (lambda: BeamSource(urllc_scenario(), 4, 0), "antennas: must be 1 to inf, received 0"),
        (
            lambda: BeamSource(MUNICH, 4, places=(390, 401)),
            "places: must be an ascending range in 0 to 400, received",
        ),
        (
            lambda: BeamSource(urllc_scenario(), places=(0, 5)),
            "places: must be None for a scenario, received",
        ),
        (lambda: BeamTerms(max_power_w=0.0), "max_power_w: must be positive and finite, received 0.0"),
        (
            lambda: BeamTerms(error_probability=0.5),
            "error_probability: must lie between 0 and 0.5, received 0.5",
        ),
        (lambda: BeamTerms(payload_bits=-1.0), "payload_bits: must be at least 0 and finite, received -1.0"),
    ],
)
def test_bad_sources(make, message):
    with pytest.raises(ValueError, match=message):
        make()
