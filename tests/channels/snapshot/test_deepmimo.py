import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchrrm.channels.snapshot import SnapshotError, load, load_deepmimo

RANDOM = np.random.default_rng(1)
PARAMS: dict[str, Any] = {
    "version": "4.0.5",
    "rt_params": {"frequency": 3.5e9, "raytracer_name": "Sionna Ray Tracing"},
    "scene": {"num_scenes": 1},
    "txrx_sets": {
        "txrx_set_0": {"id": 0, "is_tx": False, "is_rx": True, "num_points": 4},
        "txrx_set_1": {"id": 1, "is_tx": True, "is_rx": True, "num_points": 2},
        "txrx_set_2": {"id": 2, "is_tx": False, "is_rx": True, "num_points": 3},
    },
}
USERS = {0: RANDOM.normal(size=(4, 3)), 2: RANDOM.normal(size=(3, 3)), 1: RANDOM.normal(size=(2, 3))}
STATIONS = RANDOM.normal(size=(2, 3))
PATHS = {0: 5, 1: 2, 2: 3}


def matrices(receiver_set: int, station: int) -> dict[str, np.ndarray]:
    shape = (len(USERS[receiver_set]), PATHS[receiver_set])
    power = RANDOM.uniform(-140, -70, shape)
    power[0, 1:] = np.nan  # one path
    power[1] = np.nan  # none
    absent = np.isnan(power)
    inter = np.where(absent, np.nan, RANDOM.integers(1, 12, shape))
    inter[0, 0] = 0.0
    return {
        "power": power.astype(np.float32),
        "phase": np.where(absent, np.nan, RANDOM.uniform(-180, 180, shape)).astype(np.float32),
        "delay": np.where(absent, np.nan, RANDOM.uniform(0, 1e-6, shape)).astype(np.float32),
        "inter": inter.astype(np.float32),
        "rx_pos": USERS[receiver_set].astype(np.float32),
        "tx_pos": STATIONS[station][None].astype(np.float32),
    }


def save(folder: Path, matrix: str, station: int, receiver_set: int, array: np.ndarray) -> None:
    np.savez_compressed(
        folder / f"{matrix}_t001_tx{station:03}_r{receiver_set:03}.npz", allow_pickle=True, **{matrix: array}
    )


@pytest.fixture
def scenario(tmp_path) -> tuple[Path, dict[tuple[int, int], dict[str, np.ndarray]]]:
    """Two stations (set 1), which hear each other too, and users in the sets 0 and 2."""
    folder = tmp_path / "city_3p5"
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(PARAMS))
    links = {(station, rx): matrices(rx, station) for station in range(2) for rx in USERS}
    for (station, receiver_set), arrays in links.items():
        for matrix, array in arrays.items():
            save(folder, matrix, station, receiver_set, array)
    save(folder, "vertices", 0, 0, np.zeros((8, 3)))
    return folder, links


def path_gain(power: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(power), 0.0, 10.0 ** (power.astype(np.float64) / 10.0))


def test_gain_is_the_power_of_the_paths_users_first(scenario):
    folder, links = scenario
    snapshot = load(folder)
    assert snapshot.gain.shape == (7, 2)
    for station in range(2):
        expected = np.concatenate([path_gain(links[station, rx]["power"]).sum(1) for rx in (0, 2)])
        torch.testing.assert_close(snapshot.gain[:, station], torch.from_numpy(expected).float())
    assert snapshot.gain[1].tolist() == [0.0, 0.0]
    assert snapshot.channel is None


def test_positions_carrier_and_line_of_sight(scenario):
    folder, _ = scenario
    snapshot = load(folder)
    assert snapshot.rx_position_m is not None
    assert snapshot.tx_position_m is not None
    assert snapshot.los is not None
    np.testing.assert_allclose(snapshot.rx_position_m, np.concatenate((USERS[0], USERS[2])), rtol=1e-6)
    np.testing.assert_allclose(snapshot.tx_position_m, STATIONS, rtol=1e-6)
    assert snapshot.los[:, 0].tolist() == [True, False, False, False, True, False, False]
    assert snapshot.carrier_hz == 3.5e9
    assert snapshot.name == "city_3p5"
    assert "DeepMIMO" in snapshot.attribution


def test_channel_is_the_sum_of_the_paths(scenario):
    folder, links = scenario
    offset_hz = [-1e6, 0.0, 2e6]
    snapshot = load_deepmimo(folder, frequency_offset_hz=offset_hz)
    assert snapshot.channel is not None
    assert snapshot.channel.shape == (3, 7, 1, 2, 1)
    link = links[1, 2]
    expected = sum(
        math.sqrt(10.0 ** (link["power"][2, i] / 10.0))
        * np.exp(1j * np.deg2rad(float(link["phase"][2, i])))
        * np.exp(-2j * np.pi * 2e6 * float(link["delay"][2, i]))
        for i in range(3)
    )
    assert complex(snapshot.channel[2, 4 + 2, 0, 1, 0]) == pytest.approx(expected, rel=1e-4)


