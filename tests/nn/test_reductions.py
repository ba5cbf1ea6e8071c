"""Masked reductions equal the plain ones on the active users alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.nn import MLP, masked_max, masked_mean, masked_softmax


@given(st.integers(1, 6), st.integers(0, 2**6 - 1))
def test_reductions_see_only_active_users(users: int, bits: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    value = torch.randn(users, 3, generator=generator, dtype=torch.float64)
    active = torch.tensor([bool(bits >> i & 1) for i in range(users)])
    share = masked_softmax(value[:, 0], active)
    assert torch.equal(share[~active], torch.zeros(int((~active).sum()), dtype=torch.float64))
    if not active.any():
        assert not share.any()
        assert not masked_mean(value, active).any()
        assert not masked_max(value, active).any()
        return
    torch.testing.assert_close(share[active], torch.softmax(value[active, 0], 0))
    torch.testing.assert_close(masked_mean(value, active), value[active].mean(0))
    torch.testing.assert_close(masked_max(value, active), value[active].amax(0))


def test_softmax_of_large_scores_does_not_overflow() -> None:
    score, active = torch.tensor([1e4, 1e4 - 1.0, 2e4]), torch.tensor([True, True, False])
    torch.testing.assert_close(masked_softmax(score, active)[:2], torch.softmax(torch.tensor([1.0, 0.0]), 0))


def test_softmax_keeps_gradients_finite_with_nobody_active() -> None:
    score = torch.zeros(2, 3, requires_grad=True)
    active = torch.tensor([[True, True, False], [False, False, False]])
    masked_softmax(score, active).square().sum().backward()
    assert score.grad is not None
    assert torch.isfinite(score.grad).all()


def test_mlp_refuses_widths_that_are_no_network() -> None:
    with pytest.raises(
        ValueError, match=r"widths: must be two or more positive layer widths, received \[3\]"
    ):
        MLP([3])
