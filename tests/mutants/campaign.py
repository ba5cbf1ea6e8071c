"""Run the tests of each mutant in the catalogue against it: `make mutants`.

Each process works in its own copy of the repository in a temporary folder; the repository itself is not changed. The
selected tests must first pass without a change. A mutant is killed if one of its tests fails. Survivors are listed, and
the exit code is then 1. Kernels are tested without compilation, so that a cache cannot hide a change.

`campaign.py [FILE]` runs another catalogue; only the result of the default one goes to `docs/results/mutants.txt`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.mutants.catalogue import CATALOGUE, ROOT, Mutant, read_catalogue

from torchrrm.files import atomic_write_text

_TABLE = ROOT / "docs" / "results" / "mutants.txt"
_COPIED = ("src", "tests", "docs", "README.md", "pyproject.toml")
_TIMEOUT_S = 300.0  # a change may make a loop endless
_PASSED, _FAILED = 0, 1  # exit codes of pytest
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Workspace:
    """Copies of the repository, and the processes that run in them."""

    def __init__(self, folder: Path, copies: int):
        self._trees: SimpleQueue[Path] = SimpleQueue()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        for number in range(copies):
            tree = folder / str(number)
            tree.mkdir()
            for name in _COPIED:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
                copy(ROOT / name, tree / name)
            self._trees.put(tree)

    @contextmanager
    def tree(self) -> Iterator[Path]:
        """A copy that no other thread uses."""
        tree = self._trees.get()
        try:
            yield tree
        finally:
            self._trees.put(tree)

    def test(
        self, tree: Path, tests: Iterable[str], *, compiled: bool, timeout_s: float | None = None
    ) -> tuple[int, str]:
        """Exit code and output of pytest in a copy.

        Raises:
            RuntimeError: if the processes were stopped, or if the tests take too long.
        """
        if self._stopped:
            raise RuntimeError("stopped")
        environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        if not compiled:
            environment["NUMBA_DISABLE_JIT"] = "1"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider"]
        child = subprocess.Popen(
            [*command, *tests],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.add(child)
        try:
            output, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"tests take more than {timeout_s:.0f} s: {' '.join(tests)}") from error
        finally:
            child.kill()
            child.wait()
            self._running.discard(child)
        return child.returncode, output

    def stop(self) -> None:
        """Kill the processes, and start no more."""
        self._stopped = True
        for child in list(self._running):
            child.kill()


def require_passing(space: Workspace, mutants: list[Mutant]) -> None:
    """Run all selected tests without a change.

    Raises:
        RuntimeError: if one fails.
    """
    for in_kernel in (False, True):
        tests = {test for mutant in mutants if mutant.in_kernel == in_kernel for test in mutant.tests}
        if tests:
            with space.tree() as tree:
                code, output = space.test(tree, sorted(tests), compiled=not in_kernel)
            if code != _PASSED:
                raise RuntimeError(f"a selected test fails without a change\n{output}")


def killer(space: Workspace, mutant: Mutant) -> str | None:
    """The first test that fails on a mutant; None if the mutant survives.

    Raises:
        RuntimeError: if the tests could not be run.
    """
    with space.tree() as tree:
        mutant.apply(tree)
        try:
            code, output = space.test(tree, mutant.tests, compiled=not mutant.in_kernel, timeout_s=_TIMEOUT_S)
        finally:
            shutil.copy2(ROOT / mutant.file, tree / mutant.file)
    if code == _PASSED:
        return None
    found = _FAILURE.search(output)
    if code != _FAILED or found is None:
        raise RuntimeError(f"{mutant.file}: {mutant.breaks}: pytest ended with {code}\n{output}")
    return found[1]


def campaign(mutants: list[Mutant]) -> dict[Mutant, str | None]:
    """The test that kills each mutant, None for survivors; in the order of the catalogue.

    Raises:
        RuntimeError: if a selected test fails without a change, or cannot be run.
    """
    workers = min(os.cpu_count() or 1, len(mutants))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    killers: dict[Mutant, str | None] = {}
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        Progress(*columns, console=Console(stderr=True), speed_estimate_period=300) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        bar = progress.add_task("copying", total=None, rate="")
        space = Workspace(Path(folder), workers)
        try:
            progress.update(bar, description="without a change")
            require_passing(space, mutants)
            progress.reset(bar, description="mutants", total=len(mutants))
            futures = {pool.submit(killer, space, mutant): mutant for mutant in mutants}
            for future in as_completed(futures):
                mutant = futures[future]
                killers[mutant] = future.result()
                if killers[mutant] is None:
                    progress.console.print(f"survives: {mutant.file}: {mutant.breaks}", markup=False)
                speed = progress.tasks[0].speed or 0.0
                progress.update(bar, advance=1, rate=f"{60 * speed:.0f} a minute")
        except BaseException:
            space.stop()
            pool.shutdown(cancel_futures=True)
            raise
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
        atomic_write_text(_TABLE, text)
    return 1 if None in killers.values() else 0


if __name__ == "__main__":
    sys.exit(main())
