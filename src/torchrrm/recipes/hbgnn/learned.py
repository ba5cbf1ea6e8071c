"""What is learned: the network, refined, and specialised to a drop."""

from torchrrm.learning.specialisation import Specialised, SpecialiseSettings
from torchrrm.policies import HBGNN, Refined
from torchrrm.recipes.hbgnn.allocators import (
    GRL,
    GRL_REFINED,
    GRL_SEARCHED,
    RESTARTS,
    SRL,
    SRL_REFINED,
    SRL_SEARCHED,
    CellAllocator,
)
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
    return {
        GRL: policy,
        GRL_REFINED: Refined(policy, HungarianWMMSE(), REFINING_ROUNDS),
        GRL_SEARCHED: Refined(policy, HungarianWMMSE(restarts=RESTARTS), REFINING_ROUNDS),
    }


def specialised(start: Start, how: SpecialiseSettings) -> dict[str, CellAllocator]:
    """The network specialised to each drop: by itself, refined after each step, and searched around at the end."""
    policy = policy_of(start)
    refined = Specialised(policy, how, refine=HungarianWMMSE())
    return {
        SRL: Specialised(policy, how),
        SRL_REFINED: refined,
        SRL_SEARCHED: Refined(refined, HungarianWMMSE(restarts=RESTARTS), REFINING_ROUNDS),
    }
