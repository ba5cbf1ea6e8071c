"""The snapshot itself: channels that somebody brings, checked once when they come in."""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float32, Float64, Int64
from torch import Tensor

from torchrrm.channels.ends import Direction, Role
from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.blocks import blocks, native
from torchrrm.channels.snapshot.roles import checked_kinds, checked_roles, direction_of
from torchrrm.units import dbm_to_watt, require_carrier_hz

__all__ = ["THERMAL_NOISE_PSD_W_PER_HZ", "Snapshot"]

THERMAL_NOISE_PSD_W_PER_HZ = dbm_to_watt(-174.0)
"""Single-sided density of thermal noise at 290 K, -174 dBm/Hz, with no noise figure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Measured, ray-traced or simulated channels. `gain[..., k, j]` is transmitter `j` to receiver `k`.

    Arrays may be given as tensors or numpy arrays of any real or complex precision; they are converted to the
    types below and checked.

    Attributes:
        gain: `[*drop rx tx]`, linear power gain `|h|^2` without small-scale fading, 0 where there is no path.
        channel: `[*drop frequency rx rx_ant tx tx_ant]`, complex amplitude, 0 where there is no path; or None.
        frequency_offset_hz: `[frequency]`, of the channel's samples from the carrier; None without a channel.
        rx_position_m: `[*drop rx 3]` (or `[rx 3]` for all drops), or None.
        tx_position_m: `[*drop tx 3]` (or `[tx 3]` for all drops), or None.
        rx_role: `[rx]`, "station", "user", "device" or "unknown", the same of all receivers but eavesdroppers, which
            are "eavesdropper"; one word stands for all. What is not given follows from the other end and from kinds.
        tx_role: `[tx]`, the same of the transmitters, of which none is an eavesdropper.
        rx_kind: `[rx]`, "macro", "small" or "unknown" for each receiver that is a station.
        tx_kind: `[tx]`, the same of the transmitters.
        los: `[*drop rx tx]`, whether a link has line of sight; or None.
        carrier_hz: carrier frequency, or None if it is not known.
        noise_psd_w_per_hz: single-sided noise power density at the receivers, noise figure included.
        name: what the snapshot is called in tables.
        attribution: whom to name with every use of the data.
        notes: what was assumed when the data were read or turned round, a phrase each; not saved.

    Raises:
        SnapshotError: naming the argument, the rule and what was received.
    """

    gain: Float32[Tensor, "*drop rx tx"]
    channel: Complex64[Tensor, "*drop frequency rx rx_ant tx tx_ant"] | None = None
    frequency_offset_hz: Float64[Tensor, " frequency"] | None = None
    rx_position_m: Float32[Tensor, "*drop rx 3"] | None = None
    tx_position_m: Float32[Tensor, "*drop tx 3"] | None = None
    rx_role: Sequence[str] | str = "unknown"
    tx_role: Sequence[str] | str = "unknown"
    rx_kind: Sequence[str] | str = "unknown"
    tx_kind: Sequence[str] | str = "unknown"
    los: Bool[Tensor, "*drop rx tx"] | None = None
    carrier_hz: float | None = None
    noise_psd_w_per_hz: float = THERMAL_NOISE_PSD_W_PER_HZ
    name: str = "snapshot"
    attribution: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        gain = _checked_gain(self.gain)
        *drop, rx, tx = gain.shape
        checked = {
            "gain": gain,
            "rx_position_m": _checked_position("rx_position_m", self.rx_position_m, (*drop, rx)),
            "tx_position_m": _checked_position("tx_position_m", self.tx_position_m, (*drop, tx)),
            "rx_kind": checked_kinds("rx_kind", self.rx_kind, rx),
            "tx_kind": checked_kinds("tx_kind", self.tx_kind, tx),
            "los": _checked_los(self.los, gain),
            "frequency_offset_hz": _checked_frequencies(self.frequency_offset_hz, self.channel),
            "carrier_hz": _checked_carrier(self.carrier_hz),
            "noise_psd_w_per_hz": _checked_noise(self.noise_psd_w_per_hz),
        }
        roles = checked_roles(
            {"rx": (self.rx_role, checked["rx_kind"]), "tx": (self.tx_role, checked["tx_kind"])}
        )
        checked |= {f"{end}_role": role for end, role in roles.items()}
        checked["channel"] = _checked_channel(self.channel, gain, checked["frequency_offset_hz"])
        for field, value in checked.items():
            object.__setattr__(self, field, value)

    @property
    def drop_shape(self) -> torch.Size:
        """`*drop`, empty for a single drop."""
        return self.gain.shape[:-2]

    @property
    def direction(self) -> Direction:
        """Which end transmits, by the roles."""
        return direction_of(self.tx_role)

    @property
    def eavesdropper(self) -> Bool[Tensor, " rx"]:
        """Which receivers are eavesdroppers."""
        return torch.tensor([role == "eavesdropper" for role in self.rx_role], device=self.gain.device)

    def with_direction(self, direction: Direction) -> "Snapshot":
        """Return the snapshot with the roles of a direction that is stated, if they are not known.

        Raises:
            SnapshotError: if they are known to be of another direction.
        """
        if direction in ("unknown", self.direction):
            return self
        if self.direction != "unknown":
            rule = f"must be {self.direction}, as the data say"
            raise SnapshotError(f"direction: {rule}, received {direction}")
        rx, tx = _ROLES[direction]
        rx_role = ["eavesdropper" if role == "eavesdropper" else rx for role in self.rx_role]
        return dataclasses.replace(self, rx_role=rx_role, tx_role=tx)

    def with_notes(self, *notes: str) -> "Snapshot":
        """Return the snapshot with further notes, none of them twice."""
        noted = copy.copy(self)  # nothing else changes, so nothing is checked again
        object.__setattr__(noted, "notes", tuple(dict.fromkeys((*self.notes, *notes))))
        return noted

    def one_drop(self, drop: int) -> "Snapshot":
        """Return one of the drops, counted over all axes of drops, as a snapshot without such axes.

        Raises:
            SnapshotError: if there is no such drop.
        """
        drops = self.drop_shape.numel()
        if not 0 <= drop < drops:
            raise SnapshotError(f"drop: must be 0 to {drops - 1}, received {drop}")

        def part(array: Tensor | None) -> Tensor | None:
            return None if array is None else array.flatten(0, axes - 1)[drop] if axes else array

        axes = len(self.drop_shape)
        names = ("gain", "channel", "los", "rx_position_m", "tx_position_m")
        return dataclasses.replace(self, **{name: part(getattr(self, name)) for name in names})

    def select(
        self, *, rx: Int64[Tensor, " rx"] | None = None, tx: Int64[Tensor, " tx"] | None = None
    ) -> "Snapshot":
        """Return the snapshot of some receivers and transmitters, by their indices; all by default."""
        every_rx, every_tx = (torch.arange(count) for count in self.gain.shape[-2:])
        rx, tx = every_rx if rx is None else rx, every_tx if tx is None else tx

        def part(array: Tensor | None, rx_axis: int | None, tx_axis: int | None) -> Tensor | None:
            for axis, index in ((rx_axis, rx), (tx_axis, tx)):
                if array is not None and axis is not None:
                    array = array.index_select(axis, index.to(array.device))
            return array

        return dataclasses.replace(
            self,
            gain=part(self.gain, -2, -1),
            channel=part(self.channel, -4, -2),
            los=part(self.los, -2, -1),
            rx_position_m=part(self.rx_position_m, -2, None),
            tx_position_m=part(self.tx_position_m, None, -2),
            **{name: [getattr(self, name)[i] for i in rx.tolist()] for name in ("rx_role", "rx_kind")},
            **{name: [getattr(self, name)[j] for j in tx.tolist()] for name in ("tx_role", "tx_kind")},
        )

    def reciprocal(self) -> "Snapshot":
        """Return the other direction of the same links: receivers transmit and transmitters receive, `gain^T`.

        Turns a downlink (stations transmit, as in DeepMIMO) into an uplink and back.

        Raises:
            SnapshotError: if there is an eavesdropper, which does not transmit.
        """
        if bool(self.eavesdropper.any()):
            count = int(self.eavesdropper.sum())
            raise SnapshotError(f"rx_role: must name no eavesdropper to turn links round, received {count}")
        channel = self.channel
        if channel is not None:
            channel = channel.movedim((-4, -3), (-2, -1))  # [*drop frequency tx tx_ant rx rx_ant]
        return dataclasses.replace(
            self,
            gain=self.gain.mT,
            channel=channel,
            los=None if self.los is None else self.los.mT,
            rx_position_m=self.tx_position_m,
            tx_position_m=self.rx_position_m,
            rx_role=self.tx_role,
            tx_role=self.rx_role,
            rx_kind=self.tx_kind,
            tx_kind=self.rx_kind,
        )


