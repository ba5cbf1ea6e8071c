"""The jobs of the recipe: starts of the paper's policy, their adaptation, and the policies of marginal features."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from torchrrm.learning import (
    CertifiedGap,
    FineTuneSettings,
    MetaSettings,
    PolicyLoss,
    TrainerSettings,
    fine_tune,
    meta_train,
    parameters_of,
    train,
)
from torchrrm.learning.fine_tuning import Evaluate
from torchrrm.policies import SliceGNN
from torchrrm.policies.slice_gnn import PreparedSlice
from torchrrm.problems import KINDS, SliceInstance
from torchrrm.recipes.hml.settings import HmlSettings
from torchrrm.recipes.hml.tasksets import TrainingSet, certified_bound, pooled_task, prepared_task
from torchrrm.recipes.jobs import Start, quiet_run
from torchrrm.setups.slicing import SliceSource, new_policy, policy_loss, slice_task

__all__ = [
    "METHODS",
    "Adaptation",
    "MarginalTraining",
    "MetaTraining",
    "evaluation_set",
    "optimality",
    "report_stream",
]

METHODS = ("hml", "maml", "mtl", "random")
Method = Literal["hml", "maml", "mtl", "random"]

# Streams of random numbers: no table is made of instances that anything was trained or chosen on.
_TRAIN, _ADAPT, _REPORT = 1_000_000, 2_000_000, 3_000_000


def _generator(stream: int, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(stream + seed)


def report_stream(kind: str, source: SliceSource, count: int) -> SliceInstance:
    """The evaluation set T^E of a task: the same slices for all methods and runs, seen by no training."""
    return slice_task(KINDS[kind], source).sample(count, generator=_generator(_REPORT, 0))


def evaluation_set(kind: str, source: SliceSource, features: str, count: int) -> tuple[PreparedSlice, Tensor]:
    """The evaluation set, prepared for a policy of these features, and the certified bound of each slice in bit/s."""
    drawn = SliceGNN(KINDS[kind], features).prepare(report_stream(kind, source, count))
    return drawn, certified_bound(KINDS[kind], drawn)


def optimality(policy: SliceGNN, drawn: PreparedSlice, bound: Tensor) -> Evaluate:
    """Scores parameters by the mean sum rate over the mean bound."""

    def score(parameters: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            action = functional_call(policy, parameters, (drawn,))
            return policy.problem.evaluate(drawn, action).objective.sum() / bound.sum()

    return score


@dataclass(frozen=True)
class MetaTraining:
    """Initial parameters by one method: meta-learned, pre-trained on many tasks, or random."""

    method: Method
    tasks: TrainingSet
    label: str
    seed: int
    settings: HmlSettings

    @property
    def name(self) -> str:
        return f"start-{self.method}-{self.label}-{self.tasks.features}-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        policy = new_policy(self.tasks.problem, self.tasks.features, seed=self.seed)
        loss = policy_loss(policy)
        how: dict[str, Any] = {
            "steps": self.settings.meta_steps,
            "learning_rate": self.settings.meta_learning_rate,
        }
        generator = _generator(_TRAIN, self.seed)
        if self.method == "mtl":
            train(
                loss,
                self.tasks,
                TrainerSettings(tasks_per_step=4, **how),
                generator=generator,
                run=quiet_run(),
            )
        elif self.method != "random":
            inner = self.settings.inner_learning_rate
            meta = MetaSettings(method=self.method, inner_learning_rate=inner, **how)
            meta_train(loss, self.tasks, meta, generator=generator, run=quiet_run())
        return parameters_of(policy)


@dataclass(frozen=True)
class Adaptation:
    """Fine-tuning of a start to a kind of service and a cell: the curve of optimality over epochs."""

    start: Start
    kind: str
    source: SliceSource
    label: str
    features: str
    seed: int
    epochs: int
    settings: HmlSettings

    @property
    def name(self) -> str:
        return f"adapt-{self.kind}-{self.label}-{self.start.origin}"

    def __call__(self) -> dict[str, Tensor]:
        policy = SliceGNN(KINDS[self.kind], self.features)
        drawn, bound = evaluation_set(self.kind, self.source, self.features, self.settings.evaluation)
        tuned = fine_tune(
            policy_loss(policy),
            self.start.parameters,
            prepared_task(KINDS[self.kind], self.source, self.features),
            FineTuneSettings(steps=self.epochs, learning_rate=self.settings.fine_learning_rate),
            generator=_generator(_ADAPT, self.seed),
            evaluate=optimality(policy, drawn, bound),
        )
        curve = tuned.curve if tuned.curve is not None else torch.empty(0)
        return {"curve": curve, **{f"parameters.{name}": value for name, value in tuned.parameters.items()}}


@dataclass(frozen=True)
class MarginalTraining:
    """A policy of marginal features, trained over kinds of service by their certified gaps."""

    kinds: tuple[str, ...]
    steps: int
    seed: int
    settings: HmlSettings

    @property
    def name(self) -> str:
        left_out = [kind for kind in KINDS if kind not in self.kinds]
        return f"marginal-without-{'-'.join(left_out)}" if left_out else "marginal"

    def __call__(self) -> dict[str, Tensor]:
        policy = new_policy(KINDS[self.kinds[0]], "marginal", seed=self.seed)
        loss = PolicyLoss(policy, CertifiedGap(lambda drawn: drawn.upper_bound_bps), bind=SliceGNN.serving)
        generator = _generator(_TRAIN, self.seed)
        tasks = [
            pooled_task(KINDS[kind], "marginal", self.settings.pool, 32, generator) for kind in self.kinds
        ]
        how = TrainerSettings(
            steps=self.steps, learning_rate=3e-3, schedule="cosine", clip_norm=10.0, tasks_per_step=None
        )
        train(loss, tasks, how, generator=generator, run=quiet_run())
        return parameters_of(policy)
