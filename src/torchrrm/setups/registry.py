"""The problems that commands know, and all that goes by a name."""

from typing import Any

from torchrrm.bench import Display, Results
from torchrrm.channels.snapshot import BUNDLED
from torchrrm.policies import list_pretrained, load_pretrained
from torchrrm.problems import KINDS
from torchrrm.setups.association import AssociationSetup, FairAssociationSetup
from torchrrm.setups.beamforming import BeamSetup
from torchrrm.setups.demands import DemandNames
from torchrrm.setups.links import ErgodicSetup, QosSetup, SumRateSetup
from torchrrm.setups.slicing import SliceSetup
from torchrrm.setups.workbench import Known, Setup

__all__ = ["SETUPS", "display_of", "names"]

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


def display_of(results: Results) -> Display:
    """How the results of any recipe are shown: as those of the problem that all their rows are of."""
    problems = {row.problem for row in results.rows}
    labels = {setup.label: setup.display for setup in SETUPS.values()}
    labels |= dict.fromkeys(KINDS, SliceSetup.display) | {DemandNames.name: DemandNames.display}
    shown = [labels.get(problem, Display()) for problem in problems]
    return shown[0] if len(set(shown)) == 1 else Display()


def names() -> dict[str, list[str]]:
    """All that goes by a name, solvers and policies problem by problem."""
    shipped = {name: load_pretrained(name) for name in list_pretrained()}
    problems: dict[str, Known[Any, Any]] = {**SETUPS, DemandNames.name: DemandNames()}
    found = {"problems": list(problems), "kinds of slicing": list(KINDS)}
    for name, known in problems.items():
        found[f"scenarios of {name}"] = list(known.scenarios)
        found[f"solvers of {name}"] = list(known.solvers)
        found[f"policies of {name}"] = [
            title for title, policy in shipped.items() if isinstance(policy, known.policies)
        ]
    found["snapshots"] = list(BUNDLED)
    return found
