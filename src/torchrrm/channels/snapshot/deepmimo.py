"""Scenario folders of DeepMIMO [DeepMIMO], version 4, static, with matrices stored as `.npz`; own reader.

A folder holds `params.json` and, for transmitter `y` of transmitter set `x` and receiver set `z`, one file a
matrix, `{matrix}_t{x:03}_tx{y:03}_r{z:03}.npz` with the one array `{matrix}`. Read are

| matrix | shape | what |
| --- | --- | --- |
| `power` | [rx path] | dBW received for 0 dBW sent, so the path's gain in dB; NaN = no path |
| `phase` | [rx path] | degrees (for a channel) |
| `delay` | [rx path] | seconds (for a channel) |
| `inter` | [rx path] | interactions of a path, 0 = line of sight; optional |
| `rx_pos` | [rx 3] | metres |
| `tx_pos` | [1 3] | metres |

and of `params.json` `rt_params.frequency` (Hz), `scene.num_scenes` and `txrx_sets`. Stations transmit and
users receive, unless every set transmits: roles are unknown then. Not read: `.mat` files, dynamic scenarios
(several scenes), angles.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from torchrrm.channels.snapshot.archive import SnapshotError, declared_arrays, read_archive
from torchrrm.channels.snapshot.blocks import NODE_BYTES, Declared
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.files import MemoryLimitError, read_json, require_memory

__all__ = ["load_deepmimo"]

_POWER_FILE = re.compile(r"power_t(\d{3,})_tx(\d{3,})_r(\d{3,})\.npz")
_ATTRIBUTION = "DeepMIMO scenario (www.deepmimo.net); its page names the authors to cite"

_MATRICES, _OF_CHANNELS = ("power", "inter", "rx_pos", "tx_pos"), ("phase", "delay")
_ELEMENT_BYTES, _PHASED_BYTES, _LINK_BYTES, _VALUE_BYTES = 40, 64, 96, 48
"""Memory of an element of a matrix, without and with a channel, of a link, and of a link at a frequency."""

Code = tuple[int, int, int]
"""Transmitter set, transmitter in it, receiver set."""


def load_deepmimo(folder: str | os.PathLike[str], *, frequency_offset_hz: Any = None) -> Snapshot:
    """Read a scenario folder of DeepMIMO 4 (see the module's text).

    The receivers are those of all receiver sets that do not transmit (of all sets if every set transmits), in
    the order of the sets; the transmitters are ordered by set and index. The gain is `sum_i p_i` over the
    paths, without antenna gains; `los` is true where one of the paths has no interaction.

    Args:
        folder: the scenario.
        frequency_offset_hz: `[frequency]` from the carrier, to compute
            `h(f) = sum_i sqrt(p_i) exp(j phase_i - j 2 pi f delay_i)` between single antennas; None for no
            channel.

    Raises:
        SnapshotError: in one line, the folder, the file, the rule and what was received.
    """
    folder = Path(folder)
    try:
        return _load(folder, frequency_offset_hz)
    except (SnapshotError, MemoryLimitError) as error:
        raise SnapshotError(f"{folder.name}: {error}") from None


@np.errstate(all="ignore")  # what is not finite is reported with its place later
def _load(folder: Path, frequency_offset_hz: Any) -> Snapshot:
    params = _params(folder)
    codes = _codes(folder)
    present = sorted({code[2] for code in codes})
    users = _receiver_sets(params, present)
    receiver_sets = users or present
    transmitters = sorted({code[:2] for code in codes})
    grid = [[(*transmitter, receiver_set) for receiver_set in receiver_sets] for transmitter in transmitters]
    missing = [code for row in grid for code in row if code not in codes]
    if missing:
        raise SnapshotError(f"{_file_name('power', missing[0])}: must be in the folder, received none")
    offset_hz = _offsets(frequency_offset_hz)
    _require_memory(folder, grid, 0 if offset_hz is None else offset_hz.size)
    columns = [_join([_links(folder, code, offset_hz) for code in row]) for row in grid]
    fields: dict[str, Any] = {
        "gain": np.stack([column["gain"] for column in columns], axis=-1),  # [rx tx]
        "rx_position_m": _receiver_positions(columns),
        "tx_position_m": np.concatenate([column["tx_position_m"] for column in columns]),
    }
    if users:
        fields |= {"rx_role": "user", "tx_role": "station"}
    if all("los" in column for column in columns):
        fields["los"] = np.stack([column["los"] for column in columns], axis=-1)
    if offset_hz is not None:
        channel = np.stack([column["channel"] for column in columns], axis=-1)  # [frequency rx tx]
        fields |= {"channel": channel[:, :, None, :, None], "frequency_offset_hz": offset_hz}
    return Snapshot(
        carrier_hz=_carrier_hz(params), name=folder.resolve().name, attribution=_ATTRIBUTION, **fields
    )


def _require_memory(folder: Path, grid: list[list[Code]], frequencies: int) -> None:
    """Refuse a folder whose links, or whose matrices of one transmitter and set, take more memory than the limit."""
    matrices = _MATRICES + (_OF_CHANNELS if frequencies else ())
    links, most, users = 0, 0, 0
    for row in grid:
        declared = [_declared(folder, code, matrices) for code in row]
        receivers = sum(headers["power"].shape[0] for headers in declared if "power" in headers)
        links, users = links + receivers, max(users, receivers)
        most = max(most, *(sum(matrix.size for matrix in headers.values()) for headers in declared))
    taken = (_PHASED_BYTES if frequencies else _ELEMENT_BYTES) * most + (
        _LINK_BYTES + _VALUE_BYTES * frequencies
    ) * links
    require_memory("paths", taken + NODE_BYTES * (users + len(grid)))


def _declared(folder: Path, code: Code, matrices: tuple[str, ...]) -> dict[str, Declared]:
    """Headers of the matrices of a transmitter and a receiver set, of those that have axes."""
    files = ((matrix, folder / _file_name(matrix, code)) for matrix in matrices)
    headers = {matrix: declared_arrays(path).get(matrix) for matrix, path in files if path.is_file()}
    return {matrix: header for matrix, header in headers.items() if header is not None and header.shape}


def _offsets(frequency_offset_hz: Any) -> np.ndarray | None:
    if frequency_offset_hz is None:
        return None
    offset_hz = np.asarray(frequency_offset_hz, dtype=np.float64)
    if offset_hz.ndim != 1 or not offset_hz.size:
        received = f"shape {offset_hz.shape}"
        raise SnapshotError(f"frequency_offset_hz: must be one or more frequencies, received {received}")
    return offset_hz


def _params(folder: Path) -> dict[str, Any]:
    path = folder / "params.json"
    if not path.is_file():
        raise SnapshotError("params.json: must be in the folder of a DeepMIMO 4 scenario, received none")
    try:
        params = read_json(path, name="params.json")
    except MemoryLimitError as error:
        raise SnapshotError(str(error)) from None
    except ValueError as error:
        reason = f"another text ({error})"
        raise SnapshotError(f"params.json: must be JSON, received {reason}") from None
    if not isinstance(params, dict):
        raise SnapshotError(f"params.json: must be a JSON object, received a {type(params).__name__}")
    scene = params.get("scene")
    scenes = scene.get("num_scenes", 1) if isinstance(scene, dict) else 1
    if scenes != 1:
        raise SnapshotError(f"params.json: num_scenes must be 1 (a static scenario), received {scenes}")
    return params


def _codes(folder: Path) -> set[Code]:
    names = sorted(path.name for path in folder.iterdir())
    matches = [match for name in names if (match := _POWER_FILE.fullmatch(name))]
    codes = {(int(match[1]), int(match[2]), int(match[3])) for match in matches}
    if not codes:
        other = [name for name in names if name.startswith("power_")]
        received = f"{other[0]} (only .npz is read)" if other else "none"
        rule = "the folder must hold such files"
        raise SnapshotError(f"power_t000_tx000_r000.npz: {rule}, received {received}")
    return codes


def _receiver_sets(params: dict[str, Any], present: list[int]) -> list[int]:
    """The receiver sets that do not transmit: the users. `present` are those that have files."""
    sets = params.get("txrx_sets")
    sets = sets.values() if isinstance(sets, dict) else []
    transmitting = [entry.get("id") for entry in sets if isinstance(entry, dict) and entry.get("is_tx")]
    return [number for number in present if number not in transmitting]


def _carrier_hz(params: dict[str, Any]) -> float:
    tracing = params.get("rt_params")
    frequency = tracing.get("frequency") if isinstance(tracing, dict) else None
    if isinstance(frequency, bool) or not isinstance(frequency, int | float):
        rule = "rt_params.frequency must be a number in Hz"
        raise SnapshotError(f"params.json: {rule}, received {frequency!r}")
    return float(frequency)


def _file_name(matrix: str, code: Code) -> str:
    return f"{matrix}_t{code[0]:03}_tx{code[1]:03}_r{code[2]:03}.npz"


def _matrix(folder: Path, matrix: str, code: Code, shape: tuple[int | None, ...]) -> np.ndarray:
    """Matrix of one file, float64; `None` in `shape` stands for any length."""
    name = _file_name(matrix, code)
    arrays = read_archive(folder / name)
    array = arrays.get(matrix)
    if array is None or array.dtype.kind not in "fiu":
        received = ", ".join(f"{key} of type {value.dtype}" for key, value in sorted(arrays.items()))
        raise SnapshotError(f"{name}: must hold real numbers as {matrix}, received {received}")
    if array.ndim != len(shape) or any(
        want not in (None, have) for want, have in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise SnapshotError(f"{name}: must have shape ({wanted}), received {array.shape}")
    return array.astype(np.float64)


def _links(folder: Path, code: Code, offset_hz: np.ndarray | None) -> dict[str, np.ndarray]:
    """Links from a transmitter to a receiver set: gain [rx], channel [frequency rx], los [rx], positions."""
    power_dbw = _matrix(folder, "power", code, (None, None))
    if np.isposinf(power_dbw).any():
        raise SnapshotError(f"{_file_name('power', code)}: must be below infinity, received inf")
    path_gain = np.where(np.isnan(power_dbw), 0.0, 10.0 ** (power_dbw / 10.0))
    links = {
        "gain": path_gain.sum(axis=1),
        "rx_position_m": _matrix(folder, "rx_pos", code, (len(path_gain), 3)),
        "tx_position_m": _matrix(folder, "tx_pos", code, (1, 3)),
    }
    if (folder / _file_name("inter", code)).is_file():
        interactions = _matrix(folder, "inter", code, (len(path_gain), None))
        direct = interactions[:, : path_gain.shape[1]] == 0.0
        links["los"] = (direct & (path_gain[:, : direct.shape[1]] > 0.0)).any(axis=1)
    if offset_hz is not None:
        phase = np.deg2rad(_matrix(folder, "phase", code, path_gain.shape))
        delay_s = _matrix(folder, "delay", code, path_gain.shape)
        links["channel"] = _channel(code, path_gain, phase, delay_s, offset_hz)
    return links


def _channel(
    code: Code, path_gain: np.ndarray, phase: np.ndarray, delay_s: np.ndarray, offset_hz: np.ndarray
) -> np.ndarray:
    """`[frequency rx]` from the paths' `[rx path]`."""
    present = path_gain > 0.0
    if not (np.isfinite(phase[present]).all() and np.isfinite(delay_s[present]).all()):
        rule = "phase and delay of every path must be finite"
        raise SnapshotError(f"{_file_name('phase', code)}: {rule}, received nan or inf")
    phase, delay_s = np.where(present, phase, 0.0), np.where(present, delay_s, 0.0)
    amplitude = np.sqrt(path_gain) * np.exp(1j * phase)
    return np.stack([(amplitude * np.exp(-2j * np.pi * f * delay_s)).sum(axis=1) for f in offset_hz])


def _join(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One transmitter's links to all receiver sets, the receivers of the sets one behind the other."""
    joined = {
        name: np.concatenate([part[name] for part in parts], axis=-2 if name == "rx_position_m" else -1)
        for name in parts[0]
        if name != "tx_position_m" and all(name in part for part in parts)
    }
    return {**joined, "tx_position_m": parts[0]["tx_position_m"]}


def _receiver_positions(columns: list[dict[str, np.ndarray]]) -> np.ndarray:
    first = columns[0]["rx_position_m"]
    for column in columns[1:]:
        other = column["rx_position_m"]
        if other.shape != first.shape or not np.array_equal(other, first):
            rule = "must be the same for every transmitter"
            raise SnapshotError(f"rx_pos: {rule}, received other positions for a later one")
    return first
