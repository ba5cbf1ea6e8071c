"""User association with power control: the sum of rates, or their geometric mean."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.association.rates import in_reach, relaxed_rate, user_rate
from torchrrm.problems.association.records import AssociationAction, CellInstance, RelaxedAssociation
from torchrrm.problems.base import Evaluation
from torchrrm.problems.links.weighted_sum_rate import power_violation
from torchrrm.problems.structure import require_action, require_record
from torchrrm.problems.validation import require_numbers

__all__ = ["LEAST_RATE", "ProportionalFairAssociation", "SumRateAssociation"]

LEAST_RATE = 1e-6
"""Rate in bit/s/Hz that `ProportionalFairAssociation` adds to every user's, so that a user without one costs much but
not all: 20 bit/s in a band of 20 MHz."""


@dataclass(frozen=True)
class SumRateAssociation:
    """Sum of the users' rates over associations and powers, Eq. (3) of [Zhang2022HBGNN].

        maximise    sum_i log2(1 + SINR_i,s(i)) / N_s(i)
        subject to  each user at one station s(i),   0 <= p_j <= p_max,j.

    Not convex, and combinatorial. Its best solutions strand users: a station's rate is the mean over its users, so that
    one near user each, and the others at stations that are silent, is what it rewards; `torchrrm.problems.association`
    has measures that tell.
    """

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "association"

    def rate(self, instance: CellInstance, action: AssociationAction) -> Float[Tensor, "*batch user"]:
        """Rate of each user in bit/s/Hz."""
        require_action(action, AssociationAction, instance, CellInstance)
        return user_rate(instance, action)

    def evaluate(self, instance: CellInstance, action: AssociationAction) -> Evaluation:
        """Sum of rates in bit/s/Hz; the utility of a user is its rate. Violations: see `association_violation`."""
        rate = self.rate(instance, action)
        return Evaluation(rate.sum(-1), rate, association_violation(instance, action))

    def relaxed(self, instance: CellInstance, relaxed: RelaxedAssociation) -> Float[Tensor, "*batch"]:
        """The objective of probabilities, differentiable; equal where they are 0 or 1."""
        return relaxed_rate(instance, relaxed).sum(-1)

    def validate(self, instance: CellInstance) -> CellInstance:
        """The instance, if it is one; see `validate_cells`."""
        return validate_cells(instance)


@dataclass(frozen=True)
class ProportionalFairAssociation:
    """Geometric mean of the users' rates: proportional fairness, which strands nobody.

        maximise    exp(mean_i ln(r_i + r_0)) - r_0   over active users i in reach, with `r_0 = LEAST_RATE`,

    under the constraints of `SumRateAssociation`. It grows with the sum of the logarithms, the utility of
    [Ye2013], but is positive and in bit/s/Hz, so that ratios of it mean something.
    """

    @property
    def name(self) -> str:
        """Name of the problem in tables."""
        return "fair-association"

    def rate(self, instance: CellInstance, action: AssociationAction) -> Float[Tensor, "*batch user"]:
        """Rate of each user in bit/s/Hz."""
        require_action(action, AssociationAction, instance, CellInstance)
        return user_rate(instance, action)

    def evaluate(self, instance: CellInstance, action: AssociationAction) -> Evaluation:
        """Geometric mean of rates in bit/s/Hz; the utility of a user is its rate, so that utilities do not add up."""
        rate = self.rate(instance, action)
        return Evaluation(_geometric(instance, rate), rate, association_violation(instance, action))

    def relaxed(self, instance: CellInstance, relaxed: RelaxedAssociation) -> Float[Tensor, "*batch"]:
        """The objective of probabilities, differentiable; equal where they are 0 or 1."""
        return _geometric(instance, relaxed_rate(instance, relaxed))

    def validate(self, instance: CellInstance) -> CellInstance:
        """The instance, if it is one; see `validate_cells`."""
        return validate_cells(instance)


def _geometric(instance: CellInstance, rate: Float[Tensor, "*batch user"]) -> Float[Tensor, "*batch"]:
    heard = in_reach(instance)
    level = torch.where(heard, torch.log(rate + LEAST_RATE), 0.0).sum(-1)
    mean = torch.exp(level / heard.sum(-1).clamp_min(1)) - LEAST_RATE
    return torch.where(heard.any(-1), mean, 0.0)


def association_violation(instance: CellInstance, action: AssociationAction) -> dict[str, Tensor]:
    """Violations: `station` 1 for a user in reach without an active station; `power`, `sign` relative to the limit.

    Users that are out of every station's reach violate nothing: they are unserved, which the measures tell.
    """
    stations = instance.gain.shape[-1]
    index = action.station.clamp(0, max(stations - 1, 0))
    exists = (action.station >= 0) & (action.station < stations)
    served = exists & instance.active_bs.expand(*action.station.shape[:-1], -1).gather(-1, index)
    missing = (in_reach(instance) & ~served).to(instance.gain.dtype)
    return {"station": missing, **power_violation(action.power_w, instance.max_power_w, instance.active_bs)}


def validate_cells(instance: CellInstance) -> CellInstance:
    """The instance, if it is one. Nobody may be active, and users may be out of reach: both are stated results.

    Raises:
        ValueError: naming the field, the rule and the value.
    """
    require_record(instance, CellInstance)
    return require_numbers(instance, positive=("noise_power_w", "bandwidth_hz", "max_power_w"))
