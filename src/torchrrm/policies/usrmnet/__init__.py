"""USRMNet of [He2022USRMNet]: beamforming for short packets by networks unrolled from projected gradient descent."""

from torchrrm.policies.usrmnet.literal import LiteralState, LiteralUSRMNet, auxiliary_program
from torchrrm.policies.usrmnet.policy import USRMNet

__all__ = ["LiteralState", "LiteralUSRMNet", "USRMNet", "auxiliary_program"]
