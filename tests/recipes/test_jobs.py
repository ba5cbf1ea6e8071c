"""Jobs of recipes: kept on disk, done anew only if they are other jobs."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.learning.toy import seeded, toy_loss, toy_tasks
from tests.stops.killed import children_of, is_alive, wait_for
from torch import Tensor

from torchrrm.learning import TrainerSettings, parameters_of, train
from torchrrm.recipes.jobs import Workers, quiet_run, run_jobs


@dataclass(frozen=True)
class Square:
    """Writes a line each time it is done, so that a test sees how often."""

    value: float
    log: Path
    name: str = "square"

    def __call__(self) -> dict[str, Tensor]:
        with self.log.open("a") as log:
            log.write(f"{self.value}\n")
        if self.value < 0:
            raise ValueError(f"value: must not be negative, received {self.value}")
        return {"square": torch.tensor(self.value**2)}


@pytest.mark.parametrize("processes", [0, 2])
def test_results_and_their_reuse(tmp_path: Path, processes: int) -> None:
    workers = Workers(tmp_path / "jobs", processes, progress=False)
    jobs = [Square(float(value), tmp_path / "log", f"square-{value}") for value in range(3)]
    for _ in range(2):
        results = run_jobs("squares", jobs, workers)
        assert [float(results[job]["square"]) for job in jobs] == [0.0, 1.0, 4.0]
    assert sorted((tmp_path / "log").read_text().split()) == ["0.0", "1.0", "2.0"]


def test_a_file_of_another_job_is_not_taken(tmp_path: Path) -> None:
    workers = Workers(tmp_path / "jobs", 0, progress=False)
    first, second = Square(2.0, tmp_path / "log"), Square(3.0, tmp_path / "log")
    run_jobs("squares", [first], workers)
    assert float(run_jobs("squares", [second], workers)[second]["square"]) == 9.0


def test_a_damaged_file_is_done_anew(tmp_path: Path) -> None:
    workers, job = Workers(tmp_path / "jobs", 0, progress=False), Square(2.0, tmp_path / "log")
    run_jobs("squares", [job], workers)
    (tmp_path / "jobs" / "square.safetensors").write_bytes(b"damaged")
    assert float(run_jobs("squares", [job], workers)[job]["square"]) == 4.0


@pytest.mark.parametrize("processes", [0, 2])
def test_a_failed_job_keeps_the_others(tmp_path: Path, processes: int) -> None:
    workers = Workers(tmp_path / "jobs", processes, progress=False)
    good, bad = Square(2.0, tmp_path / "log", "good"), Square(-1.0, tmp_path / "log", "bad")
    with pytest.raises(ValueError, match="must not be negative"):
        run_jobs("squares", [good, bad], workers)
    run_jobs("squares", [good], workers)
    assert (tmp_path / "log").read_text().split().count("2.0") == 1


SETTINGS = TrainerSettings(steps=30, batch_size=4, learning_rate=0.01, clip_norm=0.1)


@dataclass(frozen=True)
class TwoTrainings:
    """Two trainings one after the other, of which the second stops at a step if a file says so."""

    folder: Path
    name: str = "trainings"

    def __call__(self) -> dict[str, Tensor]:
        loss, generator = toy_loss(), seeded(0)
        train(loss, toy_tasks(), SETTINGS, generator=generator, run=quiet_run(checkpoint_every=1))
        draws = Counted(toy_tasks(), self.folder)
        train(loss, draws, SETTINGS, generator=generator, run=quiet_run(checkpoint_every=1))
        return parameters_of(loss.policy)


@dataclass
class Counted:
    """Draws tasks, writes a line each time, and is stopped after so many in all as a file says."""

    tasks: list[Any]
    folder: Path

    def __call__(self, generator: torch.Generator) -> Any:
        with (self.folder / "draws").open("a") as log:
            log.write(".")
        limit = self.folder / "limit"
        if limit.exists() and (self.folder / "draws").stat().st_size > int(limit.read_text()):
            raise KeyboardInterrupt
        return self.tasks[int(torch.randint(len(self.tasks), (), generator=generator))]


def test_trainings_of_a_stopped_job_go_on_from_their_checkpoints(tmp_path: Path) -> None:
    """The result is that of a job in one go, bit by bit, and no finished step is taken again."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    (expected,) = run_jobs("toy", [TwoTrainings(whole)], Workers(whole / "jobs", 0, progress=False)).values()
    workers, job = Workers(parts / "jobs", 0, progress=False), TwoTrainings(parts)
    for limit in (7, 19):
        (parts / "limit").write_text(str(limit))
        with pytest.raises(KeyboardInterrupt):
            run_jobs("toy", [job], workers)
        (left,) = (parts / "jobs").glob("trainings.*.unfinished")
        assert sorted(path.name for path in left.iterdir()) == ["0.safetensors", "1.safetensors"]
    (parts / "limit").unlink()
    (found,) = run_jobs("toy", [job], workers).values()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (parts / "draws").stat().st_size == SETTINGS.steps + 2  # and the two that were stopped
    assert [path.name for path in (parts / "jobs").iterdir()] == ["trainings.safetensors"]


def test_a_training_outside_of_a_job_keeps_no_checkpoint() -> None:
    assert quiet_run().checkpoint is None


SLEEPERS = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
from torchrrm.recipes.jobs import Workers, run_jobs

@dataclass(frozen=True)
class Sleeper:
    name: str
    def __call__(self):
        Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER, self.name).touch()
        time.sleep(600)

FOLDER = {folder!r}

if __name__ == "__main__":
    run_jobs("sleepers", [Sleeper("a"), Sleeper("b")], Workers(Path(FOLDER) / "jobs", 2, progress=False))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "sleepers.py"
    program.write_text(SLEEPERS.format(folder=str(tmp_path)))
    listen = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([sys.executable, program], preexec_fn=listen, stderr=subprocess.DEVNULL)
    assert wait_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists(), 120)
    workers = children_of(process)
    process.send_signal(number)
    process.wait(60)
    assert wait_for(lambda: not any(is_alive(worker) for worker in workers), 60)
