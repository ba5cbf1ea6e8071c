"""The problems that commands know, and all that goes by a name."""

from typing import Any

from torchrrm.bench import Display, Results
from torchrrm.channels.snapshot import BUNDLED
from torchrrm.problems import KINDS
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

__all__ = ["CASES", "SETUPS", "display_of", "names"]

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


def display_of(results: Results) -> Display:
    """How the results of any recipe are shown: as those of the problem that all their rows are of."""
    problems = {row.problem for row in results.rows}
    labels = {setup.label: setup.display for setup in SETUPS.values()}
    labels |= dict.fromkeys(KINDS, SliceSetup.display) | {DemandNames.name: DemandNames.display}
    shown = [labels.get(problem, Display()) for problem in problems]
    return shown[0] if len(set(shown)) == 1 else Display()


def names() -> dict[str, list[str]]:
    """All that goes by a name, solvers and policies problem by problem."""
    problems: dict[str, Known[Any, Any]] = {**SETUPS, DemandNames.name: DemandNames()}
    found = {"problems": list(problems), "kinds of slicing": list(KINDS)}
    for name, known in problems.items():
        found[f"scenarios of {name}"] = list(known.scenarios)
        found[f"solvers of {name}"] = list(known.solvers)
        found[f"policies of {name}"] = workbench.serving_policies(known)
    found["snapshots"] = list(BUNDLED)
    return found
