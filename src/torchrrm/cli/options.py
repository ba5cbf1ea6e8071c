"""What the options of all commands share; imports no torch."""

import os
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

if TYPE_CHECKING:
    import torch

    from torchrrm.bench import Display, Results
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

    def show(self, results: "Results", display: "Display") -> None:
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


def settings(command: Any) -> dict[str, Any]:
    """The options of a command by their names, those of its parts among them."""
    found: dict[str, Any] = {}
    for part in fields(command):
        value = getattr(command, part.name)
        found |= settings(value) if is_dataclass(value) else {part.name: value}
    return found
