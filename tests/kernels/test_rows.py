"""Batches over threads: every row once, the same numbers by any number of threads, and no thread left after a fork."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from torchrrm import kernels
from torchrrm.kernels import rows, wmmse


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> int:
    """Number of processors of a machine that has more than one."""
    monkeypatch.setattr(rows, "max_threads", lambda: 4)
    monkeypatch.setattr(rows, "_pool", rows._Pool(1))
    return 4


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 16, 100])
def test_each_row_is_done_once(processors: int, threads: int, count: int) -> None:
    done = np.zeros(count, np.int64)

    def kernel(first: int, last: int, done: np.ndarray) -> None:
        done[first:last] += 1

    with kernels.use_threads(threads):
        rows.over_rows(kernel, count, done)
    assert (done == 1).all()


def test_threads_share_the_rows_where_it_is_worthwhile(processors: int) -> None:
    meeting = threading.Barrier(2)  # two ranges must be worked on at the same time

    def slow(first: int, last: int) -> None:
        meeting.wait(60)

    with kernels.use_threads(2):
        rows.over_rows(slow, 2)

    workers = set[str]()

    def quick(first: int, last: int) -> None:
        workers.add(threading.current_thread().name)

    with kernels.use_threads(2):
        for _ in range(3):  # the first time shows that it is quick
            workers.clear()
            rows.over_rows(quick, 2)
    assert workers == {threading.current_thread().name}


def test_an_error_reaches_the_caller_and_ends_the_work(processors: int) -> None:
    begun: list[int] = []

    def kernel(first: int, last: int) -> None:
        begun.append(first)
        raise ArithmeticError(first)

    with kernels.use_threads(2), pytest.raises(ArithmeticError):
        rows.over_rows(kernel, 1000)
    assert len(begun) <= 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_do_not_depend_on_the_number_of_threads(processors: int, dtype: type) -> None:
    draws = np.random.default_rng(0)
    gain, ones = draws.exponential(size=(64, 8, 8)).astype(dtype), np.ones((64, 8), dtype)
    start = np.ones((8, 1))
    results = []
    for threads in (1, 4):
        with kernels.use_threads(threads):
            noise, active = np.full(64, 0.1, dtype), np.ones((64, 8), np.bool_)
            results.append(wmmse.solve_batch(gain, noise, ones, ones, active, start, 50, -1.0, True))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_number_of_threads_is_of_its_block_or_of_the_process(processors: int) -> None:
    kernels.set_threads(2)
    with kernels.use_threads(3):
        assert kernels.get_threads() == 3
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(kernels.get_threads()))
        thread.start()
        thread.join()
        assert seen == [2]
    assert kernels.get_threads() == 2


@pytest.mark.parametrize("threads", [0, -1, 5])
def test_a_number_of_threads_that_the_machine_has_not_is_refused(processors: int, threads: int) -> None:
    with pytest.raises(ValueError, match=rf"^threads: must be 1 to 4 on this machine, received {threads}$"):
        kernels.set_threads(threads)


@pytest.mark.parametrize(
    ("value", "threads"), [("1", 1), ("3", 3), ("2,1", 2), ("99", 4), ("0", 4), ("many", 4), ("", 4)]
)
def test_the_first_number_of_threads(
    processors: int, monkeypatch: pytest.MonkeyPatch, value: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert rows._initial_threads() == threads


BATCH = """
import multiprocessing, os, sys
import torch
from torchrrm import kernels
from torchrrm.kernels import rows
from torchrrm.problems import LinkInstance
from torchrrm.solvers import WMMSE

rows.max_threads = lambda: 2
kernels.set_threads(2)
rows._WORTHWHILE_S = 0.0  # every batch goes to the pool

def solve(seed):
    generator = torch.Generator().manual_seed(seed)
    gain = torch.rand(64, 6, 6, generator=generator)
    links = LinkInstance(gain=gain, noise_power_w=torch.full((64,), 0.1), max_power_w=torch.ones(64, 6),
                         weight=torch.ones(64, 6), active=torch.ones(64, 6, dtype=torch.bool))
    return WMMSE()(links).power_w

before = solve(0)
assert rows._pool.executor is not None
"""

FORKED = {
    "pool": """
with multiprocessing.get_context("fork").Pool(2) as pool:
    for result in pool.map(solve, [0, 0, 0, 0]):
        assert torch.equal(result, before)
""",
    "fork of a fork": """
def twice(seed):
    solve(seed)
    child = multiprocessing.get_context("fork").Process(target=solve, args=(seed,))
    child.start(); child.join()
    return child.exitcode

from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
    assert pool.submit(twice, 0).result() == 0
""",
    "DataLoader": """
class Solved(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, index):
        return solve(index)

loader = torch.utils.data.DataLoader(Solved(), num_workers=2, multiprocessing_context="fork")
assert torch.equal(next(iter(loader))[0], before)
""",
    "AsyncVectorEnv": """
import gymnasium, numpy as np

class Allocating(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (64, 6))
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return np.zeros((64, 6), np.float32), {}
    def step(self, action):
        return solve(int(action)).numpy(), 0.0, False, False, {}

envs = gymnasium.vector.AsyncVectorEnv([Allocating, Allocating], context="fork")
envs.reset()
seen = envs.step(np.zeros(2, np.int64))[0]
assert (seen == before.numpy()).all()
envs.close()
""",
    "torch's threads": """
torch.set_num_threads(2)
solve(1)
assert torch.get_num_threads() == 2
""",
}


@pytest.mark.slow
def test_kernels_work_before_and_after_a_fork() -> None:
    parts = [f"{code}\nprint({how!r}, flush=True)" for how, code in FORKED.items()]
    run = subprocess.run([sys.executable, "-c", "\n".join([BATCH, *parts])], capture_output=True, text=True)
    assert run.stdout.splitlines() == list(FORKED), run.stderr
