"""Options that belong to `--problem sum-rate`, `--problem qos-sum-rate` and `--problem ergodic-power`."""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from torchrrm.cli.options import Name, Names, OneInstance, Pair, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from torchrrm.channels import Scenario, Snapshot
    from torchrrm.policies import PowerGNN, UnrolledPower
    from torchrrm.problems import ErgodicAction, ErgodicInstance, LinkInstance, PowerAction, Task
    from torchrrm.setups.links import ErgodicSetup, LinkSource, LinkTerms, QosSetup, SumRateSetup
    from torchrrm.setups.workbench import Given

__all__ = [
    "ErgodicAllocation",
    "ErgodicEvaluation",
    "ErgodicExport",
    "QosAllocation",
    "QosDraws",
    "QosEvaluation",
    "QosExport",
    "QosTraining",
    "SumRateAllocation",
    "SumRateDraws",
    "SumRateEvaluation",
    "SumRateExport",
    "SumRateTraining",
    "Terms",
]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What limits the links; what is not given is that of the scenario's paper."""

    snr_db: Annotated[float | None, arg(metavar="DB")] = None
    """Mean SNR of a link at full power, of the scenario rayleigh; 15 if not given."""
    power_dbm: Annotated[float | None, arg(metavar="DBM")] = None
    """Limit of each transmitter; 10 if not given, of seven-cells 38."""
    noise_dbm: Annotated[float | None, arg(metavar="DBM")] = None
    """Noise power at each receiver; -104 if not given, of seven-cells -114."""

    def linear(self, scenario: str | None = None, min_rate: float = 0.0) -> "LinkTerms":
        """The same in linear units, with a least mean rate in bit/s/Hz; of a snapshot without a scenario's name."""
        from torchrrm.setups.links import LinkTerms, terms_of
        from torchrrm.units import dbm_to_watt

        usual = terms_of(scenario)
        if scenario == "rayleigh":
            self._refuse("must be left to --snr-db of the scenario rayleigh", "power_dbm", "noise_dbm")
            return replace(
                usual if self.snr_db is None else LinkTerms.at_snr(self.snr_db), min_rate_bps_hz=min_rate
            )
        self._refuse("must go with the scenario rayleigh", "snr_db")
        return LinkTerms(
            usual.noise_power_w if self.noise_dbm is None else dbm_to_watt(self.noise_dbm),
            usual.max_power_w if self.power_dbm is None else dbm_to_watt(self.power_dbm),
            min_rate,
        )

    def _refuse(self, rule: str, *options: str) -> None:
        for option in options:
            if getattr(self, option) is not None:
                raise ValueError(f"{option}: {rule}, received {getattr(self, option)}")


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What is decided over time."""

    slots: int = 200
    """Slots of independent fading."""
    min_rate: float = 1.0
    """Mean rate that each link gets at least, in bit/s/Hz."""


@dataclass(frozen=True, kw_only=True)
class Minima:
    """What each link gets at least."""

    min_rate: float = 0.5
    """Rate in the slot that each link gets at least, in bit/s/Hz."""

    def setup(self) -> "QosSetup":
        """The problem under these minima."""
        from torchrrm.setups.links import QosOfDraws, QosSetup

        return QosSetup(QosOfDraws(self.min_rate))


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Where links come from: random pairs of a snapshot with Rayleigh fading, or random drops of a scenario."""

    snapshot: Annotated[str | None, arg(metavar="FILE")] = None
    """A .npz or .csv file of transmitter-receiver pairs, or munich_d2d, which is bundled."""
    scenario: Annotated[str | None, arg(metavar="NAME")] = None
    """A scenario that `torchrrm list` names."""
    links: int = 8
    """Links that share the channel."""
    pair: Pair = None
    """Pairs of a snapshot: by the index of receiver and transmitter (if not given), or, of users and stations, each
    station with the strongest of the users that it is the strongest station of."""
    reading: Reading = field(default_factory=Reading)

    @cached_property
    def found(self) -> "Snapshot | Scenario":
        """The channels."""
        from torchrrm.setups.links import SumRateSetup, pairs_of

        prepare = partial(pairs_of, pair=self.pair)
        return self.reading.channels(
            self.snapshot, self.scenario, SumRateSetup.scenarios, prepare, pair=self.pair
        )

    @property
    def random(self) -> str | None:
        """The scenario that drops are drawn from, if it is not a snapshot's pairs."""
        return self.scenario if self.snapshot is None else None

    def source(self, terms: "LinkTerms") -> "LinkSource":
        """Links of these channels."""
        from torchrrm.setups.links import LinkSource

        return LinkSource(self.found, self.links, terms)

    def given(
        self, drawn: Any, setting: str, make: "Callable[[Snapshot], Given[Any]]", generator: "torch.Generator"
    ) -> "Given[Any]":
        """One instance to look at: random pairs of what is made of a snapshot, else the first drawn."""
        from torchrrm.channels import Snapshot
        from torchrrm.setups import places

        if not isinstance(self.found, Snapshot):
            return places.first_of(drawn, setting)
        given = make(self.found)
        return places.some_of(given, self.links, "rx", "tx", generator=generator)

    @property
    def setting(self) -> str:
        """The name of these instances in tables."""
        return f"{Path(self.snapshot or self.scenario or '').name}, {self.links} links"


