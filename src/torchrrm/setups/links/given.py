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
from torchrrm.setups.links.sources import LinkTerms, Pairing, pairs_of
from torchrrm.setups.workbench import Given

__all__ = ["drop_task", "given_links", "given_slots"]


def given_links(
    snapshot: Snapshot, terms: LinkTerms, *, drop: int = 0, pair: Pairing | None = None
) -> Given[LinkInstance]:
    """All pairs of one drop of a snapshot in one slot without fading, every link of weight 1.

    Raises:
        ValueError: if there is no such drop, or if the gains are not those of pairs (see `pairs_of`).
    """
    pairs = pairs_of(snapshot.one_drop(drop), pair)
    links = link_instance(pairs.gain, noise_power_w=terms.noise_power_w, max_power_w=terms.max_power_w)
    return Given(links, f"{snapshot.name}, drop {drop}", snapshot.attribution, _place(pairs), pairs.notes)


def drop_task(
    snapshot: Snapshot, terms: LinkTerms, problem: Problem[LinkInstance, PowerAction]
) -> Task[LinkInstance, PowerAction]:
    """All pairs of the drops of a snapshot from the first on, each drop once, as a task without chance."""

    def sample(batch_size: int, *, generator: torch.Generator) -> LinkInstance:
        return records.stack([given_links(snapshot, terms, drop=drop).instance for drop in range(batch_size)])

    return Task(problem, sample)


def given_slots(
    snapshot: Snapshot,
    terms: LinkTerms,
    *,
    slots: int,
    generator: torch.Generator,
    drop: int = 0,
    pair: Pairing | None = None,
) -> Given[ErgodicInstance]:
    """All pairs of one drop of a snapshot over slots of independent Rayleigh fading.

    Raises:
        ValueError: if there is no such drop, or if the gains are not those of pairs.
    """
    pairs = pairs_of(snapshot.one_drop(drop), pair)
    draw = snapshot_slots(
        pairs,
        drop=torch.tensor([0]),
        link=torch.arange(pairs.gain.shape[-1])[None],
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
    return Given(instance, setting, snapshot.attribution, _place(pairs), pairs.notes)


def _place(pairs: Snapshot) -> dict[str, Tensor]:
    """Positions of transmitters and receivers of one drop as columns, where the snapshot has them."""
    columns: dict[str, Tensor] = {}
    for end, position in (("tx", pairs.tx_position_m), ("rx", pairs.rx_position_m)):
        if position is not None:
            columns |= {f"{end}_x_m": position[:, 0], f"{end}_y_m": position[:, 1]}
    return columns
