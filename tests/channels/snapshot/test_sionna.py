import math

import numpy as np
import pytest
import torch

from torchrrm.channels.snapshot import SnapshotError, from_sionna_cir, from_sionna_h_freq, load

BATCH, RX, RX_ANT, TX, TX_ANT, PATHS, TIMES, FREQUENCIES = 2, 3, 2, 4, 5, 6, 7, 8
OFFSET_HZ = torch.linspace(-1e6, 1e6, FREQUENCIES, dtype=torch.float64)


@pytest.fixture
def h_freq(generator):
    shape = (BATCH, RX, RX_ANT, TX, TX_ANT, TIMES, FREQUENCIES)
    return 1e-4 * torch.randn(shape, dtype=torch.complex64, generator=generator)


@pytest.fixture
def a(generator):
    shape = (BATCH, RX, RX_ANT, TX, TX_ANT, PATHS, TIMES)
    return 1e-4 * torch.randn(shape, dtype=torch.complex128, generator=generator)


@pytest.fixture
def tau(generator):
    return 1e-6 * torch.rand(BATCH, RX, TX, PATHS, dtype=torch.float64, generator=generator)


class TestFrequencyResponse:
    def test_index_order(self, h_freq):
        snapshot = from_sionna_h_freq(h_freq, frequency_offset_hz=OFFSET_HZ, name="sionna", carrier_hz=3.5e9)
        assert snapshot.channel is not None
        assert snapshot.channel.shape == (BATCH, TIMES, FREQUENCIES, RX, RX_ANT, TX, TX_ANT)
        assert snapshot.channel[1, 6, 5, 2, 1, 3, 4] == h_freq[1, 2, 1, 3, 4, 6, 5]
        assert snapshot.gain.shape == (BATCH, TIMES, RX, TX)
        expected = h_freq[1, 2, :, 3].abs().square().mean()
        torch.testing.assert_close(snapshot.gain[1, 4, 2, 3], expected)
        assert (snapshot.name, snapshot.carrier_hz) == ("sionna", 3.5e9)

    def test_one_symbol_is_no_axis(self, h_freq):
        snapshot = from_sionna_h_freq(h_freq[..., :1, :], frequency_offset_hz=OFFSET_HZ)
        assert snapshot.gain.shape == (BATCH, RX, TX)
        assert snapshot.channel is not None
        assert snapshot.channel.shape == (BATCH, FREQUENCIES, RX, RX_ANT, TX, TX_ANT)

    def test_numpy(self, h_freq):
        one = from_sionna_h_freq(h_freq.numpy(), frequency_offset_hz=OFFSET_HZ.numpy())
        two = from_sionna_h_freq(h_freq, frequency_offset_hz=OFFSET_HZ)
        assert torch.equal(one.gain, two.gain)

    def test_normalised_responses_need_their_gain(self, h_freq):
        normalised = h_freq / 1e-4
        with pytest.raises(SnapshotError, match=r"^h_freq: mean of \|h\|\^2 must be at most 1, received 1\."):
            from_sionna_h_freq(normalised, frequency_offset_hz=OFFSET_HZ)
        loss = torch.full((RX, TX), 1e-8)
        loss[0, 1] = 0.0
        scaled = from_sionna_h_freq(normalised, frequency_offset_hz=OFFSET_HZ, large_scale_gain=loss)
        plain = from_sionna_h_freq(h_freq, frequency_offset_hz=OFFSET_HZ)
        assert float(scaled.gain[..., 0, 1].max()) == 0.0
        torch.testing.assert_close(scaled.gain[..., 1:, :], plain.gain[..., 1:, :])
        assert scaled.channel is not None
        assert plain.channel is not None
        torch.testing.assert_close(
            scaled.channel[..., 1:, :, :, :], plain.channel[..., 1:, :, :, :], rtol=1e-5, atol=1e-12
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda h: (h[0], {}), r"h_freq: must have the 7 axes \[batch, .*, received shape .*"),
            (lambda h: (np.array("a"), {}), "h_freq: must hold numbers, received values of type <U1"),
            (
                lambda h: (h, {"large_scale_gain": -1.0}),
                r"large_scale_gain: must be finite and at least 0 \(linear\), received values from -1 to -1",
            ),
            (
                lambda h: (h, {"large_scale_gain": torch.ones(7)}),
                r"large_scale_gain: must broadcast to \(2, 3, 4\), received shape \(7,\)",
            ),
            (
                lambda h: (h[..., :3], {}),
                r"channel: must have shape \(2, 7, 8, 3, rx_ant, 4, tx_ant\), received .*",
            ),
            (lambda h: (h * math.nan, {}), r"gain: must be finite, received nan at \[0, 0, 0, 0\]"),
        ],
    )
    def test_bad_input(self, h_freq, change, message):
        value, fields = change(h_freq)
        with pytest.raises(SnapshotError, match=f"^{message}$"):
            from_sionna_h_freq(value, frequency_offset_hz=OFFSET_HZ, **fields)


