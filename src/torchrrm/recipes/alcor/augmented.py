"""The job that trains a state-augmented policy for demands of any kind on Rayleigh channels."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.learning import parameters_of
from torchrrm.policies import StateAugmented
from torchrrm.problems import ErgodicInstance
from torchrrm.recipes.alcor.cases import TRAIN, generator_of, rayleigh
from torchrrm.recipes.augmented import AugmentedSettings, train_augmented
from torchrrm.records import replace
from torchrrm.setups import workbench
from torchrrm.setups.links import draw_configurations

__all__ = ["AugmentedTraining", "draw_demands"]

_WIDTHS = (64,) * 5
"""Where all links hear each other, more rounds of messages tell more than wider ones."""


def draw_demands(count: int, links: int, *, generator: torch.Generator) -> Float[Tensor, "count tx"]:
    """Random demands in bit/s/Hz: a random part of the links asks, for random shares of a random total.

    The total is 0.2 to 4.5, which taking turns at 15 dB gives to about 4.2 and power control beyond: nearly all
    can be met.
    """
    part = torch.rand(count, 1, generator=generator) * 0.9 + 0.1
    asks = torch.rand(count, links, generator=generator) < part
    share = torch.empty(count, links).exponential_(generator=generator) * asks
    total = 0.2 + 4.3 * torch.rand(count, 1, generator=generator)
    return total * share / share.sum(-1, keepdim=True).clamp_min(1e-6)


@dataclass(frozen=True)
class AugmentedTraining:
    """A state-augmented policy, learned on demands and numbers of links of all kinds.

    Attributes:
        sizes: numbers of links; a link that is switched off leaves one less, so that these cover time sharing too.
        trajectories: loops of each size.
        slots: of a loop.
        how: settings of the training.
        seed: of everything.
    """

    sizes: tuple[int, ...]
    trajectories: int
    slots: int
    how: AugmentedSettings
    seed: int

    @property
    def name(self) -> str:
        return f"augmented-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        generator = generator_of(TRAIN, 500, self.seed)
        policy = workbench.seeded(self.policy, self.seed)
        drawn = [self._draw(links, generator) for links in self.sizes]
        train_augmented(policy, drawn, self.how, generator=generator)
        return parameters_of(policy)

    @staticmethod
    def policy() -> StateAugmented:
        """A policy with random parameters, whose messages are of one scale for any number of links."""
        return StateAugmented(widths=_WIDTHS, edges="mean")

    @staticmethod
    def trained(parameters: dict[str, Tensor]) -> StateAugmented:
        """The policy of what the job returned."""
        policy = AugmentedTraining.policy()
        policy.load_state_dict(parameters)
        return policy.eval()

    def _draw(self, links: int, generator: torch.Generator) -> ErgodicInstance:
        count = max(1, self.trajectories * min(10, links) // links)  # large ones say more each
        drawn = draw_configurations(rayleigh(links), count, slots=self.slots, generator=generator)
        return replace(drawn, min_rate_bps_hz=draw_demands(count, links, generator=generator))
