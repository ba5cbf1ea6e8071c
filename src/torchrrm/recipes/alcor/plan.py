"""Which loops are scored on which demands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torchrrm.policies import SharingSettings
from torchrrm.recipes.alcor.cases import TABLE2, TABLE3, TABLE4, Case
from torchrrm.recipes.alcor.loops import Control, LoopScore
from torchrrm.recipes.alcor.settings import AlcorSettings
from torchrrm.recipes.jobs import Start

__all__ = ["BEYOND", "REFERENCE", "UPDATES", "Loop", "cases_of", "loops_of", "scores"]

ALCOR, DUAL = Control(SharingSettings()), Control(step=0.02)
UPDATES = {
    "simple": SharingSettings(),
    "simple, diminishing": SharingSettings(decay=0.5),
    "printed": SharingSettings(update="printed"),
    "corrected": SharingSettings(update="corrected"),
    "corrected, step 1": SharingSettings(update="corrected", step=1.0),
}
"""The forms of the update that are compared, all else as in the paper."""

BEYOND = (*TABLE4.values(), TABLE3[10], TABLE2[20], TABLE3[20])
"""Demands of the table of all loops over all allocators."""
_LARGE = 20  # links beyond which fewer runs are scored
REFERENCE = "OnlineDual, WMMSE, 64 starts, step 0.01"


@dataclass(frozen=True)
class Loop:
    """A loop of the tables.

    Attributes:
        title: in tables.
        control: how multipliers move.
        allocator: a name in `torchrrm.recipes.alcor.allocators`.
        trained: the name of its parameters, if it has any.
        regressed: start from regressed multipliers.
        everywhere: in the tables of the paper, too, of all sizes.
    """

    title: str
    control: Control
    allocator: str
    trained: str = ""
    regressed: bool = False
    everywhere: bool = False


def loops_of(links: int) -> Iterator[Loop]:
    """All loops for so many links."""
    yield Loop("ALCOR, central", ALCOR, "central", f"central-{links}", everywhere=True)
    yield Loop("ALCOR, local", ALCOR, "local", "local", everywhere=True)
    yield Loop("ALCOR, WMMSE", ALCOR, "WMMSE", everywhere=True)
    yield Loop("ALCOR, WMMSE, 16 starts", ALCOR, "WMMSE, 16 starts")
    yield Loop("ALCOR, GNN", ALCOR, "GNN", "augmented")
    yield Loop("ALCOR, GNN + 10 WMMSE", ALCOR, "GNN + 10 WMMSE", "augmented")
    yield Loop("ALCOR, greedy", ALCOR, "greedy")
    yield Loop("ALCOR, unfolded", ALCOR, "unfolded", "unfolded")
    yield Loop("OnlineDual, max power", DUAL, "max power")
    yield Loop("OnlineDual, WMMSE, 4 starts", DUAL, "WMMSE, 4 starts", everywhere=True)
    yield Loop("OnlineDual, WMMSE, 4 starts, regressed", DUAL, "WMMSE, 4 starts", regressed=True)
    yield Loop("OnlineDual, WMMSE, 16 starts", DUAL, "WMMSE, 16 starts")
    yield Loop("OnlineDual, greedy", DUAL, "greedy", everywhere=True)
    yield Loop("OnlineDual, greedy, regressed", DUAL, "greedy", regressed=True)
    yield Loop("OnlineDual, GNN, regressed", DUAL, "GNN", "augmented", regressed=True)
    yield Loop("OnlineDual, GNN + 10 WMMSE, regressed", DUAL, "GNN + 10 WMMSE", "augmented", regressed=True)
    yield Loop("OnlineDual, unfolded", DUAL, "unfolded", "unfolded")
    yield Loop("OnlineDual, unfolded, regressed", DUAL, "unfolded", "unfolded", regressed=True)
    yield Loop("OnlineDual, local", DUAL, "local, weights", "local-weighted", everywhere=True)


def cases_of(settings: AlcorSettings) -> list[Case]:
    """Return the cases of Tables IV, II and III that loops are scored on."""
    sized = [case for table in (TABLE2, TABLE3) for links, case in table.items() if links in settings.sizes]
    return [*(TABLE4[number] for number in settings.table4), *sized]


def scores(settings: AlcorSettings, weights: Mapping[str, Start]) -> list[LoopScore]:
    """The jobs of all loops, the longest first."""
    found = []
    for case in cases_of(settings):
        wanted = [loop for loop in loops_of(case.links) if loop.everywhere or case in BEYOND]
        found += [_score(case, loop, settings, weights) for loop in wanted]
        if case in BEYOND:
            found.append(_reference(case, settings))
            found += [_update(case, name, how, settings) for name, how in UPDATES.items()]
    return sorted(found, key=lambda score: -score.case.links)


def _score(case: Case, loop: Loop, settings: AlcorSettings, weights: Mapping[str, Start]) -> LoopScore:
    how, large = settings.loops, case.links > _LARGE
    return LoopScore(
        case=case,
        title=loop.title,
        control=loop.control,
        allocator=loop.allocator,
        start=weights[loop.trained] if loop.trained else None,
        first=weights["augmented"] if loop.regressed else None,
        settings=replace(how, runs=max(1, how.runs // 4)) if large else how,
    )


def _reference(case: Case, settings: AlcorSettings) -> LoopScore:
    """The weighted primal-dual method with many starts."""
    return LoopScore(
        case=case,
        title=REFERENCE,
        control=Control(step=0.01),
        allocator="WMMSE, 64 starts",
        start=None,
        first=None,
        settings=settings.reference,
    )


def _update(case: Case, name: str, how: SharingSettings, settings: AlcorSettings) -> LoopScore:
    return LoopScore(
        case=case,
        title=f"update, {name}",
        control=Control(how),
        allocator="WMMSE",
        start=None,
        first=None,
        settings=settings.loops,
    )
