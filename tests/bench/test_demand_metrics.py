"""Shortfalls, and when demands are met."""

import pytest
import torch

from torchrrm.bench.demands import NEVER, block_means, blocks_until_met, shortfall


def test_shortfall_is_the_worst_relative_one_of_those_who_ask():
    rate = torch.tensor([[0.0, 0.9, 3.0], [0.0, 1.0, 2.0]])
    demand = torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(shortfall(rate, demand), torch.tensor([0.1, 0.0]))
    assert shortfall(torch.zeros(3), torch.zeros(3)) == 0


def test_blocks_until_met_look_ahead():
    late = torch.zeros(60, 1)
    late[20:] = 1.0
    rate = torch.stack([torch.ones(60, 1), late, torch.zeros(60, 1)])
    found = blocks_until_met(rate, torch.tensor([1.0]), block=2, window=5)
    assert found.tolist() == [0, 10, NEVER]
    with pytest.raises(ValueError, match="at least 10 slots"):
        blocks_until_met(rate[:, :9], torch.tensor([1.0]), block=2, window=5)


def test_block_means_drop_what_is_left():
    rate = torch.arange(7.0)[:, None]
    torch.testing.assert_close(block_means(rate, 3), torch.tensor([[1.0], [4.0]]))


def test_demands_are_met_by_the_mean_of_the_blocks_ahead() -> None:
    """From the block before the first that has any on, every other one gets twice the demand and the rest nothing."""
    rate = torch.tensor([0.0] * 4 + [2.0, 0.0] * 6)[:, None]
    assert blocks_until_met(rate, torch.ones(1), block=1, window=4, tolerance=0.0).item() == 3
