"""Maps of networks: every kind of user and station has a mark of its own, and is where it stands."""

from typing import Any

import matplotlib.colors
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure

from torchrrm.bench import figures
from torchrrm.bench.figures import NetworkPlaces, NetworkService

PLACES = NetworkPlaces(
    users_m=torch.tensor([[0.0, 0.0, 1.5], [10.0, 0.0, 1.5], [20.0, 5.0, 1.5], [30.0, 5.0, 1.5]]),
    stations_m=torch.tensor([[0.0, 40.0, 25.0], [11.0, 2.0, 10.0], [21.0, 9.0, 10.0], [50.0, 9.0, 30.0]]),
    macro=torch.tensor([True, False, False, True]),
    buildings_m=torch.tensor([[[40.0, 0.0, 0.0], [60.0, 20.0, 30.0]]]),
)
# Users 0 and 1 are served, 2 waits at a silent station, 3 has none; a macro and a small station are on the air.
SERVICE = NetworkService(
    station=torch.tensor([0, 1, 2, -1]),
    power_w=torch.tensor([100.0, 0.1, 0.0, 0.0]),
    rate_bps_hz=torch.tensor([3.0, 2.0, 0.0, 0.0]),
)


def drawn(**panels: NetworkService) -> Figure:
    return figures.network_map(PLACES, panels or {"one": SERVICE}, title="City", attribution="(c) somebody")


def marks(figure: Figure, kind: Any) -> list[Any]:
    return [mark for mark in figure.axes[0].collections if type(mark) is kind]


def offsets(figure: Figure) -> list[list[list[float]]]:
    """Places of marks: users served, waiting and without, stations macro and small, silent macro and small."""
    return [np.asarray(mark.get_offsets()).tolist() for mark in marks(figure, PathCollection)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_is_drawn_the_same_twice() -> None:
    data = figures.render(drawn(), "svg")
    assert data.startswith(b"<?xml")
    assert data == figures.render(drawn(), "svg")
    assert len(figures.render(drawn(), "png")) > 20_000


def test_everybody_is_where_he_stands() -> None:
    assert offsets(drawn()) == [
        [[0.0, 0.0], [10.0, 0.0]],
        [[20.0, 5.0]],
        [[30.0, 5.0]],
        [[0.0, 40.0]],
        [[11.0, 2.0]],
        [[50.0, 9.0]],
        [[21.0, 9.0]],
    ]


def test_marks_differ_by_more_than_colour() -> None:
    shapes = {
        (mark.get_paths()[0].vertices.tobytes(), len(mark.get_facecolor()), float(mark.get_sizes()[0]))
        for mark in marks(drawn(), PathCollection)
    }
    assert len(shapes) == 7


def test_lines_lead_from_served_users_to_their_stations() -> None:
    (lines,) = marks(drawn(), LineCollection)
    assert [line.tolist() for line in lines.get_segments()] == [
        [[0.0, 0.0], [0.0, 40.0]],
        [[10.0, 0.0], [11.0, 2.0]],
    ]


def test_buildings_are_their_footprints() -> None:
    (buildings,) = marks(drawn(), PolyCollection)
    corners = buildings.get_paths()[0].vertices[:4].tolist()
    assert sorted(corners) == [[40.0, 0.0], [40.0, 20.0], [60.0, 0.0], [60.0, 20.0]]


def test_colours_are_powers() -> None:
    figure = drawn()
    macro, small = marks(figure, PathCollection)[3:5]
    assert macro.get_array().tolist() == pytest.approx([50.0])
    assert small.get_array().tolist() == pytest.approx([20.0])
    assert figure.axes[-1].get_ylabel() == "power of a station / dBm"
    assert figure.axes[-1].get_ylim() == pytest.approx((20.0, 50.0))


def test_quiet_stations_take_the_lowest_colour() -> None:
    quiet = NetworkService(SERVICE.station, torch.tensor([100.0, 1e-9, 0.0, 0.0]), SERVICE.rate_bps_hz)
    scale = marks(drawn(one=quiet), PathCollection)[3].norm
    assert isinstance(scale, matplotlib.colors.Normalize)
    assert (scale.vmin, scale.vmax) == pytest.approx((-10.0, 50.0))


def test_panels_share_scales_and_one_legend_names_what_is_there() -> None:
    loud = NetworkService([0, 0, 0, 0], [100.0, 0.1, 0.1, 100.0], [1.0, 1.0, 1e-2, 1e-2])
    figure = drawn(quiet=SERVICE, loud=loud)
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "quiet\n2 of 4 users served, 2 of 4 stations on",
        "loud\n4 of 4 users served, 4 of 4 stations on",
    ]
    assert legend(figure) == [
        "user, served",
        "user, not served",
        "user, no station",
        "macro station",
        "macro station, silent",
        "small station",
        "small station, silent",
        "building",
    ]
    assert all(axes.get_legend() is None for axes in figure.axes)  # outside of the data
    assert legend(drawn(loud=loud)) == ["user, served", "macro station", "small station", "building"]
    assert figure.get_supxlabel() == "x / m\n(c) somebody"
    assert figure.get_supylabel() == "y / m"
    assert all(axes.get_aspect() == 1.0 for axes in figure.axes[:2])


def test_without_buildings_kinds_or_a_station_on_the_air() -> None:
    places = NetworkPlaces([[0.0, 0.0]], [[1.0, 1.0], [2.0, 0.0]])
    figure = figures.network_map(places, {"": NetworkService([0], [0.0, 0.0], [0.0])})
    assert figures.render(figure, "png")
    assert len(figure.axes) == 1  # no powers, no colours
    assert legend(figure) == ["user, not served", "small station, silent"]


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="services: must have at least one entry, received none"):
        figures.network_map(PLACES, {})
    with pytest.raises(ValueError, match="station: must be below 4, received 4"):
        drawn(one=NetworkService([4, 0, 0, 0], SERVICE.power_w, SERVICE.rate_bps_hz))
