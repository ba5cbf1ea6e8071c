"""Path loss: the mean gain of a link from the places of its ends.

Every model gives `gain(horizontal_m, station_height_m=..., user_height_m=...)`, linear, elementwise over tensors that
broadcast. The heights are named by the role of the end, since a user on an upper floor can be above its station; the
direction of the link does not matter. `torchrrm.channels.ends.heights_by_role` says what stands for the station
between devices. Shadowing is drawn by the scenario, not here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.units import db_to_linear, require_carrier_hz

__all__ = [
    "BoundedPowerLaw",
    "ConstantLoss",
    "DualSlope",
    "LosNlos",
    "PathLoss",
    "PowerLaw",
    "UrbanMacro",
    "UrbanMicro",
    "breakpoint_distance_m",
    "uma_los_probability",
    "umi_los_probability",
]

# TR 38.901 prints c = 3.0e8 m/s for the breakpoint (Note 1 of Table 7.4.1-1), which fixes its distances.
_LIGHT_SPEED_38901_M_PER_S = 3.0e8
_ENVIRONMENT_HEIGHT_M = 1.0
_SHORTEST_38901_M = 10.0
_SHORTEST_M = 1.0


class PathLoss(Protocol):
    """Mean gain of a link."""

    def gain(self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor) -> Tensor:
        """Linear gain `|h|^2` without fading, for horizontal distances and antenna heights in metres."""
        ...


def _distance_m(horizontal_m: Tensor, station_height_m: Tensor, user_height_m: Tensor) -> Tensor:
    return torch.hypot(horizontal_m, (station_height_m - user_height_m).expand_as(horizontal_m))


@dataclass(frozen=True)
class ConstantLoss:
    """The same gain `10^(-loss_db / 10)` at every distance; by default 1."""

    loss_db: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.loss_db):
            raise ValueError(f"loss_db: must be finite, received {self.loss_db}")

    def gain(
        self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor
    ) -> Float[Tensor, "*batch rx tx"]:
        """See `PathLoss.gain`."""
        return torch.full_like(horizontal_m, db_to_linear(-self.loss_db))


@dataclass(frozen=True)
class PowerLaw:
    """`gain = 10^(-loss_at_1m_db / 10) d^-exponent`, `d` the distance in metres, clipped at 1 m.

    With the default loss of 0 dB this is the literal `alpha = d^-gamma` of Table III of [Hao2024]: no
    reference distance, no carrier frequency. The clip, which the paper leaves open, keeps the gain at most 1.
    With `horizontal` the distance is that on the ground, heights left out.
    """

    exponent: float
    loss_at_1m_db: float = 0.0
    horizontal: bool = False

    def __post_init__(self) -> None:
        _require_positive("exponent", self.exponent)

    def gain(
        self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor
    ) -> Float[Tensor, "*batch rx tx"]:
        """See `PathLoss.gain`."""
        distance = (
            horizontal_m if self.horizontal else _distance_m(horizontal_m, station_height_m, user_height_m)
        )
        return db_to_linear(-self.loss_at_1m_db) * distance.clamp_min(_SHORTEST_M).pow(-self.exponent)


@dataclass(frozen=True)
class BoundedPowerLaw:
    """`gain = 1 / (1 + (d / d_0)^exponent)`, `d` the distance: 1 at the station, a power law far beyond `d_0`.

    The defaults are the cell of Section IV-A of [He2022USRMNet], whose gains are relative to the noise.
    """

    exponent: float = 3.0
    reference_m: float = 50.0

    def __post_init__(self) -> None:
        _require_positive("exponent", self.exponent)
        _require_positive("reference_m", self.reference_m)

    def gain(
        self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor
    ) -> Float[Tensor, "*batch rx tx"]:
        """See `PathLoss.gain`."""
        distance = _distance_m(horizontal_m, station_height_m, user_height_m) / self.reference_m
        return 1.0 / (1.0 + distance.pow(self.exponent))


@dataclass(frozen=True)
class DualSlope:
    """Two power laws that meet at a breakpoint `b`, relative to the loss at 1 m.

    `gain = g_1m d^-near_exponent` for `d <= b` and `g_1m b^-near_exponent (d / b)^-far_exponent` for `d > b`;
    `d` is the distance in metres, clipped at 1 m.
    """

    near_exponent: float
    far_exponent: float
    breakpoint_m: float
    loss_at_1m_db: float = 0.0

    def __post_init__(self) -> None:
        _require_positive("near_exponent", self.near_exponent)
        _require_positive("far_exponent", self.far_exponent)
        if not (math.isfinite(self.breakpoint_m) and self.breakpoint_m >= _SHORTEST_M):
            raise ValueError(f"breakpoint_m: must be finite and at least 1, received {self.breakpoint_m}")

    def gain(
        self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor
    ) -> Float[Tensor, "*batch rx tx"]:
        """See `PathLoss.gain`."""
        distance = _distance_m(horizontal_m, station_height_m, user_height_m).clamp_min(_SHORTEST_M)
        near = distance.clamp_max(self.breakpoint_m).pow(-self.near_exponent)
        far = (distance / self.breakpoint_m).clamp_min(1.0).pow(-self.far_exponent)
        return db_to_linear(-self.loss_at_1m_db) * near * far


def breakpoint_distance_m(*, station_height_m: Tensor, user_height_m: Tensor, carrier_hz: float) -> Tensor:
    """Breakpoint `d'_BP = 4 (h_BS - h_E) (h_UT - h_E) f_c / c` with `h_E` = 1 m and `c` = 3.0e8 m/s.

    Source: Note 1 of Table 7.4.1-1 of [TR38901]. In UMa `h_E` is random for users of 13 m or higher; it is 1
    m here at every height, which is exact below.

    Raises:
        ValueError: if an antenna is not above 1 m, where the breakpoint does not exist, or if the carrier is
            below 1 MHz.
    """
    require_carrier_hz(carrier_hz)
    for height in (station_height_m, user_height_m):
        low = ~(height > _ENVIRONMENT_HEIGHT_M)
        if low.any():
            lowest = float(height[low].min())
            raise ValueError(f"height: antennas of TR 38.901 must be higher than 1 m, received {lowest:g} m")
    heights = (station_height_m - _ENVIRONMENT_HEIGHT_M) * (user_height_m - _ENVIRONMENT_HEIGHT_M)
    return 4.0 * heights * carrier_hz / _LIGHT_SPEED_38901_M_PER_S


@dataclass(frozen=True)
class _UrbanLoss:
    """Constants of one row of Table 7.4.1-1: `a + b log10 d_3D + 20 log10 f_GHz` and what differs from it."""

    los_offset_db: float
    los_slope_db: float
    breakpoint_factor_db: float
    nlos_offset_db: float
    nlos_slope_db: float
    nlos_carrier_db: float
    nlos_height_db_per_m: float

    def los_db(
        self, horizontal_m: Tensor, station_height_m: Tensor, user_height_m: Tensor, carrier_hz: float
    ) -> Tensor:
        horizontal = horizontal_m.clamp_min(_SHORTEST_38901_M)
        log_distance = torch.log10(_distance_m(horizontal, station_height_m, user_height_m))
        carrier_db = 20.0 * math.log10(carrier_hz / 1e9)
        breakpoint_m = breakpoint_distance_m(
            station_height_m=station_height_m, user_height_m=user_height_m, carrier_hz=carrier_hz
        )
        squared = breakpoint_m.square() + (station_height_m - user_height_m).square()
        near_db = self.los_offset_db + self.los_slope_db * log_distance + carrier_db
        far_db = self.los_offset_db + 40.0 * log_distance + carrier_db
        far_db = far_db - self.breakpoint_factor_db * torch.log10(squared)
        return torch.where(horizontal <= breakpoint_m, near_db, far_db)

    def nlos_db(
        self, horizontal_m: Tensor, station_height_m: Tensor, user_height_m: Tensor, carrier_hz: float
    ) -> Tensor:
        horizontal = horizontal_m.clamp_min(_SHORTEST_38901_M)
        log_distance = torch.log10(_distance_m(horizontal, station_height_m, user_height_m))
        own_db = self.nlos_offset_db + self.nlos_slope_db * log_distance
        own_db = own_db + self.nlos_carrier_db * math.log10(carrier_hz / 1e9)
        own_db = own_db - self.nlos_height_db_per_m * (user_height_m - 1.5)
        los_db = self.los_db(horizontal_m, station_height_m, user_height_m, carrier_hz)
        return torch.maximum(own_db, los_db)


_UMI = _UrbanLoss(
    los_offset_db=32.4,
    los_slope_db=21.0,
    breakpoint_factor_db=9.5,
    nlos_offset_db=22.4,
    nlos_slope_db=35.3,
    nlos_carrier_db=21.3,
    nlos_height_db_per_m=0.3,
)
_UMA = _UrbanLoss(
    los_offset_db=28.0,
    los_slope_db=22.0,
    breakpoint_factor_db=9.0,
    nlos_offset_db=13.54,
    nlos_slope_db=39.08,
    nlos_carrier_db=20.0,
    nlos_height_db_per_m=0.6,
)


@dataclass(frozen=True)
class UrbanMicro:
    """UMi street canyon of 3GPP TR 38.901, Table 7.4.1-1 (`f` in GHz, lengths in metres).

    - Line of sight: `PL1 = 32.4 + 21 log10 d_3D + 20 log10 f` up to the breakpoint (in `d_2D`), then
      `PL2 = 32.4 + 40 log10 d_3D + 20 log10 f - 9.5 log10(d'_BP^2 + (h_BS - h_UT)^2)`.
    - Otherwise the larger of that and `35.3 log10 d_3D + 22.4 + 21.3 log10 f - 0.3 (h_UT - 1.5)`.

    The table is given for 10 m to 5 km, `h_BS` = 10 m, `h_UT` in 1.5 to 22.5 m. Below 10 m the value at 10 m
    is used; other heights, as between two users, extrapolate. Its shadowing is 4 dB with and 7.82 dB without
    line of sight.
    """

    carrier_hz: float
    line_of_sight: bool = True

    def __post_init__(self) -> None:
        require_carrier_hz(self.carrier_hz)

    def gain(
        self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor
    ) -> Float[Tensor, "*batch rx tx"]:
        """See `PathLoss.gain`."""
        loss_db = _UMI.los_db if self.line_of_sight else _UMI.nlos_db
        return db_to_linear(-loss_db(horizontal_m, station_height_m, user_height_m, self.carrier_hz))


@dataclass(frozen=True)
class UrbanMacro:
    """UMa of 3GPP TR 38.901, Table 7.4.1-1 (`f` in GHz, lengths in metres).

    - Line of sight: `PL1 = 28 + 22 log10 d_3D + 20 log10 f` up to the breakpoint (in `d_2D`), then
      `PL2 = 28 + 40 log10 d_3D + 20 log10 f - 9 log10(d'_BP^2 + (h_BS - h_UT)^2)`.
    - Otherwise the larger of that and `13.54 + 39.08 log10 d_3D + 20 log10 f - 0.6 (h_UT - 1.5)`.

    The table is given for 10 m to 5 km, `h_BS` = 25 m, `h_UT` in 1.5 to 22.5 m; see `UrbanMicro` for what
    happens outside, and `breakpoint_distance_m` for users above 13 m. Its shadowing is 4 dB with and 6 dB
    without line of sight.
    """

    carrier_hz: float
    line_of_sight: bool = True

    def __post_init__(self) -> None:
        require_carrier_hz(self.carrier_hz)

    def gain(
        self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor
    ) -> Float[Tensor, "*batch rx tx"]:
        """See `PathLoss.gain`."""
        loss_db = _UMA.los_db if self.line_of_sight else _UMA.nlos_db
        return db_to_linear(-loss_db(horizontal_m, station_height_m, user_height_m, self.carrier_hz))


def umi_los_probability(horizontal_m: Tensor, user_height_m: Tensor) -> Tensor:
    """Probability of line of sight in UMi: 1 up to 18 m, then `18/d + exp(-d/36) (1 - 18/d)`, `d` horizontal.

    Source: Table 7.4.2-1 of [TR38901]; the user's height does not enter.
    """
    return _near_or_decaying(horizontal_m, decay_m=36.0)


def uma_los_probability(horizontal_m: Tensor, user_height_m: Tensor) -> Tensor:
    """Probability of line of sight in UMa: 1 up to 18 m, then as below, `d` being horizontal.

    `(18/d + exp(-d/63) (1 - 18/d)) (1 + C 5/4 (d/100)^3 exp(-d/150))` with `C = ((h_UT - 13) / 10)^1.5` for
    users above 13 m and 0 below. Source: Table 7.4.2-1 of [TR38901], given up to 23 m; above, `C` stays at
    its value there.
    """
    lift = ((user_height_m.clamp(13.0, 23.0) - 13.0) / 10.0).pow(1.5)
    hundreds = horizontal_m / 100.0
    factor = 1.0 + lift * 1.25 * hundreds.pow(3) * torch.exp(-horizontal_m / 150.0)
    return (_near_or_decaying(horizontal_m, decay_m=63.0) * factor).clamp_max(1.0)


def _near_or_decaying(horizontal_m: Tensor, decay_m: float) -> Tensor:
    ratio = 18.0 / horizontal_m.clamp_min(18.0)
    return ratio + torch.exp(-horizontal_m / decay_m) * (1.0 - ratio)


@dataclass(frozen=True)
class LosNlos:
    """Two path losses and the probability that a link has line of sight.

    `probability(horizontal_m, user_height_m)` is a function such as `umi_los_probability`. It is None where a
    topology with buildings tells who sees whom.
    """

    los: PathLoss
    nlos: PathLoss
    probability: Callable[[Tensor, Tensor], Tensor] | None = None

    def los_probability(self, horizontal_m: Tensor, *, user_height_m: Tensor) -> Tensor:
        """Probability of line of sight of each link, shaped as `horizontal_m`.

        Raises:
            ValueError: if there is none.
        """
        if self.probability is None:
            raise ValueError("probability: must be given where no buildings tell the state, received None")
        return self.probability(horizontal_m, user_height_m.expand_as(horizontal_m))

    def gain_given(
        self,
        line_of_sight: Bool[Tensor, "*batch rx tx"],
        horizontal_m: Tensor,
        *,
        station_height_m: Tensor,
        user_height_m: Tensor,
    ) -> Float[Tensor, "*batch rx tx"]:
        """Gain of links whose state is known: `los` where the mask is true, else `nlos`."""
        los, nlos = (
            model.gain(horizontal_m, station_height_m=station_height_m, user_height_m=user_height_m)
            for model in (self.los, self.nlos)
        )
        return torch.where(line_of_sight, los, nlos)

    def gain(
        self, horizontal_m: Tensor, *, station_height_m: Tensor, user_height_m: Tensor
    ) -> Float[Tensor, "*batch rx tx"]:
        """Mean gain over the state, `p g_los + (1 - p) g_nlos`."""
        los, nlos = (
            model.gain(horizontal_m, station_height_m=station_height_m, user_height_m=user_height_m)
            for model in (self.los, self.nlos)
        )
        return torch.lerp(nlos, los, self.los_probability(horizontal_m, user_height_m=user_height_m))


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{name}: must be finite and positive, received {value}")
