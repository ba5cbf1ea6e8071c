"""Links that somebody brought: the pairs of a snapshot, in one slot and over many."""

import torch
from torch import Tensor

from torchrrm import records
from torchrrm.channels import Rayleigh, Snapshot, snapshot_slots
from torchrrm.problems import (
    ErgodicInstance,
    LinkInstance,
    PowerAction,
    Problem,
    Task,
    ergodic_instance,
    link_instance,
)
from torchrrm.setups.links.sources import LinkTerms
from torchrrm.setups.workbench import Given

__all__ = ["drop_task", "given_links", "given_slots"]


def given_links(snapshot: Snapshot, terms: LinkTerms, *, drop: int = 0) -> Given[LinkInstance]:
    """All pairs of one drop of a snapshot in one slot without fading, every link of weight 1.

    Raises:
        ValueError: if there is no such drop, or if the gains are not those of pairs.
    """
    gain = _drop(snapshot, drop)
    links = link_instance(gain, noise_power_w=terms.noise_power_w, max_power_w=terms.max_power_w)
    return Given(links, f"{snapshot.name}, drop {drop}", snapshot.attribution, _place(snapshot, drop))


def drop_task(
    snapshot: Snapshot, terms: LinkTerms, problem: Problem[LinkInstance, PowerAction]
) -> Task[LinkInstance, PowerAction]:
    """All pairs of the drops of a snapshot from the first on, each drop once, as a task without chance."""

    def sample(batch_size: int, *, generator: torch.Generator) -> LinkInstance:
        return records.stack([given_links(snapshot, terms, drop=drop).instance for drop in range(batch_size)])

    return Task(problem, sample)


def given_slots(
    snapshot: Snapshot, terms: LinkTerms, *, slots: int, generator: torch.Generator, drop: int = 0
) -> Given[ErgodicInstance]:
    """All pairs of one drop of a snapshot over slots of independent Rayleigh fading.

    Raises:
        ValueError: if there is no such drop, or if the gains are not those of pairs.
    """
    gain = _drop(snapshot, drop)
    draw = snapshot_slots(
        snapshot,
        drop=torch.tensor([drop]),
        link=torch.arange(gain.shape[-1])[None],
        slots=slots,
        fading=Rayleigh(),
        generator=generator,
    )
    instance = ergodic_instance(
        draw.gain[0],
        draw.large_scale_gain[0],
        noise_power_w=terms.noise_power_w,
        max_power_w=terms.max_power_w,
        min_rate_bps_hz=terms.min_rate_bps_hz,
    )
    setting = f"{snapshot.name}, drop {drop}, {slots} slots"
    return Given(instance, setting, snapshot.attribution, _place(snapshot, drop))


def _drop(snapshot: Snapshot, drop: int) -> Tensor:
    """Gains of a drop `[rx tx]`, as many receivers as transmitters."""
    gain = snapshot.gain.reshape(-1, *snapshot.gain.shape[-2:])
    if not 0 <= drop < len(gain):
        raise ValueError(f"drop: must be 0 to {len(gain) - 1}, received {drop}")
    if gain.shape[-1] != gain.shape[-2]:
        raise ValueError(f"gain: must be square, a receiver a transmitter, received {list(gain.shape[1:])}")
    return gain[drop]


def _place(snapshot: Snapshot, drop: int) -> dict[str, Tensor]:
    """Positions of transmitters and receivers as columns, where the snapshot has them."""
    columns: dict[str, Tensor] = {}
    for end, position in (("tx", snapshot.tx_position_m), ("rx", snapshot.rx_position_m)):
        if position is not None:
            chosen = position.reshape(-1, *position.shape[-2:])[drop]
            columns |= {f"{end}_x_m": chosen[:, 0], f"{end}_y_m": chosen[:, 1]}
    return columns
