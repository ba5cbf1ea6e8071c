"""The command line: `torchrrm demo | allocate | train | adapt | evaluate | run | reproduce | benchmark | export | ...`.

Each problem has its own options: `--problem` tells which ones the parser knows.
"""

import dataclasses
import gc
import shlex
import sys
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Union

import tyro
from rich.console import Console
from tyro.conf import subcommand

from torchrrm.cli.association import (
    AssociationAllocation,
    AssociationDraws,
    AssociationEvaluation,
    AssociationExport,
    FairAllocation,
    FairDraws,
    FairEvaluation,
    FairExport,
)
from torchrrm.cli.beamforming import BeamAllocation, BeamDraws, BeamEvaluation, BeamExport, BeamTraining
from torchrrm.cli.commands import (
    Adapt,
    Allocate,
    Benchmark,
    Demo,
    Evaluate,
    Export,
    List,
    Reproduce,
    Train,
    Warm,
)
from torchrrm.cli.demands import RunDemands
from torchrrm.cli.links import (
    ErgodicAllocation,
    ErgodicEvaluation,
    ErgodicExport,
    QosAllocation,
    QosDraws,
    QosEvaluation,
    QosExport,
    QosTraining,
    SumRateAllocation,
    SumRateDraws,
    SumRateEvaluation,
    SumRateExport,
    SumRateTraining,
)
from torchrrm.cli.options import Resumable, require_possible
from torchrrm.cli.process import compilation_shown, stop_in, stoppable
from torchrrm.cli.slicing import (
    SliceAdaptation,
    SliceAllocation,
    SliceEvaluation,
    SliceExport,
    SliceTraining,
)
from torchrrm.files import printable

__all__ = ["COMMANDS", "main", "run"]

_NO_MEMORY = "DefaultCPUAllocator"  # in the words of torch

COMMANDS: dict[str, dict[str, Any]] = {
    "slicing": {
        "demo": Demo,
        "allocate": Allocate[SliceAllocation],
        "train": Train[SliceTraining],
        "adapt": Adapt[SliceAdaptation],
        "evaluate": Evaluate[SliceEvaluation],
        "reproduce": Reproduce,
        "benchmark": Benchmark,
        "export": Export[SliceExport],
        "list": List,
        "warm": Warm,
    },
    "sum-rate": {
        "allocate": Allocate[SumRateAllocation],
        "train": Train[SumRateTraining],
        "adapt": Adapt[SumRateDraws],
        "evaluate": Evaluate[SumRateEvaluation],
        "export": Export[SumRateExport],
    },
    "qos-sum-rate": {
        "allocate": Allocate[QosAllocation],
        "train": Train[QosTraining],
        "adapt": Adapt[QosDraws],
        "evaluate": Evaluate[QosEvaluation],
        "export": Export[QosExport],
    },
    "ergodic-power": {
        "allocate": Allocate[ErgodicAllocation],
        "evaluate": Evaluate[ErgodicEvaluation],
        "export": Export[ErgodicExport],
    },
    "urllc": {
        "allocate": Allocate[BeamAllocation],
        "train": Train[BeamTraining],
        "adapt": Adapt[BeamDraws],
        "evaluate": Evaluate[BeamEvaluation],
        "export": Export[BeamExport],
    },
    "association": {
        "allocate": Allocate[AssociationAllocation],
        "train": Train[AssociationDraws],
        "adapt": Adapt[AssociationDraws],
        "evaluate": Evaluate[AssociationEvaluation],
        "export": Export[AssociationExport],
    },
    "fair-association": {
        "allocate": Allocate[FairAllocation],
        "train": Train[FairDraws],
        "adapt": Adapt[FairDraws],
        "evaluate": Evaluate[FairEvaluation],
        "export": Export[FairExport],
    },
    "demands": {
        "run": RunDemands,
    },
}
"""Commands by problem and name.

Those that have no problem stand with the first, which is the default of all commands that serve it; the default of the
others is the first that they serve.
"""


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM."""
    errors, command = Console(stderr=True, soft_wrap=True, highlight=False, markup=False), None
    with stoppable() as stopped, compilation_shown(sys.stderr):
        try:
            command = _command(arguments)
            require_possible(command)
            command(shlex.join(["torchrrm", *arguments]))
            return 0
        except (KeyboardInterrupt, SystemError) as error:
            number = stop_in(error)
            if number is None:
                raise
            stopped.set()
            hint = command.resume_hint() if isinstance(command, Resumable) else None
            errors.print("interrupted" if hint is None else f"interrupted; {hint}")
        except (ValueError, OSError) as error:
            errors.print(f"error: {printable(' '.join(str(error).split()))}")
            return 2
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and _NO_MEMORY not in str(error):
                raise
            errors.print("error: memory: must hold what is asked for, received less; smaller sizes may help")
            return 2
        gc.collect()  # what was left half made is collected here, where nobody hears it
        return 128 + number


def _command(arguments: Sequence[str]) -> Any:
    """The command that the arguments tell."""
    commands = _commands(_problem(arguments))
    known = [Annotated[command, subcommand(name)] for name, command in commands.items()]
    return tyro.cli(
        Union[tuple(known)],  # noqa: UP007  # pyright: ignore
        prog="torchrrm",
        description="Learned radio resource management: allocate, train, adapt, evaluate, run, export.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _commands(problem: str) -> dict[str, Any]:
    """All commands by name: those of the problem, the others as they are by default."""
    commands: dict[str, Any] = {}
    for others in COMMANDS.values():
        commands |= {name: command for name, command in others.items() if name not in commands}
    return commands | COMMANDS[problem]


def _problem(arguments: Sequence[str]) -> str:
    """The problem that the arguments name, or the default.

    Raises:
        ValueError: if there is none of that name, if the command does not serve it, or if an option is another
            problem's.
    """
    name = arguments[0] if arguments else ""
    serving = {other: commands[name] for other, commands in COMMANDS.items() if name in commands}
    default = next(iter(serving or COMMANDS))
    words = [part for argument in arguments for part in argument.split("=", 1)]
    place = words.index("--problem") if "--problem" in words[:-1] else None
    problem = default if place is None else words[place + 1]
    if not serving or "problem" not in _options(serving[default]):
        return default
    if problem not in serving:
        raise ValueError(f"problem: must be one of {', '.join(serving)} to {name}, received {problem!r}")
    for word in (word for word in words if word.startswith("--")):
        option = word.removeprefix("--").replace("-", "_")
        knowing = [other for other in serving if option in _options(serving[other])]
        if knowing and problem not in knowing:
            choice = " or ".join(knowing)
            raise ValueError(f"{word}: must go with --problem {choice}, received --problem {problem}")
    return problem


def _options(command: Any) -> set[str]:
    """Names of the fields of a command and of its parts."""
    origin = typing.get_origin(command) or command
    found: set[str] = set()
    for part, hint in typing.get_type_hints(origin).items():
        if isinstance(hint, typing.TypeVar):
            (hint,) = typing.get_args(command)
        found |= _options(hint) if dataclasses.is_dataclass(hint) else {part}
    return found


def main() -> None:
    """Entry point of the command `torchrrm`."""
    sys.exit(run(sys.argv[1:]))
