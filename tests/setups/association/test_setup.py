"""What commands need of dense networks."""

import pytest
import torch
from tests.setups.bounds import held_against

from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.problems.association import UNSERVED, AssociationAction, user_rate
from torchrrm.records import replace
from torchrrm.setups.association import (
    AssociationSetup,
    CellSource,
    CellTerms,
    FairAssociationSetup,
    draw_cells,
    drawn_cells,
    given_cells,
    network_figure,
)
from torchrrm.solvers import ExhaustiveAssociation, MaxSignalAssociation

MUNICH = bundled_snapshot("munich_hudn_200m")


@pytest.mark.parametrize(
    ("setup", "users", "kind"),
    [
        (AssociationSetup(), 4, "certified"),
        (AssociationSetup(), 9, "best known"),
        (FairAssociationSetup(), 4, "best known"),
    ],
)
def test_what_objectives_are_held_against(
    setup: AssociationSetup | FairAssociationSetup, users: int, kind: str, generator: torch.Generator
) -> None:
    drawn = draw_cells(CellSource(SCENARIOS["hudn"](), (2, users), 3), 4, generator=generator)
    methods = {"max-signal": MaxSignalAssociation()}
    bound = held_against(setup, drawn, methods)
    assert bound is not None
    assert bound.kind == kind
    others = [*methods.values(), *([ExhaustiveAssociation()] if kind == "certified" else [])]
    for method in others:
        reached = setup.problem.evaluate(drawn, method(drawn)).objective
        assert bool((bound.value >= reached * (1 - 1e-6)).all())


def test_networks_of_many_stations_are_not_searched_exhaustively(generator: torch.Generator) -> None:
    drawn = draw_cells(CellSource(SCENARIOS["hudn"](), 3, 12), 2, generator=generator)
    drawn = replace(drawn, gain=drawn.gain.clamp(min=1e-15))  # every station has a path
    assert AssociationSetup().certify(drawn) is None


def test_given_ones_keep_their_numbers_and_places() -> None:
    given = given_cells(MUNICH, CellTerms(), drop=2, users=[7, 3, 11], stations=[1, 60])
    assert torch.equal(given.instance.gain, MUNICH.gain[2][[7, 3, 11]][:, [1, 60]])
    assert given.instance.max_power_w.tolist() == pytest.approx([100.0, 0.1])
    assert given.setting == f"{MUNICH.name}, drop 2, 3 users, 2 stations"
    action = AssociationAction(station=torch.tensor([1, UNSERVED, 0]), power_w=torch.tensor([0.0, 0.1]))
    columns = AssociationSetup().columns(given, action)
    assert columns["user"].tolist() == [7, 3, 11]
    assert columns["station"].tolist() == [60, UNSERVED, 1]
    assert MUNICH.tx_position_m is not None
    assert float(columns["station_x_m"][0]) == float(MUNICH.tx_position_m[2, 60, 0])
    assert columns["station_x_m"].isnan().tolist() == [False, True, False]
    cells = AssociationSetup().station_columns(given, action)
    assert (cells["station"].tolist(), cells["users"].tolist()) == ([1, 60], [1, 1])
    assert float(cells["rate_bps_hz"].sum()) == pytest.approx(float(user_rate(given.instance, action).sum()))


def test_maps_of_scenarios_show_buildings(generator: torch.Generator) -> None:
    given = drawn_cells(SCENARIOS["hudn"](), CellTerms(), users=5, stations=8, generator=generator)
    assert given.place["building_m"].shape == (20, 2, 3)
    figure = network_figure(given, {"loudest": MaxSignalAssociation()(given.instance)})
    assert "loudest" in figure.axes[0].get_title()
