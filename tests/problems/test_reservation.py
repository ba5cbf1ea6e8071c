import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.problems import reserve_bandwidth


@given(
    st.lists(st.tuples(st.floats(0.1, 100.0), st.integers(0, 3)), min_size=1, max_size=9), st.floats(1e5, 1e9)
)
def test_shares_by_class_sum_to_the_whole(users, total_hz):
    """Equations (7) to (9) of [Hao2024]."""
    qci = torch.tensor([weight for weight, _ in users], dtype=torch.float64)
    slices = torch.tensor([place for _, place in users])
    width = reserve_bandwidth(qci, slices, 4, total_hz)
    assert width.sum().item() == pytest.approx(total_hz, rel=1e-12)
    for place in range(4):
        share = sum(weight for weight, own in users if own == place) / qci.sum().item()
        assert width[place].item() == pytest.approx(total_hz * share, rel=1e-12, abs=1e-9)


def test_batch():
    qci = torch.tensor([[1.0, 1.0], [1.0, 3.0]])
    width = reserve_bandwidth(qci, torch.tensor([[0, 1], [1, 0]]), 2, 8.0)
    assert width.tolist() == [[4.0, 4.0], [6.0, 2.0]]


def test_gradient_by_class():
    qci = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: reserve_bandwidth(x, torch.tensor([0, 0, 1]), 2, 1.0), qci)


@pytest.mark.parametrize(
    ("qci", "slices", "message"),
    [
        ([-1.0, 2.0], [0, 1], "qci: must not be negative"),
        ([0.0, 0.0], [0, 1], "qci: must not be negative and not all zero"),
        ([1.0, 2.0], [0, 2], "slice_index: must lie in 0 .. 1"),
        ([1.0, 2.0], [-1, 0], "slice_index: must lie in 0 .. 1"),
    ],
)
def test_misuse(qci, slices, message):
    with pytest.raises(ValueError, match=message):
        reserve_bandwidth(torch.tensor(qci), torch.tensor(slices), 2, 1e6)
