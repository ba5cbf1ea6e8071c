"""What a beamforming instance asks for, a row of a batch at a time: back-offs and least SINRs."""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.gram import back_off, least_sinr

__all__ = ["terms_batch"]


@kernel
def terms_batch(payload, blocklength, error_probability, active):
    """Back-off `theta` of each row, and the least rate (nats) and SINR of each user, 0 of those not active."""
    rows, users = active.shape
    theta, rate, sinr = np.empty(rows), np.zeros((rows, users)), np.zeros((rows, users))
    for i in range(rows):
        theta[i] = back_off(error_probability[i], blocklength[i])
        bits, last = -1.0, 0.0
        for k in range(users):
            if active[i, k]:
                rate[i, k] = payload[i, k] * 0.6931471805599453 / blocklength[i]
                if payload[i, k] != bits:
                    bits, last = payload[i, k], least_sinr(rate[i, k], theta[i])
                sinr[i, k] = last
    return theta, rate, sinr
