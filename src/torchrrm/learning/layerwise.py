"""Unrolled policies trained layer by layer with multipliers and learned scales: Algorithm 2 of [He2022USRMNet].

Of a layer's `x` on a batch, with the objective `f`, the coupled constraints `g_j` and their multipliers `l_j`, the loss
(19) weighs two tasks by scales that are learned along:

    loss = e^(-s_1/2) E[e^f] + e^(-s_2/2) E[sum_jk l_jk [g_jk]^+] + e^(s_1/2) + e^(s_2/2),
    l_jk <- l_jk + rate E[[g_jk]^+]    after every step.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call

from torchrrm.learning.loop import RunSettings, descend
from torchrrm.learning.objectives import Parameters
from torchrrm.learning.optimisers import DescentSettings, gradient_and_value
from torchrrm.policies.unrolled import ConstrainedProgram, Unrolled
from torchrrm.records import batch_shape, index, replace

__all__ = ["LayerHistory", "LayerwiseSettings", "multitask_loss", "train_layers"]

I = TypeVar("I")  # noqa: E741
S = TypeVar("S")

_SCORES = 5  # columns of the history


@dataclass(frozen=True)
class LayerwiseSettings:
    """How each layer is trained; the defaults are Section IV of [He2022USRMNet].

    Attributes:
        epochs: passes over the training instances, a layer.
        batch_size: instances a step.
        learning_rate: of Adam, for networks and scales alike.
        multiplier_rate: `eps_lambda`.
        scales: `s_1`, `s_2` that each layer begins with.
        schedule: of the learning rate over a layer's steps, `"constant"` as in the paper, or `"cosine"`.
        shared: one multiplier a constraint for all users; by default one for each user, which ties the training
            instances to one number of users.
    """

    epochs: int = 50
    batch_size: int = 20
    learning_rate: float = 1e-3
    multiplier_rate: float = 1e-4
    scales: tuple[float, float] = (1.0, 1.0)
    schedule: Literal["constant", "cosine"] = "constant"
    shared: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, received {getattr(self, name)}")
        if not 0 <= self.multiplier_rate < math.inf:
            raise ValueError(
                f"multiplier_rate: must be finite and not negative, received {self.multiplier_rate}"
            )


@dataclass(frozen=True)
class LayerHistory:
    """How the layers learned: after each epoch, on instances that are not trained on.

    Attributes:
        objective: mean of `-f`, for USRMNet (10a).
        violation: `V_g`, the mean of `[g_jk]^+` over constraints, users and instances.
        kept: part of the instances where every coupled constraint holds.
        scale: `s_1`, `s_2`.
        loss: mean of (19) over the steps of the epoch.
        losses: (19) of each step.
    """

    objective: Float64[Tensor, "layer epoch"]
    violation: Float64[Tensor, "layer epoch"]
    kept: Float64[Tensor, "layer epoch"]
    scale: Float64[Tensor, "layer epoch 2"]
    loss: Float64[Tensor, "layer epoch"]
    losses: Float64[Tensor, "layer step"]


def multitask_loss(
    objective: Float[Tensor, "*batch"],
    violation: Mapping[str, Float[Tensor, "*batch user"]],
    multiplier: Mapping[str, Float[Tensor, "#user"]],
    scale: Float[Tensor, " 2"],
) -> Float[Tensor, ""]:
    """Loss (19) of a batch, with the objective `f` to be minimised."""
    task = torch.exp(objective).mean()
    costs = [(multiplier[name] * value).sum(-1).mean() for name, value in violation.items()]
    cost = torch.stack(costs).sum() if costs else torch.zeros_like(task)
    down, up = torch.exp(-scale / 2), torch.exp(scale / 2)
    return down[0] * task + down[1] * cost + up.sum()


class _Learner(nn.Module):
    """A layer with all that moves while it learns: scales as parameters, the rest as buffers, so that runs resume.

    Args:
        layer: to be trained.
        settings: of the training.
        samples: training instances.
        multiplier: of each coupled constraint by name, to begin with.
        arguments: what tells runs apart besides, as JSON.
    """

    def __init__(
        self,
        layer: nn.Module,
        settings: LayerwiseSettings,
        samples: int,
        multiplier: Mapping[str, Tensor],
        arguments: Mapping[str, Any],
    ):
        super().__init__()
        self.layer, self.settings, self.samples = layer, settings, samples
        self.arguments = {**arguments, **dataclasses.asdict(settings), "samples": samples}
        like = next(layer.parameters())
        self.scale = nn.Parameter(torch.tensor(settings.scales, dtype=like.dtype, device=like.device))
        self.names = list(multiplier)
        for name, value in multiplier.items():
            self.register_buffer(f"multiplier_{name}", value)
        self.register_buffer("order", torch.zeros(samples, dtype=torch.int64))
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.register_buffer("history", torch.zeros(settings.epochs, _SCORES, dtype=torch.float64))

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.samples / self.settings.batch_size)

    @property
    def multiplier(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(f"multiplier_{name}") for name in self.names}

    def batch(self, place: int, generator: torch.Generator) -> Tensor:
        """The instances of a place within an epoch, which takes each once, in a new order."""
        order, size = self.get_buffer("order"), self.settings.batch_size
        if place == 0:
            order.copy_(torch.randperm(self.samples, generator=generator))
        return order[place * size : (place + 1) * size]

    def forward(self, program: ConstrainedProgram) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the violations of the layer's `x`."""
        x = self.layer(program)
        violation = program.violation(x)
        return multitask_loss(program.objective(x), violation, self.multiplier, self.scale), violation

    def move(self, violation: Mapping[str, Tensor]) -> None:
        """The step of the multipliers."""
        for name, value in violation.items():
            mean = value.detach().flatten(0, -2).mean(0)  # [user]
            mean = mean.mean(0, keepdim=True) if self.settings.shared else mean
            self.get_buffer(f"multiplier_{name}").add_(mean, alpha=self.settings.multiplier_rate)

    def score(self, parameters: Parameters, program: ConstrainedProgram, epoch: int) -> None:
        """Write down how the layer does after an epoch, counted from 0."""
        inner = {name.removeprefix("layer."): v for name, v in parameters.items() if name != "scale"}
        with torch.no_grad():
            x = functional_call(self.layer, inner, (program,))
            violation = torch.stack(list(program.violation(x).values())).double()  # [constraint *batch user]
            users = program.active.sum().clamp_min(1)
            row = [
                -program.objective(x).double().mean(),
                violation.sum() / (violation.shape[0] * users),
                (violation == 0).all(0).all(-1).double().mean(),
                *parameters["scale"].double(),
            ]
            self.get_buffer("history")[epoch] = torch.stack(row)


