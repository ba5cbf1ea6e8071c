"""Rates and loads of users and stations that share a band, user by user."""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative

__all__ = ["heard", "rates", "served"]


@kernel(fastmath={"reassoc", "contract", "nsz"})
def heard(snr, share, own):
    """Noise and what a user hears of the other stations than its own; sums in any order, as the machine likes best."""
    before = after = 0.0
    for j in range(own):
        before += snr[j] * share[j]
    for j in range(own + 1, share.size):
        after += snr[j] * share[j]
    return 1.0 + before + after


@kernel
def rates(snr, share):
    """`ln(1 + SINR)` `[user bs]` of each user at each station; `snr` is at full power, powers are shares of it.

    Interference is the sum of the stations before and behind; what a subtraction leaves would be rounding error.
    """
    users, stations = snr.shape
    rate = np.empty((users, stations))
    for i in range(users):
        row, others = rate[i], 1.0
        for j in range(stations):
            row[j] = others
            others += snr[i, j] * share[j]
        others = 0.0
        for j in range(stations - 1, -1, -1):
            signal = snr[i, j] * share[j]
            row[j] = signal / (row[j] + others)
            others += signal
        for j in range(stations):
            row[j] = log1p_nonnegative(row[j])
    return rate


@kernel
def served(station, stations):
    """How many users each station has; -1 is none."""
    count = np.zeros(stations, np.int64)
    for j in station:
        if j >= 0:
            count[j] += 1
    return count
