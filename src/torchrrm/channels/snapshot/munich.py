"""The raw arrays of the ray-traced Munich sets: four layouts, told apart by the names of their arrays.

All were traced with Sionna RT [SionnaRT] at 3.5 GHz; `*_db` is `10 log10 sum |a_i|^2` over the paths, -250 dB
where there is none, and float16 pairs (re, im) are the frequency response over `sqrt(gain)`.

| layout | arrays | transmitters | receivers |
| --- | --- | --- | --- |
| uplink cell | gain_bs_db, gain_eve_db, h_bs, h_eve, ... | users | station, then eavesdroppers |
| ultra-dense network | gain_db, bs_type, bs_pos, ue_pos, los | macro and small stations | users |
| device to device | gain_db, h, tx_pos, rx_pos, ... | transmitters | receivers |
| multi-antenna station | gain_db, h, ue_pos, bs_pos, ant_pos, ... | the station | users |
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.blocks import NODE_BYTES, Declared
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.channels.snapshot.schema import complex_from_pairs, gain_from_db
from torchrrm.files import parse_json

__all__ = ["MUNICH_ATTRIBUTION", "munich_bytes", "parse_munich", "recognise_munich"]

MUNICH_ATTRIBUTION = "Geometry (c) OpenStreetMap contributors, ODbL 1.0; ray traced with Sionna RT 2.2.0"

_GAIN_BYTES, _VALUE_BYTES, _FREQUENCY_BYTES = 40, 48, 80
"""Memory of a gain, a value of a channel and a frequency, with copies of the parts that are put together."""
_NONE = Declared((0,), np.dtype(np.float32))

Arrays = Mapping[str, np.ndarray]


def recognise_munich(arrays: Arrays) -> bool:
    """Whether the arrays have the name that tells one of the layouts."""
    return any(mark in arrays for mark in _LAYOUTS)


@np.errstate(all="ignore")  # what is not finite is reported with its place later
def parse_munich(arrays: Arrays) -> Snapshot:
    """The snapshot of arrays that `recognise_munich` knows.

    Raises:
        SnapshotError: if an array is missing or has the wrong axes.
    """
    for mark, (names, parse) in _LAYOUTS.items():
        if mark in arrays:
            missing = [name for name in (*names, "meta") if name not in arrays]
            if missing:
                raise SnapshotError(f"{missing[0]}: must be in the file beside {mark}, received none")
            for name, axes in names.items():
                shape = arrays[name].shape
                if len(shape) != axes:
                    raise SnapshotError(f"{name}: must have {axes} axes, received shape {shape}")
            return _parse(parse, arrays)
    raise SnapshotError(f"arrays: must be of a Munich set, received {', '.join(sorted(arrays)) or 'none'}")


def munich_bytes(declared: Mapping[str, Declared]) -> float:
    """Return the memory that `parse_munich` takes at its peak besides the arrays of these headers."""
    gains = sum(declared[name].size for name in ("gain_db", "gain_bs_db", "gain_eve_db") if name in declared)
    values = sum(declared[name].size // 2 for name in ("h", "h_bs", "h_eve") if name in declared)
    nodes = sum(array.size for name, array in declared.items() if name.endswith("_pos"))
    taken = _GAIN_BYTES * gains + _VALUE_BYTES * values + NODE_BYTES * nodes
    if (
        "freq_offset_eve_hz" in declared
    ):  # frequencies may be few in h_bs, each of which is then taken many times
        common, links = declared["freq_offset_eve_hz"].size, declared.get("gain_bs_db", _NONE).size
        taken += _FREQUENCY_BYTES * common + _VALUE_BYTES * common * links
    return taken


def _parse(parse: Callable[[Arrays], dict[str, Any]], arrays: Arrays) -> Snapshot:
    carrier_hz = _carrier_hz(arrays)
    try:
        fields = parse(arrays)
    except SnapshotError:
        raise
    except (IndexError, TypeError, ValueError) as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items()) if array.ndim)
        raise SnapshotError(f"arrays: must have shapes that fit each other, received {shapes}") from error
    return Snapshot(carrier_hz=carrier_hz, attribution=MUNICH_ATTRIBUTION, **fields)


def _carrier_hz(arrays: Arrays) -> float:
    try:
        return float(parse_json(arrays["meta"].item(), name="meta")["freq_hz"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise SnapshotError("meta: must be a JSON text with a number freq_hz, received another") from None


def _uplink_cell(arrays: Arrays) -> dict[str, Any]:
    """Station and eavesdroppers at the frequencies that both have; `gain_eve_db` is [user eavesdropper]."""
    gain_station = gain_from_db(arrays["gain_bs_db"], "gain_bs_db")
    gain_eavesdropper = gain_from_db(arrays["gain_eve_db"], "gain_eve_db")
    offset_hz = _frequencies(arrays, "freq_offset_eve_hz")
    links = (len(gain_station), gain_eavesdropper.shape[1])
    _require_shape("gain_eve_db", gain_eavesdropper, links)
    _require_shape("h_bs", arrays["h_bs"], (links[0], len(arrays["freq_offset_hz"]), 2))
    _require_shape("h_eve", arrays["h_eve"], (*links, len(offset_hz), 2))
    common = _indices_of(offset_hz, _frequencies(arrays, "freq_offset_hz"))
    gain = np.concatenate((gain_station[None], gain_eavesdropper.T))  # [rx tx]
    response = np.concatenate(
        (
            complex_from_pairs(arrays["h_bs"], "h_bs")[:, None, common],
            complex_from_pairs(arrays["h_eve"], "h_eve"),
        ),
        axis=1,
    )  # [tx rx frequency]
    channel = response.transpose(2, 1, 0) * np.sqrt(gain)  # [frequency rx tx]
    return {
        "gain": gain,
        "channel": channel[:, :, None, :, None],
        "frequency_offset_hz": offset_hz,
        "rx_position_m": np.concatenate((arrays["bs_pos"], arrays["eve_pos"])),
        "tx_position_m": arrays["user_pos"],
        "rx_role": ["station"] + ["eavesdropper"] * len(arrays["eve_pos"]),
        "tx_role": "user",
        "los": np.concatenate((arrays["los_bs"][None], arrays["los_eve"].T)),
        "name": "munich_cell_uplink",
    }


def _frequencies(arrays: Arrays, name: str) -> np.ndarray:
    if arrays[name].dtype.kind not in "fiu":
        received = f"values of type {arrays[name].dtype}"
        raise SnapshotError(f"{name}: must hold real numbers, received {received}")
    frequencies_hz = arrays[name].astype(np.float64)
    if not np.isfinite(frequencies_hz).all():
        raise SnapshotError(f"{name}: must be finite, received nan or inf")
    return frequencies_hz


def _indices_of(wanted_hz: np.ndarray, offered_hz: np.ndarray) -> np.ndarray:
    """Index of the nearest offered frequency of each wanted one; both are finite."""
    order = np.argsort(offered_hz, kind="stable")
    right = np.searchsorted(offered_hz[order], wanted_hz).clip(0, len(order) - 1)
    near = np.stack((order[(right - 1).clip(0)], order[right]))  # [2 wanted]
    distance_hz = np.abs(offered_hz[near] - wanted_hz)
    index = np.where(distance_hz[0] <= distance_hz[1], near[0], near[1])
    if float(distance_hz.min(axis=0).max()) > 1.0:
        lonely = wanted_hz[distance_hz.min(axis=0).argmax()]
        rule = "must be frequencies of freq_offset_hz"
        raise SnapshotError(f"freq_offset_eve_hz: {rule}, received {lonely:g} Hz")
    return index


def _require_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse shapes that would broadcast in silence."""
    if array.shape != shape:
        raise SnapshotError(f"{name}: must have shape {shape}, received {array.shape}")


