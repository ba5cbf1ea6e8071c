"""The loop that every learner runs in: gradient steps, checkpoints, exact resume, progress."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from torchrrm.files import parse_header, to_json
from torchrrm.learning.checkpoint import (
    Checkpoint,
    CheckpointError,
    held_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from torchrrm.learning.history import LOSS, History
from torchrrm.learning.monitor import Monitor
from torchrrm.learning.objectives import Parameters
from torchrrm.learning.optimisers import DescentSettings, Optimiser, clip, make_optimiser, rate_at
from torchrrm.learning.windowed_decay import DecayedRate

__all__ = ["Gradient", "RunSettings", "adopt", "buffers_of", "descend", "parameters_of"]

_RATE = "learning_rate"

Gradient = Callable[
    [Parameters, torch.Generator],
    tuple[Parameters, Tensor] | tuple[Parameters, Tensor, Mapping[str, Tensor]],
]
"""`gradient(parameters, generator) -> (gradients, loss)` of one step, and measures by name if there are any; draws its
own samples."""


@dataclass(frozen=True)
class RunSettings:
    """Where a run leaves its traces; none of it changes the result.

    Attributes:
        checkpoint: file to keep the state in. If it exists, the run goes on from it; delete it to start anew.
        checkpoint_every: steps from one checkpoint to the next.
        checkpoint_seconds: time after which there is one anyway, at the end of the step.
        tensorboard: directory for TensorBoard scalars.
        progress: show a progress bar, if standard error is a terminal.
        history: to be filled with the loss, the learning rate and the measures of each step.
    """

    checkpoint: Path | None = None
    checkpoint_every: int = 100
    checkpoint_seconds: float = 5.0
    tensorboard: Path | None = None
    progress: bool = True
    history: History | None = None

    def __post_init__(self) -> None:
        if self.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every: must be at least 1, received {self.checkpoint_every}")


def parameters_of(policy: nn.Module) -> Parameters:
    """Copies of the policy's trainable parameters, by name."""
    return {name: value.detach().clone() for name, value in policy.named_parameters() if value.requires_grad}


def buffers_of(policy: nn.Module) -> Parameters:
    """Copies of the policy's buffers, by name: what training moves without a gradient, such as running averages."""
    return {name: value.detach().clone() for name, value in policy.named_buffers()}


def adopt(policy: nn.Module, parameters: Parameters) -> None:
    """Write parameters, and buffers if there are any among them, into the policy."""
    named = {**dict(policy.named_parameters()), **dict(policy.named_buffers())}
    with torch.no_grad():
        for name, value in parameters.items():
            named[name].copy_(value)


@dataclass(frozen=True)
class _State:
    """A run between two steps; frozen, so that an interrupt within a step leaves the one before it whole."""

    step: int
    parameters: Parameters
    buffers: Parameters
    optimiser: Parameters
    generator: Tensor


def descend(
    policy: nn.Module,
    gradient: Gradient,
    settings: DescentSettings,
    *,
    generator: torch.Generator,
    run: RunSettings | None = None,
) -> Float64[Tensor, "step"]:
    """Follow a gradient from the policy's parameters, write the result into the policy, return the losses.

    A run that is killed at any moment and started again ends bit by bit where it would have ended (on the same
    machine, with the same number of threads). It loses the step that it was in, and at most `run.checkpoint_every`
    steps and `run.checkpoint_seconds` before it. An interrupt (Ctrl-C) leaves a checkpoint of the last whole step and
    the policy at that step. Where `gradient` moves the policy's buffers, as batch normalisation does, they are part of
    the state.

    Raises:
        CheckpointError: if there is a checkpoint and it is not of this run, if another run uses it at this time, or if
            it cannot be written.
        ValueError: if the loss is not finite; the last checkpoint is then left as it is.
    """
    run = run or RunSettings()
    with held_checkpoint(run.checkpoint):
        return _descend(policy, gradient, settings, generator, run)


def _descend(
    policy: nn.Module,
    gradient: Gradient,
    settings: DescentSettings,
    generator: torch.Generator,
    run: RunSettings,
) -> Float64[Tensor, "step"]:
    history = History() if run.history is None else run.history
    identity = _identity(policy, settings)
    optimiser = make_optimiser(settings)
    state = _start(policy, optimiser, generator, run, identity, history)
    if state.step > settings.steps:
        raise CheckpointError(
            f"checkpoint: must be of at most {settings.steps} steps, received {state.step} ({run.checkpoint})"
        )
    rates = _Rates(settings, history)
    saved, saved_at = state.step, time.monotonic()
    monitor = Monitor(
        steps=settings.steps, start=state.step, progress=run.progress, tensorboard=run.tensorboard
    )
    try:
        with monitor:
            while state.step < settings.steps:
                gradients, loss, *measured = gradient(state.parameters, generator)
                scalars = {LOSS: _finite(loss, state.step), _RATE: rates.at(state.step)}
                scalars |= {name: value.item() for each in measured for name, value in each.items()}
                history.add(scalars)
                gradients, buffers = clip(gradients, settings.clip_norm), buffers_of(policy)
                state = _advance(state, gradients, buffers, optimiser, scalars[_RATE], generator)
                rates.learn(scalars)
                late = time.monotonic() - saved_at > run.checkpoint_seconds
                if late or state.step % run.checkpoint_every == 0:
                    _save(run, identity, state, history)
                    saved, saved_at = state.step, time.monotonic()
                monitor.update(state.step, scalars)
        if state.step > saved:
            _save(run, identity, state, history)
    except KeyboardInterrupt:
        _save(run, identity, state, history)
        raise
    finally:
        adopt(policy, state.parameters | state.buffers)
    return history.upto(state.step)[LOSS]


