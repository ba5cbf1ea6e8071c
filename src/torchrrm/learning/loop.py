"""The loop that every learner runs in: gradient steps, checkpoints, exact resume, progress."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from torchrrm.learning.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from torchrrm.learning.monitor import Monitor
from torchrrm.learning.objectives import Parameters
from torchrrm.learning.optimisers import DescentSettings, Optimiser, clip, make_optimiser, rate_at

__all__ = ["Gradient", "RunSettings", "adopt", "buffers_of", "descend", "parameters_of"]

Gradient = Callable[[Parameters, torch.Generator], tuple[Parameters, Tensor]]
"""`gradient(parameters, generator) -> (gradients, loss)` of one step; draws its own samples."""


@dataclass(frozen=True)
class RunSettings:
    """Where a run leaves its traces; none of it changes the result.

    Attributes:
        checkpoint: file to keep the state in. If it exists, the run goes on from it; delete it to start anew.
        checkpoint_every: steps from one checkpoint to the next.
        tensorboard: directory for TensorBoard scalars.
        progress: show a progress bar, if standard error is a terminal.
    """

    checkpoint: Path | None = None
    checkpoint_every: int = 100
    tensorboard: Path | None = None
    progress: bool = True

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

    A run that is killed at any moment and started again ends bit by bit where it would have ended (on the
    same machine, with the same number of threads), and has lost at most `run.checkpoint_every` steps. An
    interrupt (Ctrl-C) leaves a checkpoint of the last whole step and the policy at that step. Where `gradient`
    moves the policy's buffers, as batch normalisation does, they are part of the state; such a run was seen to
    differ in the last bits after it was resumed, unless MKL is told to be reproducible (`MKL_CBWR=COMPATIBLE`).

    Raises:
        CheckpointError: if there is a checkpoint and it is not of this run, or if it cannot be written.
        ValueError: if the loss is not finite; the last checkpoint is then left as it is.
    """
    run = run or RunSettings()
    identity = _identity(policy, settings)
    optimiser = make_optimiser(settings)
    state, losses = _start(policy, optimiser, generator, run, identity)
    if state.step > settings.steps:
        raise CheckpointError(
            f"checkpoint: must be of at most {settings.steps} steps, received {state.step} ({run.checkpoint})"
        )
    saved = state.step
    monitor = Monitor(
        steps=settings.steps, start=state.step, progress=run.progress, tensorboard=run.tensorboard
    )
    try:
        with monitor:
            while state.step < settings.steps:
                gradients, loss = gradient(state.parameters, generator)
                losses.append(_finite(loss, state.step))
                gradients, buffers = clip(gradients, settings.clip_norm), buffers_of(policy)
                state = _advance(state, gradients, buffers, optimiser, settings, generator)
                if state.step % run.checkpoint_every == 0:
                    _save(run, identity, state, losses)
                    saved = state.step
                monitor.update(state.step, losses[-1])
        if state.step > saved:
            _save(run, identity, state, losses)
    except KeyboardInterrupt:
        _save(run, identity, state, losses)
        raise
    finally:
        adopt(policy, state.parameters | state.buffers)
    return torch.tensor(losses, dtype=torch.float64)


def _advance(
    state: _State,
    gradients: Parameters,
    buffers: Parameters,
    optimiser: Optimiser,
    settings: DescentSettings,
    generator: torch.Generator,
) -> _State:
    rate = rate_at(settings, state.step)
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
    return json.loads(json.dumps(identity))


def _checkpoint(identity: dict[str, Any], state: _State, losses: list[float]) -> Checkpoint:
    groups = {
        "parameters": state.parameters,
        "buffers": state.buffers,
        "optimiser": state.optimiser,
        "generator": {"state": state.generator},
        # An interrupt may come between a step's loss and its state: the loss is then one too many.
        "losses": {"step": torch.tensor(losses[: state.step], dtype=torch.float64)},
    }
    return Checkpoint(identity=identity, step=state.step, groups=groups)


def _save(run: RunSettings, identity: dict[str, Any], state: _State, losses: list[float]) -> None:
    if run.checkpoint is not None:
        save_checkpoint(run.checkpoint, _checkpoint(identity, state, losses))


def _start(
    policy: nn.Module,
    optimiser: Optimiser,
    generator: torch.Generator,
    run: RunSettings,
    identity: dict[str, Any],
) -> tuple[_State, list[float]]:
    """The first state of a run, or the one that its checkpoint holds, to which generator and buffers are then set."""
    parameters = parameters_of(policy)
    state = _State(0, parameters, buffers_of(policy), optimiser.init(parameters), generator.get_state())
    if run.checkpoint is None or not run.checkpoint.exists():
        # Written at once: a path that cannot be written to is found before hours of training, not after.
        _save(run, identity, state, [])
        return state, []
    found = load_checkpoint(run.checkpoint, _checkpoint(identity, state, []))
    generator.set_state(found.groups["generator"]["state"])
    resumed = _State(
        step=found.step,
        parameters=_moved(found.groups["parameters"], state.parameters),
        buffers=_moved(found.groups.get("buffers", {}), state.buffers),
        optimiser=_moved(found.groups.get("optimiser", {}), state.optimiser),
        generator=generator.get_state(),
    )
    adopt(policy, resumed.buffers)
    return resumed, found.groups["losses"]["step"].tolist()


def _moved(tensors: Mapping[str, Tensor], like: Parameters) -> Parameters:
    return {name: value.to(like[name].device) for name, value in tensors.items()}