def _dense_network(arrays: Arrays) -> dict[str, Any]:
    return {
        "gain": gain_from_db(arrays["gain_db"]),
        "rx_position_m": arrays["ue_pos"],
        "tx_position_m": arrays["bs_pos"],
        "tx_kind": _station_kinds(arrays["bs_type"]),
        "los": arrays["los"],
        "name": "munich_hudn",
    }


def _station_kinds(bs_type: np.ndarray) -> np.ndarray:
    """Kinds of stations, of which 0 is a macro and 1 a small one."""
    if bs_type.dtype.kind not in "iub" or bool(((bs_type != 0) & (bs_type != 1)).any()):
        received = f"{bs_type.dtype} values {np.unique(bs_type)[:4].tolist()}"
        raise SnapshotError(f"bs_type: must hold integers 0 or 1, received {received}")
    return np.where(bs_type == 1, "small", "macro")


def _device_to_device(arrays: Arrays) -> dict[str, Any]:
    gain = gain_from_db(arrays["gain_db"])  # [drop rx tx]
    _require_shape("h", arrays["h"], (*gain.shape, len(arrays["freq_offset_hz"]), 2))
    response = np.moveaxis(complex_from_pairs(arrays["h"], "h"), -1, 1)  # [drop frequency rx tx]
    channel = response * np.sqrt(gain)[:, None]
    return {
        "gain": gain,
        "channel": channel[:, :, :, None, :, None],
        "frequency_offset_hz": arrays["freq_offset_hz"],
        "rx_position_m": arrays["rx_pos"],
        "tx_position_m": arrays["tx_pos"],
        "rx_role": "device",
        "tx_role": "device",
        "los": arrays["los"],
        "name": "munich_d2d",
    }


def _antenna_array(arrays: Arrays) -> dict[str, Any]:
    """One transmitting station; its `h` [user antenna frequency] is absolute."""
    channel = arrays["h"].transpose(2, 0, 1)  # [frequency rx tx_ant]
    return {
        "gain": gain_from_db(arrays["gain_db"])[:, None],
        "channel": channel[:, :, None, None, :],
        "frequency_offset_hz": arrays["freq_offset_hz"],
        "rx_position_m": arrays["ue_pos"],
        "tx_position_m": arrays["bs_pos"][None],
        "rx_role": "user",
        "tx_role": "station",
        "los": arrays["los"][:, None],
        "name": "munich_miso",
    }


# The array that tells the layout, then the number of axes of each array it needs.
_LAYOUTS: dict[str, tuple[dict[str, int], Callable[[Arrays], dict[str, Any]]]] = {
    "gain_bs_db": (
        {
            "gain_bs_db": 1,
            "gain_eve_db": 2,
            "h_bs": 3,
            "h_eve": 4,
            "freq_offset_hz": 1,
            "freq_offset_eve_hz": 1,
            "bs_pos": 2,
            "eve_pos": 2,
            "user_pos": 2,
            "los_bs": 1,
            "los_eve": 2,
        },
        _uplink_cell,
    ),
    "bs_type": (
        {"gain_db": 3, "bs_type": 1, "bs_pos": 2, "ue_pos": 3, "los": 3},
        _dense_network,
    ),
    "ant_pos": (
        {"gain_db": 1, "h": 3, "bs_pos": 1, "ue_pos": 2, "freq_offset_hz": 1, "los": 1},
        _antenna_array,
    ),
    "tx_pos": (
        {"gain_db": 3, "h": 5, "tx_pos": 3, "rx_pos": 3, "freq_offset_hz": 1, "los": 3},
        _device_to_device,
    ),
}
