"""The layouts of the raw Munich files, in small synthetic files of the same form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchrrm.channels.snapshot import MUNICH_ATTRIBUTION, SnapshotError, bundled_snapshot, load

RANDOM = np.random.default_rng(0)
META = np.array(json.dumps({"freq_hz": 3.5e9, "scene": "sionna.rt munich"}))


def pairs(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=(*shape, 2)).astype(np.float16)


def gains_db(*shape: int) -> np.ndarray:
    gain_db = RANDOM.uniform(-130, -70, shape).astype(np.float32)
    gain_db.reshape(-1)[1] = -250.0
    return gain_db


def blank(response: np.ndarray, gain_db: np.ndarray) -> np.ndarray:
    """No response where there is no path, as in the files."""
    shape = gain_db.shape + (1,) * (response.ndim - gain_db.ndim)
    return np.where(gain_db.reshape(shape) > -250.0, response, 0).astype(response.dtype)


def uplink_cell(users: int = 4, eavesdroppers: int = 3) -> dict[str, Any]:
    offset_hz = np.linspace(-50e6, 50e6, 8)
    gain_eve_db, gain_bs_db = gains_db(users, eavesdroppers), RANDOM.uniform(-130, -70, users)
    return {
        "bs_pos": RANDOM.normal(size=(1, 3)).astype(np.float32),
        "user_pos": RANDOM.normal(size=(users, 3)).astype(np.float32),
        "eve_pos": RANDOM.normal(size=(eavesdroppers, 3)).astype(np.float32),
        "gain_bs_db": gain_bs_db,
        "los_bs": RANDOM.random(users) < 0.5,
        "gain_eve_db": gain_eve_db,
        "los_eve": RANDOM.random((users, eavesdroppers)) < 0.5,
        "h_bs": pairs(users, 8),
        "h_eve": blank(pairs(users, eavesdroppers, 2), gain_eve_db),
        "freq_offset_hz": offset_hz,
        "freq_offset_eve_hz": offset_hz[::4],
        "meta": META,
    }


def dense_network(drops: int = 2, users: int = 3, stations: int = 4) -> dict[str, Any]:
    return {
        "gain_db": gains_db(drops, users, stations),
        "los": RANDOM.random((drops, users, stations)) < 0.5,
        "bs_pos": RANDOM.normal(size=(stations, 3)).astype(np.float32),
        "bs_type": np.array([0, 1, 1, 1], dtype=np.int8),
        "ue_pos": RANDOM.normal(size=(drops, users, 3)).astype(np.float32),
        "meta": META,
    }


def device_to_device(drops: int = 2, links: int = 3) -> dict[str, Any]:
    gain_db = gains_db(drops, links, links)
    return {
        "gain_db": gain_db,
        "los": RANDOM.random((drops, links, links)) < 0.5,
        "h": blank(pairs(drops, links, links, 5), gain_db),
        "tx_pos": RANDOM.normal(size=(drops, links, 3)).astype(np.float32),
        "rx_pos": RANDOM.normal(size=(drops, links, 3)).astype(np.float32),
        "freq_offset_hz": np.linspace(-5e6, 5e6, 5),
        "meta": META,
    }


def antenna_array(users: int = 4, antennas: int = 6) -> dict[str, Any]:
    h = RANDOM.normal(size=(users, antennas, 3)) + 1j * RANDOM.normal(size=(users, antennas, 3))
    return {
        "h": (1e-5 * h).astype(np.complex64),
        "gain_db": RANDOM.uniform(-130, -70, users).astype(np.float32),
        "los": RANDOM.random(users) < 0.5,
        "ue_pos": RANDOM.normal(size=(users, 3)).astype(np.float32),
        "bs_pos": np.array([8.0, 20.0, 30.0], dtype=np.float32),
        "ant_pos": RANDOM.normal(size=(antennas, 3)).astype(np.float32),
        "freq_offset_hz": np.linspace(-10e6, 10e6, 3),
        "meta": META,
    }


LAYOUTS = {
    "uplink": uplink_cell,
    "network": dense_network,
    "devices": device_to_device,
    "array": antenna_array,
}
FIELDS = [(layout, name) for layout, make in LAYOUTS.items() for name in make()]
MARKS = {"gain_bs_db", "bs_type", "ant_pos", "tx_pos"}
"""Arrays that identify a layout."""


def write(folder: Path, arrays: dict[str, Any]) -> Path:
    path = folder / "raw.npz"
    np.savez_compressed(path, **arrays)
    return path


def linear(gain_db: np.ndarray) -> torch.Tensor:
    gain = np.where(gain_db > -250.0, 10.0 ** (gain_db.astype(np.float64) / 10.0), 0.0)
    return torch.from_numpy(gain).float()


def as_complex(stored: np.ndarray) -> torch.Tensor:
    return torch.view_as_complex(torch.from_numpy(stored.astype(np.float32)))


def present(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


class TestUplinkCell:
    """Receiver 0 is the station, then come the eavesdroppers; `gain_eve_db` is [user eavesdropper]."""

    def test_order_of_gains(self, tmp_path):
        raw = uplink_cell()
        snapshot = load(write(tmp_path, raw))
        assert snapshot.gain.shape == (4, 4)
        torch.testing.assert_close(snapshot.gain[0], linear(raw["gain_bs_db"]))
        for user in range(4):
            for eavesdropper in range(3):
                expected = linear(raw["gain_eve_db"])[user, eavesdropper]
                torch.testing.assert_close(snapshot.gain[1 + eavesdropper, user], expected)
                assert snapshot.los is not None
                assert bool(snapshot.los[1 + eavesdropper, user]) == raw["los_eve"][user, eavesdropper]
        assert snapshot.eavesdropper.tolist() == [False, True, True, True]
        assert float(snapshot.gain[2, 0]) == 0.0  # -250 dB

    def test_channel_at_the_common_frequencies(self, tmp_path):
        raw = uplink_cell()
        snapshot = load(write(tmp_path, raw))
        channel = present(snapshot.channel)
        assert channel.shape == (2, 4, 1, 4, 1)
        assert torch.equal(present(snapshot.frequency_offset_hz), torch.from_numpy(raw["freq_offset_eve_hz"]))
        station = as_complex(raw["h_bs"][:, ::4]) * snapshot.gain[0].sqrt()[:, None]
        torch.testing.assert_close(channel[:, 0, 0, :, 0], station.mT)
        listened = as_complex(raw["h_eve"])[3, 1] * snapshot.gain[2, 3].sqrt()
        torch.testing.assert_close(channel[:, 2, 0, 3, 0], listened)

    def test_positions_and_attribution(self, tmp_path):
        raw = uplink_cell()
        snapshot = load(write(tmp_path, raw))
        assert np.array_equal(present(snapshot.rx_position_m)[0], raw["bs_pos"][0])
        assert np.array_equal(present(snapshot.rx_position_m)[1:], raw["eve_pos"])
        assert np.array_equal(present(snapshot.tx_position_m), raw["user_pos"])
        assert snapshot.attribution == MUNICH_ATTRIBUTION
        assert snapshot.carrier_hz == 3.5e9

    def test_frequencies_must_be_common(self, tmp_path):
        raw = {**uplink_cell(), "freq_offset_eve_hz": np.array([-50e6, 1e6])}
        with pytest.raises(SnapshotError, match="must be frequencies of freq_offset_hz, received 1e\\+06 Hz"):
            load(write(tmp_path, raw))


def test_dense_network(tmp_path):
    raw = dense_network()
    snapshot = load(write(tmp_path, raw))
    torch.testing.assert_close(snapshot.gain, linear(raw["gain_db"]))
    assert snapshot.tx_kind == ("macro", "small", "small", "small")
    assert snapshot.channel is None
    assert np.array_equal(present(snapshot.tx_position_m)[1], raw["bs_pos"])
    assert np.array_equal(present(snapshot.rx_position_m), raw["ue_pos"])


def test_dense_network_is_user_by_station(tmp_path):
    """As many users as stations, so that a transposed gain would pass unseen: station 2 is weak at user 0."""
    raw = dense_network(users=4)
    raw["gain_db"][1] = -60.0 - np.arange(16.0).reshape(4, 4)
    raw["los"][1] = np.arange(16).reshape(4, 4) == 2
    raw["bs_type"] = np.array([1, 0, 1, 0], dtype=np.int8)
    snapshot = load(write(tmp_path, raw))
    assert float(snapshot.gain[1, 0, 2]) == pytest.approx(10.0**-6.2)
    assert float(snapshot.gain[1, 2, 0]) == pytest.approx(10.0**-6.8)
    assert present(snapshot.los)[1].nonzero().tolist() == [[0, 2]]
    assert snapshot.tx_kind == ("small", "macro", "small", "macro")
    assert snapshot.rx_role == ("user",) * 4


def test_device_to_device(tmp_path):
    raw = device_to_device()
    snapshot = load(write(tmp_path, raw))
    torch.testing.assert_close(snapshot.gain, linear(raw["gain_db"]))
    channel = present(snapshot.channel)
    assert channel.shape == (2, 5, 3, 1, 3, 1)
    expected = as_complex(raw["h"])[1, 2, 0] * snapshot.gain[1, 2, 0].sqrt()
    torch.testing.assert_close(channel[1, :, 2, 0, 0, 0], expected)


def test_antenna_array(tmp_path):
    raw = antenna_array()
    snapshot = load(write(tmp_path, raw))
    torch.testing.assert_close(snapshot.gain, linear(raw["gain_db"])[:, None])
    channel = present(snapshot.channel)
    assert channel.shape == (3, 4, 1, 1, 6)
    assert torch.equal(channel[:, 2, 0, 0, 5], torch.from_numpy(raw["h"][2, 5]))
    assert np.array_equal(present(snapshot.tx_position_m), raw["bs_pos"][None])


@pytest.mark.parametrize(("layout", "name"), [field for field in FIELDS if field[1] not in MARKS])
def test_missing_arrays_are_named(tmp_path, layout, name):
    rest = {key: array for key, array in LAYOUTS[layout]().items() if key != name}
    with pytest.raises(SnapshotError, match=rf"^raw\.npz: {name}: must be in the file .*, received none$"):
        load(write(tmp_path, rest))


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[..., :-1],
        lambda array: array[1:],
        lambda array: array[..., None],
        lambda array: array[..., 0],
    ],
    ids=["one less", "first left out", "axis too many", "axis too few"],
)
@pytest.mark.parametrize(
    ("layout", "name"), [field for field in FIELDS if field[1] not in {"meta", "ant_pos"}]
)
def test_wrong_shapes_are_one_line(tmp_path, layout, name, change):
    raw = LAYOUTS[layout]()
    with pytest.raises(SnapshotError) as error:
        load(write(tmp_path, {**raw, name: change(raw[name])}))
    assert str(error.value).startswith("raw.npz: ")
    assert "\n" not in str(error.value)


def test_bad_values(tmp_path):
    raw = uplink_cell()
    raw["gain_eve_db"][1, 2] = np.nan
    with pytest.raises(SnapshotError, match=r"gain_eve_db: must be no NaN .*, received nan at \[1, 2\]"):
        load(write(tmp_path, raw))
    with pytest.raises(SnapshotError, match="meta: must be a JSON text with a number freq_hz"):
        load(write(tmp_path, {**uplink_cell(), "meta": np.array("{}")}))


class TestBundled:
    def test_the_cell(self):
        snapshot = bundled_snapshot()
        assert snapshot.gain.shape == (51, 200)
        assert present(snapshot.channel).shape == (8, 51, 1, 200, 1)
        assert int(snapshot.eavesdropper.sum()) == 50
        assert not bool(snapshot.eavesdropper[0])
        assert snapshot.carrier_hz == 3.5e9
        assert "OpenStreetMap contributors, ODbL 1.0" in snapshot.attribution
        assert "Sionna RT 2.2.0" in snapshot.attribution

    def test_every_user_reaches_the_station(self):
        gain_db = 10.0 * bundled_snapshot().gain[0].log10()
        assert -140.0 < float(gain_db.min()) < float(gain_db.max()) < -70.0

    def test_users_are_within_the_square(self):
        snapshot = bundled_snapshot()
        offset = present(snapshot.tx_position_m) - present(snapshot.rx_position_m)[0]
        assert float(offset[:, :2].abs().max()) <= 100.0

    def test_fading_of_the_channel_is_about_unit_power(self):
        snapshot = bundled_snapshot()
        ratio = present(snapshot.channel)[:, 0, 0, :, 0].abs().square().mean(dim=0) / snapshot.gain[0]
        assert float(ratio.mean()) == pytest.approx(1.0, abs=0.15)

    def test_the_pairs_of_devices(self):
        snapshot = bundled_snapshot("munich_d2d")
        assert snapshot.gain.shape == snapshot.los.shape == (50, 20, 20)  # pyright: ignore[reportOptionalMemberAccess]
        assert present(snapshot.channel).shape == (50, 6, 20, 1, 20, 1)
        steps = present(snapshot.frequency_offset_hz).diff()
        torch.testing.assert_close(steps, torch.full((5,), 2e6, dtype=torch.float64))
        assert snapshot.carrier_hz == 3.5e9
        assert snapshot.attribution == MUNICH_ATTRIBUTION
        own_db = 10.0 * snapshot.gain.diagonal(dim1=-2, dim2=-1).log10()
        assert -120.0 < float(own_db.min()) < float(own_db.max()) < -55.0

    def test_receivers_of_pairs_are_rows(self):
        """A pair is 10 to 50 m long, and the gain of a row falls with the distance to that receiver."""
        snapshot = bundled_snapshot("munich_d2d")
        rx, tx = present(snapshot.rx_position_m), present(snapshot.tx_position_m)
        own = (rx - tx).norm(dim=-1)
        assert 10.0 <= float(own.min()) < float(own.max()) <= 50.0
        seen = present(snapshot.los) & (snapshot.gain > 0.0)
        distance = torch.cdist(rx, tx)  # [drop rx tx]
        exponent = [
            torch.corrcoef(torch.stack((length[seen].log10(), snapshot.gain[seen].log10())))[0, 1]
            for length in (distance, distance.mT)
        ]
        assert exponent[0] < -0.9 < exponent[1]

    @pytest.mark.parametrize(("side_m", "drops", "linked"), [(200, 20, 0.59), (600, 10, 0.10)])
    def test_the_dense_networks(self, side_m, drops, linked):
        snapshot = bundled_snapshot(f"munich_hudn_{side_m}m")
        assert snapshot.name == f"munich_hudn_{side_m}m"
        assert snapshot.gain.shape == present(snapshot.los).shape == (drops, 120, 105)
        assert snapshot.tx_kind == ("macro",) * 5 + ("small",) * 100
        assert not bool(snapshot.eavesdropper.any())
        assert snapshot.channel is None
        assert snapshot.carrier_hz == 3.5e9
        assert snapshot.attribution == MUNICH_ATTRIBUTION
        assert float((snapshot.gain > 0).double().mean()) == pytest.approx(linked, abs=0.005)
        assert float(snapshot.gain.amax(dim=-1).min()) > 10.0**-14  # everybody is covered
        stations, users = present(snapshot.tx_position_m), present(snapshot.rx_position_m)
        assert torch.equal(stations, stations[:1].expand_as(stations))
        assert bool((users[..., 2] == 1.5).all())
        for places in (users, stations):
            assert (
                float(torch.aminmax(places[..., :2].flatten(0, 1), dim=0).max.sub(side_m / 2).max()) <= 20.0
            )

    def test_users_of_dense_networks_are_rows(self):
        """Gains of links that are seen fall with the distance from the row's user to the column's station."""
        snapshot = bundled_snapshot("munich_hudn_200m")
        distance = torch.cdist(present(snapshot.rx_position_m), present(snapshot.tx_position_m))
        seen = present(snapshot.los) & (snapshot.gain > 0.0)
        logs = torch.stack((distance[seen].log10(), snapshot.gain[seen].log10()))
        assert float(torch.corrcoef(logs)[0, 1]) < -0.9

    def test_the_station_of_64_antennas(self):
        snapshot = bundled_snapshot("munich_miso64")
        channel = present(snapshot.channel)
        assert channel.shape == (2, 400, 1, 1, 64)
        assert present(snapshot.frequency_offset_hz).tolist() == pytest.approx([-1e8 / 14, 1e8 / 14])
        assert snapshot.attribution == MUNICH_ATTRIBUTION
        ratio = channel.abs().square().mean(dim=(0, 2, 3, 4)) / snapshot.gain[:, 0]
        assert float(ratio.median()) == pytest.approx(1.0, abs=0.1)

    def test_unknown_name(self):
        known = "munich_cell_uplink, munich_d2d, munich_hudn_200m, munich_hudn_600m, munich_miso64"
        with pytest.raises(SnapshotError, match=f"name: must be one of {known}, received 'berlin'"):
            bundled_snapshot("berlin")
