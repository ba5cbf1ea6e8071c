"""Options that belong to `--problem urllc`."""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from torchrrm.cli.options import FileOrNone, Name, Names, OneInstance, Reading, StationOrNone

if TYPE_CHECKING:
    import torch

    from torchrrm.channels import Scenario, Snapshot
    from torchrrm.policies import USRMNet
    from torchrrm.problems import Task
    from torchrrm.problems.beamforming import BeamAction, MisoInstance
    from torchrrm.setups.beamforming import BeamSetup, BeamTerms
    from torchrrm.setups.workbench import Given

__all__ = ["BeamAllocation", "BeamDraws", "BeamEvaluation", "BeamExport", "BeamTraining", "Packets"]

USUAL_USERS = 6


@dataclass(frozen=True, kw_only=True)
class Packets:
    """What the station has, and what it owes its users; what is not given is as `torchrrm.setups.beamforming` says."""

    snr_db: Annotated[float | None, arg(metavar="DB")] = None
    """Power limit of the station over the noise, of a scenario; 15 if not given."""
    power_dbm: Annotated[float | None, arg(metavar="DBM")] = None
    """Power limit of the station of a snapshot; 23 if not given."""
    noise_dbm: Annotated[float | None, arg(metavar="DBM")] = None
    """Noise power at each user of a snapshot; -94 if not given."""
    blocklength: Annotated[float | None, arg(metavar="N")] = None
    """Channel uses of a packet; 128 of a scenario, 256 of a snapshot if not given."""
    payload_bits: float = 256.0
    """Bits that a packet carries to each user, at least."""
    error_probability: float = 1e-5
    """Of decoding a packet."""

    def linear(self, scenario: str | None) -> "BeamTerms":
        """The same in linear units, of a snapshot if there is no scenario."""
        from torchrrm.setups.beamforming import terms_of
        from torchrrm.units import db_to_linear, dbm_to_watt

        usual = terms_of(scenario)
        given: dict[str, float] = {}
        if scenario is None:
            self._refuse("must go with a scenario", "snr_db")
            if self.power_dbm is not None:
                given["max_power_w"] = dbm_to_watt(self.power_dbm)
            if self.noise_dbm is not None:
                given["noise_power_w"] = dbm_to_watt(self.noise_dbm)
        else:
            self._refuse("must be left to --snr-db of a scenario", "power_dbm", "noise_dbm")
            if self.snr_db is not None:
                given["max_power_w"] = usual.noise_power_w * db_to_linear(self.snr_db)
        return replace(
            usual,
            blocklength=usual.blocklength if self.blocklength is None else self.blocklength,
            payload_bits=self.payload_bits,
            error_probability=self.error_probability,
            **given,
        )

    def _refuse(self, rule: str, *options: str) -> None:
        for option in options:
            if getattr(self, option) is not None:
                raise ValueError(f"{option}: {rule}, received {getattr(self, option)}")


@dataclass(frozen=True, kw_only=True)
class Station:
    """What is served at once, and by what."""

    users: Annotated[int | None, arg(metavar="K")] = None
    """How many random users; 6 if not given (to allocate: all of a snapshot)."""
    antennas: Annotated[int | None, arg(metavar="N")] = None
    """Of the station, the first ones of a snapshot's; if not given all of these, 64 of a scenario."""
    station: StationOrNone = None
    """Which station of a snapshot; needed if it has several."""


