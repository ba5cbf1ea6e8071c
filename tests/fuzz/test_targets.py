"""A few inputs of every target, and all that showed a fault once; the campaign of `make fuzz` tries many more."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import FOUND, TARGETS
from tests.fuzz.verdict import FaultError, refused

QUICK = [name for name in TARGETS if name not in ("session", "command-line", "command-files")]
Runner = Callable[[str], Callable[[bytes], object]]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """What runs an input of a target, made once."""
    made: dict[str, Callable[[bytes], object]] = {}

    def find(name: str) -> Callable[[bytes], object]:
        if name not in made:
            made[name] = TARGETS[name].make(tmp_path_factory.mktemp(name))
        return made[name]

    return find


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.bin")), ids=lambda path: path.stem)
def test_found_faults_stay_mended(runner: Runner, path: Path) -> None:
    name = max((name for name in TARGETS if path.stem.startswith(name)), key=len)
    runner(name)(path.read_bytes())


@pytest.mark.parametrize("name", QUICK)
def test_any_bytes(runner: Runner, name: str) -> None:
    run = runner(name)

    @settings(max_examples=20)
    @given(st.binary(max_size=200))
    def try_bytes(data: bytes) -> None:
        run(data)

    try_bytes()


@pytest.mark.parametrize("name", QUICK)
def test_valid_inputs_and_their_beginnings(runner: Runner, name: str, tmp_path: Path) -> None:
    for seed in TARGETS[name].seeds(tmp_path):
        for length in (len(seed), len(seed) // 2, 1):
            runner(name)(seed[:length])


@pytest.mark.parametrize("name", ["command-line", "command-files"])
def test_some_commands(runner: Runner, name: str) -> None:
    for number in range(6):
        runner(name)(bytes((37 * number * place + number) % 256 for place in range(120)))


def test_the_verdict_sees_faults() -> None:
    def lines() -> None:
        raise ValueError("two\nlines")

    with pytest.raises(FaultError, match="2 lines"):
        refused(lines)
    with pytest.raises(FaultError, match=r"took 3\d\d MB of memory"):
        refused(lambda: bytes(range(256)) * 1_250_000)
    with pytest.raises(ZeroDivisionError):
        refused(lambda: 1 / 0)