def train_layers(
    policy: Unrolled[I, S],
    instances: I,
    checks: I,
    settings: LayerwiseSettings | None = None,
    *,
    generator: torch.Generator,
    run: RunSettings | None = None,
) -> LayerHistory:
    """Train the layers of a policy in place, one after the other; each starts where the trained ones before it end.

    Args:
        policy: any unrolled policy; its own `restore` or the like takes no part.
        instances: to train on, of one batch axis. A resumed run needs the same.
        checks: to score on after each epoch, of one batch axis.
        settings: of each layer's training.
        generator: draws the order of the instances.
        run: checkpoints, progress and TensorBoard; each layer has a file or directory of its own, whose name ends in
            `-layer1` and so on.

    Raises:
        CheckpointError: if there is a checkpoint and it is not of this run, or if it cannot be written.
        ValueError: if the loss is not finite.
    """
    settings, learned = settings or LayerwiseSettings(), []
    with torch.no_grad():
        state, seen = policy.begin(instances), policy.begin(checks)
    for number, layer in enumerate(policy.layers, 1):
        learner = _learner(policy, number, instances, state, settings)
        check = policy.describe(checks, seen)

        def describe(chosen: Tensor, state: S = state) -> ConstrainedProgram:
            return policy.describe(index(instances, chosen), index(state, chosen))

        learned.append(_train_layer(learner, describe, check, generator, _run_of(run, number)))
        with torch.no_grad():
            state = policy.advance(instances, state, layer(policy.describe(instances, state)))
            seen = policy.advance(checks, seen, layer(check))
    return _history(learned)


def _learner(
    policy: Unrolled[I, S], number: int, instances: I, state: S, settings: LayerwiseSettings
) -> _Learner:
    first = policy.describe(index(instances, slice(1)), index(state, slice(1)))
    with torch.no_grad():
        violation = first.violation(first.start)
    zeros = {name: torch.zeros_like(value[0]) for name, value in violation.items()}
    multiplier = {name: value[:1] for name, value in zeros.items()} if settings.shared else zeros
    arguments = {
        "policy": type(policy).__name__,
        "arguments": dict(getattr(policy, "arguments", {})),
        "layer": number,
    }
    layer = policy.layers[number - 1]
    return _Learner(layer, settings, batch_shape(instances)[0], multiplier, arguments)


def _train_layer(
    learner: _Learner,
    describe: Callable[[Tensor], ConstrainedProgram],
    check: ConstrainedProgram,
    generator: torch.Generator,
    run: RunSettings | None,
) -> tuple[Tensor, Tensor]:
    """History and losses of one layer."""
    settings, each = learner.settings, learner.steps_per_epoch

    def gradient(parameters: Parameters, generator: torch.Generator) -> tuple[Parameters, Tensor]:
        epoch, place = divmod(int(learner.get_buffer("done")), each)
        if place == 0 and epoch:
            learner.score(parameters, check, epoch - 1)
        program, kept = describe(learner.batch(place, generator)), {}

        def loss(theta: Parameters) -> Tensor:
            value, violation = functional_call(learner, theta, (program,))
            kept.update(violation)
            return value

        found = gradient_and_value(loss, parameters)
        learner.move(kept)
        learner.get_buffer("done").add_(1)
        return found

    descent = DescentSettings(
        steps=settings.epochs * each, learning_rate=settings.learning_rate, schedule=settings.schedule
    )
    losses = descend(learner, gradient, descent, generator=generator, run=run)
    learner.score(dict(learner.named_parameters()), check, settings.epochs - 1)
    return learner.get_buffer("history").clone(), losses


def _run_of(run: RunSettings | None, number: int) -> RunSettings | None:
    """The run of one layer."""

    def own(path: Path | None) -> Path | None:
        return None if path is None else path.with_name(f"{path.stem}-layer{number}{path.suffix}")

    return run and replace(run, checkpoint=own(run.checkpoint), tensorboard=own(run.tensorboard))


def _history(learned: Sequence[tuple[Tensor, Tensor]]) -> LayerHistory:
    rows = torch.stack([history for history, _ in learned])  # [layer epoch score]
    losses = torch.stack([loss for _, loss in learned])  # [layer step]
    objective, violation, kept = rows[..., :3].unbind(-1)
    loss = losses.reshape(*rows.shape[:2], -1).mean(-1)
    return LayerHistory(objective, violation, kept, rows[..., 3:], loss, losses)
