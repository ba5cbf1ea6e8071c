"""Channels over slots: large-scale gains that stay, and fading that changes from slot to slot."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchrrm.channels.doppler import CorrelatedRayleigh
from torchrrm.channels.fading import Fading
from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.record import Snapshot
from torchrrm.records import tensor_record

__all__ = ["SlotDraw", "slot_fading", "snapshot_slots"]


@tensor_record
class SlotDraw:
    """Channels of one draw over slots. `gain[..., t, k, j]` is transmitter `j` to receiver `k` in slot `t`.

    Attributes:
        large_scale_gain: path loss and shadowing, linear, the same in all slots.
        small_scale_gain: fading of each slot, linear, in the order of time.
    """

    large_scale_gain: Float[Tensor, "*batch rx tx"]
    small_scale_gain: Float[Tensor, "*batch slot rx tx"]

    @property
    def gain(self) -> Float[Tensor, "*batch slot rx tx"]:
        """`|h|^2` of each slot, the product of both."""
        return self.large_scale_gain[..., None, :, :] * self.small_scale_gain


def slot_fading(
    large_scale_gain: Float[Tensor, "*batch rx tx"],
    fading: Fading,
    *,
    slots: int,
    generator: torch.Generator,
) -> SlotDraw:
    """Links of these gains with fading over slots: correlated if the fading is, otherwise independent."""
    if slots < 1:
        raise ValueError(f"slots: must be at least 1, received {slots}")
    *batch, rx, tx = large_scale_gain.shape
    sample = fading.sample_slot_gain if isinstance(fading, CorrelatedRayleigh) else fading.sample_gain
    small_scale_gain = sample((*batch, slots, rx, tx), generator=generator, dtype=large_scale_gain.dtype)
    return SlotDraw(large_scale_gain=large_scale_gain, small_scale_gain=small_scale_gain)


def snapshot_slots(
    snapshot: Snapshot,
    *,
    drop: Int[Tensor, " batch"],
    link: Int[Tensor, "batch link"],
    slots: int,
    fading: Fading | None,
    generator: torch.Generator,
) -> SlotDraw:
    """Slots of pairs of a snapshot, on the generator's device.

    With `fading`, the slots are the snapshot's `gain` times random fading. Without, each slot is the measured
    `|h|^2` at one frequency, small-scale gain being `|h|^2 / gain` (0 where there is no path): `slots` random
    frequencies, in ascending order. Neighbouring frequencies are then alike, and a link's mean over them need
    not be its `gain`.

    Args:
        snapshot: as many receivers as transmitters, receiver `k` belonging to transmitter `k`; no antenna
            arrays if its frequencies are asked for.
        drop: which drop each element is of, counted over all axes of drops.
        link: which pairs of the drop, by index.
        slots: how many.
        fading: of the slots, or None for the snapshot's frequencies.
        generator: of the fading, or of the choice of frequencies.

    Raises:
        SnapshotError: if frequencies are asked for that the snapshot does not have.
    """
    device = generator.device
    drop, link = drop.to(snapshot.gain.device), link.to(snapshot.gain.device)
    rx, tx = link[:, :, None], link[:, None, :]
    gain = snapshot.gain.reshape(-1, *snapshot.gain.shape[-2:])  # [drop rx tx]
    large_scale_gain = gain[drop[:, None, None], rx, tx].to(device)
    if fading is not None:
        return slot_fading(large_scale_gain, fading, slots=slots, generator=generator)
    response = _responses(snapshot, slots)
    order = torch.rand(len(drop), response.shape[1], generator=generator, device=device).argsort(dim=-1)
    frequency = order[:, :slots].sort(dim=-1).values.to(response.device)  # [batch slot]
    chosen = response[
        drop[:, None, None, None], frequency[:, :, None, None], rx[:, None], tx[:, None]
    ]  # [batch slot rx tx]
    power = chosen.abs().square().to(device)
    reference = large_scale_gain[:, None]
    small_scale_gain = torch.where(reference > 0.0, power / reference, 0.0)
    return SlotDraw(large_scale_gain=large_scale_gain, small_scale_gain=small_scale_gain)


def _responses(snapshot: Snapshot, slots: int) -> Tensor:
    """Responses `[drop frequency rx tx]` of single antennas, at least `slots` frequencies."""
    if snapshot.channel is None:
        raise SnapshotError(
            "channel: must be in the snapshot to take its frequencies as slots, received none"
        )
    *_, frequencies, _, rx_antennas, _, tx_antennas = snapshot.channel.shape
    if rx_antennas * tx_antennas != 1:
        received = f"{rx_antennas} and {tx_antennas}"
        raise SnapshotError(f"channel: must have one antenna at each end of a link, received {received}")
    if not 1 <= slots <= frequencies:
        raise SnapshotError(f"slots: must be 1 to {frequencies}, the frequencies, received {slots}")
    return snapshot.channel[..., 0, :, 0].reshape(-1, frequencies, *snapshot.gain.shape[-2:])
