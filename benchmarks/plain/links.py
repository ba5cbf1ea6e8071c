"""WMMSE of interference links, link by link, as public code has it."""

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def wmmse(gain: Reals, steps: int, weight: Reals | None = None) -> Reals:
    """Power fractions after so many iterations from full power, of gains over the noise `[rx tx]`."""
    links = len(gain)
    channel = np.sqrt(gain)
    priority = np.ones(links) if weight is None else weight
    v, u, w = np.ones(links), np.zeros(links), np.zeros(links)
    for _ in range(steps):
        for k in range(links):
            heard = np.dot(np.square(channel[k]), np.square(v)) + 1.0
            u[k] = channel[k, k] * v[k] / heard
            w[k] = priority[k] / (1.0 - u[k] * v[k] * channel[k, k])
        old = w * np.square(u)
        for k in range(links):
            price = np.sum(old * np.square(channel[:, k]))
            v[k] = np.clip(w[k] * u[k] * channel[k, k] / price, 0.0, 1.0)
    return np.square(v)


def rates(gain: Reals, power: Reals) -> Reals:
    """Rate of each link in bit/s/Hz, of gains over the noise and power fractions."""
    found = np.zeros(len(gain))
    for k in range(len(gain)):
        signal = gain[k, k] * power[k]
        found[k] = np.log2(1.0 + signal / (1.0 + np.dot(gain[k], power) - signal))
    return found