@dataclass(frozen=True, kw_only=True)
class BeamAllocation(OneInstance):
    """Users of a snapshot, or a random drop of a scenario."""

    allocator: Name = "gram-ascent"
    """A solver or policy that `torchrrm list` names, or a file of weights."""
    serve: Annotated[str | None, arg(metavar="K,L")] = None
    """Which users of a snapshot, by their indices; all if neither this nor --users is given."""
    frequency: int = 0
    """Which frequency of a snapshot."""
    beams: FileOrNone = None
    """Write the beams and what the station sends, too: .npz."""
    station: Station = field(default_factory=Station)
    packets: Packets = field(default_factory=Packets)

    def setup(self) -> "BeamSetup":
        return _setup()

    def find(self, name: str) -> "Snapshot | Scenario":
        """The scenario of that name, or else the snapshot."""
        if self.beams is not None and self.beams.suffix != ".npz":
            raise ValueError(f"beams: must end in .npz, received {str(self.beams)!r}")
        scenarios = _setup().scenarios
        if name not in scenarios:
            return self.reading.snapshot(name)
        self.reading.refuse()
        return scenarios[name]()

    def given(
        self, snapshot: "Snapshot | Scenario", drop: int, generator: "torch.Generator"
    ) -> "Given[MisoInstance]":
        from torchrrm.channels import Snapshot
        from torchrrm.setups import beamforming

        if not isinstance(snapshot, Snapshot):
            self._refuse_of_scenario(drop)
            return beamforming.drawn_beams(
                snapshot,
                self.packets.linear(""),
                users=USUAL_USERS if self.station.users is None else self.station.users,
                antennas=self.station.antennas,
                generator=generator,
            )
        snapshot = beamforming.station_cell(snapshot, self.station.station)
        chosen = None if self.serve is None else _indices(self.serve)
        if self.station.users is not None:
            if chosen is not None:
                raise ValueError(f"users: must be left out beside --serve, received {self.station.users}")
            chosen = beamforming.random_users(snapshot, self.station.users, generator=generator)
        return beamforming.given_beams(
            snapshot,
            self.packets.linear(None),
            drop=drop,
            frequency=self.frequency,
            users=chosen,
            antennas=self.station.antennas,
        )

    def keep(self, given: "Given[MisoInstance]", action: "BeamAction", about: "dict[str, Any]") -> None:
        """The beams in the order of the table's rows, complex, `[user ant]`, with the powers of both directions."""
        from torchrrm.bench.columns import write_columns
        from torchrrm.problems.beamforming import to_downlink
        from torchrrm.setups.places import user_columns

        if self.beams is None:
            return
        sent = to_downlink(given.instance, action)
        columns = {
            "beam": action.beam,
            "uplink_power_w": action.power_w,
            "downlink_power_w": sent.power_w,
            **user_columns(given.place),
        }
        write_columns(self.beams, {name: value.numpy() for name, value in columns.items()}, about)

    def _refuse_of_scenario(self, drop: int) -> None:
        given = {"drop": drop or None, "frequency": self.frequency or None, "serve": self.serve}
        for name, value in (given | {"station": self.station.station}).items():
            if value is not None:
                raise ValueError(f"{name}: must go with a snapshot, received {value}")


@dataclass(frozen=True, kw_only=True)
class BeamDraws:
    """Random users of a station."""

    snapshot: Annotated[str | None, arg(metavar="FILE")] = None
    """A .npz file of complex channels of one station, or munich_miso64, which is bundled."""
    scenario: Annotated[str | None, arg(metavar="NAME")] = None
    """A scenario that `torchrrm list` names."""
    station: Station = field(default_factory=Station)
    packets: Packets = field(default_factory=Packets)
    reading: Reading = field(default_factory=Reading)

    @cached_property
    def found(self) -> "Snapshot | Scenario":
        """The channels."""
        from torchrrm.setups.beamforming import station_cell

        station = self.station.station
        return self.reading.channels(
            self.snapshot,
            self.scenario,
            _setup().scenarios,
            partial(station_cell, station=station),
            station=station,
        )

    def setup(self) -> "BeamSetup":
        return _setup()

    def setups(self) -> "list[BeamSetup]":
        return [_setup()]

    def task(self, setup: "BeamSetup") -> "Task[MisoInstance, BeamAction]":
        from torchrrm.setups.beamforming import BeamSource, beam_task

        terms = self.packets.linear(self.scenario)
        return beam_task(BeamSource(self.found, self._users, self.station.antennas, terms), setup.problem)

    def given(self, drawn: "MisoInstance", generator: "torch.Generator") -> "Given[MisoInstance]":
        """One instance to look at: random users of a snapshot's first drop, else the first drawn."""
        from torchrrm.channels import Snapshot
        from torchrrm.setups import beamforming, places

        snapshot = self.found
        if not isinstance(snapshot, Snapshot):
            return places.first_of(drawn, self.setting)
        chosen = beamforming.random_users(snapshot, self._users, generator=generator)
        return beamforming.given_beams(
            snapshot, self.packets.linear(None), users=chosen, antennas=self.station.antennas
        )

    @property
    def _users(self) -> int:
        return USUAL_USERS if self.station.users is None else self.station.users

    @property
    def setting(self) -> str:
        told = "" if self.station.antennas is None else f", {self.station.antennas} antennas"
        return f"{Path(self.snapshot or self.scenario or '').name}, {self._users} users{told}"


@dataclass(frozen=True, kw_only=True)
class BeamEvaluation(BeamDraws):
    """Random users; instances whose minimum rates cannot be met are counted and left out."""

    allocators: Names = "gram-ascent,usrmnet"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class BeamTraining(BeamDraws):
    """Random users to train on; powers are restored to the minimum rates within the loss."""

    def new_policy(self, seed: int) -> "USRMNet":
        from torchrrm.setups import beamforming

        return beamforming.new_policy(seed=seed)


@dataclass(frozen=True, kw_only=True)
class BeamExport:
    """Powers and beams; complex channels are planes of real and of imaginary parts."""

    def setup(self) -> "BeamSetup":
        return _setup()


def _setup() -> "BeamSetup":
    from torchrrm.setups.beamforming import BeamSetup

    return BeamSetup()


def _indices(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"serve: must be integers separated by commas, received {text!r}") from None
