"""Bounds of simplices: concave, never below the rates inside, and attained as the simplex shrinks."""

import math

import numpy as np
import pytest

from torchrrm.kernels.beam_bound import CORNER, LOG_SINR, Terms, bound_simplex, corner_of, packet
from torchrrm.kernels.gram import least_sinr


def draw(rng: np.random.Generator, users: int, antennas: int, payload: float) -> Terms:
    """Random channels over 40 dB of gain, with least rates of so many nats or none."""
    channel = rng.normal(size=(users, antennas)) + 1j * rng.normal(size=(users, antennas))
    channel *= 10 ** rng.uniform(-0.5, 1.5, (users, 1))
    theta = rng.uniform(0.05, 0.5)
    least = np.array([least_sinr(payload * rng.integers(0, 2), theta) for _ in range(users)])
    return Terms(channel.conj() @ channel.T, rng.uniform(0.0, 2.0, users), least, theta)


def simplex(rng: np.random.Generator, terms: Terms, size: float) -> np.ndarray:
    """Corners around a point of the unit simplex."""
    users = terms.weight.size
    centre, corner = rng.dirichlet(np.ones(users)), np.empty((users, 3, users))
    for i in range(users):
        corner_of(terms.gram, (1 - size) * centre + size * rng.dirichlet(0.3 * np.ones(users)), corner[i])
    return corner


def value(terms: Terms, share: np.ndarray) -> float:
    """Weighted sum rate, minus infinity where a minimum is missed."""
    corner = np.empty((3, share.size))
    corner_of(terms.gram, share, corner)
    if (np.expm1(corner[LOG_SINR]) < terms.least * (1 - 1e-12)).any():
        return -math.inf
    return sum(a * packet(r, terms.back_off) for a, r in zip(terms.weight, corner[LOG_SINR], strict=True))


@pytest.mark.parametrize("payload", [0.0, 0.05, 0.6])
@pytest.mark.parametrize("size", [1.0, 0.1, 0.001])
def test_never_below_what_is_inside(payload: float, size: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        users = int(rng.integers(1, 6))
        terms = draw(rng, users, int(rng.integers(1, 9)), payload)
        corner = simplex(rng, terms, size)
        inside = [value(terms, rng.dirichlet(np.ones(users)) @ corner[:, CORNER]) for _ in range(60)]
        bound = bound_simplex(terms, corner, -1e3, 1e-9, np.empty(users))
        assert bound >= max(inside) - 1e-12
        goal = max(inside) if max(inside) > -math.inf else -1e3
        assert bound_simplex(terms, corner, goal, 1e-9, np.empty(users)) >= max(inside) - 1e-12


def test_tight_for_small_simplices() -> None:
    """The gap falls with the square of the size."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        terms = draw(rng, 4, 6, 0.0)
        whole = simplex(rng, terms, 1.0)[:, CORNER]
        gaps = []
        for size in (0.1, 0.01):
            centre, corner = np.full(4, 0.25), np.empty((4, 3, 4))
            for i in range(4):
                corner_of(terms.gram, (1 - size) * centre + size * whole[i], corner[i])
            inside = max(value(terms, rng.dirichlet(np.ones(4)) @ corner[:, CORNER]) for _ in range(300))
            inside = max(inside, *(value(terms, corner[i, CORNER]) for i in range(4)))
            gaps.append(bound_simplex(terms, corner, inside, 1e-10, np.empty(4)) - inside)
        assert gaps[1] <= max(0.2 * gaps[0], 1e-4)


def test_rates_that_cannot_be_met_prune() -> None:
    rng = np.random.default_rng(5)
    terms = draw(rng, 3, 4, 0.0)._replace(least=np.full(3, 1e6))
    assert bound_simplex(terms, simplex(rng, terms, 0.5), 0.0, 1e-6, np.empty(3)) == -math.inf
