"""The compiled least powers against linear algebra of numpy, and elimination as a test of the spectral radius."""

import numpy as np

from torchrrm.kernels import minimum_power as kernels


def draw(rng, n):
    gain = rng.exponential(size=(n, n)) * (np.where(np.eye(n) > 0, 1.0, 0.25))
    return gain, 0.05, rng.uniform(0.5, 1.5, n), rng.random(n) < 0.8, rng.uniform(0, 1.2, n)


def test_feasible_if_and_only_if_numpy_says_so():
    rng = np.random.default_rng(0)
    counts = {True: 0, False: 0}
    for _ in range(400):
        gain, noise, limit, active, rate = draw(rng, int(rng.integers(1, 8)))
        power, feasible, steps = kernels.minimum_power(gain, noise, limit, active, rate, 0.0)
        counts[feasible] += 1
        assert ((power >= 0) & (power <= 1)).all()
        assert not power[~active].any()
        own = np.flatnonzero(active)
        scale = (2 ** rate[own] - 1) / (np.diag(gain) * limit)[own]
        coupling = scale[:, None] * (gain * limit)[np.ix_(own, own)] * (1 - np.eye(len(own)))
        demand = scale * noise
        radius = np.abs(np.linalg.eigvals(coupling)).max() if len(own) else 0.0
        wanted = np.linalg.solve(np.eye(len(own)) - coupling, demand)
        assert feasible == (radius < 1 and (wanted <= 1).all())
        if feasible:
            assert steps == 1
            np.testing.assert_allclose(power[own], wanted, rtol=1e-10)
        else:
            point = power[own]
            np.testing.assert_allclose(point, np.minimum(coupling @ point + demand, 1), rtol=1e-9)
            assert 3 <= steps <= len(own) + 3  # of the eased minima one
    assert min(counts.values()) > 50


def test_batch_is_one_by_one():
    rng = np.random.default_rng(1)
    rows = [draw(rng, 5) for _ in range(40)]
    batch = [np.array(column) for column in zip(*rows, strict=True)]
    power, feasible, steps = kernels.minimum_power_batch(*[*batch, 0.0])
    for i, row in enumerate(rows):
        single = kernels.minimum_power(*row, 0.0)
        np.testing.assert_array_equal(power[i], single[0])
        assert (feasible[i], steps[i]) == single[1:]


def test_minima_just_out_of_reach_are_eased_within_eased_limits():
    """One link that needs 1.4e-5 above its limit for 1 bit/s/Hz: with an ease of 1e-5 on both it has enough."""
    gain, rate, ease = np.ones((1, 1)), np.ones(1), 1e-5
    limit = np.full(1, 1 - 1.4e-5)
    terms = (gain, 1.0, limit, np.ones(1, np.bool_), rate)
    power, feasible, _ = kernels.minimum_power(*terms, ease)
    assert feasible
    np.testing.assert_allclose(power * limit, 2 ** (1 - ease) - 1, rtol=1e-12)
    assert 1.0 < power[0] <= 1 + ease
    assert not kernels.minimum_power(*terms, 0.0)[1]
