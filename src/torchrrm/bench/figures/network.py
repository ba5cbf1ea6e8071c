"""Maps of networks: who is served by whom, how loud, between which buildings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from torchrrm.bench.figures.style import PALETTE, QUIET, panel_grid
from torchrrm.problems.association import SERVED_FROM
from torchrrm.units import watt_to_dbm

__all__ = ["NetworkPlaces", "NetworkService", "network_map"]

_RANGE_DB = 60.0  # of powers told apart, downwards from the loudest station's
_POWERS = "viridis"
_WALL, _ROOF = "#8c8c8c", "#e4e4e4"
_MARKS = {"macro": ("s", 70.0), "small": ("^", 42.0)}  # marker and area in square points


@dataclass(frozen=True)
class NetworkPlaces:
    """Where a network stands, in metres; heights are not drawn.

    Attributes:
        users_m: `[user, 2 or 3]`.
        stations_m: `[bs, 2 or 3]`.
        macro: `[bs]`, which stations are macro base stations; by default none.
        buildings_m: `[building, 2, 2 or 3]`, lower and upper corner of each; None where they are not known.
    """

    users_m: ArrayLike
    stations_m: ArrayLike
    macro: ArrayLike | None = None
    buildings_m: ArrayLike | None = None


@dataclass(frozen=True)
class NetworkService:
    """What an allocator makes of a network.

    Attributes:
        station: `[user]`, index of each user's station, negative without one.
        power_w: `[bs]`, 0 of silent stations.
        rate_bps_hz: `[user]`.
    """

    station: ArrayLike
    power_w: ArrayLike
    rate_bps_hz: ArrayLike


def network_map(
    places: NetworkPlaces,
    services: Mapping[str, NetworkService],
    *,
    title: str = "",
    attribution: str = "",
) -> Figure:
    """Who is served by whom, and how loud stations are: a panel for each entry of `services`, all on one scale.

    A user served, from `SERVED_FROM` bit/s/Hz, is a dot with a line to its station; one that gets less, as at a silent
    station, is a ring, and one without a station a cross. Macro base stations are squares, small ones triangles, in the
    colour of their power; silent ones are hollow. Powers more than 60 dB below the loudest have the lowest colour.

    Args:
        places: of users, stations and, if known, buildings.
        services: stations, powers and rates by the panel's title.
        title: of the figure.
        attribution: the data's licence line, at the foot.

    Raises:
        ValueError: if there is nothing to draw, or if a user's station is none of the network's.
    """
    if not services:
        raise ValueError("services: must have at least one entry, received none")
    drawn = {name: _Drawn.of(places, service) for name, service in services.items()}
    scale = _power_scale(list(drawn.values()))
    figure, panels = panel_grid(len(drawn), width=4.8, height=4.8, sharey=True)
    figure.set_layout_engine("compressed")
    figure.set_figwidth(figure.get_figwidth() + 2.0)  # for the powers beside the legend
    for axes, (name, network) in zip(panels, drawn.items(), strict=True):
        network.draw(axes, scale)
        axes.set_title(f"{name}\n{network.caption}".lstrip(), fontsize="medium")
        axes.set_aspect("equal")
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
    figure.supxlabel(f"x / m\n{attribution}".rstrip(), fontsize="medium")
    figure.supylabel("y / m", fontsize="medium")
    figure.suptitle(title)
    _colour_bar(figure, panels, scale, list(drawn.values()))
    shown = {kind for network in drawn.values() for kind in network.kinds}
    handles = [handle for kind, handle in _legend_handles().items() if kind in shown]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return figure


@dataclass(frozen=True)
class _Drawn:
    """A panel's arrays, `[user 2]`, `[bs 2]`, `[building 2 2]`, `[user]` and `[bs]`, checked."""

    users_m: np.ndarray
    stations_m: np.ndarray
    buildings_m: np.ndarray
    macro: np.ndarray
    station: np.ndarray
    power_w: np.ndarray
    rate: np.ndarray

    @classmethod
    def of(cls, places: NetworkPlaces, service: NetworkService) -> "_Drawn":
        users, stations = (np.asarray(at, float)[:, :2] for at in (places.users_m, places.stations_m))
        buildings = (
            np.zeros((0, 2, 2)) if places.buildings_m is None else np.asarray(places.buildings_m, float)
        )
        macro = np.zeros(len(stations)) if places.macro is None else places.macro
        station = np.asarray(service.station, int)
        if station.size and station.max() >= len(stations):
            raise ValueError(f"station: must be below {len(stations)}, received {station.max()}")
        return cls(
            users_m=users,
            stations_m=stations,
            buildings_m=buildings[..., :2],
            macro=np.asarray(macro, bool),
            station=station,
            power_w=np.asarray(service.power_w, float),
            rate=np.asarray(service.rate_bps_hz, float),
        )

    @property
    def served(self) -> np.ndarray:
        return (self.station >= 0) & (self.rate >= SERVED_FROM)

    @property
    def on_air(self) -> np.ndarray:
        return self.power_w > 0

    @property
    def caption(self) -> str:
        users = f"{np.count_nonzero(self.served)} of {len(self.users_m)} users served"
        return f"{users}, {np.count_nonzero(self.on_air)} of {len(self.stations_m)} stations on"

    @property
    def users(self) -> dict[str, np.ndarray]:
        """Which users are of which kind."""
        return {
            "served": self.served,
            "waiting": (self.station >= 0) & ~self.served,
            "without": self.station < 0,
        }

    @property
    def stations(self) -> dict[str, np.ndarray]:
        """Which stations are of which kind."""
        return {
            "macro": self.macro & self.on_air,
            "small": ~self.macro & self.on_air,
            "silent macro": self.macro & ~self.on_air,
            "silent small": ~self.macro & ~self.on_air,
        }

    @property
    def kinds(self) -> set[str]:
        """Of marks in the panel."""
        kinds = {kind for kind, which in (self.users | self.stations).items() if which.any()}
        return kinds | ({"building"} if len(self.buildings_m) else set())

    def draw(self, axes: Axes, scale: Normalize) -> None:
        (west, south), (east, north) = self.buildings_m.transpose(1, 2, 0)
        corners = (
            np.stack((west, south, east, south, east, north, west, north), -1).reshape(-1, 4, 2).tolist()
        )
        axes.add_collection(
            PolyCollection(corners, facecolor=_ROOF, edgecolor=_WALL, linewidth=0.6, zorder=1)
        )
        ends = np.stack((self.users_m, self.stations_m[self.station]), 1)[self.served]
        axes.add_collection(LineCollection(list(ends), color=QUIET, linewidth=0.8, zorder=2))
        for kind, which in self.users.items():
            _draw_users(axes, kind, self.users_m[which])
        for kind, which in self.stations.items():
            _draw_stations(axes, kind, self.stations_m[which], self.power_w[which], scale)
        axes.autoscale_view()


