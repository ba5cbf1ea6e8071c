import math

import numpy as np
import pytest
import torch

from torchrrm.channels.snapshot import THERMAL_NOISE_PSD_W_PER_HZ, Snapshot, SnapshotError

GAIN = torch.tensor([[1e-8, 2e-8, 0.0], [4e-8, 5e-8, 6e-8]])


def channel_of(gain: torch.Tensor, frequencies: int = 2) -> torch.Tensor:
    """[frequency rx 1 tx 1] with |h|^2 = gain."""
    return gain.sqrt().to(torch.complex64)[None, :, None, :, None].expand(frequencies, -1, -1, -1, -1)


def test_defaults():
    snapshot = Snapshot(gain=GAIN)
    assert snapshot.rx_role == snapshot.rx_kind == ("unknown", "unknown")
    assert snapshot.tx_role == snapshot.tx_kind == ("unknown", "unknown", "unknown")
    assert (snapshot.direction, snapshot.notes) == ("unknown", ())
    assert (
        snapshot.noise_psd_w_per_hz
        == THERMAL_NOISE_PSD_W_PER_HZ
        == pytest.approx(3.981e-21, rel=1e-3, abs=0.0)
    )
    assert snapshot.drop_shape == ()
    assert not snapshot.eavesdropper.any()


def test_converts_what_it_is_given():
    snapshot = Snapshot(
        gain=GAIN.double().numpy(),  # pyright: ignore[reportArgumentType]
        channel=channel_of(GAIN).to(torch.complex128),
        frequency_offset_hz=[0, 1000],  # pyright: ignore[reportArgumentType]
        rx_position_m=np.zeros((2, 3), dtype=">f8"),  # pyright: ignore[reportArgumentType]
        rx_role=np.array([b"station", b"eavesdropper"]),  # pyright: ignore[reportArgumentType]
        los=np.ones((2, 3), dtype=np.uint8),  # pyright: ignore[reportArgumentType]
        carrier_hz=np.float64(3.5e9),
    )
    assert snapshot.gain.dtype == torch.float32
    assert snapshot.channel is not None
    assert snapshot.channel.dtype == torch.complex64
    assert snapshot.frequency_offset_hz is not None
    assert snapshot.frequency_offset_hz.dtype == torch.float64
    assert snapshot.eavesdropper.tolist() == [False, True]
    assert snapshot.los is not None
    assert snapshot.los.dtype == torch.bool
    assert isinstance(snapshot.carrier_hz, float)


def test_positions_of_all_drops():
    snapshot = Snapshot(gain=GAIN.expand(4, 2, 3), tx_position_m=torch.rand(3, 3))
    assert snapshot.tx_position_m is not None
    assert snapshot.tx_position_m.shape == (4, 3, 3)


class TestReciprocal:
    SNAPSHOT = Snapshot(
        gain=GAIN.expand(5, 2, 3),
        channel=torch.rand(5, 4, 2, 6, 3, 7, dtype=torch.complex64)
        * (GAIN > 0)[None, None, :, None, :, None],
        frequency_offset_hz=torch.arange(4),
        rx_position_m=torch.rand(2, 3),
        tx_position_m=torch.rand(3, 3),
        los=GAIN.expand(5, 2, 3) > 3e-8,
        tx_kind=("macro", "small", "unknown"),
        carrier_hz=2e9,
        name="links",
    )

    def test_turns_every_axis(self):
        back = self.SNAPSHOT.reciprocal()
        assert torch.equal(back.gain, self.SNAPSHOT.gain.mT)
        assert back.channel is not None
        assert self.SNAPSHOT.channel is not None
        assert back.channel.shape == (5, 4, 3, 7, 2, 6)
        assert back.channel[1, 2, 0, 5, 1, 3] == self.SNAPSHOT.channel[1, 2, 1, 3, 0, 5]
        assert back.rx_position_m is not None
        assert self.SNAPSHOT.tx_position_m is not None
        assert torch.equal(back.rx_position_m, self.SNAPSHOT.tx_position_m)
        assert (back.name, back.carrier_hz) == ("links", 2e9)
        assert (self.SNAPSHOT.direction, back.direction) == ("downlink", "uplink")
        assert (back.rx_kind, back.tx_kind) == (self.SNAPSHOT.tx_kind, ("unknown", "unknown"))
        assert (back.rx_role, back.tx_role) == (("station",) * 3, ("user",) * 2)

    def test_twice_is_the_same(self):
        again = self.SNAPSHOT.reciprocal().reciprocal()
        assert torch.equal(again.gain, self.SNAPSHOT.gain)
        assert again.channel is not None
        assert self.SNAPSHOT.channel is not None
        assert torch.equal(again.channel, self.SNAPSHOT.channel)

    def test_eavesdroppers_do_not_transmit(self):
        snapshot = Snapshot(gain=GAIN, rx_role=("station", "eavesdropper"))
        with pytest.raises(SnapshotError, match="must name no eavesdropper to turn links round, received 1"):
            snapshot.reciprocal()


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"tx_role": "station"}, ("user", "station", "downlink")),
        ({"rx_role": "station"}, ("station", "user", "uplink")),
        ({"tx_role": "user"}, ("station", "user", "uplink")),
        ({"rx_role": "device"}, ("device", "device", "device-to-device")),
        ({"tx_kind": ("small", "unknown", "unknown")}, ("user", "station", "downlink")),
        ({"rx_kind": "macro"}, ("station", "user", "uplink")),
        ({"tx_role": ["unknown", "user", "unknown"]}, ("station", "user", "uplink")),
    ],
)
def test_roles_follow_from_the_other_end_and_from_kinds(fields, ends):
    snapshot = Snapshot(gain=GAIN, **fields)
    assert (*set(snapshot.rx_role), *set(snapshot.tx_role), snapshot.direction) == ends


