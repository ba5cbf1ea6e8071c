"""Run the tests of each mutant in the catalogue against it; `make mutants`.

Works on copies of the repository in a temporary folder, one for each process, and never on the repository itself. First
all selected tests must pass without a change. A mutant is killed if one of its tests fails; survivors are listed, and
make the exit code 1. Tests of kernels run without compilation, so that numba's cache cannot hide a change.

`campaign.py [FILE]` reads another catalogue; only the default one is written to `docs/results/mutants.txt`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.mutants.catalogue import CATALOGUE, ROOT, Mutant, read_catalogue

from torchrrm.files import atomic_write_text

_TABLE = ROOT / "docs" / "results" / "mutants.txt"
_COPIED = ("src", "tests", "docs", "README.md", "pyproject.toml")
_TIMEOUT_S = 300.0
_PASSED, _FAILED = 0, 1  # exit codes of pytest
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass
class Workspace:
    """Copies of the repository, and the processes that run in them."""

    trees: SimpleQueue[Path] = field(default_factory=SimpleQueue)
    running: set[subprocess.Popen[str]] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def tree(self) -> Iterator[Path]:
        """A copy that no other thread uses."""
        tree = self.trees.get()
        try:
            yield tree
        finally:
            self.trees.put(tree)

    def test(self, tree: Path, tests: Iterable[str], *, compiled: bool) -> tuple[int, str]:
        """Exit code and output of pytest in a copy."""
        environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        if not compiled:
            environment["NUMBA_DISABLE_JIT"] = "1"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider"]
        command += tests
        with subprocess.Popen(
            command,
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            self.running.add(child)
            try:
                output, _ = child.communicate(timeout=_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                return -1, f"stopped after {_TIMEOUT_S:.0f} s"
            finally:
                self.running.discard(child)
        return child.returncode, output

    def stop(self) -> None:
        """Kill the processes and start no more."""
        self.stopped.set()
        for child in list(self.running):
            child.kill()


@contextmanager
def workspace(copies: int) -> Iterator[Workspace]:
    """Copies of the repository for as long as the context lasts."""
    space = Workspace()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for number in range(copies):
            tree = Path(folder) / str(number)
            for name in _COPIED:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
                tree.mkdir(exist_ok=True)
                copy(ROOT / name, tree / name)
            space.trees.put(tree)
        try:
            yield space
        finally:
            space.stop()


def control(space: Workspace, mutants: list[Mutant]) -> str | None:
    """Output of the first selected test that fails without a change, if one does."""
    for compiled in (True, False):
        tests = sorted({test for mutant in mutants if mutant.in_kernel != compiled for test in mutant.tests})
        if not tests:
            continue
        with space.tree() as tree:
            code, output = space.test(tree, tests, compiled=compiled)
        if code != _PASSED:
            return output
    return None


def killer(space: Workspace, mutant: Mutant) -> str | None:
    """The first test that fails on a mutant; None if the mutant survives.

    Raises:
        RuntimeError: if the tests could not be run to an end.
    """
    if space.stopped.is_set():
        raise KeyboardInterrupt
    with space.tree() as tree:
        mutant.apply(tree)
        try:
            code, output = space.test(tree, mutant.tests, compiled=not mutant.in_kernel)
        finally:
            shutil.copy2(ROOT / mutant.file, tree / mutant.file)
    if code == _PASSED:
        return None
    if code != _FAILED:
        raise RuntimeError(f"{mutant.file}: {mutant.breaks}: pytest ended with {code}\n{output}")
    found = _FAILURE.search(output)
    return found.group(1) if found else "?"


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
    console = Console(stderr=True)
    with workspace(workers) as space, Progress(*columns, console=console) as progress:
        bar = progress.add_task("without a change", total=None, rate="")
        if failure := control(space, mutants):
            raise RuntimeError(f"a selected test fails without a change\n{failure}")
        progress.reset(bar, description="mutants", total=len(mutants), rate="")
        with ThreadPoolExecutor(workers) as pool:
            futures = {pool.submit(killer, space, mutant): mutant for mutant in mutants}
            try:
                for future in as_completed(futures):
                    mutant = futures[future]
                    killers[mutant] = future.result()
                    if killers[mutant] is None:
                        progress.console.print(f"survives: {mutant.file}: {mutant.breaks}", markup=False)
                    speed = progress.tasks[0].speed
                    progress.update(bar, advance=1, rate=f"{60 * speed:.0f} a minute" if speed else "")
            except BaseException:
                space.stop()
                pool.shutdown(cancel_futures=True)
                raise
    return {mutant: killers[mutant] for mutant in mutants}


def table(killers: dict[Mutant, str | None]) -> str:
    """One line for each mutant: file, what it breaks, and the test that fails."""
    survivors = sum(killer is None for killer in killers.values())
    head = f"make mutants: {survivors} of {len(killers)} survive\n\n"
    rows = [
        (mutant.file.removeprefix("src/torchrrm/"), mutant.breaks, killer or "SURVIVES")
        for mutant, killer in killers.items()
    ]
    rows.insert(0, ("file", "change", "test that fails"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{file:{widths[0]}}  {breaks:{widths[1]}}  {test}" for file, breaks, test in rows]
    return head + "\n".join(lines) + "\n"


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else CATALOGUE
    try:
        killers = campaign(read_catalogue(path))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    text = table(killers)
    print(text)
    if path == CATALOGUE:
        atomic_write_text(_TABLE, text)
    return 1 if None in killers.values() else 0


if __name__ == "__main__":
    sys.exit(main())
