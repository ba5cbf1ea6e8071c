"""Associations that need no thought: what a method must beat."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.association import UNSERVED, AssociationAction, CellInstance, reachable
from torchrrm.problems.structure import require_record
from torchrrm.solvers.base import Solution

__all__ = ["MaxGainAssociation", "MaxSignalAssociation"]


class MaxSignalAssociation:
    """Each user at the station that it hears loudest, all stations at their limits: MARAMP of [Zhang2022HBGNN].

    Stations that nobody is given to transmit, too. Loud stations get most of the users.
    """

    kind = "trivial"

    def solve(self, instance: CellInstance) -> Solution[AssociationAction]:
        """The action, in no steps."""
        return _in_one_go(self(instance), instance)

    def __call__(self, instance: CellInstance) -> AssociationAction:
        require_record(instance, CellInstance)
        return _loudest(instance, instance.gain * instance.max_power_w[..., None, :])


class MaxGainAssociation:
    """Each user at the station of the largest gain, whatever the limits, all stations at their limits.

    The station of the least path loss: small stations near the users get them, as in a network whose loud stations
    are biased against.
    """

    kind = "trivial"

    def solve(self, instance: CellInstance) -> Solution[AssociationAction]:
        """The action, in no steps."""
        return _in_one_go(self(instance), instance)

    def __call__(self, instance: CellInstance) -> AssociationAction:
        require_record(instance, CellInstance)
        return _loudest(instance, instance.gain)


def _loudest(instance: CellInstance, level: Float[Tensor, "*batch user bs"]) -> AssociationAction:
    """Users at the station of the highest level, the first of equal ones, and every station at its limit."""
    reach, limit = reachable(instance), instance.max_power_w
    station = torch.where(reach, level, -1.0).argmax(-1)
    station = torch.where(reach.any(-1), station, UNSERVED)
    return AssociationAction(
        station=station, power_w=torch.where(instance.active_bs, limit, torch.zeros_like(limit))
    )


def _in_one_go(action: AssociationAction, instance: CellInstance) -> Solution[AssociationAction]:
    steps = torch.zeros(instance.gain.shape[:-2], dtype=torch.int64, device=instance.gain.device)
    return Solution(action, steps == 0, steps)
