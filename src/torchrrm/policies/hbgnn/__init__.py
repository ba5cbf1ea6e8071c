"""HBGNN of [Zhang2022HBGNN]: user association and power control of dense networks by bipartite graph networks."""

from torchrrm.policies.hbgnn.core import NOT_REACHABLE, AssociationScores
from torchrrm.policies.hbgnn.heads import straight_through, temperature_of, tempered_softmax
from torchrrm.policies.hbgnn.policy import HBGNN

__all__ = [
    "HBGNN",
    "NOT_REACHABLE",
    "AssociationScores",
    "straight_through",
    "temperature_of",
    "tempered_softmax",
]
