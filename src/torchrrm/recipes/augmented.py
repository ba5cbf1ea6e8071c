"""Training of a state-augmented policy on drawn configurations: what the recipes of links share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torchrrm import learning
from torchrrm.policies import OnlineDual, StateAugmented
from torchrrm.problems import ErgodicInstance
from torchrrm.solvers import WMMSE

__all__ = ["AugmentedSettings", "train_augmented"]

_QUIET = learning.RunSettings(progress=False)


@dataclass(frozen=True)
class AugmentedSettings:
    """Training of a state-augmented policy.

    Attributes:
        steps: of each of the two rounds.
        regression_steps: of the regressor of first multipliers.
        learning_rates: of the two rounds.
        batch_size: slots a step.
        collecting_step: of the multipliers while they are collected.
        moments: of each trajectory that the policy learns from.
    """

    steps: int = 3000
    regression_steps: int = 500
    learning_rates: tuple[float, float] = (2e-3, 1e-3)
    batch_size: int = 192
    collecting_step: float = 0.1
    moments: int = 6


def train_augmented(
    policy: StateAugmented,
    drawn: Sequence[ErgodicInstance],
    how: AugmentedSettings,
    *,
    generator: torch.Generator,
) -> None:
    """Train in place, in two rounds over multipliers as they occur in the configurations.

    In the first round they come from `OnlineDual` over WMMSE with two starts, in the second from the policy's own
    loop; the regressor of first multipliers learns those at which that loop settles.

    Args:
        policy: to be trained.
        drawn: configurations, those of an element of one number of links.
        how: settings.
        generator: of samples.
    """
    first = OnlineDual(WMMSE(starts=2, max_steps=20), step=how.collecting_step)
    own = OnlineDual(policy.power, step=how.collecting_step)
    for loop, rate in zip((first, own), how.learning_rates, strict=True):
        groups = [(each, learning.collect(loop, each, how.moments)) for each in drawn]
        _train_power(policy, groups, how, rate, generator)
    settled = [(each, learning.collect(own, each, 1)) for each in drawn]
    regression = learning.RegressionSettings(steps=how.regression_steps)
    learning.regress_first(policy.first, settled, regression, generator=generator, run=_QUIET)


def _train_power(
    policy: StateAugmented,
    groups: Sequence[tuple[ErgodicInstance, learning.Trajectories]],
    how: AugmentedSettings,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    settings = learning.TrainerSettings(
        steps=how.steps,
        batch_size=how.batch_size,
        learning_rate=learning_rate,
        schedule="cosine",
        clip_norm=1.0,
    )
    loss = learning.PolicyLoss(policy.power, learning.Unsupervised(learning.mean_weight))
    tasks = [learning.weighted_task(*group) for group in groups]
    learning.train(loss, tasks, settings, generator=generator, run=_QUIET)
