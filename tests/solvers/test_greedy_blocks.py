import dataclasses

import numpy as np
import pytest
import torch
from tests.testing.forms import traced
from tests.testing.slices import batch, objective

from torchrrm.kernels.link_rates import curve
from torchrrm.problems import KINDS, QoS
from torchrrm.records import index
from torchrrm.solvers import GreedyResourceBlocks


def naive(problem, record, block_hz):
    """Algorithm 1 in plain Python: all increments anew at each block."""
    schedule = problem.schedule(record)
    width = schedule.minimum_bandwidth_hz.numpy().copy()
    served = np.flatnonzero(schedule.active.numpy())
    cn0, eavesdropper = record.cn0_hz.numpy(), problem.eavesdropper(record).numpy()
    left = schedule.surplus_hz.item()
    while served.size and left > 1e-12 * record.bandwidth_hz.item():
        step = min(block_hz, left)
        rates = [
            [curve(width[i] + more, cn0[i], eavesdropper[i], problem.law)[0] for more in (0.0, block_hz)]
            for i in served
        ]
        width[served[int(np.argmax([after - before for before, after in rates]))]] += step
        left -= step
    return width


@pytest.mark.parametrize("name", KINDS)
def test_incremental_is_naive(name):
    problem, record = KINDS[name], batch(name, count=8, users=5, seed=1)
    block_hz = 400e3
    found = GreedyResourceBlocks(problem, block_hz)(record).bandwidth_hz
    for i in range(8):
        expected = naive(problem, index(record, i), block_hz)
        torch.testing.assert_close(found[i], torch.from_numpy(expected), rtol=1e-9, atol=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_torch_form_is_the_compiled_one(name):
    count = 3 if KINDS[name].qos is QoS.EFFECTIVE_CAPACITY else 20
    problem, record = KINDS[name], batch(name, count=count, users=5, seed=2)
    solver = GreedyResourceBlocks(problem, 1e6)
    compiled, tensors = solver.solve(record), solver.solve(traced(record))
    assert torch.equal(compiled.iterations, tensors.iterations)
    torch.testing.assert_close(
        compiled.action.bandwidth_hz, tensors.action.bandwidth_hz.detach(), rtol=1e-9, atol=1e-3
    )


def test_smaller_blocks_do_better_where_rates_are_concave():
    problem, record = KINDS["data-rate"], batch("data-rate", count=40, seed=3)
    values = [objective(problem, record, GreedyResourceBlocks(problem, hz)(record)) for hz in (3e6, 3e5, 3e4)]
    assert (values[1] >= values[0] * (1 - 1e-3)).all()
    assert (values[2] >= values[1] * (1 - 1e-5)).all()


def test_spends_the_slice_and_counts_blocks():
    problem, record = KINDS["secrecy"], batch("secrecy", count=20, seed=4)
    solution = GreedyResourceBlocks(problem, 1e5).solve(record)
    schedule = problem.schedule(record)
    some = schedule.active.any(-1)
    spent = solution.action.bandwidth_hz.sum(-1)
    torch.testing.assert_close(spent[some], record.bandwidth_hz[some], rtol=1e-12, atol=0.0)
    assert not spent[~some].any()
    assert torch.equal(solution.iterations[some], (schedule.surplus_hz[some] / 1e5).ceil().long())
    assert solution.upper_bound is None
    assert dataclasses.is_dataclass(solution)


@pytest.mark.parametrize("block_hz", [0.0, -1.0, float("inf"), float("nan")])
def test_block_must_be_positive(block_hz):
    with pytest.raises(ValueError, match="block_hz: must be positive and finite, received"):
        GreedyResourceBlocks(KINDS["data-rate"], block_hz)
