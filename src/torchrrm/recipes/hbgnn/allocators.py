"""Allocators of the tables, by the names that they carry there."""

from collections.abc import Iterable

from torchrrm.bench.results import Kind
from torchrrm.problems import Allocator, AssociationAction, CellInstance
from torchrrm.solvers import SOLVERS

__all__ = [
    "GRL",
    "GRL_REFINED",
    "HUNGARIAN",
    "JOINT",
    "LONGEST",
    "MAX_SIGNAL",
    "ORDER",
    "PAPER_BASELINES",
    "SRL",
    "SRL_REFINED",
    "UTILITY",
    "CellAllocator",
    "in_order",
    "kind_of_name",
    "solvers",
]

MAX_SIGNAL, UTILITY, UTILITY_POWER = "MARAMP", "MSUAMP", "MSUAPC"
EFFECTIVE, JOINT = "UAMWSER", "JUAPCMWSER"
HUNGARIAN, LONGEST = "HungarianWMMSE", "HungarianWMMSE, 20 s"
GRL, GRL_REFINED = "GRL", "GRL, refined"
SRL, SRL_REFINED = "SRL", "SRL, refined"

PAPER_BASELINES = (MAX_SIGNAL, UTILITY, UTILITY_POWER, EFFECTIVE, JOINT)
ORDER = (*PAPER_BASELINES, HUNGARIAN, LONGEST, GRL, GRL_REFINED, SRL, SRL_REFINED)
"""Of tables and figures."""
CellAllocator = Allocator[CellInstance, AssociationAction]

_CLASSICAL = {
    MAX_SIGNAL: "max-signal",
    UTILITY: "max-sum-utility",
    UTILITY_POWER: "max-sum-utility-power",
    EFFECTIVE: "effective-rate",
    JOINT: "effective-rate-power",
    HUNGARIAN: "hungarian-wmmse",
}


def kind_of_name(name: str) -> Kind:
    """What an allocator is, by its name."""
    if name.startswith((GRL, SRL)):
        return "policy"
    return "trivial" if name == MAX_SIGNAL else "solver"


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of tables."""
    return sorted(names, key=ORDER.index)


def solvers() -> dict[str, CellAllocator]:
    """The paper's baselines, and the alternation of matching and WMMSE."""
    return {name: SOLVERS["association"][known]() for name, known in _CLASSICAL.items()}
