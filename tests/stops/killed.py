"""Long commands that are stopped at random moments and go on, against the same commands in one go."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from torchrrm.bench import Results

SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
CODES = {signal.SIGTERM: (143,), signal.SIGKILL: (-signal.SIGKILL,), signal.SIGINT: (130,)}
_TIMED = ("latency", "p50", "p99")


@dataclass(frozen=True)
class LongCommand:
    """A command, and what it leaves behind.

    Attributes:
        name: of the command.
        line: `line(folder, going_on)` are its arguments, to begin or to go on.
        kept: files, by patterns, of which one must be there after 10 s.
        result: what must be the same however often it was stopped.
    """

    name: str
    line: Callable[[Path, bool], list[str]]
    kept: str
    result: Callable[[Path], Mapping[str, Any]]


def _tensors(path: Path) -> dict[str, Any]:
    return {name: value.tolist() for name, value in load_file(path).items() if "latency" not in name}


def _rows(path: Path) -> dict[str, Any]:
    """What rows say besides times."""
    return {
        f"{row.problem} {row.setting} {row.allocator}": (
            row.objective,
            row.bound,
            row.violation_max,
            {name: each.value for name, each in row.measures.items() if not _is_timed(name)},
        )
        for row in Results.from_json(path).rows
    }


def _is_timed(name: str) -> bool:
    return any(word in name for word in _TIMED) or "time" in name or "µs" in name


def run_demands(slots: int) -> LongCommand:
    def line(folder: Path, going_on: bool) -> list[str]:
        state = folder / "state.safetensors"
        resume = ["--resume"] if going_on and state.exists() else []
        return ["run", "--demands", "0.5,1,0.2", "--slots", str(slots), "--state", str(state), *resume]

    return LongCommand(
        "run", line, "state.safetensors", lambda folder: _tensors(folder / "state.safetensors")
    )


def train(steps: int, batch_size: int) -> LongCommand:
    def line(folder: Path, going_on: bool) -> list[str]:
        sizes = ["--scenario", "hml", "--users", "8", "--steps", str(steps), "--batch-size", str(batch_size)]
        return ["train", *sizes, "--out", str(folder / "weights.safetensors")]

    return LongCommand(
        "train",
        line,
        "weights.safetensors*",
        lambda folder: _tensors(folder / "weights.safetensors"),
    )


def reproduce(recipe: str) -> LongCommand:
    def line(folder: Path, going_on: bool) -> list[str]:
        return ["reproduce", recipe, "--scale", "smoke", "--out", str(folder / recipe)]

    return LongCommand(
        f"reproduce {recipe}", line, "*/jobs*/**/*", lambda folder: _rows(folder / recipe / "results.json")
    )


def benchmark(problem: str) -> LongCommand:
    def line(folder: Path, going_on: bool) -> list[str]:
        return ["benchmark", "--problems", problem, "--scale", "smoke", "--out", str(folder / "board")]

    return LongCommand(
        f"benchmark {problem}",
        line,
        "board/**/*.safetensors",
        lambda folder: _rows(folder / "board" / "leaderboard.json"),
    )


def start(command: LongCommand, folder: Path, going_on: bool) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell or a container does."""
    program = f"import sys; from torchrrm import cli; sys.exit(cli.run({command.line(folder, going_on)!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def stop(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal until the process ends, since one that meets a callback of C code is lost; what it said."""
    while True:
        process.send_signal(number)
        try:
            return process.communicate(timeout=10)[1]
        except subprocess.TimeoutExpired:
            continue


def whole(command: LongCommand, folder: Path) -> Mapping[str, Any]:
    """Result of the command in one go, and how long that took."""
    folder.mkdir()
    process = start(command, folder, going_on=False)
    error = process.communicate()[1]
    assert process.returncode == 0, error
    return command.result(folder)


def stopped(
    command: LongCommand, folder: Path, chance: random.Random, stops: int, longest_s: float
) -> Mapping[str, Any]:
    """Result of the command that is stopped at so many random moments."""
    folder.mkdir(exist_ok=True)
    for turn in range(stops):
        process, number = start(command, folder, going_on=turn > 0), chance.choice(SIGNALS)
        try:
            process.wait(chance.uniform(0.0, longest_s))
        except subprocess.TimeoutExpired:
            error = stop(process, number)
            # A signal before the command listens ends the process as ever.
            assert process.returncode in (*CODES[number], -number, 0), (number, process.returncode, error)
            assert "Traceback" not in error or process.returncode == -number, error
        else:
            assert process.returncode == 0, process.communicate()[1]
    process = start(command, folder, going_on=True)
    error = process.communicate()[1]
    assert process.returncode == 0, error
    return command.result(folder)


def children_of(process: subprocess.Popen[Any]) -> list[int]:
    """Processes that a process has started, from the table of the system."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process.pid:
            found.append(int(status.parent.name))
    return found


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes true in that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
