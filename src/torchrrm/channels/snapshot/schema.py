"""Our own file of a snapshot: a `.npz` archive of the schema "torchrrm-snapshot", version 2.

| array | shape | content |
| --- | --- | --- |
| `schema` | () text | "torchrrm-snapshot" |
| `version` | () integer | 2 |
| `gain` | [*drop rx tx] | linear power gain in [0, 1], 0 = no path; exactly one of `gain` and `gain_db` |
| `gain_db` | [*drop rx tx] | the same in dB, at most 0; -200 dB and below (also -inf) = no path |
| `channel` | [*drop frequency rx rx_ant tx tx_ant] or [... 2] | optional: complex, or pairs (re, im) on a last axis |
| `channel_scale` | () text | "absolute" (default), or "sqrt_gain": multiply by the amplitude sqrt(gain) |
| `frequency_offset_hz` | [frequency] | of the channel's samples from the carrier; comes with `channel` |
| `rx_position_m`, `tx_position_m` | [*drop n 3] or [n 3] | optional |
| `rx_role`, `tx_role` | [n] or () text | "station", "user", "device", "eavesdropper" (receivers only), "unknown" |
| `rx_kind`, `tx_kind` | [n] or () text | of stations: "macro", "small", "unknown" (default) |
| `los` | [*drop rx tx] bool | optional |
| `carrier_hz` | () | optional, at least 1 MHz |
| `noise_psd_w_per_hz` | () | optional, default 10^-20.4 (-174 dBm/Hz) |
| `name`, `attribution` | () text | optional |

The roles say which direction the gains are: of stations to users (downlink), of users to stations (uplink) or of
devices to devices. Roles of one end that are not given follow from those of the other end and from kinds.

Version 1 is read, too. It has no roles, and its kinds are integers: `rx_kind` 1 is an eavesdropper; `tx_kind` 1 is a
small cell's station and then 0 a macro station. A file with small stations is a downlink, one with eavesdroppers
only an uplink, and of the others the roles are unknown.

Numbers may have any real precision (a float16 channel wants "sqrt_gain"). Other arrays are refused, so that a
misspelt one is not left out in silence.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torchrrm.channels.snapshot.archive import SnapshotError, read_archive
from torchrrm.channels.snapshot.blocks import (
    ENERGY_BYTES,
    NODE_BYTES,
    Declared,
    adopted,
    blocks,
    converted_bytes,
)
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.files import atomic_write_bytes

__all__ = ["NO_PATH_DB", "SCHEMA", "VERSION", "load_snapshot", "save_snapshot"]

SCHEMA = "torchrrm-snapshot"
VERSION = 2
"""Version that is written; version 1 is read, too."""
NO_PATH_DB = -200.0
"""Gains in dB from here down say that there is no path."""

_TENSORS = ("gain", "frequency_offset_hz", "rx_position_m", "tx_position_m", "los")
WANTED = {
    "gain": np.float32,
    "channel": np.complex64,
    "frequency_offset_hz": np.float64,
    "rx_position_m": np.float32,
    "tx_position_m": np.float32,
    "los": np.bool_,
}
_ENDS = ("rx_role", "tx_role", "rx_kind", "tx_kind")
_SCALARS = ("carrier_hz", "noise_psd_w_per_hz")
_TEXTS = ("name", "attribution")
_KNOWN = {"schema", "version", "gain_db", "channel", "channel_scale", *_TENSORS, *_ENDS, *_SCALARS, *_TEXTS}


def save_snapshot(path: str | os.PathLike[str], snapshot: Snapshot, *, compact: bool = False) -> Path:
    """Write a snapshot to `path`, compressed and at once: the file is the old one or the whole new one.

    Args:
        path: the file, by custom `*.npz`.
        snapshot: what to write.
        compact: store the channel as float16 pairs relative to `sqrt(gain)`, a quarter of the size with a
            relative error of 5e-4; otherwise it is stored exactly.

    Raises:
        OSError: if the file cannot be written; an existing one is then untouched.
    """
    arrays: dict[str, Any] = {"schema": SCHEMA, "version": VERSION}
    for field in (*_TENSORS, *_ENDS, *_SCALARS, *_TEXTS):
        value = getattr(snapshot, field)
        if value is not None:
            arrays[field] = value.cpu().numpy() if field in _TENSORS else np.asarray(value)
    if snapshot.channel is not None:
        channel = snapshot.channel.cpu().numpy()
        if compact:
            amplitude = _amplitude(arrays["gain"], channel.ndim)
            relative: np.ndarray = channel / np.where(amplitude > 0.0, amplitude, 1.0)
            channel = np.stack((np.real(relative), np.imag(relative)), axis=-1).astype(np.float16)
        arrays["channel"] = channel
        arrays["channel_scale"] = "sqrt_gain" if compact else "absolute"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return atomic_write_bytes(path, buffer.getvalue())


def load_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Read a snapshot of the schema "torchrrm-snapshot" (see the module's text).

    Raises:
        SnapshotError: in one line, the file, the array, the rule and what was received.
    """
    arrays = read_archive(path, parsed_bytes=schema_bytes)
    try:
        return parse_schema(arrays)
    except SnapshotError as error:
        raise SnapshotError(f"{Path(path).name}: {error}") from None


