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
    assert snapshot.rx_kind.tolist() == [0, 0]
    assert snapshot.tx_kind.tolist() == [0, 0, 0]
    assert snapshot.noise_psd_w_per_hz == THERMAL_NOISE_PSD_W_PER_HZ == pytest.approx(3.981e-21, rel=1e-3)
    assert snapshot.drop_shape == ()
    assert not snapshot.eavesdropper.any()


def test_converts_what_it_is_given():
    snapshot = Snapshot(
        gain=GAIN.double().numpy(),  # pyright: ignore[reportArgumentType]
        channel=channel_of(GAIN).to(torch.complex128),
        frequency_offset_hz=[0, 1000],  # pyright: ignore[reportArgumentType]
        rx_position_m=np.zeros((2, 3), dtype=">f8"),  # pyright: ignore[reportArgumentType]
        rx_kind=[0, 1],  # pyright: ignore[reportArgumentType]
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
        tx_kind=torch.tensor([0, 1, 1]),
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
        assert back.rx_kind.tolist() == [0, 0, 0]

    def test_twice_is_the_same(self):
        again = self.SNAPSHOT.reciprocal().reciprocal()
        assert torch.equal(again.gain, self.SNAPSHOT.gain)
        assert again.channel is not None
        assert self.SNAPSHOT.channel is not None
        assert torch.equal(again.channel, self.SNAPSHOT.channel)

    def test_eavesdroppers_do_not_transmit(self):
        snapshot = Snapshot(gain=GAIN, rx_kind=torch.tensor([0, 1]))
        with pytest.raises(SnapshotError, match="must name no eavesdropper to turn links round, received 1"):
            snapshot.reciprocal()


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
        ({"rx_kind": torch.zeros(3)}, r"rx_kind: must hold integers, received values of type torch.float32"),
        ({"rx_kind": torch.tensor([0])}, r"rx_kind: must have shape \(2,\), received \(1,\)"),
        ({"tx_kind": torch.tensor([0, 1, 2])}, r"tx_kind: must be 0 or 1, received 2 at \[2\]"),
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
