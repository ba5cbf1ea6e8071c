"""What networks for one number of users and of stations have in common."""

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.policies.hbgnn.core import NOT_REACHABLE, AssociationScores
from torchrrm.policies.hbgnn.scored import ScoredAssociation
from torchrrm.problems.association import (
    SumRateAssociation,
)

__all__ = ["FixedSizeAssociation", "level_of"]

_LEVEL = 10.0


def level_of(ratio: Float[Tensor, "*batch user bs"]) -> Float[Tensor, "*batch user bs"]:
    """What fixed-size networks read: `ln(1 + SNR) / 10` at full power, 0 to about 2.5.

    [Zhang2022HBGNN] reads gains, and does not say in which scale. In SI units they are 1e-8 and less, at which no
    network learns; in units of the noise a layer that does not know limits would have to be told them.
    """
    return torch.log1p(ratio) / _LEVEL


class FixedSizeAssociation(ScoredAssociation):
    """A network of [Zhang2022HBGNN] that serves one number of users and of stations, which it knows by their places.

    Permuted users or stations are to it another network. Fewer may be active; more, or another shape, are refused.

    Args:
        users, stations: that it serves; by default the paper's.
    """

    def __init__(self, users: int = 120, stations: int = 105):
        super().__init__()
        for name, value in (("users", users), ("stations", stations)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1, received {value}")
        self.users, self.stations = users, stations

    @abstractmethod
    def logits(
        self, level: Float[Tensor, "*batch user bs"], ratio: Float[Tensor, "*batch user bs"]
    ) -> tuple[Float[Tensor, "*batch user bs"], Float[Tensor, "*batch bs"]]:
        """Scores of stations, and of powers before the sigmoid, from `level_of` the SNRs and the SNRs themselves."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {"users": self.users, "stations": self.stations}

    @property
    def problem(self) -> SumRateAssociation:
        """What the policy serves."""
        return SumRateAssociation()

    def core(
        self,
        relative_snr: Float[Tensor, "*batch user bs"],
        active_user: Bool[Tensor, "*batch user"],
        active_bs: Bool[Tensor, "*batch bs"],
    ) -> AssociationScores:
        """The network with its masks.

        Raises:
            ValueError: if there is another number of users or of stations.
        """
        received = tuple(relative_snr.shape[-2:])
        if received != (self.users, self.stations):
            raise ValueError(
                f"gain: must be of {self.users} users and {self.stations} stations,"
                f" the sizes that {type(self).__name__} was made for, received {received}"
            )
        both = active_user[..., :, None] & active_bs[..., None, :]
        ratio = torch.where(both, relative_snr, 0.0)
        score, loudness = self.logits(level_of(ratio), ratio)
        share = torch.where(active_bs, torch.sigmoid(loudness), 0.0)
        return AssociationScores(score=torch.where(ratio > 0, score, NOT_REACHABLE), share=share)
