"""Tasks and the batches that a learner draws from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm import records
from torchrrm.learning.objectives import Parameters, PolicyLoss
from torchrrm.problems.base import Problem, Task

__all__ = [
    "Batch",
    "TaskSource",
    "all_tasks",
    "draw_batch",
    "draw_tasks",
    "joint_loss",
    "joint_measured",
    "merge",
]

TaskSource = Sequence[Task[Any, Any]] | Callable[[torch.Generator], Task[Any, Any]]

_MAX_REDRAWS = 1000


@dataclass(frozen=True)
class Batch:
    """Instances of one problem; `tasks` is how many tasks, of as many instances each, it holds."""

    problem: Problem[Any, Any]
    instance: Any
    tasks: int = 1


def draw_batch(task: Task[Any, Any], size: int, *, generator: torch.Generator) -> Batch:
    """`size` new instances of the task, with batch shape `[size]`."""
    return Batch(problem=task.problem, instance=task.sample(size, generator=generator))


def all_tasks(source: TaskSource) -> Sequence[Task[Any, Any]]:
    """The tasks of a finite source.

    Raises:
        ValueError: if the source is a function, which has no end.
    """
    if callable(source):
        raise ValueError("tasks: must be a sequence to take all of them, received a function that draws")
    return source


def draw_tasks(
    source: TaskSource, count: int, *, generator: torch.Generator, exclude: Sequence[Task[Any, Any]] = ()
) -> list[Task[Any, Any]]:
    """`count` tasks at random, all different from each other and from `exclude` (by `==`).

    Raises:
        ValueError: if the source offers too few different tasks.
    """
    if not callable(source):
        left = [task for task in source if task not in exclude]
        if len(left) < count:
            raise ValueError(
                f"tasks: must offer {count + len(exclude)} different ones, received {len(source)}"
            )
        return [left[i] for i in torch.randperm(len(left), generator=generator)[:count].tolist()]
    drawn: list[Task[Any, Any]] = []
    for _ in range(count + _MAX_REDRAWS):
        if len(drawn) == count:
            return drawn
        task = source(generator)
        if task not in exclude and task not in drawn:
            drawn.append(task)
    raise ValueError(
        f"tasks: must offer {count + len(exclude)} different ones, the function keeps repeating some"
    )


def merge(batches: Sequence[Batch]) -> list[Batch]:
    """The batches with those of equal problems stacked into one, of batch shape `[task, size]`."""
    groups: list[list[Batch]] = []
    for batch in batches:
        group = next((group for group in groups if group[0].problem == batch.problem), None)
        if group is None:
            groups.append([batch])
        else:
            group.append(batch)
    return [_stack(group) if len(group) > 1 else group[0] for group in groups]


def _stack(group: Sequence[Batch]) -> Batch:
    instance = records.stack([batch.instance for batch in group])
    return Batch(problem=group[0].problem, instance=instance, tasks=len(group))


def joint_loss(loss: PolicyLoss, parameters: Parameters, batches: Sequence[Batch]) -> Float[Tensor, ""]:
    """Mean loss over the tasks of all batches, each task weighing the same."""
    return _weighted([loss(parameters, batch.problem, batch.instance) for batch in batches], batches)


def joint_measured(
    loss: PolicyLoss, parameters: Parameters, batches: Sequence[Batch]
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """`joint_loss`, and the means of the measures, each task weighing the same."""
    parts = [loss.measured(parameters, batch.problem, batch.instance) for batch in batches]
    names = parts[0][1]
    measures = {name: _weighted([part[1][name] for part in parts], batches) for name in names}
    return _weighted([part[0] for part in parts], batches), measures


def _weighted(values: Sequence[Float[Tensor, ""]], batches: Sequence[Batch]) -> Float[Tensor, ""]:
    total = sum(batch.tasks for batch in batches)
    parts = [value * (batch.tasks / total) for value, batch in zip(values, batches, strict=True)]
    return torch.stack(parts).sum()