_USERS: dict[str, dict[str, Any]] = {
    "served": {"marker": "o", "s": 20, "facecolor": "#000000", "edgecolor": "white", "linewidth": 0.5},
    "waiting": {"marker": "o", "s": 14, "facecolor": "none", "edgecolor": PALETTE[5], "linewidth": 0.9},
    "without": {"marker": "x", "s": 22, "color": PALETTE[5], "linewidth": 1.1},
}


def _draw_users(axes: Axes, kind: str, at: np.ndarray) -> None:
    axes.scatter(*at.T, zorder=5, **_USERS[kind])


def _draw_stations(axes: Axes, kind: str, at: np.ndarray, power_w: np.ndarray, scale: Normalize) -> None:
    marker, area = _MARKS[kind.removeprefix("silent ")]
    look: dict[str, Any] = {"marker": marker, "s": area, "linewidth": 0.8}
    if kind.startswith("silent"):
        axes.scatter(*at.T, facecolor="none", edgecolor=QUIET, zorder=3, **look)
    else:
        axes.scatter(*at.T, c=_dbm(power_w), cmap=_POWERS, norm=scale, edgecolor="#222222", zorder=4, **look)


def _dbm(power_w: np.ndarray) -> np.ndarray:
    return watt_to_dbm(torch.from_numpy(power_w)).numpy()


def _power_scale(networks: list[_Drawn]) -> Normalize:
    """From the quietest to the loudest of all stations on the air, in dBm, over 60 dB at most."""
    power_dbm = np.concatenate([_dbm(network.power_w[network.on_air]) for network in networks])
    if not len(power_dbm):
        return Normalize(0.0, 1.0)
    high = float(power_dbm.max())
    low = max(float(power_dbm.min()), high - _RANGE_DB)
    return Normalize(low, high) if low < high else Normalize(low - 1.0, high + 1.0)


def _colour_bar(figure: Figure, panels: list[Axes], scale: Normalize, networks: list[_Drawn]) -> None:
    """Of powers, if a station is on the air."""
    power_dbm = np.concatenate([_dbm(network.power_w[network.on_air]) for network in networks])
    if len(power_dbm):
        figure.colorbar(
            ScalarMappable(scale, _POWERS),
            ax=panels,
            label="power of a station / dBm",
            shrink=0.7,
            extend="min" if power_dbm.min() < (scale.vmin or 0.0) else "neither",
        )


def _legend_handles() -> dict[str, Any]:
    """By kind, in the legend's order."""
    names = {
        "served": "user, served",
        "waiting": "user, not served",
        "without": "user, no station",
        "macro": "macro station",
        "silent macro": "macro station, silent",
        "small": "small station",
        "silent small": "small station, silent",
    }
    handles: dict[str, Any] = {}
    for kind, name in names.items():
        if kind in _USERS:
            look = _USERS[kind]
        else:
            marker, area = _MARKS[kind.removeprefix("silent ")]
            silent = kind.startswith("silent")
            look = {
                "marker": marker,
                "s": area,
                "facecolor": "none" if silent else "#5ec962",
                "edgecolor": QUIET if silent else "#222222",
                "linewidth": 0.8,
            }
        handles[kind] = Line2D(
            [],
            [],
            linestyle="none",
            label=name,
            marker=look["marker"],
            markersize=look["s"] ** 0.5,
            markerfacecolor=look.get("facecolor", "none"),
            markeredgecolor=look.get("edgecolor", look.get("color")),
            markeredgewidth=look["linewidth"],
        )
    return handles | {"building": Patch(facecolor=_ROOF, edgecolor=_WALL, linewidth=0.6, label="building")}
