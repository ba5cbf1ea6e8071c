"""Training of the centralised policy."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm import learning
from torchrrm.policies import CentralPower
from torchrrm.problems import LinkInstance, PowerAction, Task, WeightedSumRate
from torchrrm.recipes.alcor.cases import DIVERSE, rayleigh
from torchrrm.recipes.jobs import quiet_run
from torchrrm.setups import workbench
from torchrrm.setups.links import draw_links, paused

__all__ = ["WIDTHS", "CentralTraining", "rayleigh_task"]

WIDTHS: dict[int, tuple[int, ...]] = {5: (25, 25), 10: (400, 200), 20: (400, 200), 50: (400, 400)}
"""Hidden widths by the number of links: {25, 25, 25, 5}, {100, 400, 200, 10}, ... of [Behmandpoor2024]."""
_TRAIN = 22_000_000


def rayleigh_task(links: int, kappas: Sequence[float] = (1.0,)) -> Task[LinkInstance, PowerAction]:
    """The sum rate on Rayleigh channels at 15 dB, as in (3) of [Behmandpoor2024].

    For each instance one of the probabilities `kappas` is drawn, with which each link is on. `DIVERSE` are those of
    diverse training; the default, all links on, is non-diverse training.
    """
    source = rayleigh(links)

    def sample(batch_size: int, *, generator: torch.Generator) -> LinkInstance:
        instance = draw_links(source, batch_size, generator=generator)
        chosen = torch.randint(len(kappas), (batch_size, 1), generator=generator)
        return paused(instance, torch.tensor(kappas)[chosen], generator=generator)

    return Task(WeightedSumRate(), sample)


@dataclass(frozen=True)
class CentralTraining:
    """The centralised policy, trained unsupervised for the sum rate (3) of [Behmandpoor2024].

    The first steps are on `Switching`, the others on the negative sum rate, on which alone the policy stays at the
    rule of one winner (as the paper's does, by its numbers). With the defaults, in about 3 minutes of one core, it
    reaches 6.12 / 6.92 / 7.37 / 7.70 bit/s/Hz at kappa 0.25 / 0.5 / 0.75 / 1, where WMMSE has 5.86 / 6.75 / 7.33 /
    7.76, one winner 5.88 / 6.41 / 6.63 / 6.77, and the paper's network 5.88 / 6.38 / 6.56 / 6.71.

    Attributes:
        links: of every instance.
        hidden: widths of the hidden layers.
        diverse: links are on with a probability drawn from `DIVERSE` for each instance; else all of them are.
        seed: of the first parameters and of the samples.
        sort: of the policy.
        steps: gradient steps.
        switching: part of them that is on `Switching`; 0 is the paper's training.
        batch_size: instances of a step.
        learning_rate: of Adam in the first part, in the second a third of it; both end at 0 as a cosine.
    """

    links: int = 20
    hidden: tuple[int, ...] = (400, 200)
    diverse: bool = True
    seed: int = 0
    sort: bool = True
    steps: int = 8000
    switching: float = 0.5
    batch_size: int = 300
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        if not 0.0 <= self.switching <= 1.0:
            raise ValueError(f"switching: must lie in [0, 1], received {self.switching}")

    @property
    def name(self) -> str:
        widths = "-".join(str(width) for width in self.hidden)
        kinds = ("-diverse" if self.diverse else "") + ("" if self.sort else "-unsorted")
        kinds += "" if self.switching else "-sum-rate"
        return f"central-{self.links}-{widths}{kinds}-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        policy = workbench.seeded(self.policy, self.seed)
        task = rayleigh_task(self.links, DIVERSE if self.diverse else (1.0,))
        generator = torch.Generator().manual_seed(_TRAIN + self.seed)
        first = round(self.switching * self.steps)
        self._train(policy, task, learning.Switching(), first, self.learning_rate, generator)
        rate = self.learning_rate / 3 if first else self.learning_rate
        sum_rate = learning.Unsupervised(_one)
        self._train(policy, task, sum_rate, self.steps - first, rate, generator)
        return learning.parameters_of(policy) | learning.buffers_of(policy)

    def policy(self) -> CentralPower:
        """A policy with random parameters."""
        return CentralPower(self.links, self.hidden, sort=self.sort)

    def trained(self, parameters: dict[str, Tensor]) -> CentralPower:
        """The policy of what the job returned."""
        policy = self.policy()
        policy.load_state_dict(parameters)
        return policy

    def _train(
        self,
        policy: CentralPower,
        task: Task[LinkInstance, PowerAction],
        objective: learning.Objective,
        steps: int,
        rate: float,
        generator: torch.Generator,
    ) -> None:
        how = learning.TrainerSettings(
            steps=steps, learning_rate=rate, schedule="cosine", batch_size=self.batch_size
        )
        loss = learning.PolicyLoss(policy, objective)
        learning.train(loss, [task], how, generator=generator, run=quiet_run())


def _one(instance: LinkInstance) -> Tensor:
    """Sum rates count as they are."""
    return torch.ones_like(instance.noise_power_w)
