"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is one safetensors file with a JSON header, written atomically. Its tensors are groups of named
tensors (parameters, the optimiser's state, the generator's state, losses and measures so far); its header says whose
run it is of.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from torchrrm.files import differs, locked_file, printable
from torchrrm.learning.history import LOSS
from torchrrm.policies.weights import WeightsError, read_tensors, shape_mismatch, write_tensors

__all__ = ["Checkpoint", "CheckpointError", "held_checkpoint", "load_checkpoint", "save_checkpoint"]

SCHEMA = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read, or is of another run; the message is one line."""

    def __init__(self, message: str):
        super().__init__(printable(message))


@dataclass(frozen=True)
class Checkpoint:
    """State of a run between two steps.

    Attributes:
        identity: what makes the run the same run: method, policy, settings; JSON values.
        step: number of steps done.
        groups: tensors by group and name.
    """

    identity: Mapping[str, Any]
    step: int
    groups: Mapping[str, Mapping[str, Tensor]]


@contextlib.contextmanager
def held_checkpoint(path: Path | None) -> Iterator[None]:
    """Hold a checkpoint for one run; `None` holds nothing.

    Raises:
        CheckpointError: if another run holds it, or if it could not be written.
    """
    with contextlib.ExitStack() as held:
        try:
            if path is not None:
                held.enter_context(locked_file(path, argument="checkpoint"))
        except OSError as error:
            raise CheckpointError(
                f"checkpoint: must be writable, received {path} ({error.strerror})"
            ) from error
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        yield


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write the checkpoint atomically.

    Raises:
        CheckpointError: if the file cannot be written; the last good one is then left untouched.
    """
    header = {"schema": SCHEMA, "identity": dict(checkpoint.identity), "step": checkpoint.step}
    try:
        write_tensors(path, _flatten(checkpoint.groups), header)
    except OSError as error:
        raise CheckpointError(f"checkpoint: must be writable, received {path} ({error.strerror})") from error


def load_checkpoint(path: Path | str, expected: Checkpoint) -> Checkpoint:
    """Read the checkpoint of a run whose first state is `expected`.

    The losses may be of any length; all other tensors must have the names and shapes of `expected`. They come in its
    order, not in that of the file: sums over parameters, such as the norm of a gradient, depend on it in the last bit.

    Raises:
        CheckpointError: if the file is missing, truncated, foreign, or of a run with another identity.
    """
    try:
        tensors, header = read_tensors(path)
    except WeightsError as error:
        raise CheckpointError(str(error).replace("path:", "checkpoint:", 1)) from error
    step = header.get("step")
    if header.get("schema") != SCHEMA or type(step) is not int or step < 0:
        raise CheckpointError(f"checkpoint: must be one of schema {SCHEMA}, received {path} of another kind")
    _check_identity(path, expected.identity, header.get("identity"))
    groups = _unflatten(tensors)
    mismatch = shape_mismatch(_fixed(expected.groups), _fixed(groups))
    if mismatch or LOSS not in groups.get("losses", {}):
        raise CheckpointError(
            f"checkpoint: must be of the same policy, received {path}: {mismatch or 'no losses'}"
        )
    ordered = {
        group: {name: groups[group][name] for name in named}
        for group, named in expected.groups.items()
        if named
    }
    return Checkpoint(identity=expected.identity, step=step, groups=ordered | {"losses": groups["losses"]})


def _check_identity(path: Path | str, expected: Mapping[str, Any], received: Any) -> None:
    for key, value in expected.items():
        found = received.get(key) if isinstance(received, dict) else None
        if isinstance(value, Mapping):
            _check_identity(path, value, found)
        elif differs(found, value):
            raise CheckpointError(f"checkpoint: must be of {key} {value}, received {path} of {found}")


def _fixed(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return _flatten({name: group for name, group in groups.items() if name != "losses"})


def _flatten(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{group}:{name}": tensor for group, named in groups.items() for name, tensor in named.items()}


def _unflatten(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition(":")
        groups.setdefault(group, {})[name] = tensor
    return groups
