"""Random kills at every long command: `campaign.py [MINUTES]` writes `docs/results/kills.txt`.

Each command runs once in one go; then it is stopped at random moments, by SIGTERM, SIGKILL or Ctrl-C, started again,
and must end with the same results. The exit code is 1 if one did not.
"""

import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.stops.killed import (  # noqa: E402
    LongCommand,
    benchmark,
    reproduce,
    run_demands,
    start,
    stop,
    stopped,
    train,
    wait_for,
    whole,
)

from torchrrm.bench import source_commit  # noqa: E402
from torchrrm.files import atomic_write_text  # noqa: E402

COMMANDS = [run_demands(400_000), train(3000, 32), reproduce("hml"), benchmark("sum-rate")]
_STOPS = 4


def first_checkpoint_s(command: LongCommand, folder: Path) -> float:
    """Seconds from the start of a command to its first checkpoint."""
    folder.mkdir()
    begin = time.perf_counter()
    process = start(command, folder, going_on=False)
    wait_for(lambda: bool(list(folder.glob(command.kept))) or process.poll() is not None, 300)
    seconds = time.perf_counter() - begin
    stop(process, signal.SIGTERM)
    return seconds


def campaign(minutes: float) -> list[str]:
    """Return a line a command; those that failed say so."""
    chance, lines = random.Random(0), []
    for command in track(COMMANDS, "stopping commands"):
        folder = Path(tempfile.mkdtemp())
        first = first_checkpoint_s(command, folder / "first")
        begin = time.perf_counter()
        expected = whole(command, folder / "whole")
        took, runs, failed = time.perf_counter() - begin, 0, 0
        end = time.perf_counter() + 60 * minutes / len(COMMANDS)
        while runs == 0 or time.perf_counter() < end:
            found = stopped(command, folder / f"{runs}", chance, _STOPS, 0.6 * took)
            runs, failed = runs + 1, failed + (found != expected)
            shutil.rmtree(folder / f"{runs - 1}")
        lines.append(
            f"{command.name:20} {took:6.1f} s, first checkpoint after {first:4.1f} s: {runs} runs of {_STOPS} stops, "
            f"{failed} with other results"
        )
        print(lines[-1], flush=True)
        shutil.rmtree(folder)
    return lines


if __name__ == "__main__":
    found = campaign(float(sys.argv[1]) if len(sys.argv) > 1 else 6.0)
    head = f"Random kills of long commands (python tests/stops/campaign.py), commit {source_commit()}"
    atomic_write_text(ROOT / "docs" / "results" / "kills.txt", "\n".join([head, "", *found]) + "\n")
    sys.exit(any(not line.endswith(" 0 with other results") for line in found))
