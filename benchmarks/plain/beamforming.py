"""Least powers of users that one station of many antennas hears: the fixed point, antenna by antenna."""

import numpy as np
from numpy.typing import NDArray

Complexes = NDArray[np.complex128]
Reals = NDArray[np.float64]


def least_power(channel: Complexes, target_sinr: Reals, noise_power_w: Reals, tol: float = 1e-9) -> Reals:
    """Powers in W by `p_k = t_k / (h_k^H C_k^-1 h_k)`, `C_k` being noise and the others' covariance.

    `channel` is `[user ant]`; the fixed point starts from silence and rises (standard interference function), until
    no power moves by more than `tol` of itself.
    """
    users, antennas = channel.shape
    scaled = channel / np.sqrt(noise_power_w)[:, None]
    power = np.zeros(users)
    for _ in range(10_000):
        old = power.copy()
        for k in range(users):
            covariance = np.eye(antennas, dtype=complex)
            for j in range(users):
                if j != k:
                    covariance += old[j] * np.outer(scaled[j], scaled[j].conj())
            power[k] = target_sinr[k] / np.vdot(scaled[k], np.linalg.solve(covariance, scaled[k])).real
        if np.all(np.abs(power - old) <= tol * power):
            break
    return power