class TestImpulseResponse:
    def test_is_the_sum_of_its_paths(self, a, tau):
        snapshot = from_sionna_cir(a, tau, frequency_offset_hz=OFFSET_HZ)
        assert snapshot.channel is not None
        assert snapshot.channel.shape == (BATCH, TIMES, FREQUENCIES, RX, RX_ANT, TX, TX_ANT)
        expected = sum(
            complex(a[1, 2, 1, 3, 4, i, 6])
            * np.exp(-2j * np.pi * float(OFFSET_HZ[5]) * float(tau[1, 2, 3, i]))
            for i in range(PATHS)
        )
        assert complex(snapshot.channel[1, 6, 5, 2, 1, 3, 4]) == pytest.approx(expected, rel=1e-5)

    def test_gain_is_the_power_of_the_paths(self, a, tau):
        snapshot = from_sionna_cir(a, tau, frequency_offset_hz=OFFSET_HZ)
        expected = float(a[1, 2, :, 3].abs().square().sum(dim=-2).mean())
        assert float(snapshot.gain[1, 0, 2, 3]) == pytest.approx(expected, rel=1e-6)

    def test_ray_tracer_has_no_batch(self, a, tau):
        whole = from_sionna_cir(a, tau, frequency_offset_hz=OFFSET_HZ)
        single = from_sionna_cir(a[1], tau[1], frequency_offset_hz=OFFSET_HZ)
        assert whole.channel is not None
        assert single.channel is not None
        assert torch.equal(single.gain, whole.gain[1])
        assert torch.equal(single.channel, whole.channel[1])
        still = from_sionna_cir(a[1, ..., :1], tau[1], frequency_offset_hz=OFFSET_HZ)
        assert still.gain.shape == (RX, TX)

    def test_delays_of_antennas_and_pairs(self, a, tau):
        one = from_sionna_cir(a, tau, frequency_offset_hz=OFFSET_HZ)
        per_antenna = tau[:, :, None, :, None].expand(a.shape[:-1])
        pair = (a.real.numpy(), a.imag.numpy())
        two = from_sionna_cir(pair, per_antenna.numpy(), frequency_offset_hz=OFFSET_HZ)
        assert one.channel is not None
        assert two.channel is not None
        assert torch.equal(one.channel, two.channel)

    def test_absent_paths_may_have_any_delay(self, a, tau):
        a, tau = a.clone(), tau.clone()
        a[:, 1, :, 2] = 0.0
        tau[:, 1, 2, :3], tau[:, 1, 2, 3:] = -1.0, math.nan
        snapshot = from_sionna_cir(a, tau, frequency_offset_hz=OFFSET_HZ)
        assert snapshot.channel is not None
        assert float(snapshot.gain[:, :, 1, 2].max()) == 0.0
        assert float(snapshot.channel[..., 1, :, 2, :].abs().max()) == 0.0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda a, tau: (a[0, 0], tau),
                r"a: must have the axes \[batch, .*\] or all but batch, received .*",
            ),
            (
                lambda a, tau: (a, tau[:, :, :2]),
                r"tau: must have shape \(2, 3, 4, 6\) or \(2, 3, 2, 4, 5, 6\) to fit a, "
                r"received \(2, 3, 2, 6\)",
            ),
            (
                lambda a, tau: (a[0], tau),
                r"tau: must have shape \(3, 4, 6\) or \(3, 2, 4, 5, 6\) to fit a, received \(2, 3, 4, 6\)",
            ),
            (
                lambda a, tau: (a, tau * math.nan),
                "tau: must be finite for every path of non-zero amplitude, received nan or inf",
            ),
            (
                lambda a, tau: (a, tau + 0j),
                "tau: must hold real numbers, received values of type torch.complex128",
            ),
            (
                lambda a, tau: (a * 1e6, tau),
                r"a: mean of \|h\|\^2 must be at most 1, received .*; give large_scale_gain .*",
            ),
        ],
    )
    def test_bad_input(self, a, tau, change, message):
        with pytest.raises(SnapshotError, match=f"^{message}$"):
            from_sionna_cir(*change(a, tau), frequency_offset_hz=OFFSET_HZ)

    def test_no_frequency(self, a, tau):
        with pytest.raises(SnapshotError, match="must hold at least one frequency, received none"):
            from_sionna_cir(a, tau, frequency_offset_hz=[])


