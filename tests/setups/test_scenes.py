import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from torchrrm.bench import Scene
from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.problems import KINDS, SliceInstance
from torchrrm.records import replace
from torchrrm.setups import association, beamforming, links, slicing, workbench
from torchrrm.setups.places import first_of, nodes_m, some_of, user_columns
from torchrrm.setups.registry import SETUPS
from torchrrm.setups.workbench import Given


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def cell() -> Given[SliceInstance]:
    given = slicing.given_cell(bundled_snapshot("munich_cell_uplink"), slicing.SliceTerms())
    return some_of(given, 12, "user", generator=generator())


def pairs() -> Given[Any]:
    given = links.given_links(bundled_snapshot("munich_d2d"), links.LinkTerms())
    return some_of(given, 5, "rx", "tx", generator=generator())


def slots() -> Given[Any]:
    snapshot, terms = bundled_snapshot("munich_d2d"), links.LinkTerms()
    given = links.given_slots(snapshot, terms, slots=10, generator=generator())
    return some_of(given, 5, "rx", "tx", generator=generator())


def users() -> Given[Any]:
    return beamforming.given_beams(bundled_snapshot("munich_miso64"), beamforming.CITY_TERMS, users=[3, 7])


def network() -> Given[Any]:
    return association.drawn_cells(
        SCENARIOS["hudn"](), association.CellTerms(), users=6, stations=7, generator=generator()
    )


GIVEN: dict[str, Callable[[], Given[Any]]] = {
    "slicing": cell,
    "sum-rate": pairs,
    "qos-sum-rate": pairs,
    "ergodic-power": slots,
    "urllc": users,
    "association": network,
    "fair-association": network,
}


def shown(name: str, given: Given[Any]) -> Scene:
    setup = SETUPS[name]
    rules = workbench.find_allocators([], setup)
    scene = workbench.scene_of(setup, given, rules)
    assert scene is not None
    assert list(scene.services) == list(rules)
    return scene


@pytest.mark.parametrize("name", list(SETUPS))
def test_each_setup_shows_an_instance_with_its_places(name: str) -> None:
    given = GIVEN[name]()
    scene = shown(name, given)
    assert scene.places is not None
    assert scene.places.stations_m is not None
    assert scene.attribution == given.attribution
    for service in scene.services.values():
        amount, station = np.asarray(service.amount), np.asarray(service.station)
        assert (np.asarray(service.rate)[amount <= 0] < 1e-3).all()
        assert (station[amount > 0] >= 0).all()
        assert service.told


@pytest.mark.parametrize("name", list(SETUPS))
def test_without_places_there_is_still_a_scene(name: str) -> None:
    given = GIVEN[name]()
    macro = (
        {"macro": given.place["macro"], "station": given.place["station"]} if "macro" in given.place else {}
    )
    scene = shown(name, Given(given.instance, "somewhere", place=macro))
    assert scene.places is None
    assert scene.users


def test_padded_users_are_not_shown_and_nobody_is_no_scene() -> None:
    given = cell()
    active = given.instance.active.clone()
    active[:5] = False
    setup = slicing.SliceSetup(KINDS["data-rate"])
    rule = {"equal-surplus": workbench.find_allocator("equal-surplus", setup)}
    some = Given(replace(given.instance, active=active), "some", place=given.place)
    scene = workbench.scene_of(setup, some, rule)
    assert scene is not None
    assert scene.users == 7
    none = Given(replace(given.instance, active=torch.zeros_like(active)), "none", place=given.place)
    assert workbench.scene_of(setup, none, rule) is None


def test_some_of_the_pairs_keep_their_gains_and_places() -> None:
    whole = links.given_links(bundled_snapshot("munich_d2d"), links.LinkTerms())
    some = some_of(whole, 3, "rx", "tx", generator=generator())
    assert some.instance.gain.shape == (3, 3)
    at = [whole.place["tx_x_m"].tolist().index(x) for x in some.place["tx_x_m"].tolist()]
    assert torch.equal(some.instance.gain, whole.instance.gain[at][:, at])
    assert some.setting == f"{whole.setting}, 3 of 20"
    assert some_of(whole, 99, "rx", "tx", generator=generator()).setting == whole.setting


def test_the_station_of_all_is_no_column_of_users() -> None:
    given = users()
    station = nodes_m(given.place, "station_")
    assert station is not None
    assert station.shape == (1, 2)
    assert set(user_columns(given.place)) == {"user", "x_m", "y_m"}
    assert not any(name.startswith("station") for name in SETUPS["urllc"].columns(given, _any(given)))


def _any(given: Given[Any]) -> Any:
    return workbench.find_allocator("equal-power", SETUPS["urllc"])(given.instance)


def test_the_first_of_some_instances_has_no_places() -> None:
    batch = links.sum_rate_task(links.LinkSource(SCENARIOS["rayleigh"](), 4, links.RAYLEIGH_TERMS)).sample(
        3, generator=generator()
    )
    given = first_of(batch, "rayleigh")
    assert given.setting == "rayleigh, first instance"
    assert torch.equal(given.instance.gain, batch.gain[0])
    assert nodes_m(given.place) is None


def test_silent_stations_have_no_power_to_show() -> None:
    scene = shown("association", network())
    power = np.asarray(scene.services["max-signal"].station_amount)
    assert np.isfinite(power).any()
    given = network()
    hushed = workbench.find_allocator("max-signal", SETUPS["association"])(given.instance)
    hushed = replace(hushed, power_w=torch.zeros_like(hushed.power_w))
    quiet = SETUPS["association"].scene(given, {"quiet": hushed}).services["quiet"]
    assert np.isnan(np.asarray(quiet.station_amount)).all()
    assert math.isclose(np.asarray(quiet.amount).sum(), 0.0)
