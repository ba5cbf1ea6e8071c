"""Training of a policy on samples of one or several tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from torchrrm.learning.loop import RunSettings, descend
from torchrrm.learning.objectives import Parameters, PolicyLoss
from torchrrm.learning.optimisers import DescentSettings, gradient_and_value
from torchrrm.learning.tasks import TaskSource, all_tasks, draw_batch, draw_tasks, joint_measured, merge

__all__ = ["TrainerSettings", "train"]

_Measured = tuple[Parameters, Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class TrainerSettings(DescentSettings):
    """Training on samples of one or several tasks.

    Attributes:
        batch_size: instances a task and step (J in [Hao2024]).
        tasks_per_step: how many different tasks are drawn for a step, their losses averaged; `None`: all.
    """

    batch_size: int = 32
    tasks_per_step: int | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size: must be at least 1, received {self.batch_size}")
        if self.tasks_per_step is not None and self.tasks_per_step < 1:
            raise ValueError(f"tasks_per_step: must be at least 1 or none, received {self.tasks_per_step}")


def train(
    loss: PolicyLoss,
    tasks: TaskSource,
    settings: TrainerSettings,
    *,
    generator: torch.Generator,
    run: RunSettings | None = None,
) -> Float64[Tensor, "step"]:
    """Train `loss.policy` in place on one or several tasks, and return the loss of each step.

    It is in training mode for the steps (batch normalisation then moves its running averages), and in its own
    mode again afterwards.

    On one task this is Algorithm 2 of [Hao2024], whose plain ascent is `optimiser="ascent"`; on the tasks of
    meta-training it is the multi-task pre-training that the paper compares with as MTL transfer.

    Args:
        loss: of the policy to train.
        tasks: a sequence, or a function of a generator that draws one. A resumed run needs the same.
        settings: of the training.
        generator: draws the tasks and the samples.
        run: checkpoints, progress, TensorBoard and the history of losses and measures.

    Raises:
        CheckpointError: if there is a checkpoint and it is not of this run, or if it cannot be written.
        ValueError: if the loss is not finite, or if there are too few tasks.
    """

    def gradient(parameters: Parameters, generator: torch.Generator) -> _Measured:
        count = settings.tasks_per_step
        drawn = all_tasks(tasks) if count is None else draw_tasks(tasks, count, generator=generator)
        batches = merge([draw_batch(task, settings.batch_size, generator=generator) for task in drawn])
        measures: dict[str, Tensor] = {}

        def value(theta: Parameters) -> Tensor:
            mean, measured = joint_measured(loss, theta, batches)
            measures.update(measured)
            return mean

        return *gradient_and_value(value, parameters), measures

    with _in_training(loss.policy):
        return descend(loss.policy, gradient, settings, generator=generator, run=run)


@contextmanager
def _in_training(policy: nn.Module) -> Iterator[None]:
    """The policy in training mode, each part in its own mode again afterwards."""
    modes = [(part, part.training) for part in policy.modules()]
    policy.train()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
