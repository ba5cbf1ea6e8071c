from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.channels.snapshot import Snapshot, SnapshotError, load, load_snapshot, save_snapshot

MARK: dict[str, Any] = {"schema": "torchrrm-snapshot", "version": 2}
OLD: dict[str, Any] = {**MARK, "version": 1}
GAIN = np.array([[1e-8, 2e-9, 0.0], [4e-8, 5e-8, 6e-8]])


def file_of(folder: Path, **arrays: Any) -> Path:
    path = folder / "snapshot.npz"
    np.savez(path, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


def assert_same(first: Snapshot, second: Snapshot) -> None:
    for field in vars(first):
        one, two = getattr(first, field), getattr(second, field)
        if isinstance(one, torch.Tensor):
            assert one.dtype == two.dtype, field
            assert torch.equal(one, two), field
        else:
            assert one == two, field


ENDS: list[dict[str, Any]] = [
    {},
    {"rx_role": "station"},
    {"tx_role": "station", "tx_kind": "small"},
    {"rx_role": "device", "tx_role": "device"},
]


@st.composite
def snapshots(draw) -> Snapshot:
    drop = draw(st.lists(st.integers(1, 2), max_size=2))
    rx, tx, rx_ant, tx_ant, frequency = (draw(st.integers(1, 3)) for _ in range(5))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    gain = 10.0 ** random.uniform(-15, -3, (*drop, rx, tx)) * (random.random((*drop, rx, tx)) < 0.8)
    fields: dict[str, Any] = {"gain": gain, "name": draw(st.text(max_size=5)).replace("\0", "")}
    if draw(st.booleans()):
        shape = (*drop, frequency, rx, rx_ant, tx, tx_ant, 2)
        pairs = random.normal(size=shape) * np.sqrt(gain).reshape(*drop, 1, rx, 1, tx, 1, 1)
        fields["channel"] = pairs[..., 0] + 1j * pairs[..., 1]
        fields["frequency_offset_hz"] = random.normal(size=frequency) * 1e6
    if draw(st.booleans()):
        fields |= {"rx_position_m": random.normal(size=(rx, 3)), "tx_position_m": random.normal(size=(tx, 3))}
        fields |= {"los": gain > 1e-8, "carrier_hz": 3.5e9}
        fields |= draw(st.sampled_from(ENDS))
        if fields.get("rx_role") == "station":
            fields["rx_role"] = random.choice(["station", "eavesdropper"], rx)
        fields |= {"noise_psd_w_per_hz": 8e-21, "attribution": "measured by (c) someone"}
    return Snapshot(**fields)


@given(snapshot=snapshots())
def test_round_trip(snapshot, tmp_path_factory):
    path = save_snapshot(tmp_path_factory.mktemp("round") / "a.npz", snapshot)
    assert_same(load_snapshot(path), snapshot)
    assert_same(load(path), snapshot)


@given(snapshot=snapshots())
def test_compact_round_trip(snapshot, tmp_path_factory):
    path = save_snapshot(tmp_path_factory.mktemp("compact") / "a.npz", snapshot, compact=True)
    again = load_snapshot(path)
    assert torch.equal(again.gain, snapshot.gain)
    if snapshot.channel is None:
        assert again.channel is None
    else:
        assert again.channel is not None
        amplitude = snapshot.gain.sqrt()[..., None, :, None, :, None]
        error = (again.channel - snapshot.channel).abs()
        assert bool((error <= 5e-4 * snapshot.channel.abs() + 1e-7 * amplitude).all())


@pytest.mark.parametrize(
    ("kinds", "rx_role", "tx_role", "tx_kind"),
    [
        ({}, ("unknown",) * 2, ("unknown",) * 3, ("unknown",) * 3),
        ({"rx_kind": [0, 0], "tx_kind": [0, 0, 0]}, ("unknown",) * 2, ("unknown",) * 3, ("unknown",) * 3),
        ({"rx_kind": [0, 1]}, ("station", "eavesdropper"), ("user",) * 3, ("unknown",) * 3),
        ({"tx_kind": [0, 1, 0]}, ("user",) * 2, ("station",) * 3, ("macro", "small", "macro")),
        (
            {"rx_kind": [0, 1], "tx_kind": [0, 1, 0]},
            ("user", "eavesdropper"),
            ("station",) * 3,
            ("macro", "small", "macro"),
        ),
    ],
)
def test_version_1_means_what_it_meant(kinds, rx_role, tx_role, tx_kind, tmp_path):
    """Eavesdroppers tell an uplink; small stations tell a downlink, in which the others are macro stations."""
    snapshot = load_snapshot(file_of(tmp_path, **OLD, gain=GAIN, **kinds))
    assert (snapshot.rx_role, snapshot.tx_role, snapshot.tx_kind) == (rx_role, tx_role, tx_kind)
    again = load_snapshot(save_snapshot(tmp_path / "new.npz", snapshot))
    assert_same(again, snapshot)
    with np.load(tmp_path / "new.npz") as arrays:
        assert arrays["version"] == 2


def test_one_word_tells_the_role_of_all(tmp_path):
    snapshot = load_snapshot(file_of(tmp_path, **MARK, gain=GAIN, tx_role="station", tx_kind="macro"))
    assert (snapshot.rx_role, snapshot.tx_kind) == (("user",) * 2, ("macro",) * 3)


class TestSaving:
    def test_replaces_at_once(self, tmp_path):
        path = tmp_path / "a.npz"
        path.write_text("old")
        save_snapshot(path, Snapshot(gain=torch.full((1, 1), 1e-9)))
        assert load_snapshot(path).gain.shape == (1, 1)
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]

    def test_missing_folder(self, tmp_path):
        with pytest.raises(OSError, match="No such file or directory"):
            save_snapshot(tmp_path / "nowhere" / "a.npz", Snapshot(gain=torch.zeros(1, 1)))

    def test_writes_the_exact_name(self, tmp_path):
        assert save_snapshot(tmp_path / "data", Snapshot(gain=torch.zeros(1, 1))) == tmp_path / "data"
        assert (tmp_path / "data").is_file()


