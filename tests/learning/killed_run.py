"""A training run to be killed, which prints the number of each completed step.

Run `python -m tests.learning.killed_run CHECKPOINT [n]`. With n it kills itself while it writes its n-th checkpoint,
after half of the file.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from tests.learning.toy import seeded, toy_loss, toy_tasks

from torchrrm.learning import RunSettings, TrainerSettings, train
from torchrrm.learning.monitor import Monitor

SETTINGS = TrainerSettings(steps=1500, batch_size=4, learning_rate=0.01, tasks_per_step=2)
EVERY = 20


def run_toy(checkpoint):
    loss, run = toy_loss(), RunSettings(checkpoint=checkpoint, checkpoint_every=EVERY)
    losses = train(loss, toy_tasks(), SETTINGS, generator=seeded(3), run=run)
    return loss.policy, losses


def say_step(self: Monitor, step: int, scalars: Mapping[str, float]) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


def die_while_writing(number):
    replace, writes = os.replace, []

    def replace_or_die(source, target):
        writes.append(source)
        if len(writes) == number:
            os.truncate(source, os.path.getsize(source) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace_or_die


if __name__ == "__main__":
    torch.set_num_threads(1)
    Monitor.update = say_step
    if len(sys.argv) > 2:
        die_while_writing(int(sys.argv[2]))
    run_toy(Path(sys.argv[1]))
