"""Rates of users and loads of stations against sums in numpy."""

import numpy as np

from torchrrm.kernels.cells import heard, rates, served


def test_every_other_station_interferes() -> None:
    rng = np.random.default_rng(0)
    snr, share = 10 ** rng.uniform(-1, 3, (6, 4)), rng.random(4)
    received = snr * share
    others = np.array([[1 + np.delete(row, j).sum() for j in range(4)] for row in received])
    np.testing.assert_allclose(rates(snr, share), np.log1p(received / others), rtol=1e-12)
    found = [[heard(row, share, j) for j in range(4)] for row in snr]
    np.testing.assert_allclose(found, others, rtol=1e-12)


def test_users_without_a_station_load_none() -> None:
    assert served(np.array([0, 2, -1, 2]), 3).tolist() == [1, 0, 2]