class TestUnits:
    def test_decibels_are_the_linear_gain(self, tmp_path):
        decibels = 10.0 * np.log10(np.where(GAIN > 0, GAIN, 1e-25))
        in_db = load_snapshot(file_of(tmp_path, **MARK, gain_db=decibels))
        linear = load_snapshot(file_of(tmp_path, **MARK, gain=GAIN))
        torch.testing.assert_close(in_db.gain, linear.gain, rtol=1e-6, atol=0.0)

    def test_no_path(self, tmp_path):
        decibels = np.array([[-199.0, -200.0, -250.0, -np.inf]])
        gain = load_snapshot(file_of(tmp_path, **MARK, gain_db=decibels)).gain
        assert (gain > 0).tolist() == [[True, False, False, False]]

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, np.complex128])
    @pytest.mark.parametrize("scale", ["absolute", "sqrt_gain"])
    def test_channel_forms(self, tmp_path, dtype, scale):
        gain = np.array([[0.25, 0.0625], [0.0, 0.015625]])
        relative = np.array([[1 + 1j, -0.5j], [0.0, 2.0]])  # exact in every precision
        channel = relative if scale == "sqrt_gain" else relative * np.sqrt(gain)
        stored = (
            channel if np.dtype(dtype).kind == "c" else np.stack((np.real(channel), np.imag(channel)), -1)
        )
        stored = stored.astype(dtype)[None, :, None, :, None]
        path = file_of(
            tmp_path, **MARK, gain=gain, channel=stored, channel_scale=scale, frequency_offset_hz=[0.0]
        )
        loaded = load_snapshot(path).channel
        assert loaded is not None
        expected = torch.from_numpy(relative * np.sqrt(gain)).to(torch.complex64)
        assert torch.equal(loaded[0, :, 0, :, 0], expected)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"schema": "other", "version": 1, "gain": GAIN},
            "schema: must be 'torchrrm-snapshot', received 'other'",
        ),
        (
            {"schema": 7, "version": 1, "gain": GAIN},
            r"schema: must be a text without axes, received int64 of shape \(\)",
        ),
        ({"schema": "torchrrm-snapshot", "gain": GAIN}, "version: must be 1 or 2, received none"),
        ({**MARK, "version": 3, "gain": GAIN}, "version: must be 1 or 2, received 3"),
        (
            {**MARK, "gain": GAIN, "tx_kind": [0, 1, 1]},
            "tx_kind: must be of unknown, macro, small, received values of type int64",
        ),
        ({**OLD, "gain": GAIN, "tx_kind": ["small"] * 3}, "tx_kind: must hold integers, received .* <U5"),
        ({**OLD, "gain": GAIN, "rx_kind": [0, 2]}, "rx_kind: must be 0 or 1, received 2"),
        ({**OLD, "gain": GAIN, "rx_kind": [1]}, r"rx_role: must have shape \(2,\) or be one word, .*"),
        ({**OLD, "gain": GAIN, "rx_role": "user"}, "rx_role: must go with version 2, received version 1"),
        (
            {**MARK, "version": [1], "gain": GAIN},
            r"version: must be a number without axes, received int64 of shape \(1,\)",
        ),
        (MARK, r"gain: must be given once, as gain \(linear\) or as gain_db, received neither"),
        (
            {**MARK, "gain": GAIN, "gain_db": GAIN},
            r"gain: must be given once, as gain \(linear\) or as gain_db, received both",
        ),
        ({**MARK, "gain": GAIN, "gian": GAIN}, "arrays: must be of .*, received 'gian'"),
        (
            {**MARK, "gain": -10 * np.ones((1, 2))},
            r"gain: must be at least 0 \(linear\), received -10 at \[0, 0\]; gains in dB .* gain_db",
        ),
        (
            {**MARK, "gain_db": [[93.0]]},
            r"gain_db: must be at most 0 dB, received 93 at \[0, 0\]; a loss is a negative gain, .*",
        ),
        ({**MARK, "gain_db": [[1e-9]]}, r"gain_db: must be at most 0 dB, received 1e-09 .* named gain"),
        (
            {**MARK, "gain_db": [[-90.0, np.nan]]},
            r"gain_db: must be no NaN \(no path is -250 or -inf\), received nan at \[0, 1\]",
        ),
        ({**MARK, "gain_db": [["a"]]}, "gain_db: must hold real numbers, received values of type <U1"),
        (
            {**MARK, "gain": np.zeros((51, 0))},
            r"gain: must have at least one .* \(an empty cell\), received shape \(51, 0\)",
        ),
        ({**MARK, "gain": GAIN, "carrier_hz": "3.5"}, r"carrier_hz: must be a number without axes, .*"),
        ({**MARK, "gain": GAIN, "name": [1]}, r"name: must be a text without axes, received int64 .*"),
        (
            {**MARK, "gain": GAIN, "channel": np.zeros((1, 2, 1, 3, 1)), "frequency_offset_hz": [0.0]},
            r"channel: must be complex or real with \(re, im\) on a last axis of 2, "
            r"received float64 of shape .*",
        ),
        (
            {**MARK, "gain": GAIN, "channel": np.zeros((1, 2, 1, 3, 1), complex)},
            "frequency_offset_hz: must come together with channel, received missing",
        ),
        (
            {**MARK, "gain": GAIN, "channel": np.zeros((1, 2, 1, 3, 1), complex), "channel_scale": "dB"},
            "channel_scale: must be 'absolute' or 'sqrt_gain', received 'dB'",
        ),
        (
            {**MARK, "gain": GAIN, "channel": np.zeros((2, 3), complex), "channel_scale": "sqrt_gain"},
            r"channel: must have axes .*, received shapes \(2, 3\) and \(2, 3\)",
        ),
        (
            {
                **MARK,
                "gain": GAIN,
                "channel": np.zeros((1, 5, 1, 3, 1), complex),
                "channel_scale": "sqrt_gain",
            },
            r"channel: must fit the gain's shape \(2, 3\), received shape \(1, 5, 1, 3, 1\)",
        ),
        (
            {
                **MARK,
                "gain": -GAIN,
                "channel": np.zeros((1, 2, 1, 3, 1), complex),
                "channel_scale": "sqrt_gain",
                "frequency_offset_hz": [0.0],
            },
            r"gain: must be at least 0 \(linear\), received -1e-08 at .*",
        ),
    ],
)
def test_bad_files(tmp_path, arrays, message):
    path = file_of(tmp_path, **arrays)
    with pytest.raises(SnapshotError, match=rf"^snapshot\.npz: {message}$"):
        load_snapshot(path)


@pytest.mark.parametrize("arrays", [{"gain": np.ones(())}, {"gain": np.ones(3)}])
def test_scaled_channel_with_a_flat_gain(tmp_path, arrays):
    channel = np.zeros((1, 2, 1, 3, 1), complex)
    path = file_of(tmp_path, **MARK, **arrays, channel=channel, channel_scale="sqrt_gain")
    with pytest.raises(SnapshotError, match="channel: must have axes"):
        load_snapshot(path)


def test_foreign_archive(tmp_path):
    path = file_of(tmp_path, **{f"weights_{i}": np.ones(2) for i in range(12)})
    with pytest.raises(SnapshotError, match=r"must have a schema .*, received arrays weights_0, .*, \.\.\.$"):
        load(path)
    with pytest.raises(SnapshotError, match=r"schema: must be a text without axes, received none$"):
        load_snapshot(path)
