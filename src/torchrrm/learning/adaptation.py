"""Meta-learning: initial parameters from which a few gradient steps lead to a good policy for a new task.

MAML [Finn2017MAML] and hybrid-task meta-learning (HML, Algorithm 4 of [Hao2024]) are one algorithm here. With
phi the initial parameters, a step draws I support tasks and, for each of them, I' query tasks:

    theta_i = phi; N times  theta_i <- theta_i - inner_rate * grad L(theta_i; J new samples of support task i)
    meta-loss = mean over i of mean over i' of L(theta_i; J' samples of query task i')
    phi <- phi - rate * grad_phi meta-loss        (or Adam)

They differ in the query tasks only: in MAML all I' of them are support task i itself with new samples, in HML
they are other tasks than the I support tasks. Both thus see the same number of samples in a step.

Learners that are no descent of one loss, such as primal-dual ones, meta-learn by first-order methods that see
nothing but their results: Reptile [Nichol2018] and first-order MAML, `first_order_train`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from torchrrm import records
from torchrrm.learning.learned_step import learned_step
from torchrrm.learning.loop import RunSettings, descend
from torchrrm.learning.objectives import Parameters, PolicyLoss
from torchrrm.learning.optimisers import DescentSettings
from torchrrm.learning.tasks import Batch, TaskSource, draw_batch, draw_tasks, joint_loss, merge
from torchrrm.problems.base import Problem, Task

__all__ = [
    "Episode",
    "FirstOrderSettings",
    "InnerLearner",
    "MetaSettings",
    "adapt",
    "draw_episode",
    "first_order_gradient",
    "first_order_train",
    "meta_gradient",
    "meta_train",
]

T_contra = TypeVar("T_contra", contravariant=True)
T = TypeVar("T")


@dataclass(frozen=True)
class MetaSettings(DescentSettings):
    """Meta-training; the defaults are those of Table II of [Hao2024] where it gives any.

    `steps`, `learning_rate`, `optimiser`, `schedule` and `clip_norm` are those of the outer loop.

    Attributes:
        method: `"hml"` or `"maml"`.
        inner_steps: gradient steps on each support task (N); the paper does not give it.
        inner_learning_rate: step size of the inner loop, which is plain ascent. The paper's 1e-4 hardly moves
            the parameters if the loss is in bit/s/Hz. A policy in `LearnedStep` brings its own instead.
        support_tasks: tasks a step (I).
        query_tasks: query tasks for each support task (I').
        support_samples: samples an inner step (J).
        query_samples: samples a query task (J').
        first_order: take inner gradients for constants: the meta-gradient is `mean_i grad L_query(theta_i)`.
        vectorised: run the support tasks at once, stacked; they must then be of one problem. Faster than one
            after the other by a factor of 1.2 to 1.6, measured on one thread with 10 to 30 users.
    """

    method: Literal["hml", "maml"] = "hml"
    learning_rate: float = 1e-4
    inner_steps: int = 1
    inner_learning_rate: float = 1e-4
    support_tasks: int = 4
    query_tasks: int = 2
    support_samples: int = 32
    query_samples: int = 32
    first_order: bool = False
    vectorised: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in ("hml", "maml"):
            raise ValueError(f"method: must be hml or maml, received {self.method}")
        if not self.inner_learning_rate > 0.0:
            raise ValueError(f"inner_learning_rate: must be positive, received {self.inner_learning_rate}")
        for name in ("inner_steps", "support_tasks", "query_tasks", "support_samples", "query_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, received {getattr(self, name)}")


@dataclass(frozen=True)
class Episode:
    """Samples of one meta-training step.

    Attributes:
        support: for each of I support tasks, instances of batch shape `[N, J]`, N inner steps.
        query: for each support task, I' batches of instances of batch shape `[J']`.
    """

    support: Sequence[Batch]
    query: Sequence[Sequence[Batch]]


def draw_episode(tasks: TaskSource, settings: MetaSettings, *, generator: torch.Generator) -> Episode:
    """Draw the tasks and the samples of one step: lines 3, 7, 11 and 13 of Algorithm 4 of [Hao2024].

    Raises:
        ValueError: if there are too few different tasks: I for MAML, I + I' for HML.
    """
    support = draw_tasks(tasks, settings.support_tasks, generator=generator)
    query = [_query_tasks(tasks, support, i, settings, generator) for i in range(len(support))]
    return Episode(
        support=[_draw_inner(task, settings, generator) for task in support],
        query=[
            [draw_batch(task, settings.query_samples, generator=generator) for task in row] for row in query
        ],
    )


def _query_tasks(
    tasks: TaskSource,
    support: list[Task[Any, Any]],
    i: int,
    settings: MetaSettings,
    generator: torch.Generator,
) -> list[Task[Any, Any]]:
    """The query tasks of support task i: all that MAML and HML differ in."""
    if settings.method == "maml":
        return [support[i]] * settings.query_tasks
    return draw_tasks(tasks, settings.query_tasks, generator=generator, exclude=support)


def _draw_inner(task: Task[Any, Any], settings: MetaSettings, generator: torch.Generator) -> Batch:
    """All inner steps' samples at once, which costs less than one draw for each."""
    shape = (settings.inner_steps, settings.support_samples)
    batch = draw_batch(task, shape[0] * shape[1], generator=generator)
    return Batch(
        problem=batch.problem,
        instance=records.map_tensors(lambda tensor: tensor.unflatten(0, shape), batch.instance),
    )


def adapt(
    loss: PolicyLoss,
    parameters: Parameters,
    problem: Problem[Any, Any],
    support: Any,
    learning_rate: float | Float[Tensor, ""],
) -> Parameters:
    """Parameters after a plain gradient step on each `[J]` of the instances `[N, J]`.

    Lines 5 to 10 of Algorithm 4 of [Hao2024]. Differentiable with respect to the parameters: second-order
    methods follow the gradient through all steps, and to the learning rate if it is a tensor.
    """
    for step in range(records.batch_shape(support)[0]):
        gradients = grad(loss)(parameters, problem, records.index(support, step))
        parameters = {name: value - learning_rate * gradients[name] for name, value in parameters.items()}
    return parameters


def meta_gradient(
    loss: PolicyLoss, parameters: Parameters, episode: Episode, settings: MetaSettings
) -> tuple[Parameters, Tensor]:
    """Gradient of the meta-loss of Algorithm 4, line 17, with respect to the initial parameters.

    Returns:
        The gradients by name and the scalar meta-loss, both means over the support tasks.

    Raises:
        ValueError: if the tasks are to be vectorised and their problems differ, or if a step is to be learned
            without second derivatives.
    """
    if settings.first_order and learned_step(parameters) is not None:
        raise ValueError("first_order: must be off for a policy in LearnedStep, received on")
    per_task = _vectorised if settings.vectorised else _sequential
    gradients, losses = per_task(loss, parameters, episode, settings)
    return {name: value.mean(dim=0) for name, value in gradients.items()}, losses.mean()


def _task_gradient(
    loss: PolicyLoss, parameters: Parameters, support: Batch, query: Sequence[Batch], settings: MetaSettings
) -> tuple[Parameters, Tensor]:
    """One support task's share of the meta-gradient and of the meta-loss."""

    def adapted(initial: Parameters) -> Parameters:
        learned = learned_step(initial)
        rate = settings.inner_learning_rate if learned is None else learned
        return adapt(loss, initial, support.problem, support.instance, rate)

    def query_loss(final: Parameters) -> Tensor:
        return joint_loss(loss, final, query)

    if settings.first_order:
        return grad_and_value(query_loss)(adapted(parameters))
    return grad_and_value(lambda initial: query_loss(adapted(initial)))(parameters)


def _sequential(
    loss: PolicyLoss, parameters: Parameters, episode: Episode, settings: MetaSettings
) -> tuple[Parameters, Tensor]:
    shares = [
        _task_gradient(loss, parameters, support, merge(query), settings)
        for support, query in zip(episode.support, episode.query, strict=True)
    ]
    gradients = {name: torch.stack([share[0][name] for share in shares]) for name in parameters}
    return gradients, torch.stack([share[1] for share in shares])


def _vectorised(
    loss: PolicyLoss, parameters: Parameters, episode: Episode, settings: MetaSettings
) -> tuple[Parameters, Tensor]:
    problem = episode.support[0].problem
    batches = [*episode.support, *(batch for row in episode.query for batch in row)]
    if any(batch.problem != problem for batch in batches):
        raise ValueError("vectorised: must be off for tasks of different problems, received on")
    support = records.stack([batch.instance for batch in episode.support])  # [I, N, J]
    # A record is stacked once, to one user count over all tasks: [I I', J'] and then [I, I', J'].
    rows = records.stack([batch.instance for row in episode.query for batch in row])
    query = records.map_tensors(lambda tensor: tensor.unflatten(0, (len(episode.query), -1)), rows)

    def share(initial: Parameters, support: Any, query: Any) -> tuple[Parameters, Tensor]:
        return _task_gradient(loss, initial, Batch(problem, support), [Batch(problem, query)], settings)

    return vmap(share, in_dims=(None, 0, 0))(parameters, support, query)


def meta_train(
    loss: PolicyLoss,
    tasks: TaskSource,
    settings: MetaSettings,
    *,
    generator: torch.Generator,
    run: RunSettings | None = None,
) -> Float64[Tensor, "step"]:
    """Meta-train `loss.policy` in place by MAML or HML, Algorithm 4 of [Hao2024]; return the meta-losses.

    The paper has two task sets, support and query, with the same tasks and different samples; here both are
    drawn from `tasks`, and each draw of samples is a new one.

    Args:
        loss: of the policy, whose parameters are the first initial parameters.
        tasks: a sequence, or a function of a generator that draws one. A resumed run needs the same.
        settings: of the meta-training.
        generator: draws the tasks and the samples.
        run: checkpoints, progress and TensorBoard.

    Raises:
        CheckpointError: if there is a checkpoint and it is not of this run, or if it cannot be written.
        ValueError: if the loss is not finite, or if there are too few tasks.
    """

    def gradient(parameters: Parameters, generator: torch.Generator) -> tuple[Parameters, Tensor]:
        episode = draw_episode(tasks, settings, generator=generator)
        return meta_gradient(loss, parameters, episode, settings)

    return descend(loss.policy, gradient, settings, generator=generator, run=run)


class InnerLearner(Protocol[T_contra]):
    """What adapts parameters to tasks, each to one of them, by its own rules; parameters are stacked, `[task ...]`."""

    def adapt(
        self, parameters: Parameters, tasks: T_contra, epochs: int, *, generator: torch.Generator
    ) -> tuple[Parameters, Float[Tensor, " task"]]:
        """Parameters after so many epochs on the tasks, and how good they are; lower is better."""
        ...

    def gradient(self, parameters: Parameters, tasks: T_contra, *, generator: torch.Generator) -> Parameters:
        """The directions that one more epoch would descend, on new samples."""
        ...

    def rates(self, name: str) -> tuple[float, float]:
        """Inner rate `eta` and outer rate `epsilon` of a parameter."""
        ...


@dataclass(frozen=True)
class FirstOrderSettings(DescentSettings):
    """Meta-training without second derivatives; the defaults are those of Section V of [Huang2024].

    The outer rates are the learner's; `learning_rate` multiplies them all.

    Attributes:
        method: `"reptile"` or `"fomaml"`.
        tasks: of an outer loop (`N_b`).
        inner_steps: epochs on each of them (`N_I`).
    """

    method: Literal["reptile", "fomaml"] = "reptile"
    steps: int = 400
    learning_rate: float = 1.0
    optimiser: Literal["adam", "ascent"] = "ascent"
    tasks: int = 32
    inner_steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in ("reptile", "fomaml"):
            raise ValueError(f"method: must be reptile or fomaml, received {self.method}")
        for name in ("tasks", "inner_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, received {getattr(self, name)}")


def first_order_gradient(
    learner: InnerLearner[T],
    parameters: Parameters,
    tasks: T,
    settings: FirstOrderSettings,
    *,
    generator: torch.Generator,
) -> tuple[Parameters, Tensor]:
    """Direction that the outer loop descends, outer rates included, and the mean of what the learner tells.

    Reptile: `epsilon mean_tau (theta - theta_tau) / eta`, Eq. (33) of [Huang2024], whose step is divided by the
    inner rate. First-order MAML: `epsilon mean_tau g(theta_tau)`, the learner's direction at the adapted parameters
    on new samples.
    """
    starts = {name: value.expand(settings.tasks, *value.shape) for name, value in parameters.items()}
    adapted, told = learner.adapt(starts, tasks, settings.inner_steps, generator=generator)
    if settings.method == "fomaml":
        directions = learner.gradient(adapted, tasks, generator=generator)
        moved = {name: learner.rates(name)[1] * value.mean(0) for name, value in directions.items()}
        return moved, told.mean()
    ratio = {name: learner.rates(name)[1] / learner.rates(name)[0] for name in parameters}
    return {
        name: ratio[name] * (value - adapted[name].mean(0)) for name, value in parameters.items()
    }, told.mean()


def first_order_train(
    policy: torch.nn.Module,
    learner: InnerLearner[T],
    draw: Callable[[int, torch.Generator], T],
    settings: FirstOrderSettings,
    *,
    generator: torch.Generator,
    run: RunSettings | None = None,
) -> Float64[Tensor, "step"]:
    """Meta-train `policy` in place by Reptile or first-order MAML (Algorithm 1 of [Huang2024]).

    Args:
        policy: its parameters are the first initial parameters.
        learner: adapts parameters of the policy to a task.
        draw: so many tasks, to be adapted to at once.
        settings: of the meta-training.
        generator: draws the tasks and the samples.
        run: checkpoints, progress and TensorBoard.

    Returns:
        What the learner told after the inner loops, a mean an outer loop.

    Raises:
        CheckpointError: if there is a checkpoint and it is not of this run, or if it cannot be written.
        ValueError: if what the learner tells is not finite.
    """

    def gradient(parameters: Parameters, generator: torch.Generator) -> tuple[Parameters, Tensor]:
        tasks = draw(settings.tasks, generator)
        return first_order_gradient(learner, parameters, tasks, settings, generator=generator)

    return descend(policy, gradient, settings, generator=generator, run=run)
