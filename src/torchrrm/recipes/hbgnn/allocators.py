"""Allocators of the tables, by the names that they carry there."""

from collections.abc import Iterable

from torchrrm.bench.results import Kind
from torchrrm.problems import Allocator, AssociationAction, CellInstance
from torchrrm.solvers import SOLVERS, EffectiveRateAssociation, HungarianWMMSE

__all__ = [
    "GRL",
    "GRL_REFINED",
    "GRL_SEARCHED",
    "HUNGARIAN",
    "JOINT",
    "JOINT_STRONG",
    "LONGEST",
    "MAX_SIGNAL",
    "ORDER",
    "PAPER_METHODS",
    "RESTARTS",
    "SEARCHED",
    "SRL",
    "SRL_REFINED",
    "SRL_SEARCHED",
    "UTILITY",
    "CellAllocator",
    "in_order",
    "kind_of_name",
    "solvers",
]

MAX_SIGNAL, UTILITY, UTILITY_POWER = "MARAMP", "MSUAMP", "MSUAPC"
EFFECTIVE, JOINT, JOINT_STRONG = "UAMWSER", "JUAPCMWSER", "JUAPCMWSER, equal start"
HUNGARIAN, SEARCHED = "HungarianWMMSE", "HungarianWMMSE, searched"
LONGEST = "HungarianWMMSE, 20 s"
GRL, GRL_REFINED, GRL_SEARCHED = "GRL", "GRL, refined", "GRL, searched"
SRL, SRL_REFINED, SRL_SEARCHED = "SRL", "SRL, refined", "SRL, searched"

ORDER = (
    MAX_SIGNAL,
    UTILITY,
    UTILITY_POWER,
    EFFECTIVE,
    JOINT,
    JOINT_STRONG,
    HUNGARIAN,
    SEARCHED,
    LONGEST,
    GRL,
    GRL_REFINED,
    GRL_SEARCHED,
    SRL,
    SRL_REFINED,
    SRL_SEARCHED,
)
"""Of tables and figures."""
PAPER_METHODS = (MAX_SIGNAL, UTILITY, UTILITY_POWER, EFFECTIVE, JOINT, GRL, SRL)
"""Those of Table III."""
CellAllocator = Allocator[CellInstance, AssociationAction]

_CLASSICAL = {
    MAX_SIGNAL: "max-signal",
    UTILITY: "max-sum-utility",
    UTILITY_POWER: "max-sum-utility-power",
    EFFECTIVE: "effective-rate",
    JOINT_STRONG: "effective-rate-power",
    HUNGARIAN: "hungarian-wmmse",
}

RESTARTS = 200
"""Of what is `searched`: around its result, as `HungarianWMMSE` does."""


def kind_of_name(name: str) -> Kind:
    """What an allocator is, by its name."""
    if name.startswith((GRL, SRL)):
        return "policy"
    return "trivial" if name == MAX_SIGNAL else "solver"


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of tables."""
    return sorted(names, key=ORDER.index)


def solvers() -> dict[str, CellAllocator]:
    """The paper's baselines, and the alternation of matching and WMMSE.

    `JUAPCMWSER` begins at full power and updates powers after each step of the association, which is the reading of
    [Zhou2018] that comes nearest to the printed number; the default of `EffectiveRateAssociation`, from equally loud
    stations and with ten steps of association to each update, is far better.
    """
    made = {name: SOLVERS["association"][known]() for name, known in _CLASSICAL.items()}
    made[JOINT] = EffectiveRateAssociation("control", start="max", association_steps=1)
    made[SEARCHED] = HungarianWMMSE(restarts=RESTARTS)
    return {name: made[name] for name in in_order(made)}