@np.errstate(all="ignore")  # what is not finite is reported with its place later
def parse_schema(arrays: dict[str, np.ndarray]) -> Snapshot:
    """A snapshot from the arrays of a file."""
    if _text(arrays, "schema") != SCHEMA:
        raise SnapshotError(f"schema: must be '{SCHEMA}', received {_text(arrays, 'schema')!r}")
    version = _scalar(arrays, "version")
    if version not in (1, VERSION):
        received = "none" if version is None else version
        raise SnapshotError(f"version: must be 1 or {VERSION}, received {received}")
    unknown = sorted(set(arrays) - _KNOWN)
    if unknown:
        raise SnapshotError(f"arrays: must be of {', '.join(sorted(_KNOWN))}, received {unknown[0]!r}")
    fields = known_fields(arrays)
    fields["gain"] = _gain(arrays)
    if version == 1:
        fields |= _ends_of_version_1(arrays)
    if "channel" in arrays:
        fields["channel"] = _channel(arrays, fields["gain"])
    return Snapshot(
        **fields | {name: adopted(fields[name], WANTED[name]) for name in WANTED.keys() & fields.keys()}
    )


def schema_bytes(declared: Mapping[str, Declared]) -> float:
    """Return the memory that `parse_schema` takes at its peak besides the arrays of these headers."""
    taken = converted_bytes(declared, WANTED) + NODE_BYTES * nodes_of(declared)
    gain_db, channel = declared.get("gain_db"), declared.get("channel")
    if gain_db is not None:
        taken += (np.dtype(np.float64).itemsize + np.dtype(np.float32).itemsize) * gain_db.size
    if channel is not None:
        if channel.dtype.kind != "c":  # pairs make half as many numbers
            taken -= np.dtype(np.complex64).itemsize * channel.size // 2
        taken += ENERGY_BYTES * sum(declared[name].size for name in ("gain", "gain_db") if name in declared)
    return taken


def nodes_of(declared: Mapping[str, Declared]) -> int:
    """Return the number of receivers and transmitters by the headers of gains."""
    shapes = (declared[name].shape for name in ("gain", "gain_db") if name in declared)
    return sum(sum(shape[-2:]) for shape in shapes)


