"""Stations and users that scenarios and snapshots give, as tasks of association."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.channels import Scenario, Snapshot, UrbanSquare
from torchrrm.channels.snapshot import THERMAL_NOISE_PSD_W_PER_HZ, oriented
from torchrrm.problems import Problem, Task
from torchrrm.problems.association import (
    BANDWIDTH_HZ,
    MACRO_POWER_W,
    SMALL_POWER_W,
    AssociationAction,
    CellInstance,
)
from torchrrm.setups.counts import active_of, span_of

__all__ = [
    "USUAL_STATIONS",
    "USUAL_USERS",
    "CellSource",
    "CellTerms",
    "cell_task",
    "downlink",
    "draw_cells",
    "instance_of",
    "macros_of",
    "snapshot_cells",
]

USUAL_USERS, USUAL_STATIONS = 120, 105
"""Of a scenario, Table I of [Zhang2022HBGNN]."""

CellProblem = Problem[CellInstance, AssociationAction]


@dataclass(frozen=True)
class CellTerms:
    """What stations may send, and in what noise; the defaults are those of Table I of [Zhang2022HBGNN].

    Attributes:
        macro_power_w: limit of each macro base station.
        small_power_w: limit of each small one.
        bandwidth_hz: of the band, which all stations use whole.
        noise_power_w: at each user over the band; None takes the band times the density that a snapshot tells, or
            that of thermal noise, -174 dBm/Hz, which [Zhang2022HBGNN] leaves open.
    """

    macro_power_w: float = MACRO_POWER_W
    small_power_w: float = SMALL_POWER_W
    bandwidth_hz: float = BANDWIDTH_HZ
    noise_power_w: float | None = None

    def __post_init__(self) -> None:
        for name in ("macro_power_w", "small_power_w", "bandwidth_hz", "noise_power_w"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name}: must be positive and finite, received {value}")

    def noise_w(self, density_w_per_hz: float = THERMAL_NOISE_PSD_W_PER_HZ) -> float:
        """Noise power at each user, of this density where none is given."""
        return density_w_per_hz * self.bandwidth_hz if self.noise_power_w is None else self.noise_power_w


_TERMS = CellTerms()


def downlink(snapshot: Snapshot) -> Snapshot:
    """The snapshot's gains with stations as transmitters and users as receivers: an uplink is turned round.

    Eavesdroppers, and complex channels, are left out. A note tells which limits stations of unknown kind have.

    Raises:
        SnapshotError: if the snapshot is neither an uplink nor a downlink (see `oriented`).
    """
    kept = ~snapshot.eavesdropper
    if not bool(kept.any()):
        raise ValueError(
            "channels: must have a receiver that is no eavesdropper, received eavesdroppers only"
        )
    plain = replace(snapshot, channel=None, frequency_offset_hz=None)
    down = oriented(plain if bool(kept.all()) else plain.select(rx=kept.nonzero()[:, 0]), "downlink")
    unknown = down.tx_kind.count("unknown")
    stations = "1 station" if unknown == 1 else f"{unknown} stations"
    return down.with_notes(f"{stations} of unknown kind with the limit of small ones") if unknown else down


def macros_of(channels: Scenario | Snapshot, stations: int) -> Bool[Tensor, " bs"]:
    """Which of so many stations are macro base stations: the first ones of `UrbanSquare`, and those a snapshot tells.

    Stations of unknown kind are not macro base stations.
    """
    if isinstance(channels, Snapshot):
        return torch.tensor([kind == "macro" for kind in channels.tx_kind])
    if isinstance(channels.topology, UrbanSquare):
        return channels.topology.macro_mask(stations)
    return torch.zeros(stations, dtype=torch.bool)


@dataclass(frozen=True)
class CellSource:
    """Random networks: drops of a scenario, or random users and stations of random drops of a snapshot.

    Attributes:
        channels: where gains come from.
        users: how many; of a range `(least, most)` each instance has a uniform number, and is padded to the most by
            users that are not active. None takes all of a snapshot's, 120 of a scenario.
        stations: the same of stations, 105 of a scenario; which ones are macro base stations `macros_of` tells.
        terms: of the network.
        drops: of a snapshot's drops those from the first up to the second index, so that some can be kept for
            testing; None takes all.
        dtype: of the instances.
    """

    channels: Scenario | Snapshot
    users: int | tuple[int, int] | None = None
    stations: int | tuple[int, int] | None = None
    terms: CellTerms = _TERMS
    drops: tuple[int, int] | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        most_users = most_stations = float("inf")
        if isinstance(self.channels, Snapshot):
            object.__setattr__(self, "channels", downlink(self.channels))
            *_, most_users, most_stations = self.channels.gain.shape
            count = self.channels.drop_shape.numel()
            first, last = self.drops or (0, count)
            if not 0 <= first < last <= count:
                rule = f"must be an ascending range in 0 to {count}"
                raise ValueError(f"drops: {rule}, received {self.drops}")
        elif self.drops is not None:
            raise ValueError(f"drops: must be None for a scenario, received {self.drops}")
        for name, most in (("users", most_users), ("stations", most_stations)):
            self._span(name, most)

    @property
    def user_span(self) -> tuple[int, int]:
        """Least and largest number of users."""
        return self._span("users")

    @property
    def station_span(self) -> tuple[int, int]:
        """Least and largest number of stations."""
        return self._span("stations")

    @property
    def noise_power_w(self) -> float:
        """At each user, over the band."""
        if isinstance(self.channels, Snapshot):
            return self.terms.noise_w(self.channels.noise_psd_w_per_hz)
        return self.terms.noise_w()

    def sample_gain(
        self,
        active_user: Bool[Tensor, "batch user"],
        active_bs: Bool[Tensor, "batch bs"],
        *,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "batch user bs"], Bool[Tensor, "batch bs"]]:
        """Gains of as many networks, and which stations are macro base stations; places are drawn for all."""
        (batch, users), stations = active_user.shape, active_bs.shape[1]
        device = generator.device
        if isinstance(self.channels, Scenario):
            draw = self.channels.sample(
                batch, transmitters=stations, receivers=users, generator=generator, dtype=self.dtype
            )
            return draw.gain, macros_of(self.channels, stations).to(device).expand(batch, -1)
        gain, macro = self.channels.gain, macros_of(self.channels, self.channels.gain.shape[-1])
        gain = gain.reshape(-1, *gain.shape[-2:])
        first, last = self.drops or (0, len(gain))
        drop = torch.randint(first, last, (batch,), generator=generator, device=device).to(gain.device)
        user = _some(active_user, gain.shape[1], generator).to(gain.device)
        station = _some(active_bs, gain.shape[2], generator).to(gain.device)
        chosen = gain[drop[:, None, None], user[:, :, None], station[:, None, :]]
        return chosen.to(device=device, dtype=self.dtype), macro[station].to(device)

    def sample_active(
        self, batch_size: int, *, generator: torch.Generator
    ) -> tuple[Bool[Tensor, "batch user"], Bool[Tensor, "batch bs"]]:
        """Masks of random numbers of users and of stations, the first ones active."""
        return (
            active_of(self.user_span, batch_size, generator=generator),
            active_of(self.station_span, batch_size, generator=generator),
        )

    def _span(self, name: str, most: float = float("inf")) -> tuple[int, int]:
        count = getattr(self, name)
        if count is None:
            shape = (USUAL_USERS, USUAL_STATIONS)
            if isinstance(self.channels, Snapshot):
                shape = self.channels.gain.shape[-2:]
            count = shape[0 if name == "users" else 1]
        return span_of(name, count, most)


def _some(
    active: Bool[Tensor, "batch item"], count: int, generator: torch.Generator
) -> Int[Tensor, "batch item"]:
    """Different random ones of `count` items, the active ones in ascending order, and then the others."""
    order = torch.rand(len(active), count, generator=generator, device=generator.device).argsort(-1)
    chosen = order[:, : active.shape[1]]
    return (chosen + count * ~active).sort(-1).values % count


def instance_of(
    gain: Float[Tensor, "*batch user bs"],
    macro: Bool[Tensor, "*batch bs"],
    terms: CellTerms,
    noise_power_w: float,
    active: tuple[Bool[Tensor, "*batch user"], Bool[Tensor, "*batch bs"]] | None = None,
) -> CellInstance:
    """The instance of these gains; gains and limits are 0 where users or stations are not active."""
    user, bs = active or (torch.ones_like(gain[..., 0], dtype=torch.bool), torch.ones_like(macro))
    limit = torch.where(macro, gain.new_tensor(terms.macro_power_w), terms.small_power_w)
    batch = gain.shape[:-2]
    return CellInstance(
        gain=torch.where(user[..., :, None] & bs[..., None, :], gain, 0.0),
        noise_power_w=gain.new_full(batch, noise_power_w),
        max_power_w=torch.where(bs, limit, 0.0),
        bandwidth_hz=gain.new_full(batch, terms.bandwidth_hz),
        active_user=user,
        active_bs=bs,
    )


def draw_cells(source: CellSource, batch_size: int, *, generator: torch.Generator) -> CellInstance:
    """`batch_size` independent networks, on the generator's device."""
    active = source.sample_active(batch_size, generator=generator)
    gain, macro = source.sample_gain(*active, generator=generator)
    return instance_of(gain, macro, source.terms, source.noise_power_w, active)


def snapshot_cells(
    snapshot: Snapshot, terms: CellTerms = _TERMS, *, dtype: torch.dtype = torch.float32
) -> CellInstance:
    """All users and stations of all drops of a snapshot, `[drop user bs]`."""
    down = downlink(snapshot)
    gain = down.gain.reshape(-1, *down.gain.shape[-2:]).to(dtype)
    macro = macros_of(down, gain.shape[-1]).expand(len(gain), -1)
    return instance_of(gain, macro, terms, terms.noise_w(down.noise_psd_w_per_hz))


def cell_task(source: CellSource, problem: CellProblem) -> Task[CellInstance, AssociationAction]:
    """Networks of a source as a task of the problem, sum of rates or proportional fairness."""
    return Task(problem, partial(draw_cells, source))
