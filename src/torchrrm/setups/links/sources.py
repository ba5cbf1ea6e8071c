"""Interference links that scenarios and snapshots give, as tasks, in one slot and over many."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.channels import (
    SCENARIOS,
    Fading,
    Rayleigh,
    Scenario,
    SlotDraw,
    Snapshot,
    bundled_snapshot,
    snapshot_slots,
)
from torchrrm.channels.snapshot import strongest_pairs
from torchrrm.problems import (
    ErgodicAction,
    ErgodicInstance,
    ErgodicPower,
    LinkInstance,
    PowerAction,
    QosSumRate,
    Task,
    WeightedSumRate,
)
from torchrrm.problems.links import MAX_POWER_W, NOISE_POWER_W
from torchrrm.records import replace
from torchrrm.setups.counts import active_of, span_of
from torchrrm.units import db_to_linear, dbm_to_watt

__all__ = [
    "RAYLEIGH_TERMS",
    "SEVEN_CELL_TERMS",
    "LinkSource",
    "LinkTerms",
    "Pairing",
    "draw_configurations",
    "draw_links",
    "ergodic_task",
    "named_channels",
    "pairs_of",
    "paused",
    "qos_task",
    "sum_rate_task",
    "terms_of",
]


Pairing = Literal["index", "strongest"]
"""How receivers and transmitters of a snapshot are paired."""


@dataclass(frozen=True)
class LinkTerms:
    """What links have and what they are owed; the defaults are those of Section V of [Huang2024].

    Attributes:
        noise_power_w: at every receiver.
        max_power_w: of every transmitter.
        min_rate_bps_hz: least mean rate of a link over slots, in bit/s/Hz.
    """

    noise_power_w: float = NOISE_POWER_W
    max_power_w: float = MAX_POWER_W
    min_rate_bps_hz: float = 1.0

    def __post_init__(self) -> None:
        for name in ("noise_power_w", "max_power_w"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: must be positive and finite, received {getattr(self, name)}")
        if not 0 <= self.min_rate_bps_hz < float("inf"):
            received = self.min_rate_bps_hz
            raise ValueError(f"min_rate_bps_hz: must be at least 0 and finite, received {received}")

    @classmethod
    def at_snr(cls, snr_db: float, min_rate_bps_hz: float = 1.0) -> "LinkTerms":
        """Noise of 1 W and a limit of `10^(snr_db / 10)` W: gains of mean 1 then have this mean SNR."""
        return cls(1.0, db_to_linear(float(snr_db)), min_rate_bps_hz)


SEVEN_CELL_TERMS = LinkTerms(noise_power_w=dbm_to_watt(-114.0), max_power_w=dbm_to_watt(38.0))
"""Of Section IV-B of [Behmandpoor2024], for the scenario of seven cells."""


RAYLEIGH_TERMS = LinkTerms.at_snr(15.0)
"""Of Section IV-A of [Behmandpoor2024]: 15 dB at a mean gain of 1."""
_TERMS = {"rayleigh": RAYLEIGH_TERMS, "seven-cells": SEVEN_CELL_TERMS}


def terms_of(scenario: str | None) -> LinkTerms:
    """The terms of the paper that a scenario is from; those of [Huang2024] of others, and of snapshots."""
    return _TERMS.get(scenario or "", LinkTerms())


def named_channels(name: str) -> Scenario | Snapshot:
    """The scenario, or the snapshot that ships with the package, of that name."""
    return SCENARIOS[name]() if name in SCENARIOS else bundled_snapshot(name)


@dataclass(frozen=True)
class LinkSource:
    """Random configurations of links: of a scenario, or random pairs of random drops of a snapshot.

    Attributes:
        channels: where gains come from; receiver `k` belongs to transmitter `k`.
        links: how many; of a range `(least, most)` each configuration has a uniform number, and is padded to
            the most by links that are not active (places are drawn for the most).
        terms: of the links. The noise is theirs for a snapshot, too, whose own is a density.
        fading: of a snapshot's slots, on its `gain`; None takes the frequencies of its channel as slots. A
            scenario has its own.
        drops: of a snapshot's drops those from the first up to the second index, so that some can be kept for
            testing; None takes all.
        dtype: of the instances.
        redraw_every: slots after which places and shadowing (of a snapshot: drop and pairs) are drawn anew, for
            large-scale fading that is so many times slower than the small-scale one. Fading that is correlated
            over slots starts anew, too. None draws them once.
    """

    channels: Scenario | Snapshot
    links: int | tuple[int, int] = 20
    terms: LinkTerms = LinkTerms()
    fading: Fading | None = Rayleigh()
    drops: tuple[int, int] | None = None
    dtype: torch.dtype = torch.float32
    redraw_every: int | None = None

    def __post_init__(self) -> None:
        if self.redraw_every is not None and self.redraw_every < 1:
            raise ValueError(f"redraw_every: must be None or at least 1 slot, received {self.redraw_every}")
        most = float("inf")
        if isinstance(self.channels, Snapshot):
            object.__setattr__(self, "channels", _require_pairs(self.channels))
            _require_paths(self.channels)
            most = self.channels.gain.shape[-1]
        span_of("links", self.links, most)
        if self.drops is not None:
            self._require_drops(*self.drops)

    @property
    def span(self) -> tuple[int, int]:
        """Least and largest number of links."""
        return span_of("links", self.links, float("inf"))

    def sample(self, batch_size: int, *, slots: int, generator: torch.Generator) -> SlotDraw:
        """Channels of `batch_size` configurations of the largest size, on the generator's device; places stay."""
        links = self.span[1]
        if isinstance(self.channels, Scenario):
            return self.channels.sample_slots(
                batch_size,
                slots=slots,
                transmitters=links,
                receivers=links,
                generator=generator,
                dtype=self.dtype,
            )
        pairs, device = self.channels.gain.shape[-1], generator.device
        first, last = self.drops or (0, self.channels.drop_shape.numel())
        drop = torch.randint(first, last, (batch_size,), generator=generator, device=device)
        link = torch.rand(batch_size, pairs, generator=generator, device=device).argsort(dim=-1)[:, :links]
        draw = snapshot_slots(
            self.channels, drop=drop, link=link, slots=slots, fading=self.fading, generator=generator
        )
        return SlotDraw(
            large_scale_gain=draw.large_scale_gain.to(self.dtype),
            small_scale_gain=draw.small_scale_gain.to(self.dtype),
        )

    def sample_gain(
        self, batch_size: int, *, slots: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch slot rx tx"], Float[Tensor, "batch rx tx"]]:
        """Gains of every slot, and the mean over slots of their large-scale part; places are redrawn as asked for."""
        block = self.redraw_every
        if block is None or block >= slots:
            draw = self.sample(batch_size, slots=slots, generator=generator)
            return draw.gain, draw.large_scale_gain
        blocks = -(-slots // block)
        draw = self.sample(batch_size * blocks, slots=block, generator=generator)
        gain = draw.gain.unflatten(0, (batch_size, blocks)).flatten(1, 2)[:, :slots]
        large_scale_gain = draw.large_scale_gain.unflatten(0, (batch_size, blocks))
        last = large_scale_gain[:, -1] * (slots - (blocks - 1) * block)  # may be cut short
        return gain, (block * large_scale_gain[:, :-1].sum(1) + last) / slots

    def sample_active(self, batch_size: int, *, generator: torch.Generator) -> Bool[Tensor, "batch tx"]:
        """Masks of random numbers of links, the first ones active."""
        return active_of(self.span, batch_size, generator=generator)

    def _require_drops(self, first: int, last: int) -> None:
        if not isinstance(self.channels, Snapshot):
            raise ValueError(f"drops: must be None for a scenario, received {self.drops}")
        most = self.channels.drop_shape.numel()
        if not 0 <= first < last <= most:
            raise ValueError(f"drops: must be an ascending range in 0 to {most}, received {self.drops}")


def pairs_of(snapshot: Snapshot, pair: Pairing | None = None) -> Snapshot:
    """Return the snapshot of pairs, receiver `k` belonging to transmitter `k`.

    Args:
        snapshot: of pairs, or of users and stations.
        pair: "index" takes receivers and transmitters of one index as pairs, and so does None; "strongest" makes pairs
            of users and their strongest stations (see `strongest_pairs`).

    Raises:
        ValueError: if pairs by index are not possible, or if the snapshot has no users and stations to pair.
    """
    if pair == "strongest":
        return strongest_pairs(snapshot)
    links = _require_pairs(snapshot)
    if pair == "index" or links.direction == "device-to-device":
        return links
    return links.with_notes(
        "link k is from transmitter k to receiver k; users and stations are paired by --pair strongest"
    )


def _require_pairs(snapshot: Snapshot) -> Snapshot:
    """As many receivers as transmitters, eavesdroppers left out."""
    heard = (~snapshot.eavesdropper).nonzero()[:, 0]
    rx, tx = len(heard), snapshot.gain.shape[-1]
    if rx != tx:
        hint = "For users and stations use --pair strongest"
        raise ValueError(f"gain: expected a square matrix [rx, tx], got [{rx}, {tx}]. {hint}")
    return snapshot if rx == len(snapshot.eavesdropper) else snapshot.select(rx=heard)


def _require_paths(snapshot: Snapshot) -> None:
    """A path within each pair."""
    blocked = snapshot.gain.diagonal(dim1=-2, dim2=-1) == 0.0
    if blocked.any():
        place = blocked.nonzero()[0].tolist()
        raise ValueError(f"channels: must have a path within each pair, received a gain of 0 at {place}")


def draw_configurations(
    source: LinkSource, batch_size: int, *, slots: int, generator: torch.Generator
) -> ErgodicInstance:
    """`batch_size` configurations over slots; `mean_gain` is the large-scale gain, known before the first slot.

    If places are drawn anew meanwhile, it is the mean of the large-scale gains over the slots, which nobody knows
    before. Gains are 0 in rows and columns of padded links.
    """
    gain, mean_gain = source.sample_gain(batch_size, slots=slots, generator=generator)
    active = source.sample_active(batch_size, generator=generator)
    mask = active.to(gain.dtype)
    if source.span[0] < source.span[1]:
        both = mask[:, :, None] * mask[:, None, :]
        gain, mean_gain = gain * both[:, None], mean_gain * both
    return ErgodicInstance(
        gain=gain,
        mean_gain=mean_gain,
        noise_power_w=gain.new_full((batch_size,), source.terms.noise_power_w),
        max_power_w=source.terms.max_power_w * mask,
        min_rate_bps_hz=source.terms.min_rate_bps_hz * mask,
        active=active,
    )


def draw_links(source: LinkSource, batch_size: int, *, generator: torch.Generator) -> LinkInstance:
    """`batch_size` independent configurations in one slot each, every active link of weight 1."""
    return draw_configurations(source, batch_size, slots=1, generator=generator).slot(0)


def paused(
    instance: LinkInstance, kappa: Float[Tensor, "*#batch #tx"] | float, *, generator: torch.Generator
) -> LinkInstance:
    """The instance with each active link on with probability `kappa`: Eq. (2) of [Behmandpoor2024]."""
    probability = torch.as_tensor(kappa, device=instance.gain.device)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"kappa: must lie in [0, 1], received {kappa}")
    toss = torch.rand(instance.active.shape, generator=generator, device=generator.device)
    return replace(instance, active=instance.active & (toss < probability))


def sum_rate_task(source: LinkSource) -> Task[LinkInstance, PowerAction]:
    """The sum rate in one slot as a task."""
    return Task(WeightedSumRate(), partial(draw_links, source))


def qos_task(source: LinkSource, problem: QosSumRate) -> Task[LinkInstance, PowerAction]:
    """The sum rate in one slot under minimum rates as a task; draws may be infeasible."""
    return Task(problem, partial(draw_links, source))


_ERGODIC = ErgodicPower()


def ergodic_task(
    source: LinkSource, *, slots: int, problem: ErgodicPower = _ERGODIC
) -> Task[ErgodicInstance, ErgodicAction]:
    """Mean rates over slots as a task; the least ones are those of the source's terms."""
    return Task(problem, partial(draw_configurations, source, slots=slots))