def test_reciprocal_is_the_uplink(scenario):
    uplink = load(scenario[0]).reciprocal()
    assert uplink.gain.shape == (2, 7)


def test_without_interactions(scenario):
    folder, _ = scenario
    for path in folder.glob("inter_*"):
        path.unlink()
    assert load(folder).los is None


def test_sets_that_all_transmit_are_all_read(scenario):
    folder, _ = scenario
    sets = {name: {**entry, "is_tx": True} for name, entry in PARAMS["txrx_sets"].items()}
    (folder / "params.json").write_text(json.dumps({**PARAMS, "txrx_sets": sets}))
    assert load(folder).gain.shape == (9, 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{", r"must be JSON, received another text \(Expecting property name .*\)"),
        ("[" * 100_000, r"must be JSON, received another text \(.* nested more than 100 levels deep\)"),
        ("[1]", "must be a JSON object, received a list"),
        ({**PARAMS, "scene": {"num_scenes": 3}}, r"num_scenes must be 1 \(a static scenario\), received 3"),
        ({**PARAMS, "rt_params": {}}, "rt_params.frequency must be a number in Hz, received None"),
        ({**PARAMS, "rt_params": {"frequency": "3G"}}, "rt_params.frequency must be a number in Hz, .*'3G'"),
    ],
)
def test_bad_params(scenario, params, message):
    folder, _ = scenario
    (folder / "params.json").write_text(params if isinstance(params, str) else json.dumps(params))
    with pytest.raises(SnapshotError, match=rf"^city_3p5: params\.json: {message}$"):
        load(folder)


def test_no_params(scenario):
    (scenario[0] / "params.json").unlink()
    with pytest.raises(SnapshotError, match=r"params\.json: must be in the folder of a DeepMIMO 4 scenario"):
        load(scenario[0])


def test_missing_or_matlab_files(scenario):
    folder, _ = scenario
    (folder / "power_t001_tx001_r002.npz").unlink()
    with pytest.raises(
        SnapshotError, match=r"power_t001_tx001_r002\.npz: must be in the folder, received none"
    ):
        load(folder)
    for path in folder.glob("power_*.npz"):
        path.rename(path.with_suffix(".mat"))
    with pytest.raises(SnapshotError, match=r"received power_t001_tx000_r000\.mat \(only \.npz is read\)"):
        load(folder)
    (folder / "rx_pos_t001_tx000_r000.npz").unlink()


def test_missing_positions(scenario):
    folder, _ = scenario
    (folder / "rx_pos_t001_tx000_r000.npz").unlink()
    with pytest.raises(SnapshotError, match=r"^city_3p5: path: must be an existing \.npz file, received"):
        load(folder)


@pytest.mark.parametrize(
    ("matrix", "array", "message"),
    [
        ("power", np.zeros(4), r"must have shape \(any, any\), received \(4,\)"),
        ("power", np.full((4, 5), np.inf), "must be below infinity, received inf"),
        ("power", np.full((4, 5), 30.0), None),
        ("rx_pos", np.zeros((5, 3)), r"must have shape \(4, 3\), received \(5, 3\)"),
        ("tx_pos", np.zeros((2, 3)), r"must have shape \(1, 3\), received \(2, 3\)"),
        ("tx_pos", np.array([["a"]]), "must hold real numbers as tx_pos, received tx_pos of type <U1"),
    ],
)
def test_bad_matrices(scenario, matrix, array, message):
    folder, _ = scenario
    save(folder, matrix, 0, 0, array)
    wanted = rf"{matrix}_t001_tx000_r000\.npz: {message}" if message else r"gain: must be at most 1 .*"
    with pytest.raises(SnapshotError, match=f"^city_3p5: {wanted}$"):
        load(folder)


def test_bad_phases_count_only_for_a_channel(scenario):
    folder, _ = scenario
    save(folder, "phase", 0, 0, np.full((4, 5), np.nan))
    load(folder)
    with pytest.raises(SnapshotError, match=r"phase_.*: phase and delay of every path must be finite"):
        load_deepmimo(folder, frequency_offset_hz=[0.0])
    with pytest.raises(SnapshotError, match="frequency_offset_hz: must be one or more frequencies"):
        load_deepmimo(folder, frequency_offset_hz=0.0)


def test_receivers_that_move(scenario):
    folder, _ = scenario
    save(folder, "rx_pos", 1, 0, USERS[0] + 1.0)
    with pytest.raises(SnapshotError, match="rx_pos: must be the same for every transmitter"):
        load(folder)


def test_objects_are_not_unpickled(scenario):
    folder, _ = scenario
    save(folder, "power", 0, 0, np.array([{"a": 1}], dtype=object))
    with pytest.raises(SnapshotError, match="pickled objects, which are never loaded"):
        load(folder)
