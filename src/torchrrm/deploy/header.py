"""The header of an exported file: what it says of itself, as JSON among the file's metadata."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torchrrm.files import MemoryLimitError, parse_header

__all__ = ["KEY", "SCHEMA", "read_header", "require"]

SCHEMA = 1
KEY = "torchrrm"
_FORM = {
    "policy": str,
    "arguments": dict,
    "problem": dict,
    "deployment": dict,
    "inputs": dict,
    "outputs": dict,
    "provenance": dict,
    "torchrrm": str,
}


def read_header(metadata: Mapping[str, str], path: object) -> dict[str, Any]:
    """The header among a file's metadata.

        {"schema": 1, "policy": class name, "arguments": {constructor arguments}, "problem": {class and
        parameters},
         "deployment": {service and what it needs}, "inputs": {name: axes}, "outputs": {name: axes},
         "provenance": {...}, "torchrrm": version}

    An axis is a name, or a number if its size is fixed. Numbers that are not finite stand there as the texts "NaN",
    "Infinity" and "-Infinity", and are numbers in what is returned.

    Raises:
        ValueError: if there is none, or one of another schema or form.
    """
    if KEY not in metadata:
        raise ValueError(f"path: must be exported by torchrrm, received {path} without its header")
    try:
        header = parse_header(metadata[KEY], name="path")
    except MemoryLimitError:
        raise
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        schema = repr(header.get("schema"))[:40] if isinstance(header, dict) else "no"
        raise ValueError(f"path: must have a header of schema {SCHEMA}, received {path} of {schema}")
    for name, kind in _FORM.items():
        if not isinstance(header.get(name), kind):
            raise ValueError(
                f"path: must have a whole header, received {path} whose {name} is {header.get(name)!r:.40}"
            )
    return header


def require(name: str) -> ModuleType:
    """A module of the extra `deploy`.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = f"{name}: must be installed, received no such package; pip install 'torchrrm[deploy]'"
        raise ValueError(missing) from error
