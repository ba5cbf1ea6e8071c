"""Equal powers with their best beams."""

import numpy as np
from numba import njit, prange

from torchrrm.kernels.gram import beams, gram, listed, planes, spread

__all__ = ["equal_power", "equal_power_batch"]


@njit(error_model="numpy", cache=True)
def equal_power(channel, noise_power, max_power, active, power, beam):
    """Write equal powers in W of active users whose channel is not 0, and their best beams; arguments of one instance.

    `channel` and `beam` are `[user ant]`, `noise_power`, `active` and `power` `[user]`.
    """
    chosen = listed(channel, active)
    real, imag = planes(channel, noise_power, max_power, chosen)
    g_real, g_imag = gram(real, imag)
    share = np.full(chosen.size, 1.0 / max(chosen.size, 1))
    spread(share, chosen, max_power, power)
    beams(real, imag, g_real, g_imag, share, chosen, beam)


@njit(error_model="numpy", cache=True, parallel=True)
def equal_power_batch(channel, noise_power, max_power, active, power, beam):
    """`equal_power` of each row."""
    for i in prange(active.shape[0]):
        equal_power(channel[i], noise_power[i], max_power[i], active[i], power[i], beam[i])
