"""Weights of policies on disk: safetensors with a JSON header, never pickle.

The header lies in the file's metadata under the key `torchrrm`:

    {"schema": 1, "policy": class name, "arguments": {constructor arguments},
     "provenance": {commit, seed, recipe, settings, date}}

so that a file says by itself what it is and how it came to be, and reading one runs no code of its author.
"""

import importlib.resources
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from torchrrm.files import (
    MemoryLimitError,
    atomic_write_bytes,
    parse_header,
    printable,
    require_memory,
    to_json,
)

__all__ = [
    "Weights",
    "WeightsError",
    "list_pretrained",
    "load_policy",
    "load_pretrained",
    "load_weights",
    "read_tensors",
    "save_weights",
    "shape_mismatch",
    "write_tensors",
]

SCHEMA = 1
_MOST = 4096
"""Largest integer of a constructor's arguments."""
_MOST_UNTRIED, _MOST_TOGETHER = 512, 2**16
"""Largest sums of a constructor's arguments: for a policy that is made at once, and for any policy."""
_HEADER_BYTES = 64
"""Memory of a byte of the header: its text, names and shapes of empty tensors, and lists in lists."""
_PARAMETER_BYTES = 8
"""Memory of an element of the policy that is made, at most."""
_KEY = "torchrrm"
_SUFFIX = ".safetensors"


