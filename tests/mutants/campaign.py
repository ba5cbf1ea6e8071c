"""Run the tests of each mutant in the catalogue against it: `make mutants`.

A run is a fork of this process, which has imported the large packages, and works in a copy of the repository in a
temporary folder; the repository itself is not changed. The selected tests must first pass without a change. A mutant is
killed if one of its tests fails. Survivors are listed, and the exit code is then 1. Kernels are tested without
compilation, so that a cache cannot hide a change.

`campaign.py [FILE]` runs another catalogue; only the result of the default one goes to `docs/results/mutants.txt`.
"""

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numba
import pytest
import scipy.stats
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.mutants.catalogue import CATALOGUE, ROOT, Mutant, read_catalogue

_LOADED = (hypothesis, scipy.stats, torch)  # what tests would spend most of their time on importing
_TABLE = ROOT / "docs" / "results" / "mutants.txt"
_COPIED = ("src", "tests", "docs", "README.md", "pyproject.toml")
_LONGEST_S = 600  # of a run: a change may make a loop endless
_CHUNKS = 8  # of the tests without a change
_PASSED, _FAILED = 0, 1  # exit codes of pytest
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """Tests to run, with a mutant or without a change; kernels compiled or not."""

    tests: tuple[str, ...]
    compiled: bool
    mutant: Mutant | None = None

    @property
    def name(self) -> str:
        return f"{self.mutant.file}: {self.mutant.breaks}" if self.mutant else "without a change"


class Pool:
    """Copies of the repository, and a process at a time in each."""

    def __init__(self, folder: Path, copies: int):
        self._free: list[Path] = []
        self._running: dict[int, tuple[Run, Path]] = {}
        for number in range(copies):
            tree = folder / str(number)
            tree.mkdir()
            for name in _COPIED:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
                copy(ROOT / name, tree / name)
            self._free.append(tree)

    def outcomes(self, runs: Sequence[Run]) -> Iterator[tuple[Run, int, str]]:
        """Each run with its exit code and output, in the order in which they end."""
        waiting = list(reversed(runs))
        while waiting or self._running:
            while waiting and self._free:
                self._start(waiting.pop())
            pid, status = os.wait()
            run, tree = self._running.pop(pid)
            if run.mutant:
                shutil.copy2(ROOT / run.mutant.file, tree / run.mutant.file)
            self._free.append(tree)
            output = (tree / "log.txt").read_text(encoding="utf-8", errors="replace")
            yield run, os.waitstatus_to_exitcode(status), output

    def stop(self) -> None:
        """Kill the processes."""
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._running.clear()

    def _start(self, run: Run) -> None:
        tree = self._free.pop()
        if run.mutant:
            run.mutant.apply(tree)
        pid = os.fork()
        if pid == 0:
            _test(run, tree)
        self._running[pid] = (run, tree)


def _test(run: Run, tree: Path) -> None:
    """Run the tests in a copy, and end this process with the exit code."""
    os.chdir(tree)
    log = os.open("log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "torchrrm")]:
        del sys.modules[name]
    sys.path[:] = [str(tree / "src"), *(path for path in sys.path if path != str(ROOT))]
    sys.dont_write_bytecode = True  # a change may have the size and the second of another
    numba.config.DISABLE_JIT = not run.compiled  # pyright: ignore
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.alarm(_LONGEST_S)
    code = pytest.main(["-x", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider", *run.tests])
    sys.stdout.flush()
    os._exit(code)


def controls(mutants: Sequence[Mutant]) -> list[Run]:
    """All selected tests without a change, in parts."""
    runs = []
    for compiled in (True, False):
        tests = sorted({test for mutant in mutants if mutant.in_kernel != compiled for test in mutant.tests})
        parts = [tuple(tests[part::_CHUNKS]) for part in range(_CHUNKS)]
        runs += [Run(part, compiled) for part in parts if part]
    return runs


def killer(run: Run, code: int, output: str) -> str | None:
    """The test that failed; None if all passed.

    Raises:
        RuntimeError: if the tests were not run to an end.
    """
    if code == _PASSED:
        return None
    found = _FAILURE.search(output)
    if code != _FAILED or found is None:
        raise RuntimeError(f"{run.name}: pytest ended with {code}\n{output}")
    return found[1].split("[")[0]  # of which parameters does not matter


def campaign(mutants: Sequence[Mutant]) -> dict[Mutant, str | None]:
    """The test that kills each mutant, None for survivors; in the order of the catalogue.

    Raises:
        RuntimeError: if a selected test fails without a change, or if tests cannot be run.
    """
    without, changed = controls(mutants), [Run(m.tests, not m.in_kernel, m) for m in mutants]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    killers: dict[Mutant, str | None] = {}
    # Refreshed by hand, since a thread must not hold the terminal while this process forks.
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        Progress(*columns, console=console, auto_refresh=False, speed_estimate_period=600) as progress,
    ):
        bar = progress.add_task("without a change", total=len(without), rate="")
        progress.refresh()
        pool = Pool(Path(folder), min(os.cpu_count() or 1, len(changed)))
        try:
            for run, code, output in pool.outcomes(without):
                if killer(run, code, output):
                    raise RuntimeError(f"a selected test fails without a change\n{output}")
                progress.update(bar, advance=1, refresh=True)
            progress.reset(bar, description="mutants", total=len(changed))
            for run, code, output in pool.outcomes(changed):
                if run.mutant:
                    killers[run.mutant] = killer(run, code, output)
                    if killers[run.mutant] is None:
                        console.print(f"survives: {run.name}", markup=False)
                speed = progress.tasks[0].speed or 0.0
                progress.update(bar, advance=1, rate=f"{60 * speed:.0f} a minute", refresh=True)
        finally:
            pool.stop()
    return {mutant: killers[mutant] for mutant in mutants}


def table(killers: dict[Mutant, str | None]) -> str:
    """A line for each mutant: its file, what it breaks, and the test that fails."""
    survivors = sum(killer is None for killer in killers.values())
    rows = [("file", "change", "test that fails")]
    rows += [
        (mutant.file.removeprefix("src/torchrrm/"), mutant.breaks, killer or "SURVIVES")
        for mutant, killer in killers.items()
    ]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{file:{first}}  {breaks:{second}}  {test}" for file, breaks, test in rows]
    return "\n".join([f"make mutants: {survivors} of {len(killers)} survive", "", *lines, ""])


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else CATALOGUE
    try:
        killers = campaign(read_catalogue(path))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the table was not written", file=sys.stderr)
        return 130
    text = table(killers)
    print(text)
    if path == CATALOGUE:
        from torchrrm.files import atomic_write_text  # not before: runs import that of their copy

        atomic_write_text(_TABLE, text)
    return 1 if None in killers.values() else 0


if __name__ == "__main__":
    sys.exit(main())
