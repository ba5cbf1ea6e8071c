"""User association: which station serves whom, and how loud stations are."""

from torchrrm.problems.association.fairness import SERVED_FROM, jain_index, low_rate, served_users
from torchrrm.problems.association.instance import (
    BANDWIDTH_HZ,
    MACRO_POWER_W,
    NOISE_POWER_W,
    SMALL_POWER_W,
    cell_instance,
)
from torchrrm.problems.association.problems import ProportionalFairAssociation, SumRateAssociation
from torchrrm.problems.association.rates import (
    in_reach,
    load,
    reachable,
    received,
    relative_snr,
    relaxed_rate,
    station_rate,
    station_sinr,
    user_rate,
)
from torchrrm.problems.association.records import (
    UNSERVED,
    AssociationAction,
    CellInstance,
    RelaxedAssociation,
    harden,
    one_hot,
)
from torchrrm.problems.association.sparse import (
    SparseAssociation,
    SparseCellInstance,
    listed,
    sparse_cells,
    sparsify_cells,
)

__all__ = [
    "BANDWIDTH_HZ",
    "MACRO_POWER_W",
    "NOISE_POWER_W",
    "SERVED_FROM",
    "SMALL_POWER_W",
    "UNSERVED",
    "AssociationAction",
    "CellInstance",
    "ProportionalFairAssociation",
    "RelaxedAssociation",
    "SparseAssociation",
    "SparseCellInstance",
    "SumRateAssociation",
    "cell_instance",
    "harden",
    "in_reach",
    "jain_index",
    "listed",
    "load",
    "low_rate",
    "one_hot",
    "reachable",
    "received",
    "relative_snr",
    "relaxed_rate",
    "served_users",
    "sparse_cells",
    "sparsify_cells",
    "station_rate",
    "station_sinr",
    "user_rate",
]
