import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from torchrrm.kernels.assignment import assign, assign_batch


def total(cost: np.ndarray, column: np.ndarray) -> float:
    rows = np.flatnonzero(column >= 0)
    return float(cost[rows, column[rows]].sum())


def optimum(cost: np.ndarray) -> float:
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].sum())


def check(cost: np.ndarray, column: np.ndarray) -> None:
    chosen = column[column >= 0]
    assert len(set(chosen)) == len(chosen) == min(cost.shape)
    assert total(cost, column) == pytest.approx(optimum(cost), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 5), (6, 17), (17, 6), (40, 120), (120, 105)])
@pytest.mark.parametrize("kind", ["uniform", "signed", "ties", "rates", "constant"])
def test_is_that_of_scipy(shape: tuple[int, int], kind: str) -> None:
    generator = np.random.default_rng(shape[0] * 1000 + shape[1])
    for _ in range(12):
        draw = generator.random(shape)
        cost = {
            "uniform": draw,
            "signed": 1e6 * (draw - 0.5),
            "ties": np.floor(4 * draw),
            "rates": -np.log2(1 + 10 ** (12 * draw - 8)),
            "constant": np.full(shape, -3.0),
        }[kind]
        check(cost, assign(cost))


@pytest.mark.parametrize("shape", [(4, 4), (6, 9), (9, 6), (30, 30)])
def test_makes_no_forbidden_pair(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(1)
    possible = 0
    for _ in range(60):
        cost = np.where(generator.random(shape) < 0.4, np.inf, generator.random(shape))
        try:
            optimum(cost)
        except ValueError:
            assert np.isfinite(total(cost, assign(cost)))
            continue
        possible += 1
        check(cost, assign(cost))
    assert possible > 10


def test_rows_that_cannot_be_assigned_stay_without_a_column() -> None:
    none = np.inf
    assert assign(np.full((2, 3), none)).tolist() == [-1, -1]
    assert assign(np.array([[none, none], [1.0, 2.0]])).tolist() == [-1, 0]
    assert sorted(assign(np.array([[1.0, none], [2.0, none]]))) == [-1, 0]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_assign(shape: tuple[int, int]) -> None:
    assert assign(np.empty(shape)).tolist() == [-1] * shape[0]


@pytest.mark.parametrize("shape", [(20, 4, 9), (20, 9, 4), (0, 3, 3)])
def test_a_batch_is_assigned_one_by_one(shape: tuple[int, int, int]) -> None:
    cost = np.random.default_rng(2).random(shape)
    column = assign_batch(cost)
    assert column.shape == shape[:2]
    for i in range(shape[0]):
        assert (column[i] == assign(cost[i])).all()
        check(cost[i], column[i])
