"""Policies: allocators with trained parameters.

`POLICIES` maps class names to classes, for weight files, the command line and the conformance tests.
"""

from pathlib import Path

from torch import nn

from torchrrm.policies import weights
from torchrrm.policies.base import Policy
from torchrrm.policies.compose import BestOf, Guarded, Refined
from torchrrm.policies.configuration_gnn import ConfigurationGNN
from torchrrm.policies.control import EachSlot, OnlineDual, ProportionalFair, SharingSettings, TimeSharing
from torchrrm.policies.hbgnn import HBGNN, CnnAssociation, FcnnAssociation, LiteralHBGNN
from torchrrm.policies.local_power import LocalMemory, LocalPower
from torchrrm.policies.metagnn import MetaGNN
from torchrrm.policies.mlp_power import CentralPower
from torchrrm.policies.power_gnn import PowerGNN
from torchrrm.policies.slice_gnn import PreparedSlice, SliceGNN
from torchrrm.policies.sparse_hbgnn import SparseHBGNN
from torchrrm.policies.sparse_power_gnn import SparsePowerGNN
from torchrrm.policies.state_augmented import StateAugmented
from torchrrm.policies.unfolded_power import UnfoldedPower
from torchrrm.policies.unrolled_power import UnrolledPower
from torchrrm.policies.usrmnet import LiteralUSRMNet, USRMNet
from torchrrm.policies.weights import list_pretrained, load_weights, save_weights

__all__ = [
    "HBGNN",
    "POLICIES",
    "BestOf",
    "CentralPower",
    "CnnAssociation",
    "ConfigurationGNN",
    "EachSlot",
    "FcnnAssociation",
    "Guarded",
    "LiteralHBGNN",
    "LiteralUSRMNet",
    "LocalMemory",
    "LocalPower",
    "MetaGNN",
    "OnlineDual",
    "Policy",
    "PowerGNN",
    "PreparedSlice",
    "ProportionalFair",
    "Refined",
    "SharingSettings",
    "SliceGNN",
    "SparseHBGNN",
    "SparsePowerGNN",
    "StateAugmented",
    "TimeSharing",
    "USRMNet",
    "UnfoldedPower",
    "UnrolledPower",
    "list_pretrained",
    "load_policy",
    "load_pretrained",
    "load_weights",
    "save_weights",
]

POLICIES: dict[str, type[nn.Module]] = {
    "CentralPower": CentralPower,
    "CnnAssociation": CnnAssociation,
    "FcnnAssociation": FcnnAssociation,
    "HBGNN": HBGNN,
    "LiteralHBGNN": LiteralHBGNN,
    "LiteralUSRMNet": LiteralUSRMNet,
    "LocalPower": LocalPower,
    "MetaGNN": MetaGNN,
    "PowerGNN": PowerGNN,
    "SliceGNN": SliceGNN,
    "StateAugmented": StateAugmented,
    "USRMNet": USRMNet,
    "UnfoldedPower": UnfoldedPower,
    "UnrolledPower": UnrolledPower,
}


def load_pretrained(name: str) -> nn.Module:
    """The policy whose weights ship with the package under this name; `list_pretrained()` tells the names.

    Raises:
        WeightsError: if there is none.
    """
    return weights.load_pretrained(name, POLICIES)


def load_policy(path: Path | str) -> nn.Module:
    """The policy of a file of weights.

    Raises:
        WeightsError: if the file is missing, truncated or foreign, or of a policy that is not known.
    """
    return weights.load_policy(path, POLICIES)
