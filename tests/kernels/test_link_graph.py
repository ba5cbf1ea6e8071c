"""Graphs in rows, against dense matrices."""

import numpy as np
import pytest

from torchrrm.kernels import link_graph as kernels


def graph(nodes: int, seed: int, dtype: type = np.float64) -> tuple[np.ndarray, tuple]:
    """A matrix of weights, of which a node has up to all, and its rows."""
    generator = np.random.default_rng(seed)
    matrix = generator.random((nodes, nodes)) * (
        generator.random((nodes, nodes)) < generator.random((nodes, 1))
    )
    target, source = matrix.nonzero()
    first = np.concatenate([[0], np.bincount(target, minlength=nodes).cumsum()])
    return matrix.astype(dtype), (first, source.astype(np.int32), matrix[target, source].astype(dtype))


def dense(rows: tuple, nodes: int) -> np.ndarray:
    matrix, (first, other, value) = np.zeros((nodes, nodes)), rows
    for k in range(nodes):
        np.add.at(matrix[k], other[first[k] : first[k + 1]], value[first[k] : first[k + 1]])
    return matrix


def test_orders_and_rows():
    neighbour = np.array([[1], [0], [3], [2], [0]])  # two components, and one who only hears
    order = kernels.neighbourly(neighbour)
    assert order.tolist() == [0, 1, 2, 3, 4]
    value, own = np.array([[0.5], [0.0], [0.25], [0.125], [2.0]]), np.arange(5.0)
    order = np.array([4, 3, 2, 1, 0])
    first, other, weight = kernels.rows(neighbour, own, value, order)
    assert first.tolist() == [0, 2, 4, 6, 7, 9]
    assert other.tolist() == [0, 4, 1, 2, 2, 1, 3, 4, 3]
    assert weight.tolist() == [4.0, 2.0, 3.0, 0.125, 2.0, 0.25, 1.0, 0.0, 0.5]


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_the_matrix_renumbered(seed):
    generator = np.random.default_rng(seed)
    nodes, degree = 30, 7
    neighbour = np.stack([generator.permutation(nodes - 1)[:degree] for _ in range(nodes)])
    neighbour += neighbour >= np.arange(nodes)[:, None]
    value, own = generator.random((nodes, degree)), generator.random(nodes)
    value[generator.random(value.shape) < 0.3] = 0.0
    order = kernels.neighbourly(neighbour)
    assert sorted(order) == list(range(nodes))
    wanted = np.diag(own)
    np.put_along_axis(wanted, neighbour, value, -1)
    assert np.array_equal(
        dense(kernels.rows(neighbour, own, value, order), nodes), wanted[np.ix_(order, order)]
    )


@pytest.mark.parametrize("seed", range(5))
def test_transposing(seed):
    matrix, rows = graph(40, seed)
    turned = kernels.transpose(*rows)
    assert np.array_equal(dense(turned, 40), matrix.T)
    for again, once in zip(kernels.transpose(*turned), rows, strict=True):
        assert np.array_equal(again, once)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("both", [False, True])
def test_mixed_columns(dtype, both):
    matrix, rows = graph(40, 0, dtype)
    node = np.random.default_rng(1).standard_normal((40, 5)).astype(dtype)
    columns = [node, matrix @ node, -matrix.sum(-1, keepdims=True) * node]
    ends = [np.ones((40, 1)), matrix.sum(-1, keepdims=True)]
    if both:
        columns += [matrix.T @ node, -matrix.T.sum(-1, keepdims=True) * node]
        ends += [matrix.T.sum(-1, keepdims=True)]
    wanted = np.concatenate(columns + ends, axis=-1)
    mixed = np.full((12, 32), np.nan, dtype)
    kernels.mix(node, rows, kernels.transpose(*rows), both, 20, mixed)
    assert mixed[:, : wanted.shape[1]] == pytest.approx(wanted[20:32], rel=1e-5, abs=1e-5)
    assert not mixed[:, wanted.shape[1] :].any()
