"""Slices of users that scenarios and snapshots give, as tasks."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchrrm.channels import Scenario
from torchrrm.channels.snapshot import THERMAL_NOISE_PSD_W_PER_HZ, Snapshot, one_station, oriented
from torchrrm.problems import (
    QoS,
    SliceAction,
    SliceBandwidth,
    SliceInstance,
    Task,
    slice_instance,
)
from torchrrm.units import dbm_to_watt

__all__ = ["SliceSource", "SliceTerms", "slice_task", "station_uplink"]


@dataclass(frozen=True)
class SliceTerms:
    """What a slice has and what it owes its users; the defaults are Tables II and III of [Hao2024].

    Attributes:
        bandwidth_hz: of the slice.
        min_rate_bps: that each scheduled user gets at least.
        power_w: that a user transmits with.
    """

    bandwidth_hz: float = 100e6
    min_rate_bps: float = 10e6
    power_w: float = dbm_to_watt(23.0)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}: must be positive and finite, received {value}")

    def instance(self, gain: Tensor, eavesdropper_gain: Tensor, noise_psd_w_per_hz: float) -> SliceInstance:
        """The slice of users with these linear gains `[*batch user]`."""
        return slice_instance(
            gain,
            eavesdropper_gain,
            min_rate_bps=self.min_rate_bps,
            bandwidth_hz=self.bandwidth_hz,
            power_w=self.power_w,
            noise_psd_w_per_hz=noise_psd_w_per_hz,
        )


@dataclass(frozen=True)
class SliceSource:
    """Random slices: of a scenario's users or of random users of a snapshot, each with its own eavesdropper.

    Attributes:
        channels: where gains come from, a snapshot of one station (see `station_uplink`). Without eavesdroppers
            nobody listens.
        users: in a slice.
        terms: of the slice.
        fading: whether gains have their small-scale part, where the channels tell it apart.
    """

    channels: Scenario | Snapshot
    users: int = 50
    terms: SliceTerms = SliceTerms()
    fading: bool = True

    def __post_init__(self) -> None:
        most = float("inf")
        if isinstance(self.channels, Snapshot):
            object.__setattr__(self, "channels", station_uplink(self.channels))
            most = self.channels.gain.shape[-1]
        if not 1 <= self.users <= most:
            raise ValueError(f"users: must be 1 to {most}, received {self.users}")

    def __call__(self, batch_size: int, *, generator: torch.Generator) -> SliceInstance:
        """`batch_size` slices."""
        if isinstance(self.channels, Snapshot):
            gain, listened = _snapshot_gains(self.channels, batch_size, self.users, generator)
            return self.terms.instance(gain, listened, self.channels.noise_psd_w_per_hz)
        draw = self.channels.sample(batch_size, transmitters=self.users, receivers=2, generator=generator)
        gain, listened = (draw.gain if self.fading else draw.large_scale_gain).unbind(dim=-2)
        return self.terms.instance(gain, listened, THERMAL_NOISE_PSD_W_PER_HZ)


def station_uplink(snapshot: Snapshot, station: int | None = None) -> Snapshot:
    """Return the snapshot as an uplink of one station, receiver 0; the other receivers are eavesdroppers.

    Raises:
        SnapshotError: if it is neither uplink nor downlink, or if there are several stations and none is chosen.
    """
    return one_station(oriented(snapshot, "uplink"), station)


def _snapshot_gains(
    snapshot: Snapshot, count: int, users: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Gains `[count users]` at the station and at an eavesdropper: random drops, users and eavesdroppers."""
    gain = snapshot.gain.reshape(-1, *snapshot.gain.shape[-2:])  # [drop rx tx]
    drop = torch.randint(len(gain), (count, 1), generator=generator)
    chosen = torch.rand(count, gain.shape[-1], generator=generator).argsort(dim=-1)[:, :users]
    listeners = snapshot.eavesdropper.nonzero()[:, 0]
    station = gain[drop, 0, chosen]
    if not len(listeners):
        return station, torch.zeros_like(station)
    listener = listeners[torch.randint(len(listeners), (count, 1), generator=generator)]
    return station, gain[drop, listener, chosen]


def slice_task(problem: SliceBandwidth, source: SliceSource) -> Task[SliceInstance, SliceAction]:
    """The source as a task; the effective capacity averages over the fading, so its gains have none."""
    return Task(problem, replace(source, fading=problem.qos is not QoS.EFFECTIVE_CAPACITY))