class _Rule(NamedTuple):
    """What no value may do, in words for a message."""

    broken: Callable[[Tensor], Tensor]
    text: str
    hint: str = ""
    measured: str = ""


_FINITE = _Rule(lambda values: ~values.isfinite(), "must be finite")
_DB = "; gains in dB are given as gain_db"
_GAIN_RULES = (
    _FINITE,
    _Rule(lambda gain: gain < 0.0, "must be at least 0 (linear)", _DB),
    _Rule(lambda gain: gain > 1.0, "must be at most 1 (linear, channels do not amplify)", _DB),
)
_SILENT = _Rule(lambda energy: energy > 0.0, "must be 0 where gain is 0", measured="an energy of ")
_ROLES: dict[str, tuple[Role, Role]] = {
    "uplink": ("station", "user"),
    "downlink": ("user", "station"),
    "device-to-device": ("device", "device"),
}


def _as_tensor(
    name: str,
    value: Any,
    dtype: torch.dtype,
    kinds: str,
    *,
    rules: Sequence[_Rule] = (),
    via: torch.dtype | None = None,
) -> Tensor:
    """A tensor of `dtype` from a tensor or array whose numpy kind is one of `kinds`, block by block.

    A tensor that is of `dtype` already is not copied. Rules look at values of the type `via`, or else of `dtype`.
    """
    source = _array(value)
    kind = source.dtype.kind if isinstance(source, np.ndarray) else _kind_of(source)
    if kind not in kinds:
        received = f"values of type {source.dtype}"
        raise SnapshotError(f"{name}: must hold {_KIND_WORDS[kinds]}, received {received}")
    if isinstance(source, Tensor) and source.dtype == dtype and source.is_contiguous():
        result = source
    else:
        device = source.device if isinstance(source, Tensor) else None
        result = torch.empty(tuple(source.shape), dtype=dtype, device=device)
    for place in blocks(source.shape):
        block = source[place] if isinstance(source, Tensor) else native(source[place])
        block = block.to(via or dtype)
        for rule in rules:
            _require(name, block, place, rule)
        if result is not source:
            result[place] = block
    return result


