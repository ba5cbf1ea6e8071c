"""Long commands that are stopped at random moments end as if they had not been; more in `tests/stops/campaign.py`."""

import random
from pathlib import Path

import pytest
from tests.stops.killed import CODES, SIGNALS, LongCommand, run_demands, start, stop, train, wait_for, whole


@pytest.mark.slow
@pytest.mark.parametrize("command", [run_demands(15_000), train(400, 8)], ids=lambda command: command.name)
def test_a_killed_command_goes_on_from_its_last_checkpoint(command: LongCommand, tmp_path: Path) -> None:
    expected, folder, chance = whole(command, tmp_path / "whole"), tmp_path / "parts", random.Random(0)
    folder.mkdir()
    process, number = start(command, folder, going_on=False), chance.choice(SIGNALS)
    wait_for(lambda: bool(list(folder.glob(command.kept))) or process.poll() is not None, 120)
    if not wait_for(lambda: process.poll() is not None, chance.uniform(0.0, 1.0)):
        stop(process, number)
        assert process.returncode in (*CODES[number], 0)
    process = start(command, folder, going_on=True)
    error = process.communicate()[1]
    assert process.returncode == 0, error
    assert command.result(folder) == expected