class TestDirection:
    def test_is_stated_where_it_is_unknown(self):
        snapshot = Snapshot(gain=GAIN, rx_role=("unknown", "eavesdropper"))
        known = snapshot.with_direction("uplink")
        assert (known.rx_role, known.tx_role) == (("station", "eavesdropper"), ("user",) * 3)
        assert snapshot.with_direction("unknown") is snapshot
        assert known.with_direction("uplink") is known

    def test_is_refused_against_the_roles(self):
        with pytest.raises(
            SnapshotError, match=r"^direction: must be uplink, as the data say, received downlink$"
        ):
            Snapshot(gain=GAIN, tx_role="user").with_direction("downlink")


def test_select_and_one_drop_keep_nodes_together():
    whole = TestReciprocal.SNAPSHOT
    part = whole.select(rx=torch.tensor([1]), tx=torch.tensor([2, 0])).one_drop(3)
    assert whole.channel is not None
    assert part.channel is not None
    assert whole.tx_position_m is not None
    assert part.tx_position_m is not None
    assert torch.equal(part.gain, whole.gain[3, 1:][:, [2, 0]])
    assert torch.equal(part.channel[:, 0, :, 1], whole.channel[3, :, 1, :, 0])
    assert torch.equal(part.tx_position_m, whole.tx_position_m[3, [2, 0]])
    assert (part.tx_kind, part.rx_role) == (("unknown", "macro"), ("user",))
    with pytest.raises(SnapshotError, match=r"^drop: must be 0 to 4, received 5$"):
        whole.one_drop(5)


def test_notes_are_kept_once():
    snapshot = Snapshot(gain=GAIN).with_notes("a", "b").with_notes("a")
    assert snapshot.reciprocal().notes == ("a", "b")