def _array(value: Any) -> Tensor | np.ndarray:
    """A tensor without its gradient, or an array of everything else."""
    return value.detach() if isinstance(value, Tensor) else np.asarray(value)


def _kind_of(tensor: Tensor) -> str:
    """The kind of a tensor's numbers as numpy calls it."""
    if tensor.dtype == torch.bool:
        return "b"
    return "c" if tensor.is_complex() else "f" if tensor.is_floating_point() else "i"


def _require(name: str, block: Tensor, place: tuple[slice, ...], rule: _Rule) -> None:
    """Refuse a block that breaks a rule, with the first such value and its index in the whole array."""
    bad = rule.broken(block)
    if bool(bad.any()):
        inside = bad.nonzero()[0].tolist()
        index = [part.start + i for part, i in zip(place, inside, strict=True)]
        number = block[tuple(inside)].item()
        received = rule.measured + (f"{number}" if block.is_complex() else f"{number:g}")
        raise SnapshotError(f"{name}: {rule.text}, received {received} at {index}{rule.hint}")


_KIND_WORDS = {
    "fiu": "real numbers",
    "cfiu": "complex numbers",
    "bui": "truth values",
}


def _checked_gain(value: Any) -> Tensor:
    value = _array(value)
    shape = tuple(value.shape)
    if len(shape) < 2:
        raise SnapshotError(f"gain: must have axes [*drop rx tx], received shape {shape}")
    if not math.prod(shape):
        rule = "must have at least one drop, receiver and transmitter (an empty cell)"
        raise SnapshotError(f"gain: {rule}, received shape {shape}")
    # In double precision first: a huge value must not pass as an infinity of float32.
    return _as_tensor("gain", value, torch.float32, "fiu", rules=_GAIN_RULES, via=torch.float64)


