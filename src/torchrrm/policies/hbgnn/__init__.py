"""HBGNN of [Zhang2022HBGNN]: user association and power control of dense networks by bipartite graph networks."""

from torchrrm.policies.hbgnn.comparison import CnnAssociation, FcnnAssociation
from torchrrm.policies.hbgnn.core import NOT_REACHABLE, AssociationScores
from torchrrm.policies.hbgnn.heads import straight_through, temperature_of, tempered_softmax
from torchrrm.policies.hbgnn.literal import LiteralHBGNN
from torchrrm.policies.hbgnn.policy import HBGNN

__all__ = [
    "HBGNN",
    "NOT_REACHABLE",
    "AssociationScores",
    "CnnAssociation",
    "FcnnAssociation",
    "LiteralHBGNN",
    "straight_through",
    "temperature_of",
    "tempered_softmax",
]