def test_normalised_paths_need_their_gain(a, tau):
    normalised = a / 1e-4
    with pytest.raises(
        SnapshotError, match=r"^a: mean of \|h\|\^2 must be at most 1, .*; give large_scale_gain"
    ):
        from_sionna_cir(normalised, tau, frequency_offset_hz=OFFSET_HZ)
    scaled = from_sionna_cir(normalised, tau, frequency_offset_hz=OFFSET_HZ, large_scale_gain=1e-8)
    plain = from_sionna_cir(a, tau, frequency_offset_hz=OFFSET_HZ)
    torch.testing.assert_close(scaled.gain, plain.gain)
    assert scaled.channel is not None
    torch.testing.assert_close(scaled.channel, plain.channel)


class TestFiles:
    """Arrays under Sionna's names in a `.npz` file."""

    @staticmethod
    def same(path, expected):
        snapshot = load(path)
        assert torch.equal(snapshot.gain, expected.gain)
        assert snapshot.channel is not None
        assert torch.equal(snapshot.channel, expected.channel)
        assert (snapshot.name, snapshot.direction) == ("scene", "unknown")
        return snapshot.notes

    def test_paths(self, a, tau, tmp_path):
        path = tmp_path / "scene.npz"
        np.savez(path, a=a, tau=tau, frequency_offset_hz=OFFSET_HZ, cfr=np.zeros(3), other=np.zeros(2))
        (note,) = self.same(path, from_sionna_cir(a, tau, frequency_offset_hz=OFFSET_HZ))
        assert note.endswith(
            "gain is the power of all paths, averaged over antennas and times; left out cfr, other"
        )
        np.savez(path, a=a, tau=tau)
        self.same(path, from_sionna_cir(a, tau, frequency_offset_hz=[0.0]))

    def test_responses(self, h_freq, tmp_path):
        path, expected = tmp_path / "scene.npz", from_sionna_h_freq(h_freq, frequency_offset_hz=OFFSET_HZ)
        np.savez(path, h_freq=h_freq, frequency_offset_hz=OFFSET_HZ)
        (note,) = self.same(path, expected)
        assert (
            note
            == "read as h_freq of Sionna: gain is |h|^2, averaged over antennas and times and 8 frequencies"
        )
        np.savez(path, cfr=h_freq[0], frequency_offset_hz=OFFSET_HZ)
        self.same(path, from_sionna_h_freq(h_freq[:1], frequency_offset_hz=OFFSET_HZ))

    def test_fields_may_stand_beside(self, h_freq, tmp_path):
        path = tmp_path / "scene.npz"
        beside = {"tx_role": "station", "carrier_hz": 2e9, "rx_position_m": np.ones((RX, 3))}
        np.savez(path, h_freq=h_freq, frequency_offset_hz=OFFSET_HZ, **beside)  # pyright: ignore[reportArgumentType]
        snapshot = load(path)
        assert (snapshot.direction, snapshot.carrier_hz) == ("downlink", 2e9)
        assert snapshot.rx_position_m is not None
        assert load(path, direction="downlink").direction == "downlink"

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"h_freq": np.zeros(3), "frequency_offset_hz": [0.0]}, r"h_freq: must have the 7 axes .*"),
            (
                {"cfr": np.zeros((2, 3)), "frequency_offset_hz": [0.0]},
                r"cfr: must have the 6 axes .* \(2, 3\)",
            ),
            (
                {"cfr": np.zeros((1,) * 6)},
                "frequency_offset_hz: must be in the file beside cfr, received none",
            ),
            ({"a": ["x"], "tau": [0.0]}, "a: must hold numbers, received values of type <U1"),
            (
                {"cfr": np.zeros((1,) * 6), "frequency_offset_hz": 0.0},
                "frequency_offset_hz: must have shape .*",
            ),
        ],
    )
    def test_bad_files(self, arrays, message, tmp_path):
        np.savez(tmp_path / "scene.npz", **arrays)
        with pytest.raises(SnapshotError, match=rf"^scene\.npz: {message}$"):
            load(tmp_path / "scene.npz")
