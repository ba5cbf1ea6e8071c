"""Options that belong to `--problem association` and `--problem fair-association`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from torchrrm.cli.options import FileOrNone, Name, Names, OneInstance, Reading

if TYPE_CHECKING:
    import torch

    from torchrrm.channels import Scenario, Snapshot
    from torchrrm.policies import HBGNN
    from torchrrm.problems import Task
    from torchrrm.problems.association import AssociationAction, CellInstance
    from torchrrm.setups.association import CellSetup, CellTerms
    from torchrrm.setups.workbench import Given

__all__ = [
    "AssociationAllocation",
    "AssociationDraws",
    "AssociationEvaluation",
    "AssociationExport",
    "FairAllocation",
    "FairDraws",
    "FairEvaluation",
    "FairExport",
]


class _Sum:
    """The sum of rates."""

    def setup(self) -> "CellSetup":
        from torchrrm.setups.association import AssociationSetup

        return AssociationSetup()


class _Fair:
    """Proportional fairness."""

    def setup(self) -> "CellSetup":
        from torchrrm.setups.association import FairAssociationSetup

        return FairAssociationSetup()


@dataclass(frozen=True, kw_only=True)
class Radio:
    """What stations may send, and in what noise."""

    macro_dbm: Annotated[float, arg(metavar="DBM")] = 50.0
    """Power limit of each macro base station."""
    small_dbm: Annotated[float, arg(metavar="DBM")] = 20.0
    """Power limit of each small base station."""
    bandwidth_mhz: Annotated[float, arg(metavar="MHZ")] = 20.0
    """Of the band, which all stations use whole."""
    noise_dbm: Annotated[float | None, arg(metavar="DBM")] = None
    """Noise power at each user over the band; if not given, of the snapshot's density, or -174 dBm/Hz."""

    def linear(self) -> "CellTerms":
        """The same in linear units."""
        from torchrrm.setups.association import CellTerms
        from torchrrm.units import dbm_to_watt

        return CellTerms(
            macro_power_w=dbm_to_watt(self.macro_dbm),
            small_power_w=dbm_to_watt(self.small_dbm),
            bandwidth_hz=1e6 * self.bandwidth_mhz,
            noise_power_w=None if self.noise_dbm is None else dbm_to_watt(self.noise_dbm),
        )


@dataclass(frozen=True, kw_only=True)
class Network:
    """Who takes part."""

    users: Annotated[int | None, arg(metavar="K")] = None
    """How many users, of a snapshot random ones of a drop; if not given all of these, 120 of a scenario."""
    stations: Annotated[int | None, arg(metavar="N")] = None
    """How many stations, of a snapshot random ones; if not given all of these, 105 of a scenario, 5 of them macro."""


def _given(
    channels: "Snapshot | Scenario", drop: int, network: Network, radio: Radio, generator: "torch.Generator"
) -> "Given[CellInstance]":
    """Users and stations of a drop of a snapshot, or a random drop of a scenario."""
    from torchrrm.channels import Snapshot
    from torchrrm.setups import association

    users, stations, terms = network.users, network.stations, radio.linear()
    if isinstance(channels, Snapshot):
        return association.some_cells(
            channels, terms, drop=drop, users=users, stations=stations, generator=generator
        )
    if drop:
        raise ValueError(f"drop: must go with a snapshot, received {drop}")
    return association.drawn_cells(channels, terms, users=users, stations=stations, generator=generator)


@dataclass(frozen=True, kw_only=True)
class CellAllocation(OneInstance, ABC):
    """Users and stations of a drop of a snapshot, or a random drop of a scenario."""

    allocator: Name
    """A solver or policy that `torchrrm list` names, or a file of weights."""
    stations_out: FileOrNone = None
    """Write the stations, too, one a row, with powers and numbers of users: .csv, .npz or .json."""
    map: FileOrNone = None
    """Draw who serves whom, where positions are known: .png, .svg or .pdf."""
    network: Network = field(default_factory=Network)
    radio: Radio = field(default_factory=Radio)

    @abstractmethod
    def setup(self) -> "CellSetup": ...

    def find(self, name: str) -> "Snapshot | Scenario":
        """The scenario of that name, or else the snapshot."""
        from torchrrm.bench.columns import check_format

        if self.stations_out is not None:
            check_format(self.stations_out)
        if self.map is not None and self.map.suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"map: must end in .png, .svg or .pdf, received {str(self.map)!r}")
        scenarios = self.setup().scenarios
        if name not in scenarios:
            return self.reading.snapshot(name)
        self.reading.refuse()
        return scenarios[name]()

    def given(
        self, snapshot: "Snapshot | Scenario", drop: int, generator: "torch.Generator"
    ) -> "Given[CellInstance]":
        from torchrrm.setups import association

        given = _given(snapshot, drop, self.network, self.radio, generator)
        if self.map is not None:
            association.require_places(given)
        return given

    def keep(
        self, given: "Given[CellInstance]", action: "AssociationAction", about: "dict[str, Any]"
    ) -> None:
        """The map, and the table of stations."""
        from torchrrm.bench import figures
        from torchrrm.bench.columns import write_columns
        from torchrrm.setups import association

        if self.stations_out is not None:
            columns = self.setup().station_columns(given, action)
            arrays = {name: value.numpy() for name, value in columns.items()}
            write_columns(self.stations_out, arrays, about)
        if self.map is not None:
            actions = {self.allocator: action}
            figures.save(association.network_figure(given, actions), self.map)


