"""Options that belong to `--problem slicing`."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from torchrrm.cli.options import Name, Names, OneInstance, Reading, StationOrNone

if TYPE_CHECKING:
    import torch

    from torchrrm.channels import Scenario, Snapshot
    from torchrrm.policies import SliceGNN
    from torchrrm.problems import SliceAction, SliceInstance, Task
    from torchrrm.setups.slicing import SliceSetup, SliceTerms
    from torchrrm.setups.workbench import Given

__all__ = ["SliceAdaptation", "SliceAllocation", "SliceEvaluation", "SliceExport", "SliceTraining"]


def _setups(kinds: str) -> "list[SliceSetup]":
    from torchrrm.setups import slicing

    return [slicing.SliceSetup(problem) for problem in slicing.find_kinds(kinds)]


def _setup(kind: str) -> "SliceSetup":
    from torchrrm.problems import KINDS
    from torchrrm.setups import slicing, workbench

    return slicing.SliceSetup(workbench.find("kind", kind, KINDS))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the slice has, and what it owes its users."""

    bandwidth_hz: float = 100e6
    """Bandwidth of the slice."""
    min_rate_bps: float = 10e6
    """Rate that each scheduled user gets at least."""
    power_dbm: float = 23.0
    """Transmit power of a user."""

    def linear(self) -> "SliceTerms":
        """The same in linear units."""
        from torchrrm.setups.slicing import SliceTerms
        from torchrrm.units import dbm_to_watt

        return SliceTerms(self.bandwidth_hz, self.min_rate_bps, dbm_to_watt(self.power_dbm))


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Where slices come from: random users of a snapshot, or random drops of a scenario."""

    snapshot: Annotated[str | None, arg(metavar="FILE")] = None
    """A .npz or .csv file, a DeepMIMO folder, or munich_cell_uplink, which is bundled."""
    scenario: Annotated[str | None, arg(metavar="NAME")] = None
    """A scenario that `torchrrm list` names."""
    users: int = 50
    """Users of a slice."""
    station: StationOrNone = None
    """Which station of a snapshot; needed if it has several."""
    reading: Reading = field(default_factory=Reading)

    @cached_property
    def found(self) -> "Snapshot | Scenario":
        """The channels."""
        from torchrrm.setups import slicing

        prepare = partial(slicing.station_uplink, station=self.station)
        return self.reading.channels(
            self.snapshot, self.scenario, slicing.SliceSetup.scenarios, prepare, station=self.station
        )

    def task(self, setup: "SliceSetup", terms: Terms) -> "Task[SliceInstance, SliceAction]":
        """Slices of these channels."""
        from torchrrm.setups import slicing

        return slicing.slice_task(setup.problem, slicing.SliceSource(self.found, self.users, terms.linear()))

    @property
    def setting(self) -> str:
        """The name of these instances in tables."""
        return f"{Path(self.snapshot or self.scenario or '').name}, {self.users} users"


@dataclass(frozen=True, kw_only=True)
class SliceAllocation(OneInstance):
    """All users of a snapshot as one slice."""

    kind: Name = "data-rate"
    """Kind of service; `torchrrm list` names them."""
    allocator: Name = "exact"
    """A solver or policy that `torchrrm list` names, or a file of weights."""
    eavesdropper: int = 0
    """Which of its eavesdroppers listens."""
    station: StationOrNone = None
    """Which station of the snapshot; needed if it has several."""
    terms: Terms = field(default_factory=Terms)

    def setup(self) -> "SliceSetup":
        return _setup(self.kind)

    def given(self, snapshot: "Snapshot", drop: int, generator: "torch.Generator") -> "Given[SliceInstance]":
        from torchrrm.setups import slicing

        terms, listener = self.terms.linear(), self.eavesdropper
        cell = slicing.station_uplink(snapshot, self.station)
        return slicing.given_cell(cell, terms, drop=drop, eavesdropper=listener)


@dataclass(frozen=True, kw_only=True)
class SliceDraws:
    """Random slices."""

    channels: Channels = field(default_factory=Channels)
    terms: Terms = field(default_factory=Terms)

    def task(self, setup: "SliceSetup") -> "Task[SliceInstance, SliceAction]":
        return self.channels.task(setup, self.terms)

    def given(self, drawn: "SliceInstance", generator: "torch.Generator") -> "Given[SliceInstance]":
        """One instance to look at: random users of a snapshot's first drop, else the first drawn."""
        from torchrrm.channels import Snapshot
        from torchrrm.setups import places, slicing

        if not isinstance(self.channels.found, Snapshot):
            return places.first_of(drawn, self.setting)
        cell = slicing.given_cell(self.channels.found, self.terms.linear())
        return places.some_of(cell, self.channels.users, "user", generator=generator)

    @property
    def setting(self) -> str:
        return self.channels.setting


@dataclass(frozen=True, kw_only=True)
class SliceEvaluation(SliceDraws):
    """Random slices."""

    kind: Name = "data-rate"
    """Kinds of service, separated by commas, or all."""
    allocators: Names = "exact,greedy-blocks"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""

    def setups(self) -> "list[SliceSetup]":
        return _setups(self.kind)


@dataclass(frozen=True, kw_only=True)
class SliceTraining(SliceDraws):
    """Random slices to train on."""

    kind: Name = "all"
    """Kinds of service to train for, separated by commas, or all."""
    features: Literal["raw", "log", "marginal"] = "marginal"
    """What the policy reads of a user; one set of marginal weights serves all kinds."""

    def setups(self) -> "list[SliceSetup]":
        return _setups(self.kind)

    def new_policy(self, seed: int) -> "SliceGNN":
        from torchrrm.setups import slicing

        return slicing.new_policy(self.setups()[0].problem, self.features, seed=seed)


@dataclass(frozen=True, kw_only=True)
class SliceAdaptation(SliceDraws):
    """Random slices to adapt to."""

    kind: Name = "data-rate"
    """Kind of service to adapt to."""

    def setup(self) -> "SliceSetup":
        return _setup(self.kind)


@dataclass(frozen=True, kw_only=True)
class SliceExport:
    """What the exported policy serves."""

    kind: Name = "data-rate"
    """Kind of service that the exported policy serves."""

    def setup(self) -> "SliceSetup":
        return _setup(self.kind)
