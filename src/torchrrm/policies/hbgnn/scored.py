"""What policies that score stations have in common."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.policies.base import Policy
from torchrrm.policies.hbgnn.core import AssociationScores
from torchrrm.policies.hbgnn.decisions import Head, decided, relaxed
from torchrrm.problems.association import AssociationAction, CellInstance, RelaxedAssociation, relative_snr

__all__ = ["ScoredAssociation"]


class ScoredAssociation(Policy, ABC):
    """A policy whose `core` scores the stations of each user and decides the powers.

    Attributes:
        head: how probabilities are made of the scores.
    """

    head: Head = "softmax"

    @abstractmethod
    def core(
        self,
        relative_snr: Float[Tensor, "*batch user bs"],
        active_user: Bool[Tensor, "*batch user"],
        active_bs: Bool[Tensor, "*batch bs"],
    ) -> AssociationScores:
        """The network: what `torchrrm.deploy` exports."""

    def forward(self, instance: CellInstance) -> AssociationAction:
        """The best-scored station of each user, and powers in W."""
        return decided(self.score(instance), instance)

    def relax(
        self,
        instance: CellInstance,
        *,
        temperature: float | Tensor = 1.0,
        generator: torch.Generator | None = None,
    ) -> RelaxedAssociation:
        """Probabilities of stations and powers in W, differentiable.

        Args:
            instance: the network.
            temperature: of the softmax, see `temperature_of`.
            generator: of the noise of a Gumbel head; without, it takes the likeliest station.
        """
        scores = self.score(instance)
        return relaxed(scores, instance, self.head, temperature=temperature, generator=generator)

    def score(self, instance: CellInstance) -> AssociationScores:
        """`core` of an instance; where there are no users, stations are silent."""
        if not instance.gain.numel():
            return AssociationScores(score=instance.gain, share=torch.zeros_like(instance.max_power_w))
        return self.core(relative_snr(instance), instance.active_user, instance.active_bs)
