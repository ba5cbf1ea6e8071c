"""What is learned: the network, refined, and specialised to a drop."""

from torchrrm.learning.specialisation import Specialised, SpecialiseSettings
from torchrrm.policies import HBGNN, Refined
from torchrrm.recipes.hbgnn.allocators import GRL, GRL_REFINED, SRL, SRL_REFINED, CellAllocator
from torchrrm.recipes.jobs import Start
from torchrrm.solvers import HungarianWMMSE

__all__ = ["REFINING_ROUNDS", "learned", "policy_of", "specialised"]

REFINING_ROUNDS = 5
"""Of matching and WMMSE after the network."""


def policy_of(start: Start) -> HBGNN:
    """The policy of trained parameters."""
    policy = HBGNN()
    policy.load_state_dict(start.parameters)
    return policy.eval()


def learned(start: Start) -> dict[str, CellAllocator]:
    """The network by itself and refined, by their names in tables."""
    policy = policy_of(start)
    return {GRL: policy, GRL_REFINED: Refined(policy, HungarianWMMSE(), REFINING_ROUNDS)}


def specialised(start: Start, how: SpecialiseSettings) -> dict[str, CellAllocator]:
    """The network specialised to each drop, by itself and refined."""
    policy = policy_of(start)
    return {SRL: Specialised(policy, how), SRL_REFINED: Specialised(policy, how, refine=HungarianWMMSE())}