def known_fields(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a snapshot that arrays of their names tell, but for gains and channels."""
    fields: dict[str, Any] = {field: arrays[field] for field in (*_TENSORS[1:], *_ENDS) if field in arrays}
    fields |= {field: _scalar(arrays, field) for field in _SCALARS if field in arrays}
    return fields | {field: _text(arrays, field) for field in _TEXTS if field in arrays}


def _ends_of_version_1(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return roles and kinds of the integers of version 1 (see the module's text)."""
    if unknown := [name for name in ("rx_role", "tx_role") if name in arrays]:
        raise SnapshotError(f"{unknown[0]}: must go with version {VERSION}, received version 1")
    listens, small = (_flags(arrays, name) for name in ("rx_kind", "tx_kind"))
    ends: dict[str, Any] = {"rx_kind": "unknown", "tx_kind": "unknown"}
    if listens.any():
        other = "user" if small.any() else "station"
        ends["rx_role"] = ["eavesdropper" if listener else other for listener in listens.ravel()]
    if small.any():
        ends["tx_kind"] = ["small" if one else "macro" for one in small.ravel()]
    elif listens.any():
        ends["tx_role"] = "user"
    return ends


def _flags(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return which nodes are of kind 1, not 0, by an array of version 1."""
    kind = arrays.get(name, np.zeros(0, np.int8))
    if kind.dtype.kind not in "iub":
        raise SnapshotError(f"{name}: must hold integers, received values of type {kind.dtype}")
    if (bad := kind[(kind != 0) & (kind != 1)]).size:
        raise SnapshotError(f"{name}: must be 0 or 1, received {bad[0]}")
    return kind == 1


def gain_from_db(gain_db: np.ndarray, name: str = "gain_db", note: str = "") -> np.ndarray:
    """Linear gain of a gain in dB; -200 dB and below are 0.

    Args:
        gain_db: the gain.
        name: of the array, for messages.
        note: how to mend a value above 0 dB, for messages.

    Raises:
        SnapshotError: for NaN and for values above 0 dB.
    """
    gain_db = np.asarray(gain_db)
    if gain_db.dtype.kind not in "fiu":
        raise SnapshotError(f"{name}: must hold real numbers, received values of type {gain_db.dtype}")
    note = note or "a loss is a negative gain, linear gains are named gain"
    gain = np.empty(gain_db.shape)
    for place in blocks(gain_db.shape):
        block = gain_db[place].astype(np.float64)
        for bad, rule, hint in (
            (np.isnan(block), "must be no NaN (no path is -250 or -inf)", ""),
            (block > 0.0, "must be at most 0 dB", f"; {note}"),
        ):
            if bad.any():
                inside = np.argwhere(bad)[0].tolist()
                index = [part.start + i for part, i in zip(place, inside, strict=True)]
                raise SnapshotError(f"{name}: {rule}, received {block[tuple(inside)]:g} at {index}{hint}")
        gain[place] = np.where(block > NO_PATH_DB, 10.0 ** (np.maximum(block, NO_PATH_DB) / 10.0), 0.0)
    return gain


def complex_from_pairs(pairs: np.ndarray, name: str = "channel") -> np.ndarray:
    """Complex array from real pairs (re, im) on a last axis of 2; complex arrays pass unchanged."""
    if pairs.dtype.kind == "c":
        return pairs
    if pairs.dtype.kind not in "fiu" or not pairs.ndim or pairs.shape[-1] != 2:
        rule = "must be complex or real with (re, im) on a last axis of 2"
        raise SnapshotError(f"{name}: {rule}, received {pairs.dtype} of shape {pairs.shape}")
    values = np.empty(pairs.shape[:-1], np.complex64)
    for place in blocks(values.shape):
        block = pairs[place].astype(np.float32)
        values[place] = block[..., 0] + 1j * block[..., 1]
    return values


def _gain(arrays: dict[str, np.ndarray]) -> np.ndarray:
    given = [name for name in ("gain", "gain_db") if name in arrays]
    if len(given) != 1:
        rule = "must be given once, as gain (linear) or as gain_db"
        raise SnapshotError(f"gain: {rule}, received {'both' if given else 'neither'}")
    return arrays["gain"] if given == ["gain"] else gain_from_db(arrays["gain_db"])


def _channel(arrays: dict[str, np.ndarray], gain: np.ndarray) -> np.ndarray:
    channel = complex_from_pairs(arrays["channel"])
    scale = _text(arrays, "channel_scale") if "channel_scale" in arrays else "absolute"
    if scale not in ("absolute", "sqrt_gain"):
        raise SnapshotError(f"channel_scale: must be 'absolute' or 'sqrt_gain', received {scale!r}")
    if scale == "sqrt_gain":
        channel = _scaled(channel, gain)
    return channel


def _scaled(channel: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """A channel, relative to the amplitudes `sqrt(gain)`, times these."""
    if gain.dtype.kind not in "fiu":
        raise SnapshotError(f"gain: must hold real numbers, received values of type {gain.dtype}")
    if gain.ndim < 2 or channel.ndim != gain.ndim + 3:
        rule = "must have axes [*drop frequency rx rx_ant tx tx_ant] for the gain's [*drop rx tx]"
        raise SnapshotError(f"channel: {rule}, received shapes {channel.shape} and {gain.shape}")
    if _links(channel.shape) != gain.shape:
        rule = f"must fit the gain's shape {gain.shape}"
        raise SnapshotError(f"channel: {rule}, received shape {channel.shape}")
    scaled = channel if channel.dtype == np.complex64 else np.empty(channel.shape, np.complex64)
    for place in blocks(channel.shape):
        scaled[place] = channel[place] * _amplitude(gain[_links(place)], channel.ndim)
    return scaled


def _links(axes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Of axes `[*drop frequency rx rx_ant tx tx_ant]` those that a gain has, `[*drop rx tx]`."""
    return (*axes[:-5], axes[-4], axes[-2])


def _amplitude(gain: np.ndarray, ndim: int) -> np.ndarray:
    """sqrt(gain) [*drop rx tx] as [*drop 1 rx 1 tx 1], to scale a channel of `ndim` axes."""
    drop, (rx, tx) = gain.shape[:-2], gain.shape[-2:]
    with np.errstate(invalid="ignore"):  # a negative gain is reported with its place later
        return np.sqrt(gain.astype(np.float64)).astype(np.float32).reshape(*drop, 1, rx, 1, tx, 1)


def _text(arrays: dict[str, np.ndarray], name: str) -> str:
    array = arrays.get(name)
    if array is None or array.ndim or array.dtype.kind not in "US":
        received = "none" if array is None else f"{array.dtype} of shape {array.shape}"
        raise SnapshotError(f"{name}: must be a text without axes, received {received}")
    value = array.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _scalar(arrays: dict[str, np.ndarray], name: str) -> float | int | None:
    array = arrays.get(name)
    if array is None:
        return None
    if array.ndim or array.dtype.kind not in "fiu":
        received = f"{array.dtype} of shape {array.shape}"
        raise SnapshotError(f"{name}: must be a number without axes, received {received}")
    return array.item()
