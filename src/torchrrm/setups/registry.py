"""The problems that commands know, and all that goes by a name."""

from collections.abc import Mapping
from typing import Any

from torchrrm import bench
from torchrrm.bench import Display, Results, Scene
from torchrrm.channels.snapshot import BUNDLED
from torchrrm.problems import KINDS, Allocator
from torchrrm.setups import workbench
from torchrrm.setups.association import AssociationSetup, FairAssociationSetup
from torchrrm.setups.association import cases as association
from torchrrm.setups.beamforming import BeamSetup
from torchrrm.setups.beamforming import cases as beamforming
from torchrrm.setups.demands import DemandNames
from torchrrm.setups.demands import cases as demands
from torchrrm.setups.links import ErgodicSetup, QosSetup, SumRateSetup
from torchrrm.setups.links import cases as links
from torchrrm.setups.slicing import SliceSetup
from torchrrm.setups.slicing import cases as slicing
from torchrrm.setups.workbench import Case, Known, Setup

__all__ = ["CASES", "SETUPS", "display_of", "displays", "munich_scene", "names"]

SETUPS: dict[str, Setup[Any, Any]] = {
    setup.name: setup
    for setup in (
        SliceSetup(KINDS["data-rate"]),
        SumRateSetup(),
        QosSetup(),
        ErgodicSetup(),
        BeamSetup(),
        AssociationSetup(),
        FairAssociationSetup(),
    )
}
"""One of each problem, by the name that `--problem` takes."""

CASES: list[Case[Any, Any]] = [
    case for family in (slicing, links, demands, beamforming, association) for case in family.cases()
]
"""The settings of the benchmark, those of a problem together."""


def displays() -> dict[str, Display]:
    """How objectives are shown, by what tables call the problem."""
    return {bench.label_of(case.setup.problem): case.setup.display for case in CASES}


def display_of(results: Results) -> Display:
    """How results are shown: as those of the problem that all their rows are of."""
    known = displays()
    shown = {known.get(row.problem, Display()) for row in results.rows}
    return shown.pop() if len(shown) == 1 else Display()


def munich_scene(problem: str, allocators: Mapping[str, Allocator[Any, Any]]) -> Scene | None:
    """One instance of the problem in Munich, by what tables call the problem, as the allocators serve it.

    Raises:
        ValueError: if no case of the problem has positions.
    """
    placed = {bench.label_of(case.setup.problem): case for case in CASES if case.given is not None}
    case = workbench.find("problem", problem, placed)
    return None if case.given is None else workbench.scene_of(case.setup, case.given(), allocators)


def names() -> dict[str, list[str]]:
    """All that goes by a name, solvers and policies problem by problem."""
    problems: dict[str, Known[Any, Any]] = {**SETUPS, DemandNames.name: DemandNames()}
    found = {"problems": list(problems), "kinds of slicing": list(KINDS)}
    for name, known in problems.items():
        found[f"scenarios of {name}"] = list(known.scenarios)
        found[f"solvers of {name}"] = list(known.solvers)
        found[f"policies of {name}"] = workbench.serving_policies(known)
    found["snapshots"] = list(BUNDLED)
    obstacles = {
        name: why for setup in SETUPS.values() for name, why in workbench.export_obstacles(setup).items()
    }
    found["not exported"] = [f"{name} ({reason})" for name, reason in obstacles.items()]
    return found