@dataclass(frozen=True, kw_only=True)
class CellDraws(ABC):
    """Random networks."""

    snapshot: Annotated[str | None, arg(metavar="FILE")] = None
    """A file of gains of stations at users, or one that is bundled, such as munich_hudn_200m."""
    scenario: Annotated[str | None, arg(metavar="NAME")] = None
    """A scenario that `torchrrm list` names."""
    network: Network = field(default_factory=Network)
    radio: Radio = field(default_factory=Radio)
    reading: Reading = field(default_factory=Reading)

    @cached_property
    def found(self) -> "Snapshot | Scenario":
        """The channels."""
        from torchrrm.setups import association

        return self.reading.channels(
            self.snapshot, self.scenario, self.setup().scenarios, association.downlink
        )

    @abstractmethod
    def setup(self) -> "CellSetup": ...

    def setups(self) -> "list[CellSetup]":
        return [self.setup()]

    def task(self, setup: "CellSetup") -> "Task[CellInstance, AssociationAction]":
        from torchrrm.setups.association import CellSource, cell_task

        source = CellSource(self.found, self.network.users, self.network.stations, self.radio.linear())
        return cell_task(source, setup.problem)

    def given(self, drawn: "CellInstance", generator: "torch.Generator") -> "Given[CellInstance]":
        """One instance to look at: of a snapshot's first drop, or another one of the scenario with its places."""
        return _given(self.found, 0, self.network, self.radio, generator)

    @property
    def setting(self) -> str:
        counts = {"users": self.network.users, "stations": self.network.stations}
        told = [f"{count} {what}" for what, count in counts.items() if count is not None]
        return ", ".join([Path(self.snapshot or self.scenario or "").name, *told])

    def new_policy(self, seed: int) -> "HBGNN":
        """A policy to train."""
        from torchrrm.setups import association

        return association.new_policy(self.setup().name, seed=seed)


@dataclass(frozen=True, kw_only=True)
class AssociationAllocation(_Sum, CellAllocation):
    """Users and stations of a drop of a snapshot, or a random drop of a scenario; the sum of rates counts."""

    allocator: Name = "hungarian-wmmse"
    """A solver or policy that `torchrrm list` names, or a file of weights."""


@dataclass(frozen=True, kw_only=True)
class AssociationDraws(_Sum, CellDraws):
    """Random networks; the sum of rates counts."""


@dataclass(frozen=True, kw_only=True)
class AssociationEvaluation(AssociationDraws):
    """Random networks; the sum of rates counts."""

    allocators: Names = "hungarian-wmmse,max-sum-utility"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class AssociationExport(_Sum):
    """A score of each station for each user, and the stations' shares of their limits."""


@dataclass(frozen=True, kw_only=True)
class FairAllocation(_Fair, CellAllocation):
    """Users and stations of a drop of a snapshot, or a random drop of a scenario; the geometric mean counts."""

    allocator: Name = "max-sum-utility-power"
    """A solver or policy that `torchrrm list` names, or a file of weights."""


@dataclass(frozen=True, kw_only=True)
class FairDraws(_Fair, CellDraws):
    """Random networks; the geometric mean of rates counts."""


@dataclass(frozen=True, kw_only=True)
class FairEvaluation(FairDraws):
    """Random networks; the geometric mean of rates counts."""

    allocators: Names = "max-sum-utility-power,max-sum-utility"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class FairExport(_Fair):
    """A score of each station for each user, and the stations' shares of their limits."""