def changed(place: tuple[int, int], value: float) -> torch.Tensor:
    gain = GAIN.clone()
    gain[place] = value
    return gain


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gain": changed((0, 2), math.nan)}, r"gain: must be finite, received nan at \[0, 2\]"),
        ({"gain": changed((1, 0), math.inf)}, r"gain: must be finite, received inf at \[1, 0\]"),
        (
            {"gain": changed((0, 1), -93.5)},
            r"gain: must be at least 0 \(linear\), received -93.5 at \[0, 1\]"
            "; gains in dB are given as gain_db",
        ),
        (
            {"gain": changed((1, 2), 93.5)},
            r"gain: must be at most 1 \(linear, channels do not amplify\), received 93.5 at \[1, 2\]"
            "; gains in dB are given as gain_db",
        ),
        (
            {"gain": np.array([[1e300]])},
            r"gain: must be at most 1 .*, received 1e\+300 at \[0, 0\]; gains in dB are given as gain_db",
        ),
        ({"gain": torch.zeros(3)}, r"gain: must have axes \[\*drop rx tx\], received shape \(3,\)"),
        (
            {"gain": torch.zeros(1, 0)},
            r"gain: must have at least one drop, receiver and transmitter \(an empty cell\), "
            r"received shape \(1, 0\)",
        ),
        ({"gain": torch.zeros(0, 1, 1)}, r"gain: .*\(an empty cell\), received shape \(0, 1, 1\)"),
        (
            {"gain": GAIN.to(torch.complex64)},
            r"gain: must hold real numbers, received values of type torch.complex64",
        ),
        ({"gain": np.array([["a"]])}, r"gain: must hold real numbers, received values of type <U1"),
        (
            {"rx_position_m": torch.zeros(3, 3)},
            r"rx_position_m: must have shape \(2, 3\), received \(3, 3\)",
        ),
        (
            {"tx_position_m": torch.full((3, 3), math.nan)},
            r"tx_position_m: must be finite, received nan at \[0, 0\]",
        ),
        (
            {"tx_kind": torch.zeros(3)},
            "tx_kind: must be of unknown, macro, small, received values of type float32",
        ),
        ({"tx_kind": [0, 1, 1]}, "tx_kind: must be of unknown, macro, small, received values of type int64"),
        ({"rx_role": ["user"]}, r"rx_role: must have shape \(2,\) or be one word, received \(1,\)"),
        (
            {"tx_role": "mast"},
            "tx_role: must be of unknown, station, user, device, eavesdropper, received 'mast'",
        ),
        ({"tx_role": "eavesdropper"}, "tx_role: must name no eavesdropper, which only receives"),
        (
            {"tx_role": ["user", "device", "unknown"]},
            "tx_role: must be one role besides eavesdroppers, received device and user",
        ),
        (
            {"tx_role": "user", "tx_kind": "macro"},
            "tx_role: must be one role besides eavesdroppers, received station and user; macro and small are .*",
        ),
        (
            {"rx_role": "eavesdropper", "rx_kind": "small"},
            "rx_role: must be station where the kind is macro or small, received eavesdropper",
        ),
        (
            {"rx_role": "station", "tx_role": "device"},
            "rx_role, tx_role: must be stations and users, or devices at both ends, received station and device",
        ),
        (
            {"carrier_hz": 3.5},
            r"carrier_hz: 3.5 Hz is below 1 MHz; give the carrier in Hz \(3.5 GHz is 3.5e9\)",
        ),
        (
            {"los": torch.ones(3, 2, dtype=torch.bool)},
            r"los: must have the gain's shape \(2, 3\), received \(3, 2\)",
        ),
        ({"los": torch.ones(2, 3)}, r"los: must hold truth values, received values of type torch.float32"),
        ({"carrier_hz": -1.0}, r"carrier_hz: must be finite and positive, received -1"),
        ({"carrier_hz": "3.5 GHz"}, r"carrier_hz: must be a number, received '3.5 GHz'"),
        (
            {"noise_psd_w_per_hz": -174.0},
            r"noise_psd_w_per_hz: must be finite and positive, received -174 "
            r"\(in W/Hz: -174 dBm/Hz is 3.98e-21\)",
        ),
        ({"noise_psd_w_per_hz": 1.0}, r"noise_psd_w_per_hz: must be at most 1e-9 W/Hz, received 1"),
        (
            {"channel": channel_of(GAIN)},
            r"frequency_offset_hz: must come together with channel, received missing",
        ),
        (
            {"frequency_offset_hz": torch.zeros(2)},
            r"frequency_offset_hz: must come together with channel, received one without a channel",
        ),
        (
            {"channel": channel_of(GAIN), "frequency_offset_hz": torch.zeros(2, 1)},
            r"frequency_offset_hz: must have shape \(frequency,\), received \(2, 1\)",
        ),
        (
            {"channel": channel_of(GAIN), "frequency_offset_hz": torch.tensor([0.0, math.nan])},
            r"frequency_offset_hz: must be finite, received nan at \[1\]",
        ),
        (
            {"channel": channel_of(GAIN), "frequency_offset_hz": torch.zeros(3)},
            r"channel: must have shape \(3, 2, rx_ant, 3, tx_ant\), received \(2, 2, 1, 3, 1\)",
        ),
        (
            {"channel": channel_of(GAIN)[..., :0], "frequency_offset_hz": torch.zeros(2)},
            r"channel: must have at least one antenna at each end, received shape \(2, 2, 1, 3, 0\)",
        ),
        (
            {"channel": channel_of(GAIN) * math.nan, "frequency_offset_hz": torch.zeros(2)},
            r"channel: must be finite, received .*nan.* at \[0, 0, 0, 0, 0\]",
        ),
        (
            {"channel": channel_of(torch.ones(2, 3)), "frequency_offset_hz": torch.zeros(2)},
            r"channel: must be 0 where gain is 0, received an energy of 1 at \[0, 2\]",
        ),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(SnapshotError, match=f"^{message}$"):
        Snapshot(**{"gain": GAIN, **fields})


def test_errors_are_value_errors():
    assert issubclass(SnapshotError, ValueError)