def _checked_position(name: str, value: Any, shape: tuple[int, ...]) -> Tensor | None:
    if value is None:
        return None
    value = _array(value)
    if tuple(value.shape) not in ((*shape, 3), (*shape[-1:], 3)):
        raise SnapshotError(f"{name}: must have shape {(*shape, 3)}, received {tuple(value.shape)}")
    return _as_tensor(name, value, torch.float32, "fiu", rules=(_FINITE,)).expand(*shape, 3)


def _checked_los(value: Any, gain: Tensor) -> Tensor | None:
    if value is None:
        return None
    value = _array(value)
    if tuple(value.shape) != tuple(gain.shape):
        wanted, received = tuple(gain.shape), tuple(value.shape)
        raise SnapshotError(f"los: must have the gain's shape {wanted}, received {received}")
    return _as_tensor("los", value, torch.bool, "bui")


def _checked_frequencies(value: Any, channel: Any) -> Tensor | None:
    if (value is None) != (channel is None):
        missing = "missing" if value is None else "one without a channel"
        raise SnapshotError(f"frequency_offset_hz: must come together with channel, received {missing}")
    if value is None:
        return None
    offset = _as_tensor("frequency_offset_hz", value, torch.float64, "fiu", rules=(_FINITE,))
    if offset.ndim != 1 or not offset.numel():
        received = tuple(offset.shape)
        raise SnapshotError(f"frequency_offset_hz: must have shape (frequency,), received {received}")
    return offset


def _checked_channel(value: Any, gain: Tensor, frequency_offset_hz: Tensor | None) -> Tensor | None:
    if value is None or frequency_offset_hz is None:
        return None
    value = _array(value)
    *drop, rx, tx = gain.shape
    wanted = (*drop, len(frequency_offset_hz), rx, "rx_ant", tx, "tx_ant")
    shape = tuple(value.shape)
    if len(shape) != len(wanted) or any(
        isinstance(want, int) and have != want for have, want in zip(shape, wanted, strict=True)
    ):
        raise SnapshotError(f"channel: must have shape {_shape_text(wanted)}, received {shape}")
    if not math.prod(shape):
        raise SnapshotError(f"channel: must have at least one antenna at each end, received shape {shape}")
    channel = _as_tensor("channel", value, torch.complex64, "cfiu", rules=(_FINITE,))
    _require_paths(channel, gain)
    return channel


def _require_paths(channel: Tensor, gain: Tensor) -> None:
    """Refuse a channel `[*drop frequency rx rx_ant tx tx_ant]` that is not 0 where the gain is."""
    energy = torch.zeros_like(gain)  # of the strongest antennas and frequency
    for place in blocks(channel.shape):
        *drop, _, rx, _, tx, _ = place
        strongest = channel[place].abs().square().amax(dim=(-5, -3, -1))
        part = energy[(*drop, rx, tx)]
        torch.maximum(part, strongest, out=part)
    for place in blocks(gain.shape):
        part = energy[place].masked_fill(gain[place] != 0.0, 0.0)
        _require("channel", part, place, _SILENT)


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _checked_carrier(value: Any) -> float | None:
    if value is None:
        return None
    number = _checked_scalar("carrier_hz", value)
    try:
        require_carrier_hz(number)
    except ValueError as error:
        raise SnapshotError(str(error)) from None
    return number


def _checked_scalar(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SnapshotError(f"{name}: must be a number, received {value!r}") from None
    if not (math.isfinite(number) and number > 0.0):
        raise SnapshotError(f"{name}: must be finite and positive, received {number:g}")
    return number


def _checked_noise(value: Any) -> float:
    try:
        noise = _checked_scalar("noise_psd_w_per_hz", value)
    except SnapshotError as error:
        raise SnapshotError(f"{error} (in W/Hz: -174 dBm/Hz is 3.98e-21)") from None
    if noise > 1e-9:
        raise SnapshotError(f"noise_psd_w_per_hz: must be at most 1e-9 W/Hz, received {noise:g}")
    return noise
