"""Few-shot adaptation to a new task: Algorithm 3 of [Hao2024], for one run or for many at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad_and_value, vmap

from torchrrm import records
from torchrrm.learning.objectives import Parameters, PolicyLoss
from torchrrm.learning.optimisers import DescentSettings, clip, gradient_and_value, make_optimiser, rate_at
from torchrrm.problems.base import Task

__all__ = ["Evaluate", "FineTuneSettings", "FineTuned", "fine_tune", "fine_tune_many"]

Evaluate = Callable[[Parameters], Tensor]
"""Scalar score of parameters, for example on a fixed batch of the evaluation set."""


@dataclass(frozen=True)
class FineTuneSettings(DescentSettings):
    """Fine-tuning: `steps` epochs, each one gradient step on new samples.

    Attributes:
        samples: instances an epoch (J).
    """

    steps: int = 10
    learning_rate: float = 1e-4
    samples: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples: must be at least 1, received {self.samples}")
        if self.decay is not None:
            raise ValueError(f"decay: must be none for a few epochs, received {self.decay}")


@dataclass(frozen=True)
class FineTuned:
    """Result of fine-tuning; `*run` is empty for one run.

    Attributes:
        parameters: adapted ones, by name, with the leading axes `*run`.
        losses: on the fine-tuning samples of each epoch, before its step; `[0]` without epochs.
        curve: scores before the first epoch (zero-shot) and after each; `None` without `evaluate`.
    """

    parameters: Parameters
    losses: Float[Tensor, "epoch *run"]
    curve: Float[Tensor, "epoch+1 *run"] | None


def fine_tune(
    loss: PolicyLoss,
    parameters: Parameters,
    task: Task[Any, Any],
    settings: FineTuneSettings,
    *,
    generator: torch.Generator,
    evaluate: Evaluate | None = None,
) -> FineTuned:
    """Adapt parameters to a task; neither they nor the policy of `loss` are changed.

    Args:
        loss: of the policy that the parameters belong to.
        parameters: to begin with: `parameters_of(policy)`, meta-trained, pre-trained or random.
        task: the new task; its samples are the fine-tuning set.
        settings: of the fine-tuning.
        generator: draws the samples.
        evaluate: scores parameters, before the first epoch and after each.
    """

    def gradient(current: Parameters) -> tuple[Parameters, Tensor]:
        instance = task.sample(settings.samples, generator=generator)
        gradients, value = gradient_and_value(lambda theta: loss(theta, task.problem, instance), current)
        return clip(gradients, settings.clip_norm), value

    return _descend(gradient, parameters, settings, evaluate)


def fine_tune_many(
    loss: PolicyLoss,
    starts: Sequence[Parameters],
    tasks: Sequence[Task[Any, Any]],
    settings: FineTuneSettings,
    *,
    generators: Sequence[torch.Generator],
    evaluate: Sequence[Evaluate] | None = None,
) -> FineTuned:
    """`fine_tune` for several runs (seeds, tasks) at once, stacked along a leading axis and mapped by `vmap`.

    Run i begins with `starts[i]`, on `tasks[i]` with samples drawn by `generators[i]` and scored by
    `evaluate[i]`; it gives what `fine_tune` gives, to float rounding. The tasks may differ in size, not in
    their problem.

    Raises:
        ValueError: if the numbers of runs differ, or the problems.
    """
    counts = [len(starts), len(tasks), len(generators), *([] if evaluate is None else [len(evaluate)])]
    if len(set(counts)) != 1 or not starts:
        raise ValueError(f"starts, tasks, generators, evaluate: must be one a run, received {counts} of them")
    problem = tasks[0].problem
    if any(task.problem != problem for task in tasks):
        raise ValueError("tasks: must be of one problem to run at once, received different ones")

    def run_gradient(current: Parameters, instance: Any) -> tuple[Parameters, Tensor]:
        gradients, value = grad_and_value(loss)(current, problem, instance)
        return clip(gradients, settings.clip_norm), value

    def gradient(current: Parameters) -> tuple[Parameters, Tensor]:
        pairs = zip(tasks, generators, strict=True)
        drawn = [task.sample(settings.samples, generator=generator) for task, generator in pairs]
        return vmap(run_gradient)(current, records.stack(drawn))

    def scores(current: Parameters) -> Tensor:
        one_a_run = [
            each({name: value[i] for name, value in current.items()}) for i, each in enumerate(evaluate or ())
        ]
        return torch.stack(one_a_run)

    stacked = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
    return _descend(gradient, stacked, settings, scores if evaluate is not None else None)


def _descend(
    gradient: Callable[[Parameters], tuple[Parameters, Tensor]],
    parameters: Parameters,
    settings: FineTuneSettings,
    evaluate: Evaluate | None,
) -> FineTuned:
    optimiser = make_optimiser(settings)
    state = optimiser.init(parameters)
    losses = []
    curve = [evaluate(parameters)] if evaluate else []
    for step in range(settings.steps):
        gradients, loss = gradient(parameters)
        parameters, state = optimiser.update(gradients, state, parameters, rate_at(settings, step))
        losses.append(loss)
        if evaluate:
            curve.append(evaluate(parameters))
    return FineTuned(
        parameters=parameters,
        losses=torch.stack(losses) if losses else torch.empty(0),
        curve=torch.stack(curve) if curve else None,
    )
