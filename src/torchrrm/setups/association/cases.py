"""The settings in which associations of dense networks are compared."""

from functools import partial

import torch

from torchrrm import records
from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.problems import Task
from torchrrm.problems.association import AssociationAction, CellInstance
from torchrrm.setups import workbench
from torchrrm.setups.association.given import given_cells
from torchrrm.setups.association.setup import (
    MOST_CERTIFIED,
    AssociationSetup,
    CellSetup,
    FairAssociationSetup,
)
from torchrrm.setups.association.sources import (
    USUAL_STATIONS,
    USUAL_USERS,
    CellProblem,
    CellSource,
    CellTerms,
    cell_task,
    snapshot_cells,
)
from torchrrm.setups.workbench import Case, Given, Regime

__all__ = ["cases"]

CellCase = Case[CellInstance, AssociationAction]

_INSTANCES = {"smoke": 2, "quick": 30, "full": 100}
_DROPS = {"munich_hudn_200m": 20, "munich_hudn_600m": 10}
"""Of the snapshots: there are no more instances."""
_EXPONENTIAL = "takes time exponential in users and stations; run up to {} users and {} stations"


def _square(problem: CellProblem, users: int, stations: int) -> Task[CellInstance, AssociationAction]:
    return cell_task(CellSource(SCENARIOS["hudn"](), users, stations), problem)


def _munich(problem: CellProblem, snapshot: str) -> Task[CellInstance, AssociationAction]:
    """The drops of a snapshot from the first on, each once."""
    drops = snapshot_cells(bundled_snapshot(snapshot))

    def sample(batch_size: int, *, generator: torch.Generator) -> CellInstance:
        return records.index(drops, slice(batch_size))

    return Task(problem, sample)


def _given(snapshot: str) -> Given[CellInstance]:
    return given_cells(bundled_snapshot(snapshot), CellTerms())


def cases() -> list[CellCase]:
    """Of both objectives: the paper's square, smaller and crowded ones, and Munich."""
    return [case for setup in (AssociationSetup(), FairAssociationSetup()) for case in _of(setup)]


def _of(setup: CellSetup) -> list[CellCase]:
    return [
        _in_square("paper", setup, USUAL_USERS, USUAL_STATIONS),
        _in_square("hard", setup, *MOST_CERTIFIED),
        _in_square("hard", setup, 30, 25),
        _in_munich(setup, "200 m", "munich_hudn_200m"),
        _in_munich(setup, "600 m", "munich_hudn_600m"),
    ]


def _in_square(regime: Regime, setup: CellSetup, users: int, stations: int) -> CellCase:
    return Case(
        regime,
        f"200 m square, {users} users, {stations} stations",
        setup,
        partial(_square, setup.problem, users, stations),
        _INSTANCES,
        left_out=_left_out(setup, (users, stations) == MOST_CERTIFIED),
    )


def _in_munich(setup: CellSetup, place: str, snapshot: str) -> CellCase:
    return Case(
        "munich",
        f"Munich, {place}, {USUAL_USERS} users, {USUAL_STATIONS} stations",
        setup,
        partial(_munich, setup.problem, snapshot),
        {scale: min(count, _DROPS[snapshot]) for scale, count in _INSTANCES.items()},
        given=partial(_given, snapshot),
        left_out=_left_out(setup, False),
    )


def _left_out(setup: CellSetup, few: bool) -> dict[str, str]:
    unsuited = workbench.unsuited_policies(setup)
    if few or "exhaustive" not in setup.solvers:
        return unsuited
    return {**unsuited, "exhaustive": _EXPONENTIAL.format(*MOST_CERTIFIED)}