@dataclass(frozen=True, kw_only=True)
class SlotAllocation(OneInstance):
    """All pairs of a drop, in one slot without fading."""

    pair: Pair = None
    """Pairs: by the index of receiver and transmitter (if not given), or, of users and stations, each station with
    the strongest of the users that it is the strongest station of."""
    terms: Terms = field(default_factory=Terms)

    def given(self, snapshot: "Snapshot", drop: int, generator: "torch.Generator") -> "Given[LinkInstance]":
        from torchrrm.setups import links

        return links.given_links(snapshot, self.terms.linear(), drop=drop, pair=self.pair)


@dataclass(frozen=True, kw_only=True)
class SlotDraws:
    """Random links, each instance in one slot."""

    channels: Channels = field(default_factory=Channels)
    terms: Terms = field(default_factory=Terms)

    def given(self, drawn: "LinkInstance", generator: "torch.Generator") -> "Given[LinkInstance]":
        from torchrrm.setups.links import given_links

        make = partial(given_links, terms=self.terms.linear())
        return self.channels.given(drawn, self.setting, make, generator)

    @property
    def setting(self) -> str:
        return self.channels.setting


@dataclass(frozen=True, kw_only=True)
class SumRateAllocation(SlotAllocation):
    """All pairs of a drop, in one slot without fading."""

    allocator: Name = "wmmse"
    """A solver or policy that `torchrrm list` names, or a file of weights."""

    def setup(self) -> "SumRateSetup":
        return _sum_rate()


@dataclass(frozen=True, kw_only=True)
class QosAllocation(SlotAllocation):
    """All pairs of a drop, in one slot without fading, each with a minimum rate."""

    allocator: Name = "geometric-program"
    """A solver or policy that `torchrrm list` names, or a file of weights."""
    minima: Minima = field(default_factory=Minima)

    def setup(self) -> "QosSetup":
        return self.minima.setup()


@dataclass(frozen=True, kw_only=True)
class ErgodicAllocation(OneInstance):
    """All pairs of a drop, over slots of Rayleigh fading."""

    allocator: Name = "safeguarded-dual"
    """A solver or policy that `torchrrm list` names, or a file of weights."""
    pair: Pair = None
    """Pairs: by the index of receiver and transmitter (if not given), or, of users and stations, each station with
    the strongest of the users that it is the strongest station of."""
    time: Slots = field(default_factory=Slots)
    terms: Terms = field(default_factory=Terms)

    def setup(self) -> "ErgodicSetup":
        return _ergodic()

    def given(
        self, snapshot: "Snapshot", drop: int, generator: "torch.Generator"
    ) -> "Given[ErgodicInstance]":
        from torchrrm.setups import links

        terms, slots = self.terms.linear(min_rate=self.time.min_rate), self.time.slots
        return links.given_slots(snapshot, terms, slots=slots, drop=drop, generator=generator, pair=self.pair)


@dataclass(frozen=True, kw_only=True)
class SumRateDraws(SlotDraws):
    """Random links, each instance in one slot."""

    def setup(self) -> "SumRateSetup":
        return _sum_rate()

    def setups(self) -> "list[SumRateSetup]":
        return [_sum_rate()]

    def task(self, setup: "SumRateSetup") -> "Task[LinkInstance, PowerAction]":
        from torchrrm.setups.links import sum_rate_task

        return sum_rate_task(self.channels.source(self.terms.linear(self.channels.random)))


