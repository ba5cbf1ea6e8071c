"""Jobs of recipes: kept on disk, done anew only if they are other jobs."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from torchrrm.recipes.jobs import Workers, run_jobs


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
