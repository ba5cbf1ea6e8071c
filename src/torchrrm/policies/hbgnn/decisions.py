"""From scores to actions: one station for each user, or probabilities to train on."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.policies.hbgnn.core import NOT_REACHABLE, AssociationScores
from torchrrm.policies.hbgnn.heads import straight_through, tempered_softmax
from torchrrm.problems.association import (
    UNSERVED,
    AssociationAction,
    CellInstance,
    RelaxedAssociation,
    reachable,
)

__all__ = ["Head", "decided", "log_probability", "relaxed"]

Head = Literal["softmax", "gumbel"]


def decided(scores: AssociationScores, instance: CellInstance) -> AssociationAction:
    """The best-scored station of each user in reach, and powers in W."""
    if not scores.score.shape[-1]:
        station = torch.full_like(instance.active_user, UNSERVED, dtype=torch.long)
        return AssociationAction(station=station, power_w=instance.max_power_w)
    best, station = scores.score.max(-1)
    station = torch.where(best > NOT_REACHABLE / 2, station, UNSERVED)
    return AssociationAction(station=station, power_w=scores.share * instance.max_power_w)


def relaxed(
    scores: AssociationScores,
    instance: CellInstance,
    head: Head = "softmax",
    *,
    temperature: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
) -> RelaxedAssociation:
    """Probabilities of stations by a head, and powers in W, differentiable.

    Args:
        scores: of the instance.
        instance: the network.
        head: `softmax`, tempered, or `gumbel`, straight through.
        temperature: of the softmax, see `temperature_of`.
        generator: of the noise of a Gumbel head; without, it takes the likeliest station.
    """
    reach = reachable(instance)
    if head == "gumbel":
        chosen = straight_through(scores.score, reach, temperature, generator=generator)
    else:
        chosen = tempered_softmax(scores.score, reach, temperature)
    return RelaxedAssociation(probability=chosen, power_w=scores.share * instance.max_power_w)


def log_probability(scores: AssociationScores, instance: CellInstance) -> Float[Tensor, "*batch user bs"]:
    """Logarithms of the softmax of Eq. (10) of [Zhang2022HBGNN], without a temperature; 0 out of reach."""
    reach = reachable(instance)
    level = torch.log_softmax(torch.where(reach, scores.score, NOT_REACHABLE), -1)
    return torch.where(reach, level, 0.0)