@dataclass(frozen=True, kw_only=True)
class SumRateEvaluation(SumRateDraws):
    """Random links, each instance in one slot."""

    allocators: Names = "wmmse,itlinq"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class SumRateTraining(SumRateDraws):
    """Random links to train on, each instance in one slot."""

    def new_policy(self, seed: int) -> "PowerGNN":
        from torchrrm.setups import links

        return links.new_policy(seed=seed)


@dataclass(frozen=True, kw_only=True)
class SumRateExport:
    """Powers of one slot."""

    def setup(self) -> "SumRateSetup":
        return _sum_rate()


@dataclass(frozen=True, kw_only=True)
class QosDraws(SlotDraws):
    """Random links, each instance in one slot with minimum rates; those that cannot be served are left out."""

    minima: Minima = field(default_factory=Minima)

    def setup(self) -> "QosSetup":
        return self.minima.setup()

    def setups(self) -> "list[QosSetup]":
        return [self.setup()]

    def task(self, setup: "QosSetup") -> "Task[LinkInstance, PowerAction]":
        from torchrrm.setups.links import qos_task

        return qos_task(self.channels.source(self.terms.linear(self.channels.random)), setup.problem)

    @property
    def setting(self) -> str:
        return f"{self.channels.setting}, at least {self.minima.min_rate:g} bit/s/Hz"


@dataclass(frozen=True, kw_only=True)
class QosEvaluation(QosDraws):
    """Random links, each instance in one slot with minimum rates; those that cannot be served are left out."""

    allocators: Names = "geometric-program,qos-wmmse,unrolled-power"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""


@dataclass(frozen=True, kw_only=True)
class QosTraining(QosDraws):
    """Random links to train on, each instance in one slot with minimum rates."""

    def new_policy(self, seed: int) -> "UnrolledPower":
        from torchrrm.setups import links

        return links.new_unrolled_policy(self.minima.min_rate, seed=seed)


@dataclass(frozen=True, kw_only=True)
class QosExport:
    """Powers of one slot under minimum rates."""

    def setup(self) -> "QosSetup":
        return Minima().setup()


@dataclass(frozen=True, kw_only=True)
class ErgodicExport:
    """The power net of one slot, whichever loop moves its priorities or weights."""

    def setup(self) -> "ErgodicSetup":
        return _ergodic()


@dataclass(frozen=True, kw_only=True)
class ErgodicEvaluation:
    """Random links, each instance over many slots."""

    allocators: Names = "online-dual,wmmse,itlinq"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""
    certify: bool = False
    """Hold against the certified bound of the dual, not the best known value: seconds a slot for 10 links."""
    time: Slots = field(default_factory=Slots)
    channels: Channels = field(default_factory=Channels)
    terms: Terms = field(default_factory=Terms)

    def setups(self) -> "list[ErgodicSetup]":
        from torchrrm.setups.links import ErgodicSetup

        return [ErgodicSetup(certifies=self.certify)]

    def task(self, setup: "ErgodicSetup") -> "Task[ErgodicInstance, ErgodicAction]":
        from torchrrm.setups.links import ergodic_task

        source = self.channels.source(self.terms.linear(self.channels.random, self.time.min_rate))
        return ergodic_task(source, slots=self.time.slots, problem=setup.problem)

    def given(self, drawn: "ErgodicInstance", generator: "torch.Generator") -> "Given[ErgodicInstance]":
        from torchrrm.setups.links import given_slots

        terms = self.terms.linear(min_rate=self.time.min_rate)
        make = partial(given_slots, terms=terms, slots=self.time.slots, generator=generator)
        return self.channels.given(drawn, self.setting, make, generator)

    @property
    def setting(self) -> str:
        return f"{self.channels.setting}, {self.time.slots} slots"


def _sum_rate() -> "SumRateSetup":
    from torchrrm.setups.links import SumRateSetup

    return SumRateSetup()


def _ergodic() -> "ErgodicSetup":
    from torchrrm.setups.links import ErgodicSetup

    return ErgodicSetup()
