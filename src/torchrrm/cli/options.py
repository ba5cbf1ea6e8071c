"""What the options of all commands share; imports no torch."""

import math
import os
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from tyro.conf import arg

if TYPE_CHECKING:
    import torch

    from torchrrm.bench import Results
    from torchrrm.bench.report import Shown
    from torchrrm.setups.workbench import Given

__all__ = [
    "FileOrNone",
    "FilePath",
    "Folder",
    "FolderOrNone",
    "Name",
    "Names",
    "OneInstance",
    "ProblemName",
    "Run",
    "require_possible",
    "settings",
]

FilePath = Annotated[Path, arg(metavar="FILE")]
FileOrNone = Annotated[Path | None, arg(metavar="FILE")]
Folder = Annotated[Path, arg(metavar="DIR")]
FolderOrNone = Annotated[Path | None, arg(metavar="DIR")]
Name = Annotated[str, arg(metavar="NAME")]
Names = Annotated[str, arg(metavar="A,B")]
ProblemName = Literal[
    "slicing", "sum-rate", "qos-sum-rate", "ergodic-power", "urllc", "association", "fair-association"
]


_MOST, _MOST_SEED = 10**9, 2**63 - 1
_AXES = (
    ("instances", "batch_size", "samples"),
    ("slots",),
    ("users", "links"),
    ("stations", "links", "antennas"),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every command takes."""

    seed: int = 0
    """Of every random number."""
    threads: int = 1
    """Threads of the processor; small operators are fastest on one."""
    json: FileOrNone = None
    """Write the results with commit, device, threads, seed and settings."""

    def begin(self) -> "torch.Generator":
        """Set the threads, and return the generator that random numbers come from."""
        import numba
        import torch

        most = len(os.sched_getaffinity(0))
        if not 1 <= self.threads <= most:
            raise ValueError(f"threads: must be 1 to {most} on this machine, received {self.threads}")
        numba.set_num_threads(self.threads)  # starts its threads, which changes the number of torch's
        torch.set_num_threads(self.threads)
        return torch.Generator().manual_seed(self.seed)

    def keep(self, results: "Results") -> None:
        """Write the results where `--json` says."""
        if self.json is not None:
            results.to_json(self.json)

    def show(self, results: "Results", display: "Shown") -> None:
        """Print the results, and keep them."""
        from torchrrm.bench.report import circumstances, console, terminal_table

        console().print(terminal_table(results, display))
        console().print(circumstances(results), style="dim", soft_wrap=True)
        self.keep(results)


class OneInstance:
    """What an allocation does if its problem asks for nothing else: of a snapshot, into a table."""

    def find(self, name: str) -> Any:
        """Where the instance is from: the snapshot of that name."""
        from torchrrm.setups import workbench

        return workbench.find_snapshot(name)

    def keep(self, given: "Given[Any]", action: Any, about: dict[str, Any]) -> None:
        """Write what the table does not hold."""


def require_possible(command: Any) -> None:
    """Refuse what no work could begin with, or end with, before it begins.

    Raises:
        ValueError: for numbers that are not finite or absurdly large, for more numbers than a memory holds, and for files
            that cannot be written.
    """
    given = settings(command)
    for name, value in given.items():
        most = _MOST_SEED if name == "seed" else _MOST
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name}: must be finite, received {value}")
        if isinstance(value, int) and abs(value) > most:
            raise ValueError(
                f"{name}: must be at most {most}, received {value if abs(value) < 10**40 else 'more'}"
            )
    _require_memory(given)
    for name, path in _files(command).items():
        _require_place(name, path)


def _require_memory(given: dict[str, Any]) -> None:
    """Refuse draws whose gains alone would take gigabytes."""
    sizes = [[given[name] for name in names if isinstance(given.get(name), int)] for names in _AXES]
    numbers = math.prod(max(axis, default=1) for axis in sizes)
    if numbers > _MOST:
        told = ", ".join(f"{name} {given[name]}" for names in _AXES for name in names if given.get(name))
        raise ValueError(f"sizes: must be of at most {_MOST} gains in all, received {told}")


def _require_place(name: str, path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{name}: must be a file, received the folder {path}")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{name}: must lie in an existing folder, received {path}")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{name}: must lie in a folder that can be written to, received {path}")


def _files(command: Any) -> dict[str, Path]:
    """The files that a command writes, by the names of the options."""
    hints, found = get_type_hints(type(command), include_extras=True), {}
    for part in fields(command):
        value = getattr(command, part.name)
        if is_dataclass(value):
            found |= _files(value)
        elif isinstance(value, Path) and hints[part.name] in (FilePath, FileOrNone):
            found[part.name] = value
    return found


def settings(command: Any) -> dict[str, Any]:
    """The options of a command by their names, those of its parts among them."""
    found: dict[str, Any] = {}
    for part in fields(command):
        value = getattr(command, part.name)
        found |= settings(value) if is_dataclass(value) else {part.name: value}
    return found
