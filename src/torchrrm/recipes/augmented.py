"""Training of a state-augmented policy on drawn configurations: what the recipes of links share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torchrrm import learning
from torchrrm.policies import OnlineDual, StateAugmented
from torchrrm.problems import ErgodicInstance, LinkInstance, PowerAction, Task
from torchrrm.recipes.jobs import quiet_run
from torchrrm.solvers import WMMSE

__all__ = ["AugmentedSettings", "train_augmented"]

_FULL_BATCH = 20  # links up to which a step takes the whole batch


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
        switching: the first round is on `learning.Switching` in place of the weighted sum rate, which helps where
            everybody disturbs everybody.
    """

    steps: int = 3000
    regression_steps: int = 500
    learning_rates: tuple[float, float] = (2e-3, 1e-3)
    batch_size: int = 192
    collecting_step: float = 0.1
    moments: int = 6
    switching: bool = False


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
    sum_rate = learning.Unsupervised(learning.mean_weight)
    objectives = (learning.Switching() if how.switching else sum_rate, sum_rate)
    for loop, rate, objective in zip((first, own), how.learning_rates, objectives, strict=True):
        groups = [(each, learning.collect(loop, each, how.moments)) for each in drawn]
        _train_power(policy, objective, [_task(*group) for group in groups], how, rate, generator)
    settled = [(each, learning.collect(own, each, 1)) for each in drawn]
    regression = learning.RegressionSettings(steps=how.regression_steps)
    learning.regress_first(policy.first, settled, regression, generator=generator, run=quiet_run())


def _train_power(
    policy: StateAugmented,
    objective: learning.Objective,
    tasks: Sequence[Task[LinkInstance, PowerAction]],
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
    loss = learning.PolicyLoss(policy.power, objective)
    learning.train(loss, tasks, settings, generator=generator, run=quiet_run())


def _task(configurations: ErgodicInstance, found: learning.Trajectories) -> Task[LinkInstance, PowerAction]:
    """Slots of these configurations; of large ones fewer are drawn, since each holds more pairs of links."""
    task = learning.weighted_task(configurations, found)
    part = min(1.0, (_FULL_BATCH / configurations.active.shape[-1]) ** 2)

    def sample(batch_size: int, *, generator: torch.Generator) -> LinkInstance:
        return task.sample(max(4, round(part * batch_size)), generator=generator)

    return Task(task.problem, sample)
