"""Slices of users that scenarios and snapshots give, as tasks; and what commands need of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from torchrrm import bench, learning
from torchrrm.channels import SCENARIOS, Scenario
from torchrrm.channels.snapshot import THERMAL_NOISE_PSD_W_PER_HZ, Snapshot
from torchrrm.policies import SliceGNN
from torchrrm.problems import (
    KINDS,
    Allocator,
    QoS,
    SliceAction,
    SliceBandwidth,
    SliceInstance,
    Task,
    slice_instance,
)
from torchrrm.recipes import workbench
from torchrrm.recipes.workbench import Given
from torchrrm.solvers import SOLVERS, ExactSlicing
from torchrrm.units import dbm_to_watt

__all__ = [
    "SliceSetup",
    "SliceSource",
    "SliceTerms",
    "cell_slice",
    "find_kinds",
    "given_cell",
    "new_policy",
    "policy_loss",
    "positions",
    "slice_task",
]

SCENARIO_NAMES = ("hml", "umi", "uma")


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
        channels: where gains come from; receiver 0 is the base station. Without eavesdroppers nobody listens.
        users: in a slice.
        terms: of the slice.
        fading: whether gains have their small-scale part, where the channels tell it apart.
    """

    channels: Scenario | Snapshot
    users: int = 50
    terms: SliceTerms = SliceTerms()
    fading: bool = True

    def __post_init__(self) -> None:
        most = self.channels.gain.shape[-1] if isinstance(self.channels, Snapshot) else float("inf")
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


def cell_slice(
    snapshot: Snapshot, terms: SliceTerms, *, drop: int = 0, eavesdropper: int = 0
) -> SliceInstance:
    """All users of one drop of a snapshot as one slice, heard by one of its eavesdroppers.

    Raises:
        ValueError: if there is no such drop or eavesdropper.
    """
    gain = snapshot.gain.reshape(-1, *snapshot.gain.shape[-2:])  # [drop rx tx]
    if not 0 <= drop < len(gain):
        raise ValueError(f"drop: must be 0 to {len(gain) - 1}, received {drop}")
    listeners = snapshot.eavesdropper.nonzero()[:, 0]
    if not 0 <= eavesdropper < max(1, len(listeners)):
        raise ValueError(f"eavesdropper: must be 0 to {len(listeners) - 1}, received {eavesdropper}")
    station = gain[drop, 0]
    listened = gain[drop, listeners[eavesdropper]] if len(listeners) else torch.zeros_like(station)
    return terms.instance(station, listened, snapshot.noise_psd_w_per_hz)


def positions(snapshot: Snapshot, drop: int) -> Tensor | None:
    """Positions of the users of a drop, `[user 3]`, if the snapshot has them."""
    if snapshot.tx_position_m is None:
        return None
    return snapshot.tx_position_m.reshape(-1, *snapshot.tx_position_m.shape[-2:])[drop]


def given_cell(
    snapshot: Snapshot, terms: SliceTerms, *, drop: int = 0, eavesdropper: int = 0
) -> Given[SliceInstance]:
    """`cell_slice` as commands take it."""
    cell = cell_slice(snapshot, terms, drop=drop, eavesdropper=eavesdropper)
    users = positions(snapshot, drop)
    place = {} if users is None else {"x_m": users[:, 0], "y_m": users[:, 1]}
    return Given(cell, f"{snapshot.name}, drop {drop}", snapshot.attribution, place)


def new_policy(problem: SliceBandwidth, features: str, *, seed: int) -> SliceGNN:
    """A policy with random parameters."""
    return workbench.seeded(lambda: SliceGNN(problem, features), seed)


def policy_loss(policy: SliceGNN) -> learning.PolicyLoss:
    """The unsupervised loss of a policy in bit/s/Hz, whichever kind a task is of."""
    return learning.PolicyLoss(policy, learning.Unsupervised(learning.slice_bandwidth), bind=SliceGNN.serving)


def find_kinds(names: str) -> list[SliceBandwidth]:
    """The problems of the kinds of service whose names are separated by commas, or of all."""
    chosen = KINDS if names == "all" else names.split(",")
    return [workbench.find("kind", name, KINDS) for name in chosen]


@dataclass(frozen=True)
class SliceSetup:
    """Slices of one kind of service, held against the certified bound of the exact solver."""

    problem: SliceBandwidth

    name: ClassVar[str] = "slicing"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = {n: SCENARIOS[n] for n in SCENARIO_NAMES}
    policies: ClassVar[tuple[type[nn.Module], ...]] = (SliceGNN,)
    title: ClassVar[str] = "Allocation of slices"
    display: ClassVar[bench.Display] = bench.Display("sum rate", "(Mbit/s)", 1e6)

    @property
    def label(self) -> str:
        return self.problem.name

    @property
    def solvers(self) -> Mapping[str, Callable[[], Allocator[SliceInstance, SliceAction]]]:
        return {name: partial(solver, self.problem) for name, solver in SOLVERS[self.name].items()}

    def validate(self, instance: SliceInstance) -> SliceInstance:
        return self.problem.validate(instance)

    def serving(self, policy: SliceGNN) -> SliceGNN:
        return policy.serving(self.problem)

    def exported(self, policy: SliceGNN) -> SliceGNN:
        return self.serving(policy)

    def loss(self, policy: SliceGNN) -> learning.PolicyLoss:
        return policy_loss(policy)

    def bound(
        self, drawn: SliceInstance, allocators: Mapping[str, Allocator[SliceInstance, SliceAction]]
    ) -> bench.Bound | None:
        return bench.certified(self.problem, drawn, ExactSlicing(self.problem))

    def measures(self, drawn: SliceInstance, action: SliceAction) -> dict[str, bench.Measure]:
        return {}

    def columns(self, given: Given[SliceInstance], action: SliceAction) -> dict[str, Tensor]:
        """A user a row."""
        schedule = self.problem.schedule(given.instance)
        return {
            "user": torch.arange(len(given.instance.cn0_hz)),
            **given.place,
            "scheduled": schedule.active,
            "minimum_bandwidth_hz": schedule.minimum_bandwidth_hz,
            "bandwidth_hz": action.bandwidth_hz,
            "rate_bps": self.problem.evaluate(given.instance, action).utility,
        }

    def summary(self, given: Given[SliceInstance], action: SliceAction) -> str:
        scheduled = self.problem.schedule(given.instance).active
        note = "" if scheduled.any() else ": the slice is too small for any of them"
        return f"{int(scheduled.sum())} of {len(scheduled)} users scheduled{note}"
