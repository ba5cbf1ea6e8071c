"""Runs that are killed, interrupted or cut off in the middle of a write go on as if nothing had happened."""

import dataclasses
import functools
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.learning import killed_run
from tests.learning.toy import Draw, SharePolicy, seeded, toy_loss, toy_tasks
from tests.testing.sharing import LogSharing

from torchrrm.learning import (
    CheckpointError,
    PolicyLoss,
    RunSettings,
    TrainerSettings,
    buffers_of,
    parameters_of,
    train,
)
from torchrrm.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from torchrrm.learning.history import LOSS
from torchrrm.policies.weights import read_tensors
from torchrrm.problems.base import Task

ROOT = Path(__file__).parent.parent.parent
SETTINGS = TrainerSettings(steps=20, batch_size=4, learning_rate=0.01)


def go(path, *, steps=20, loss=None, tasks=None, every=6, settings=SETTINGS, seed=0):
    loss = loss or toy_loss()
    settings = dataclasses.replace(settings, steps=steps)
    run = RunSettings(checkpoint=path, checkpoint_every=every)
    losses = train(loss, tasks or toy_tasks(), settings, generator=seeded(seed), run=run)
    return loss.policy, losses


def assert_same(one, other):
    assert torch.equal(one[1], other[1])
    for name, value in one[0].state_dict().items():
        assert torch.equal(value, other[0].state_dict()[name])


def steps_in(path):
    return read_tensors(path)[1]["step"]


class StopError(Exception):
    pass


class Drawing:
    """A source of tasks that raises an error after so many draws."""

    def __init__(self, after: int = 1000, error: type[BaseException] = StopError) -> None:
        self.tasks, self.left, self.error = toy_tasks(), after, error

    def __call__(self, generator):
        task = self.tasks[int(torch.randint(len(self.tasks), (), generator=generator))]
        self.left -= 1
        if self.left < 0:
            raise self.error
        return task


