"""Random slices for kernels and solvers, as arrays."""

from typing import Any, NamedTuple

import numpy as np


class Slice(NamedTuple):
    """Arguments of the kernels but the law."""

    cn0: np.ndarray
    eavesdropper: np.ndarray
    min_rate: np.ndarray
    limit: Any  # one number; an array for a batch
    active: np.ndarray


def usual(rng: np.random.Generator, users: int, wiretap: bool) -> Slice:
    """Users over six decades of SNR with rates of up to 10 Mbit/s, in 1 to 100 MHz."""
    cn0 = 10 ** rng.uniform(5.5, 11.5, users)
    eavesdropper = cn0 * 10 ** rng.uniform(-6.0, 0.3, users) if wiretap else np.zeros(users)
    min_rate = 10 ** rng.uniform(4.0, 7.0, users)
    return Slice(cn0, eavesdropper, min_rate, 10 ** rng.uniform(6.0, 8.0), rng.random(users) < 0.9)


def extreme(rng: np.random.Generator, users: int, wiretap: bool) -> Slice:
    """Whatever a number can be: 180 dB of SNR, 1 bit/s to 1 Gbit/s, 1 kHz to 1 GHz."""
    cn0 = 10 ** rng.uniform(2.0, 20.0, users)
    eavesdropper = cn0 * 10 ** rng.uniform(-8.0, 0.3, users) if wiretap else np.zeros(users)
    min_rate = (
        10 ** rng.uniform(0.0, 9.0, users)
        if rng.random() < 0.5
        else np.full(users, 10 ** rng.uniform(0.0, 7.0))
    )
    return Slice(cn0, eavesdropper, min_rate, 10 ** rng.uniform(3.0, 9.0), rng.random(users) < 0.95)
