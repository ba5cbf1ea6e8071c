"""What the page draws, as plain data: the cases with their rows, and the scenes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from torchrrm.bench.report import Shown, display_for
from torchrrm.bench.results import Results, Row, case_names, on_front, plain
from torchrrm.bench.scene import Places, Scene, Service

__all__ = ["page_data"]

_DIGITS = 5
_BOUNDS = {"certified": "certified bound", "best known": "best known value", "none": ""}


def page_data(results: Results, display: Shown | None, scenes: Sequence[Scene]) -> dict[str, Any]:
    """All that the scripts of the page read; numbers have five digits, what is not finite is null."""
    cases: dict[str, list[Row]] = {}
    for name, row in zip(case_names(results.rows), results.rows, strict=True):
        cases.setdefault(name, []).append(row)
    marks = _marks(results.rows)
    return plain(
        {
            "scenes": [_scene(scene) for scene in scenes],
            "cases": [_case(name, rows, display, marks) for name, rows in cases.items()],
        }
    )


def _marks(rows: Sequence[Row]) -> dict[tuple[str, str], int]:
    """The number of each allocator among those of its problem: it has the same mark in all settings."""
    marks: dict[tuple[str, str], int] = {}
    for problem in dict.fromkeys(row.problem for row in rows):
        names = dict.fromkeys(row.allocator for row in rows if row.problem == problem)
        marks |= {(problem, name): i for i, name in enumerate(names)}
    return marks


def _case(
    name: str, rows: Sequence[Row], display: Shown | None, marks: dict[tuple[str, str], int]
) -> dict[str, Any]:
    shown = display_for(rows[0], display)
    return {
        "name": name,
        "problem": rows[0].problem,
        "setting": rows[0].setting,
        "heading": shown.heading,
        "utility": shown.utility,
        "bound": next((_BOUNDS[row.bound_kind] for row in rows if row.optimality is not None), ""),
        "rows": [
            {
                "allocator": row.allocator,
                "kind": row.kind,
                "mark": marks[row.problem, row.allocator],
                "objective": _rounded(row.objective / shown.scale),
                "objective95": _scaled(row.objective_ci95, 1 / shown.scale),
                "percent": None if row.optimality is None else _rounded(100 * row.optimality),
                "percent95": _scaled(row.optimality_ci95, 100.0),
                "violated": _rounded(100 * row.violation_rate),
                "front": on_front(row, rows),
                "p50": _rounded(row.p50_us),
                "p99": _rounded(row.p99_us),
                "quantiles": [_rounded(value / shown.utility_scale) for value in row.utility_quantiles],
            }
            for row in rows
        ],
    }


def _scene(scene: Scene) -> dict[str, Any]:
    return {
        "title": scene.title,
        "amount": scene.amount,
        "rate": scene.rate,
        "stationAmount": scene.station_amount,
        "names": scene.names,
        "attribution": scene.attribution,
        "places": None if scene.places is None else _places(scene.places),
        "services": [_service(name, service) for name, service in scene.services.items()],
    }


def _places(places: Places) -> dict[str, Any]:
    buildings = None if places.buildings_m is None else np.asarray(places.buildings_m)[..., :2].reshape(-1, 4)
    return {
        "users": _points(places.users_m),
        "stations": [] if places.stations_m is None else _points(places.stations_m),
        "macro": None if places.macro is None else np.asarray(places.macro, bool).tolist(),
        "buildings": [] if buildings is None else _numbers(buildings),
    }


def _service(name: str, service: Service) -> dict[str, Any]:
    return {
        "name": name,
        "station": np.asarray(service.station, int).tolist(),
        "amount": _numbers(service.amount),
        "rate": _numbers(service.rate),
        "stationAmount": None if service.station_amount is None else _numbers(service.station_amount),
        "told": service.told,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _scaled(interval: tuple[float, float] | None, factor: float) -> list[float] | None:
    return None if interval is None else [_rounded(end * factor) for end in interval]


def _numbers(values: ArrayLike) -> Any:
    """Rounded numbers, as nested lists."""
    array = np.asarray(values, float)
    return np.array([_rounded(value) for value in array.flat]).reshape(array.shape).tolist()


def _points(positions_m: ArrayLike) -> list[list[float]]:
    """Places to a tenth of a metre, heights left out."""
    return np.round(np.asarray(positions_m, float)[:, :2], 1).tolist()