class WeightsError(ValueError):
    """A file of weights that cannot be used; the message is one line."""

    def __init__(self, message: str):
        super().__init__(printable(message))


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        policy: name of the policy's class.
        arguments: what its constructor takes.
        provenance: where the weights come from.
        tensors: the state of the policy, parameters and buffers.
    """

    policy: str
    arguments: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, Tensor]


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, atomically.

    Raises:
        TypeError: if the header holds what JSON cannot.
        OSError: if the file cannot be written; an older one is then left untouched.
    """
    # Copies, since safetensors refuses tensors that share memory, such as tied weights.
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    atomic_write_bytes(Path(path), safetensors.torch.save(plain, {_KEY: to_json(header, header=True)}))


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file of `write_tensors`.

    Raises:
        WeightsError: if there is no such file, if it is truncated or foreign, or if reading it takes more memory than
            the limit (see `torchrrm.files`).
    """
    try:
        _require_memory(path)
        with safetensors.safe_open(path, framework="pt") as file:
            header = parse_header((file.metadata() or {})[_KEY], name="path")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except FileNotFoundError as error:
        raise WeightsError(f"path: must be an existing file, received {path}") from error
    except KeyError as error:
        raise WeightsError(
            f"path: must be written by torchrrm, received {path} without its header"
        ) from error
    except MemoryLimitError as error:
        raise WeightsError(str(error)) from error
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"path: must be a whole safetensors file, received {path} ({reason})") from error
    if not isinstance(header, dict):
        raise WeightsError(
            f"path: must be written by torchrrm, received {path} with a header of another form"
        )
    return tensors, header


def _require_memory(path: Path | str) -> None:
    """Refuse a file whose tensors and header take more memory than the limit."""
    with open(path, "rb") as file:
        size, header = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
    require_memory("path", size + _HEADER_BYTES * min(header, size))


def shape_mismatch(expected: Mapping[str, Tensor], received: Mapping[str, Tensor]) -> str | None:
    """The first difference in names, shapes or kinds of numbers, in words; `None` if there is none."""
    for name in sorted(expected.keys() | received.keys()):
        if name not in received:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} is not expected"
        if expected[name].shape != received[name].shape:
            wanted, found = tuple(expected[name].shape), tuple(received[name].shape)
            return f"{name} must have shape {wanted}, received {found}"
        if _nature(expected[name]) != _nature(received[name]):
            return f"{name} must hold {expected[name].dtype}, received {received[name].dtype}"
    return None


def _nature(tensor: Tensor) -> tuple[bool, bool]:
    """What conversion would lose: whether numbers are complex, and whether they have fractions."""
    return tensor.is_complex(), tensor.is_floating_point()


def save_weights(path: Path | str, policy: nn.Module, provenance: Mapping[str, Any]) -> None:
    """Write a policy's state, its constructor's arguments and its provenance, atomically.

    Args:
        path: file to write; the suffix by convention `.safetensors`.
        policy: must expose `arguments`, a dictionary of JSON values with which its class makes it anew.
        provenance: commit, seed, recipe, settings, date: JSON values.

    Raises:
        WeightsError: if the policy exposes no `arguments`.
    """
    name, arguments = type(policy).__name__, getattr(policy, "arguments", None)
    if not isinstance(arguments, Mapping):
        raise WeightsError(
            f"policy: must expose its constructor's arguments as a dictionary, received {name}"
        )
    header = {"schema": SCHEMA, "policy": name, "arguments": dict(arguments), "provenance": dict(provenance)}
    write_tensors(path, policy.state_dict(), header)


def load_weights(path: Path | str) -> Weights:
    """Read a file of `save_weights` without making the policy.

    Raises:
        WeightsError: if the file is missing, truncated, foreign, or of another schema.
    """
    tensors, header = read_tensors(path)
    if header.get("schema") != SCHEMA or not isinstance(header.get("policy"), str):
        raise WeightsError(
            f"path: must hold weights of schema {SCHEMA}, received {path} of {header.get('schema')}"
        )
    arguments, provenance = header.get("arguments"), header.get("provenance")
    if not isinstance(arguments, dict) or not isinstance(provenance, dict):
        raise WeightsError(f"path: must say its arguments and provenance, received {path}")
    return Weights(policy=header["policy"], arguments=arguments, provenance=provenance, tensors=tensors)


def load_policy(path: Path | str, registry: Mapping[str, type[nn.Module]]) -> nn.Module:
    """Make the policy whose weights a file holds.

    Args:
        path: a file of `save_weights`.
        registry: the policies that may be made; a class is found by its own name, whatever its key.

    Raises:
        WeightsError: also if the policy is not in the registry or its weights do not fit it.
    """
    weights = load_weights(path)
    elements = sum(tensor.numel() for tensor in weights.tensors.values())
    held = sum(tensor.nbytes for tensor in weights.tensors.values())
    try:
        require_memory("path", held + _PARAMETER_BYTES * elements)
    except MemoryLimitError as error:
        raise WeightsError(str(error)) from error
    classes = {policy.__name__: policy for policy in registry.values()}
    if weights.policy not in classes:
        raise WeightsError(
            f"path: must hold weights of {', '.join(sorted(classes))}, received {weights.policy} in {path}"
        )
    try:
        policy = _made(classes[weights.policy], weights, path)
    except WeightsError:
        raise
    # The constructor meets what a stranger wrote, of whatever types: one message covers all that may come of it.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"path: must hold arguments of {weights.policy}, received {path} ({reason:.300})"
        ) from error
    mismatch = shape_mismatch(policy.state_dict(), weights.tensors)
    if mismatch:
        raise WeightsError(f"path: must fit {weights.policy}, received {path}: {mismatch}")
    policy.load_state_dict(weights.tensors)
    return policy.eval()


def _made(policy: type[nn.Module], weights: Weights, path: Path | str) -> nn.Module:
    """The policy of these arguments; a large one only if it fits the file's tensors, tried without memory."""
    if _largest(weights.arguments) > _MOST:
        raise ValueError(f"sizes must be at most {_MOST}, received more")
    together = _together(weights.arguments)
    if together > _MOST_TOGETHER:
        raise ValueError(f"sizes must be at most {_MOST_TOGETHER} together, received {together}")
    if together > _MOST_UNTRIED:
        with torch.device("meta"):
            tried = policy(**weights.arguments)
        mismatch = shape_mismatch(tried.state_dict(), weights.tensors)
        if mismatch:
            raise WeightsError(f"path: must fit {weights.policy}, received {path}: {mismatch}")
    return policy(**weights.arguments)


def _largest(value: Any) -> int:
    """Largest integer among these arguments."""
    if isinstance(value, int):
        return abs(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(_largest, parts), default=0)


def _together(value: Any) -> int:
    """Sum of the integers among these arguments; everything else counts as 1."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return sum(map(_together, parts)) if parts is not None else max(1, _largest(value))


def _shipped() -> Any:
    return importlib.resources.files("torchrrm.policies").joinpath("pretrained")


def list_pretrained() -> list[str]:
    """Names of the weights that ship with the package."""
    folder = _shipped()
    if not folder.is_dir():
        return []
    return sorted(file.name.removesuffix(_SUFFIX) for file in folder.iterdir() if file.name.endswith(_SUFFIX))


def load_pretrained(name: str, registry: Mapping[str, type[nn.Module]]) -> nn.Module:
    """The policy whose weights ship with the package under this name.

    Raises:
        WeightsError: if there are none of that name.
    """
    if name not in list_pretrained():
        raise WeightsError(
            f"name: must be one of {', '.join(list_pretrained()) or '(none ships)'}, received {name}"
        )
    with importlib.resources.as_file(_shipped().joinpath(name + _SUFFIX)) as path:
        return load_policy(path, registry)
