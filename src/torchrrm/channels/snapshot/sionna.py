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

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.channels.snapshot.schema import known_fields

__all__ = ["from_sionna_cir", "from_sionna_h_freq", "parse_sionna", "recognise_sionna"]


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
    response = _complex("h_freq", h_freq)
    if response.ndim != 7:
        axes = "[batch, num_rx, num_rx_ant, num_tx, num_tx_ant, num_ofdm_symbols, num_subcarriers]"
        raise SnapshotError(f"h_freq: must have the 7 axes {axes}, received shape {tuple(response.shape)}")
    gain = response.abs().square().mean(dim=(2, 4, 5, 6))  # [batch rx tx]
    gain, response = _scaled("h_freq", gain, response, large_scale_gain)
    channel = response.permute(0, 5, 6, 1, 2, 3, 4)  # [batch symbol frequency rx rx_ant tx tx_ant]
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
    amplitude = _complex("a", a)
    if amplitude.ndim not in (6, 7):
        axes = "[batch, num_rx, num_rx_ant, num_tx, num_tx_ant, num_paths, num_time_steps]"
        received = tuple(amplitude.shape)
        raise SnapshotError(f"a: must have the axes {axes} or all but batch, received shape {received}")
    batched = amplitude.ndim == 7
    if not batched:
        amplitude = amplitude[None]
    delay_s = _delay_s(tau, amplitude, batched)
    offset_hz = _real("frequency_offset_hz", frequency_offset_hz)
    # A delay counts only where there is a path; Sionna marks the others by -1.
    present = (amplitude != 0).any(dim=-1)
    delay_s = torch.where(present, delay_s, torch.zeros_like(delay_s))
    if not bool(delay_s.isfinite().all()):
        raise SnapshotError("tau: must be finite for every path of non-zero amplitude, received nan or inf")
    gain = amplitude.abs().square().sum(dim=5).mean(dim=(2, 4, 5))  # [batch rx tx]
    gain, amplitude = _scaled("a", gain, amplitude, large_scale_gain)
    channel = _frequency_response(amplitude, delay_s, offset_hz)
    return _snapshot(gain, channel, offset_hz, fields, batched=batched)


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


def _scaled(name: str, gain: Tensor, response: Tensor, large_scale_gain: Any) -> tuple[Tensor, Tensor]:
    """Gain `[batch rx tx]` and response `[batch rx rx_ant tx tx_ant ...]` with a large-scale gain in both."""
    if large_scale_gain is not None:
        factor = _broadcast("large_scale_gain", large_scale_gain, gain)
        return gain * factor, response * factor.sqrt()[:, :, None, :, None, None, None]
    if gain.numel() and float(gain.max()) > 1.0:
        hint = "give large_scale_gain for normalised responses"
        raise SnapshotError(f"{name}: mean of |h|^2 must be at most 1, received {gain.max():g}; {hint}")
    return gain, response


def _frequency_response(amplitude: Tensor, delay_s: Tensor, offset_hz: Tensor) -> Tensor:
    """`[batch time frequency rx rx_ant tx tx_ant]`, one frequency at a time to keep the memory of `a`."""
    samples = []
    for frequency_hz in offset_hz.flatten().tolist():
        rotation = torch.polar(torch.ones_like(delay_s), -2.0 * torch.pi * frequency_hz * delay_s)
        samples.append((amplitude * rotation[..., None]).sum(dim=5))  # [batch rx rx_ant tx tx_ant time]
    if not samples:
        raise SnapshotError("frequency_offset_hz: must hold at least one frequency, received none")
    return torch.stack(samples).permute(1, 6, 0, 2, 3, 4, 5)


def _delay_s(tau: Any, amplitude: Tensor, batched: bool) -> Tensor:
    """Delays `[batch rx rx_ant tx tx_ant path]`, broadcast over antennas if they have no axes of them."""
    delay_s = _real("tau", tau)
    received = tuple(delay_s.shape)
    if not batched:
        delay_s = delay_s[None]
    full = tuple(amplitude.shape[:-1])
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


def _complex(name: str, value: Any) -> Tensor:
    """Double-precision complex tensor of a tensor, an array, what converts to one, or a pair (re, im)."""
    if isinstance(value, tuple | list) and len(value) == 2:
        real, imaginary = _real(name, value[0]), _real(name, value[1])
        if real.shape != imaginary.shape:
            received = f"{tuple(real.shape)} and {tuple(imaginary.shape)}"
            raise SnapshotError(
                f"{name}: must have real and imaginary parts of one shape, received {received}"
            )
        value = torch.complex(real, imaginary)
    tensor = value if isinstance(value, Tensor) else _tensor(name, value)
    return tensor.detach().to(torch.complex128)


def _real(name: str, value: Any) -> Tensor:
    tensor = value if isinstance(value, Tensor) else _tensor(name, value)
    if tensor.is_complex():
        raise SnapshotError(f"{name}: must hold real numbers, received values of type {tensor.dtype}")
    return tensor.detach().to(torch.float64)


def _tensor(name: str, value: Any) -> Tensor:
    array = np.asarray(value)
    if array.dtype.kind not in "cfiu":
        raise SnapshotError(f"{name}: must hold numbers, received values of type {array.dtype}")
    return torch.from_numpy(np.array(array, dtype=np.complex128 if array.dtype.kind == "c" else np.float64))


def _broadcast(name: str, value: Any, like: Tensor) -> Tensor:
    factor = _real(name, value)
    if not bool((factor.isfinite() & (factor >= 0.0)).all()):
        received = f"values from {factor.min():g} to {factor.max():g}"
        raise SnapshotError(f"{name}: must be finite and at least 0 (linear), received {received}")
    try:
        return factor.expand_as(like)
    except RuntimeError:
        wanted, received = tuple(like.shape), tuple(factor.shape)
        raise SnapshotError(f"{name}: must broadcast to {wanted}, received shape {received}") from None
