"""Dense networks: who serves whom, set up to be worked on."""

from torchrrm.setups.association.given import drawn_cells, given_cells, require_places, some_cells
from torchrrm.setups.association.setup import (
    MOST_CERTIFIED,
    AssociationSetup,
    CellSetup,
    FairAssociationSetup,
    network_figure,
    new_policy,
)
from torchrrm.setups.association.sources import (
    USUAL_STATIONS,
    USUAL_USERS,
    CellSource,
    CellTerms,
    cell_task,
    downlink,
    draw_cells,
    instance_of,
    macros_of,
    snapshot_cells,
)

__all__ = [
    "MOST_CERTIFIED",
    "USUAL_STATIONS",
    "USUAL_USERS",
    "AssociationSetup",
    "CellSetup",
    "CellSource",
    "CellTerms",
    "FairAssociationSetup",
    "cell_task",
    "downlink",
    "draw_cells",
    "drawn_cells",
    "given_cells",
    "instance_of",
    "macros_of",
    "network_figure",
    "new_policy",
    "require_places",
    "snapshot_cells",
    "some_cells",
]
