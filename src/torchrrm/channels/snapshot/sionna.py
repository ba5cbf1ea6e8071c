"""Channels of Sionna [SionnaRT], as tensors, arrays or files of arrays; Sionna itself is not imported.

Its layouts put the receiver before the transmitter, as this package does. They do not say which end is the station:
roles are unknown unless they are given. A `.npz` file of arrays under Sionna's names is read by `parse_sionna`:

| arrays | axes |
| --- | --- |
| `a`, `tau` | those of `from_sionna_cir`; used if there are several of these |
| `h_freq` | [batch, num_rx, num_rx_ant, num_tx, num_tx_ant, num_ofdm_symbols, num_subcarriers] |
| `cfr` | [num_rx, num_rx_ant, num_tx, num_tx_ant, num_time_steps, num_subcarriers], of `sionna.rt.Paths.cfr` |
| `frequency_offset_hz` | [frequency]; for `a` and `tau` optional, the carrier alone by default |

Fields of a snapshot may stand beside them under their own names (`rx_role`, `tx_position_m`, `carrier_hz`, ...).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.blocks import BLOCK, NODE_BYTES, Declared, blocks, converted_bytes, native
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.channels.snapshot.schema import WANTED, known_fields

__all__ = ["from_sionna_cir", "from_sionna_h_freq", "parse_sionna", "recognise_sionna", "sionna_bytes"]

_VALUE_BYTES, _GAIN_BYTES = 8, 16
"""Memory of a value of the channel and of a gain, which is computed in double precision."""
_PART_BYTES, _PART_VALUE_BYTES = 96, 48
"""Memory of an element, and of a value made of it, of those receivers that are computed at a time."""
_LARGEST = {"c": 16, "f": 8, "i": 8, "u": 8}


def from_sionna_h_freq(
    h_freq: Any, *, frequency_offset_hz: Any, large_scale_gain: Any = None, **fields: Any
) -> Snapshot:
    """A snapshot from frequency responses as `sionna.phy.channel` gives them.

    The gain is `|h|^2` averaged over antennas, symbols and subcarriers. A batch is a drop axis, and so is the
    symbol if there is more than one: `[*drop]` is `[batch]` or `[batch symbol]`.

    Args:
        h_freq: `[batch, num_rx, num_rx_ant, num_tx, num_tx_ant, num_ofdm_symbols, num_subcarriers]`, complex.
        frequency_offset_hz: `[num_subcarriers]` from the carrier, e.g. `subcarrier_frequencies(...)`.
        large_scale_gain: linear, broadcast against `[batch, num_rx, num_tx]`, to multiply into `|h|^2`: for
            responses that were normalised to unit energy.
        fields: further fields of the snapshot (positions, `carrier_hz`, `name`, ...).

    Raises:
        SnapshotError: naming the argument, the rule and what was received.
    """
    response = _numbers("h_freq", h_freq)
    if len(response.shape) != 7:
        axes = "[batch, num_rx, num_rx_ant, num_tx, num_tx_ant, num_ofdm_symbols, num_subcarriers]"
        raise SnapshotError(f"h_freq: must have the 7 axes {axes}, received shape {response.shape}")
    batch, rx, rx_ant, tx, tx_ant, symbols, subcarriers = response.shape
    factor = _factor(large_scale_gain, (batch, rx, tx))

    def part(place: tuple[slice, ...]) -> tuple[Tensor, Tensor]:
        values = response.double(place)
        gain, values = _scaled(values.abs().square().mean(dim=(2, 4, 5, 6)), values, factor, place)
        return gain, values.permute(0, 5, 6, 1, 2, 3, 4)

    shape = (batch, symbols, subcarriers, rx, rx_ant, tx, tx_ant)
    gain, channel = _gathered(part, shape, math.prod(response.shape), response.device)
    _require_loss("h_freq", gain, factor)
    return _snapshot(gain, channel, frequency_offset_hz, fields)


def from_sionna_cir(
    a: Any, tau: Any, *, frequency_offset_hz: Any, large_scale_gain: Any = None, **fields: Any
) -> Snapshot:
    """A snapshot from channel impulse responses, `h(f) = sum_i a_i exp(-j 2 pi f tau_i)`.

    The gain is the power of the paths, `sum_i |a_i|^2`, averaged over antennas and time steps: free of the
    small-scale fading that their phases make. Batch and time are drop axes as in `from_sionna_h_freq`; Sionna
    RT has no batch.

    Args:
        a: `[batch, num_rx, num_rx_ant, num_tx, num_tx_ant, num_paths, num_time_steps]` (`sionna.phy`), or the
            same without batch (`sionna.rt.Paths.cir`); complex, or a pair (re, im) of real arrays.
        tau: delays in seconds, `[batch, num_rx, num_tx, num_paths]`, with antenna axes `[batch, num_rx,
            num_rx_ant, num_tx, num_tx_ant, num_paths]`, or either without batch. Paths with `a = 0` may have any delay.
        frequency_offset_hz: `[frequency]` from the carrier, at which to sample `h`.
        large_scale_gain: linear, broadcast against `[batch, num_rx, num_tx]`, to multiply into `|h|^2`: for
            responses that were normalised to unit energy.
        fields: further fields of the snapshot (positions, `carrier_hz`, `name`, ...).

    Raises:
        SnapshotError: naming the argument, the rule and what was received.
    """
    amplitude = _numbers("a", a)
    if len(amplitude.shape) not in (6, 7):
        axes = "[batch, num_rx, num_rx_ant, num_tx, num_tx_ant, num_paths, num_time_steps]"
        received = amplitude.shape
        raise SnapshotError(f"a: must have the axes {axes} or all but batch, received shape {received}")
    batched = len(amplitude.shape) == 7
    if not batched:
        amplitude = amplitude.with_batch()
    delay_s = _delay_s(tau, amplitude.shape, batched)
    offset_hz = _real("frequency_offset_hz", frequency_offset_hz)
    if not offset_hz.numel():
        raise SnapshotError("frequency_offset_hz: must hold at least one frequency, received none")
    batch, rx, rx_ant, tx, tx_ant, _, times = amplitude.shape
    factor = _factor(large_scale_gain, (batch, rx, tx))

    def part(place: tuple[slice, ...]) -> tuple[Tensor, Tensor]:
        values = amplitude.double(place)
        # A delay counts only where there is a path; Sionna marks the others by -1.
        present = (values != 0).any(dim=-1)
        delays = torch.where(present, delay_s[place].to(torch.float64), 0.0)
        if not bool(delays.isfinite().all()):
            raise SnapshotError(
                "tau: must be finite for every path of non-zero amplitude, received nan or inf"
            )
        gain, values = _scaled(values.abs().square().sum(dim=5).mean(dim=(2, 4, 5)), values, factor, place)
        return gain, _frequency_response(values, delays, offset_hz)

    shape = (batch, times, offset_hz.numel(), rx, rx_ant, tx, tx_ant)
    gain, channel = _gathered(part, shape, math.prod(amplitude.shape), amplitude.device)
    _require_loss("a", gain, factor)
    return _snapshot(gain, channel, offset_hz, fields, batched=batched)


def sionna_bytes(declared: Mapping[str, Declared]) -> float:
    """Return the memory that `parse_sionna` takes at its peak besides the arrays of these headers."""
    frequency = declared.get("frequency_offset_hz")
    if {"a", "tau"} <= set(declared):
        shape = declared["a"].shape if len(declared["a"].shape) == 7 else (1, *declared["a"].shape)
        frequencies = 1 if frequency is None else frequency.size
    else:
        response = declared["h_freq" if "h_freq" in declared else "cfr"].shape
        shape = response if len(response) == 7 else (1, *response)
        frequencies = shape[-1]
    if len(shape) != 7:
        return 0.0  # refused before anything is converted
    batch, rx, rx_ant, tx, tx_ant, *rest = shape
    times = rest[1] if "a" in declared else rest[0]
    drops, receivers = batch * times, max(1, batch * rx)
    values = drops * frequencies * rx * rx_ant * tx * tx_ant
    links = drops * rx * tx
    slices = (_PART_BYTES * math.prod(shape) + _PART_VALUE_BYTES * values) / receivers
    taken = _VALUE_BYTES * values + _GAIN_BYTES * links + NODE_BYTES * (rx + tx)
    return taken + slices + converted_bytes(declared, WANTED)


def _gathered(
    part: Callable[[tuple[slice, ...]], tuple[Tensor, Tensor]],
    shape: tuple[int, ...],
    elements: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Gains and channels of all drops and receivers, computed in double precision for some of them at a time.

    Args:
        part: gains [batch rx tx] and channels [batch time frequency rx rx_ant tx tx_ant] of slices of batch and rx.
        shape: of all channels.
        elements: from which all are computed.
        device: where they are.
    """
    batch, _, _, rx, _, tx, _ = shape
    gain = torch.zeros(batch, rx, tx, dtype=torch.float64, device=device)
    channel = torch.zeros(shape, dtype=torch.complex64, device=device)
    most = max(1, BLOCK * batch * rx // max(1, elements, math.prod(shape)))
    for place in blocks((batch, rx), most):
        drops, receivers = place
        gain[place], channel[drops, :, :, receivers] = part(place)
    return gain, channel


def recognise_sionna(arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether the arrays have Sionna's names."""
    return {"a", "tau"} <= set(arrays) or "h_freq" in arrays or "cfr" in arrays


@np.errstate(all="ignore")  # values that are not finite are reported with their place later
def parse_sionna(arrays: dict[str, np.ndarray], *, name: str) -> Snapshot:
    """Return the snapshot of arrays under Sionna's names (see the module's text).

    Args:
        arrays: by name; those that are not used are left out, and the snapshot's notes name them.
        name: of the snapshot, if no array tells it.

    Raises:
        SnapshotError: naming the array, the rule and what was received.
    """
    fields = {"name": name, **known_fields(arrays)}
    offset_hz = fields.pop("frequency_offset_hz", None)
    used = {"frequency_offset_hz", *fields}
    averaged = "averaged over antennas and times"
    if {"a", "tau"} <= set(arrays):
        used |= {"a", "tau"}
        note = f"read as paths of Sionna: gain is the power of all paths, {averaged}"
        offset_hz = np.zeros(1) if offset_hz is None else offset_hz
        snapshot = from_sionna_cir(arrays["a"], arrays["tau"], frequency_offset_hz=offset_hz, **fields)
    else:
        source = "h_freq" if "h_freq" in arrays else "cfr"
        used.add(source)
        if offset_hz is None:
            raise SnapshotError(f"frequency_offset_hz: must be in the file beside {source}, received none")
        note = f"read as {source} of Sionna: gain is |h|^2, {averaged} and {offset_hz.size} frequencies"
        response = arrays[source] if source == "h_freq" else _with_batch(arrays[source])
        snapshot = from_sionna_h_freq(response, frequency_offset_hz=offset_hz, **fields)
    if unused := sorted(set(arrays) - used):
        note += f"; left out {', '.join(unused)}"
    return snapshot.with_notes(note)


def _with_batch(cfr: np.ndarray) -> np.ndarray:
    """Return a response of Sionna RT with the batch axis of `h_freq`."""
    if cfr.ndim != 6:
        axes = "[num_rx, num_rx_ant, num_tx, num_tx_ant, num_time_steps, num_subcarriers]"
        raise SnapshotError(f"cfr: must have the 6 axes {axes}, received shape {cfr.shape}")
    return cfr[None]


def _scaled(
    gain: Tensor, response: Tensor, factor: Tensor | None, place: tuple[slice, ...]
) -> tuple[Tensor, Tensor]:
    """Gain `[batch rx tx]` and response `[batch rx rx_ant tx tx_ant ...]` with a large-scale gain in both."""
    if factor is None:
        return gain, response
    return gain * factor[place], response * factor[place].sqrt()[:, :, None, :, None, None, None]


def _require_loss(name: str, gain: Tensor, factor: Tensor | None) -> None:
    """Refuse gains above 1 of responses without a large-scale gain."""
    if factor is None and gain.numel() and float(gain.max()) > 1.0:
        hint = "give large_scale_gain for normalised responses"
        raise SnapshotError(f"{name}: mean of |h|^2 must be at most 1, received {gain.max():g}; {hint}")


def _frequency_response(amplitude: Tensor, delay_s: Tensor, offset_hz: Tensor) -> Tensor:
    """`[batch time frequency rx rx_ant tx tx_ant]`, one frequency at a time to keep the memory of `a`."""
    samples = []
    for frequency_hz in offset_hz.flatten().tolist():
        rotation = torch.polar(torch.ones_like(delay_s), -2.0 * torch.pi * frequency_hz * delay_s)
        samples.append((amplitude * rotation[..., None]).sum(dim=5))  # [batch rx rx_ant tx tx_ant time]
    return torch.stack(samples).permute(1, 6, 0, 2, 3, 4, 5)


def _delay_s(tau: Any, full: tuple[int, ...], batched: bool) -> Tensor:
    """Delays `[batch rx rx_ant tx tx_ant path]`, broadcast over antennas if they have no axes of them."""
    delay_s = _real_tensor("tau", tau)
    received = tuple(delay_s.shape)
    if not batched:
        delay_s = delay_s[None]
    full = full[:-1]
    short = tuple(full[axis] for axis in (0, 1, 3, 5))
    if tuple(delay_s.shape) == short:
        return delay_s[:, :, None, :, None].expand(full)
    if tuple(delay_s.shape) == full:
        return delay_s
    start = 0 if batched else 1
    rule = f"must have shape {short[start:]} or {full[start:]} to fit a"
    raise SnapshotError(f"tau: {rule}, received {received}")


def _snapshot(
    gain: Tensor, channel: Tensor, frequency_offset_hz: Any, fields: dict[str, Any], *, batched: bool = True
) -> Snapshot:
    """The snapshot of `gain` [batch rx tx] and `channel` [batch symbol frequency rx rx_ant tx tx_ant]."""
    symbols = channel.shape[1]
    if symbols == 1:
        channel = channel[:, 0]
    else:
        gain = gain[:, None].expand(-1, symbols, -1, -1)
    if not batched:
        gain, channel = gain[0], channel[0]
    return Snapshot(gain=gain, channel=channel, frequency_offset_hz=frequency_offset_hz, **fields)


@dataclass(frozen=True)
class _Numbers:
    """Complex numbers as they are given, in any precision: one tensor, or real and imaginary parts."""

    parts: tuple[Tensor, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.parts[0].shape)

    @property
    def device(self) -> torch.device:
        return self.parts[0].device

    def with_batch(self) -> "_Numbers":
        return _Numbers(tuple(part[None] for part in self.parts))

    def double(self, place: tuple[slice, ...]) -> Tensor:
        """A part of them in double precision."""
        parts = [part[place] for part in self.parts]
        if len(parts) == 1:
            return parts[0].to(torch.complex128)
        return torch.complex(*(part.to(torch.float64) for part in parts))


def _numbers(name: str, value: Any) -> _Numbers:
    """The numbers of a tensor, an array, what converts to one, or a pair (re, im)."""
    if not (isinstance(value, tuple | list) and len(value) == 2):
        return _Numbers((_tensor(name, value),))
    real, imaginary = _real_tensor(name, value[0]), _real_tensor(name, value[1])
    if real.shape != imaginary.shape:
        received = f"{tuple(real.shape)} and {tuple(imaginary.shape)}"
        raise SnapshotError(f"{name}: must have real and imaginary parts of one shape, received {received}")
    return _Numbers((real, imaginary))


def _real(name: str, value: Any) -> Tensor:
    """Double-precision tensor of real numbers."""
    return _real_tensor(name, value).to(torch.float64)


def _real_tensor(name: str, value: Any) -> Tensor:
    tensor = _tensor(name, value)
    if tensor.is_complex():
        raise SnapshotError(f"{name}: must hold real numbers, received values of type {tensor.dtype}")
    return tensor


def _tensor(name: str, value: Any) -> Tensor:
    """A tensor of a tensor, an array, or what converts to one; shares its memory if it can."""
    if isinstance(value, Tensor):
        return value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "cfiu":
        raise SnapshotError(f"{name}: must hold numbers, received values of type {array.dtype}")
    shared = (
        array.dtype.isnative and array.flags.writeable and array.dtype.itemsize <= _LARGEST[array.dtype.kind]
    )
    return torch.from_numpy(array) if shared and min(array.strides, default=0) >= 0 else native(array)


def _factor(value: Any, shape: tuple[int, ...]) -> Tensor | None:
    """A large-scale gain for links of this shape, `[batch rx tx]`."""
    if value is None:
        return None
    factor = _real("large_scale_gain", value)
    if not bool((factor.isfinite() & (factor >= 0.0)).all()):
        received = f"values from {factor.min():g} to {factor.max():g}"
        raise SnapshotError(f"large_scale_gain: must be finite and at least 0 (linear), received {received}")
    try:
        return factor.expand(shape)
    except RuntimeError:
        received = tuple(factor.shape)
        raise SnapshotError(
            f"large_scale_gain: must broadcast to {shape}, received shape {received}"
        ) from None