class _Rates:
    """The learning rate of each step: that of the schedule, times that of the decay."""

    def __init__(self, settings: DescentSettings, history: History) -> None:
        self._settings, decay = settings, settings.decay
        self._decayed = None if decay is None else DecayedRate(decay)
        if self._decayed is not None and len(history[LOSS]):
            name = self._decayed.decay.measure
            self._decayed.replay((-history[LOSS] if name is None else history[name]).tolist())

    def at(self, step: int) -> float:
        return rate_at(self._settings, step) * (1.0 if self._decayed is None else self._decayed.factor)

    def learn(self, scalars: Mapping[str, float]) -> None:
        if self._decayed is None:
            return
        name = self._decayed.decay.measure
        if name is not None and name not in scalars:
            raise ValueError(f"measure: must be one of {', '.join(scalars)}, received {name!r}")
        self._decayed.after(-scalars[LOSS] if name is None else scalars[name])


def _advance(
    state: _State,
    gradients: Parameters,
    buffers: Parameters,
    optimiser: Optimiser,
    rate: float,
    generator: torch.Generator,
) -> _State:
    parameters, memory = optimiser.update(gradients, state.optimiser, state.parameters, rate)
    return _State(state.step + 1, parameters, buffers, memory, generator.get_state())


def _finite(loss: Tensor, step: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise ValueError(
            f"loss: must be finite, received {value} at step {step}; a lower learning_rate may help"
        )
    return value


def _identity(policy: nn.Module, settings: DescentSettings) -> dict[str, Any]:
    """What must agree for a checkpoint to be of this run, as JSON values."""
    choices = dataclasses.asdict(settings)
    if settings.schedule == "constant":
        # The number of steps then changes no step: a finished run may be prolonged.
        del choices["steps"]
    identity = {
        "method": type(settings).__name__,
        "policy": type(policy).__name__,
        "arguments": dict(getattr(policy, "arguments", {})),
        "precision": str(next(policy.parameters()).dtype),
        "settings": choices,
    }
    return parse_header(to_json(identity, header=True), name="checkpoint")


def _checkpoint(identity: dict[str, Any], state: _State, history: History) -> Checkpoint:
    groups = {
        "parameters": state.parameters,
        "buffers": state.buffers,
        "optimiser": state.optimiser,
        "generator": {"state": state.generator},
        # An interrupt may come between a step's loss and its state: the loss is then one too many.
        "losses": history.upto(state.step),
    }
    return Checkpoint(identity=identity, step=state.step, groups=groups)


def _save(run: RunSettings, identity: dict[str, Any], state: _State, history: History) -> None:
    if run.checkpoint is not None:
        save_checkpoint(run.checkpoint, _checkpoint(identity, state, history))


def _start(
    policy: nn.Module,
    optimiser: Optimiser,
    generator: torch.Generator,
    run: RunSettings,
    identity: dict[str, Any],
    history: History,
) -> _State:
    """The first state of a run, or the one that its checkpoint holds, to which all the others are then set."""
    parameters = parameters_of(policy)
    state = _State(0, parameters, buffers_of(policy), optimiser.init(parameters), generator.get_state())
    if run.checkpoint is None or not run.checkpoint.exists():
        # Written at once: a path that cannot be written to is found before hours of training, not after.
        history.restore({})
        _save(run, identity, state, history)
        return state
    found = load_checkpoint(run.checkpoint, _checkpoint(identity, state, History()))
    try:
        generator.set_state(found.groups["generator"]["state"])
    except RuntimeError as error:
        rule = "must hold the state of a generator"
        raise CheckpointError(f"checkpoint: {rule}, received {run.checkpoint} ({error})") from error
    resumed = _State(
        step=found.step,
        parameters=_moved(found.groups["parameters"], state.parameters),
        buffers=_moved(found.groups.get("buffers", {}), state.buffers),
        optimiser=_moved(found.groups.get("optimiser", {}), state.optimiser),
        generator=generator.get_state(),
    )
    adopt(policy, resumed.buffers)
    history.restore(found.groups["losses"])
    return resumed


def _moved(tensors: Mapping[str, Tensor], like: Parameters) -> Parameters:
    return {name: value.to(like[name].device) for name, value in tensors.items()}