def start_killed_run(path, *arguments):
    command = [sys.executable, "-m", killed_run.__name__, str(path), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_killed_at_random_moments_it_ends_bit_by_bit_the_same(tmp_path):
    path, chance, seen = tmp_path / "run.safetensors", random.Random(0), 0
    for _ in range(2):
        process = start_killed_run(path)
        assert process.stdout is not None
        seen = int(process.stdout.readline())
        time.sleep(chance.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        # The last line may have been cut off in the middle.
        seen = max([seen, *(int(line) for line in process.stdout.read().splitlines()[:-1])])
        assert process.wait() == -signal.SIGKILL
        assert seen < killed_run.SETTINGS.steps
        assert steps_in(path) >= seen - seen % killed_run.EVERY
    before = steps_in(path)
    with start_killed_run(path, "2") as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert steps_in(path) == before + killed_run.EVERY
    assert_same(killed_run.run_toy(path), killed_run.run_toy(None))


@pytest.mark.parametrize(
    ("optimiser", "schedule", "batch_norm"),
    [*itertools.product(["adam", "ascent"], ["constant", "cosine"], [False]), ("adam", "cosine", True)],
)
def test_a_run_goes_on_from_wherever_it_stopped(tmp_path, optimiser, schedule, batch_norm):
    settings = dataclasses.replace(SETTINGS, optimiser=optimiser, schedule=schedule, clip_norm=0.1)
    toy = functools.partial(toy_loss, batch_norm=batch_norm)
    whole = go(None, settings=settings, tasks=Drawing(), loss=toy())
    path = tmp_path
    for after, every in [*((after, 1) for after in range(1, 20)), (7, 6)]:
        path = tmp_path / f"{after}-{every}.safetensors"
        with pytest.raises(StopError):
            go(path, settings=settings, tasks=Drawing(after=after), loss=toy(), every=every)
        assert steps_in(path) == after - after % every
        assert_same(go(path, settings=settings, tasks=Drawing(), loss=toy(), seed=99), whole)
    # A finished run takes no further step: its policy is loaded.
    assert_same(go(path, settings=settings, tasks=Drawing(after=0), loss=toy(seed=4)), whole)


def test_tensors_of_a_checkpoint_come_in_the_order_of_the_policy(tmp_path):
    path, tensors = tmp_path / "run.safetensors", {name: torch.zeros(1) for name in ("weight", "bias", "a")}
    expected = Checkpoint(
        identity={}, step=0, groups={"parameters": tensors, "losses": {LOSS: torch.zeros(0)}}
    )
    save_checkpoint(path, expected)
    assert list(read_tensors(path)[0]) != [f"parameters:{name}" for name in tensors] + [f"losses:{LOSS}"]
    assert list(load_checkpoint(path, expected).groups["parameters"]) == list(tensors)


def test_a_finished_run_may_be_prolonged(tmp_path):
    path = tmp_path / "run.safetensors"
    go(path, steps=9)
    assert_same(go(path, steps=20), go(None))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_an_interrupt_keeps_every_whole_step(tmp_path, batch_norm):
    path, loss = tmp_path / "run.safetensors", toy_loss(batch_norm=batch_norm)
    with pytest.raises(KeyboardInterrupt):
        go(path, tasks=Drawing(after=9, error=KeyboardInterrupt), loss=loss, every=100)
    assert steps_in(path) == 9
    stored = read_tensors(path)[0]
    for name, value in parameters_of(loss.policy).items():
        assert torch.equal(value, stored[f"parameters:{name}"])
    for name, value in buffers_of(loss.policy).items():
        assert torch.equal(value, stored[f"buffers:{name}"])
    again = [go(at, tasks=Drawing(), loss=toy_loss(batch_norm=batch_norm)) for at in (path, None)]
    assert_same(*again)


def test_a_failed_write_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    path, writes, replace = tmp_path / "run.safetensors", [], os.replace

    def full_disk(source, target):
        writes.append(None)
        if len(writes) == 3:
            raise OSError("No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(CheckpointError, match=r"^checkpoint: must be writable, received .* \(No space left"):
        go(path)
    assert steps_in(path) == 6
    assert list(tmp_path.iterdir()) == [path]
    assert_same(go(path), go(None))


def test_a_checkpoint_that_cannot_be_written_is_found_before_training(tmp_path):
    calls = []
    with pytest.raises(CheckpointError, match=r"^checkpoint: must be writable"):
        go(tmp_path / "missing" / "run.safetensors", tasks=calls.append)
    assert not calls


def test_a_diverged_loss_stops_the_run_and_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    tasks = Drawing()
    tasks.tasks[1] = Task(problem=LogSharing(), sample=Draw(strength=math.nan))
    with pytest.raises(ValueError, match=r"^loss: must be finite, received nan at step"):
        go(path, tasks=tasks)
    assert all(value.isfinite().all() for value in read_tensors(path)[0].values())


def written(tmp_path: Path) -> Path:
    path = tmp_path / "run.safetensors"
    go(path, steps=6)
    return path


def mislabelled() -> SharePolicy:
    """A policy of another width than it says."""
    policy = SharePolicy(width=9)
    policy.arguments = {"width": 8}
    return policy


OTHER_RUNS = {
    "rate": (
        lambda: {"settings": dataclasses.replace(SETTINGS, learning_rate=0.02)},
        r"must be of learning_rate 0\.02, received .* of 0\.01",
    ),
    "precision": (
        lambda: {"loss": toy_loss(torch.float64)},
        r"must be of precision torch\.float64, received",
    ),
    "steps": (lambda: {"steps": 3}, r"must be of at most 3 steps, received 6 "),
    "width": (
        lambda: {"loss": PolicyLoss(SharePolicy(width=9), toy_loss().objective)},
        "must be of width 9, received .* of 8",
    ),
    "shape": (
        lambda: {"loss": PolicyLoss(mislabelled(), toy_loss().objective)},
        r"must be of the same policy, received .*: .* must have shape .*9.*, received .*8",
    ),
}


@pytest.mark.parametrize(("options", "message"), OTHER_RUNS.values(), ids=OTHER_RUNS.keys())
def test_a_checkpoint_of_another_run_is_refused_in_one_line(tmp_path, options, message):
    path = written(tmp_path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=message) as caught:
        go(path, **options())
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["truncated", "text", "empty", "foreign"])
def test_a_damaged_or_foreign_checkpoint_is_refused_and_left_alone(tmp_path, content):
    path = written(tmp_path)
    data = path.read_bytes()
    if content == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(
            {"truncated": data[: len(data) // 2], "text": b"hello, world", "empty": b""}[content]
        )
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"^checkpoint: must be .*run\.safetensors") as caught:
        go(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
