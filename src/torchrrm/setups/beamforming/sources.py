"""Users of one multi-antenna station that scenarios and snapshots give, as tasks of short packets."""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from torchrrm.channels import Scenario, Snapshot
from torchrrm.channels.snapshot import SnapshotError, one_station
from torchrrm.problems import Task
from torchrrm.problems.beamforming import BeamAction, MisoInstance, UrllcBeamforming
from torchrrm.setups.counts import active_of, span_of
from torchrrm.units import db_to_linear, dbm_to_watt

__all__ = [
    "CITY_TERMS",
    "BeamSource",
    "BeamTerms",
    "beam_task",
    "draw_beams",
    "instance_of",
    "station_cell",
    "station_channel",
    "terms_of",
]

USUAL_ANTENNAS = 64


@dataclass(frozen=True)
class BeamTerms:
    """What the station has and what its users are owed; the defaults are of Section IV-A of [He2022USRMNet].

    Attributes:
        noise_power_w: at every user.
        max_power_w: of the station, over all users.
        blocklength: channel uses of a packet.
        error_probability: of decoding it.
        payload_bits: that it carries to each user, at least.
    """

    noise_power_w: float = 1.0
    max_power_w: float = 10**1.5
    blocklength: float = 128.0
    error_probability: float = 1e-5
    payload_bits: float = 256.0

    def __post_init__(self) -> None:
        for name in ("noise_power_w", "max_power_w", "blocklength"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: must be positive and finite, received {getattr(self, name)}")
        if not 0 < self.error_probability < 0.5:
            received = self.error_probability
            raise ValueError(f"error_probability: must lie between 0 and 0.5, received {received}")
        if not 0 <= self.payload_bits < float("inf"):
            raise ValueError(f"payload_bits: must be at least 0 and finite, received {self.payload_bits}")

    @classmethod
    def at_snr(cls, snr_db: float, blocklength: float = 128.0) -> "BeamTerms":
        """Noise of 1 W and a limit of `10^(snr_db / 10)` W, as in the paper's tables."""
        return cls(max_power_w=db_to_linear(float(snr_db)), blocklength=blocklength)


CITY_TERMS = BeamTerms(noise_power_w=dbm_to_watt(-94.0), max_power_w=dbm_to_watt(23.0), blocklength=256.0)
"""Of snapshots: -174 dBm/Hz over 20 MHz with a noise figure of 7 dB, and a station of 23 dBm.

Of 1000 draws of the bundled Munich users each, 0.6, 2.2, 4.9, 7.6 and 13 % of those of 4, 6, 8, 10 and 12 users are
infeasible at 64 antennas, and on 9, 20, 29, 36 and 41 % of all a user's minimum rate binds in that equal power misses
it. At 15 dBm 11 to 42 % would be infeasible, at 30 dBm 0.4 to 1.6 %.
"""


def terms_of(scenario: str | None) -> BeamTerms:
    """The terms of a scenario, those of [He2022USRMNet]; without one those of snapshots."""
    return CITY_TERMS if scenario is None else BeamTerms()


def station_cell(snapshot: Snapshot, station: int | None = None) -> Snapshot:
    """Return the snapshot of one station, at either end of the links, without eavesdroppers.

    Without roles the end of a single node is the station, or of two single nodes the one with more antennas; a note
    says so.

    Raises:
        SnapshotError: if there are no complex channels, if the roles do not tell a station and neither end has a
            single node, or if there are several stations and none is chosen.
    """
    if snapshot.channel is None:
        raise SnapshotError("channel: must be in the snapshot for beams, received none")
    heard = (~snapshot.eavesdropper).nonzero()[:, 0]
    users = snapshot if len(heard) == len(snapshot.eavesdropper) else snapshot.select(rx=heard)
    if users.direction in ("uplink", "downlink"):
        return one_station(users, station)
    *_, rx, rx_antennas, tx, tx_antennas = cast(Tensor, users.channel).shape
    if users.direction == "device-to-device" or min(rx, tx) != 1:
        hint = "" if users.direction == "device-to-device" else "; state which end it is with --direction"
        received = f"{rx} receivers and {tx} transmitters{hint}"
        raise SnapshotError(f"channel: must have one station at one end of all links, received {received}")
    transmits = tx == 1 and (rx > 1 or tx_antennas >= rx_antennas)
    end, antennas = ("transmitter", tx_antennas) if transmits else ("receiver", rx_antennas)
    note = f"assumed that the one {end}, of {antennas} antennas, is the station"
    known = users.with_direction("downlink" if transmits else "uplink").with_notes(note)
    return one_station(known, station)


def station_channel(snapshot: Snapshot) -> Complex[Tensor, "drop frequency user ant"]:
    """Channels `h` of the users of a snapshot of one station: a beam `w` reaches user `k` as `h_k^H w`.

    Where the station transmits, `h` is the conjugate of the snapshot's amplitudes; where the users transmit to it, too,
    since the downlink of a reciprocal channel is the same. Eavesdroppers are left out.

    Raises:
        SnapshotError: if it is no snapshot of one station (see `station_cell`), or if users have several antennas.
    """
    cell = station_cell(snapshot)
    transmits = cell.direction == "downlink"
    channel = cast(Tensor, cell.channel)
    channel = channel.reshape(-1, *channel.shape[-5:])  # [drop frequency rx rx_ant tx tx_ant]
    user_antennas = channel.shape[3 if transmits else 5]
    if user_antennas != 1:
        raise SnapshotError(f"channel: must have one antenna at each user, received {user_antennas}")
    return (channel[:, :, :, 0, 0] if transmits else channel[:, :, 0, :, :, 0].mT).conj().resolve_conj()


@dataclass(frozen=True)
class BeamSource:
    """Random users of a station: of a scenario, or some of the users of a snapshot at one of its frequencies.

    Attributes:
        channels: where they come from.
        users: how many; of a range `(least, most)` each instance has a uniform number, and is padded to the most
            by users that are not active.
        antennas: of the station, the first ones of a snapshot's; None takes all of a snapshot's, 64 of a scenario.
        terms: of the packets; None takes those of the paper, or of a snapshot `CITY_TERMS`.
        places: of a snapshot's users those from the first up to the second index, so that some can be kept for
            testing; None takes all.
        dtype: of the instances, of complex channels that of their parts.
    """

    channels: Scenario | Snapshot
    users: int | tuple[int, int] = 6
    antennas: int | None = None
    terms: BeamTerms | None = None
    places: tuple[int, int] | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        antennas = self.antennas or USUAL_ANTENNAS
        most_antennas = most_users = float("inf")
        if isinstance(self.channels, Snapshot):
            channel = self._require_heard(self.channels)
            most_antennas, most_users = channel.shape[-1], channel.shape[-2]
            antennas = self.antennas or most_antennas
        elif self.places is not None:
            raise ValueError(f"places: must be None for a scenario, received {self.places}")
        if self.antennas == 0 or not 1 <= antennas <= most_antennas:
            raise ValueError(f"antennas: must be 1 to {most_antennas}, received {self.antennas}")
        span_of("users", self.users, most_users)

    @property
    def span(self) -> tuple[int, int]:
        """Least and largest number of users."""
        return span_of("users", self.users, float("inf"))

    def sample(self, batch_size: int, *, generator: torch.Generator) -> Complex[Tensor, "batch user ant"]:
        """Channels of `batch_size` instances of the largest size, on the generator's device."""
        users, dtype = self.span[1], self.dtype.to_complex()
        if isinstance(self.channels, Scenario):
            drawn = self.channels.sample_channel(
                batch_size,
                transmitters=users,
                antennas=(self.antennas or USUAL_ANTENNAS, 1),
                generator=generator,
                dtype=dtype,
            )
            return drawn.channel[:, 0, 0, :, :, 0].mT
        channel, device = self._places(station_channel(self.channels)).flatten(0, 1), generator.device
        one = torch.randint(len(channel), (batch_size, 1), generator=generator, device=device)
        order = torch.rand(batch_size, channel.shape[1], generator=generator, device=device).argsort(-1)
        chosen = channel[one.to(channel.device), order[:, :users].to(channel.device)]
        return chosen[..., : self.antennas].to(device=device, dtype=dtype)

    def sample_active(self, batch_size: int, *, generator: torch.Generator) -> Bool[Tensor, "batch user"]:
        """Masks of random numbers of users, the first ones active."""
        return active_of(self.span, batch_size, generator=generator)

    def _places(self, channel: Tensor) -> Tensor:
        first, last = self.places or (0, channel.shape[2])
        if not 0 <= first < last <= channel.shape[2]:
            rule = f"must be an ascending range in 0 to {channel.shape[2]}"
            raise ValueError(f"places: {rule}, received {self.places}")
        return channel[:, :, first:last]

    def _require_heard(self, snapshot: Snapshot) -> Tensor:
        """Channels of the users in question, each of which has a path."""
        channel = self._places(station_channel(snapshot))
        blocked = (channel == 0).all(-1)
        if bool(blocked.any()):
            place = blocked.nonzero()[0].tolist()
            rule = "must have a path to each user"
            raise ValueError(f"channels: {rule}, received none of drop, frequency and user {place}")
        return channel


def instance_of(
    channel: Complex[Tensor, "*batch user ant"], terms: BeamTerms, active: Bool[Tensor, "*batch user"]
) -> MisoInstance:
    """The instance of these channels, every active user of weight one over their number, the others 0."""
    mask = active.to(channel.real.dtype)
    like: dict[str, Any] = {"dtype": mask.dtype, "device": mask.device}
    batch = mask.shape[:-1]
    return MisoInstance(
        channel=torch.where(active[..., None], channel, torch.zeros_like(channel)),
        noise_power_w=torch.full_like(mask, terms.noise_power_w),
        max_power_w=torch.full(batch, terms.max_power_w, **like),
        weight=mask / mask.sum(-1, keepdim=True),
        blocklength=torch.full(batch, terms.blocklength, **like),
        error_probability=torch.full(batch, terms.error_probability, **like),
        payload_bits=terms.payload_bits * mask,
        active=active,
    )


def draw_beams(source: BeamSource, batch_size: int, *, generator: torch.Generator) -> MisoInstance:
    """`batch_size` independent instances, users of equal weights."""
    channel = source.sample(batch_size, generator=generator)
    active = source.sample_active(batch_size, generator=generator)
    usual = CITY_TERMS if isinstance(source.channels, Snapshot) else BeamTerms()
    return instance_of(channel, source.terms or usual, active)


_PROBLEM = UrllcBeamforming()


def beam_task(source: BeamSource, problem: UrllcBeamforming = _PROBLEM) -> Task[MisoInstance, BeamAction]:
    """The weighted sum rate of short packets as a task."""
    return Task(problem, partial(draw_beams, source))
