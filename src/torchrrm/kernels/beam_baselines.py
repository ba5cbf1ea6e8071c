"""Equal powers with their best beams."""

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.gram import beams, gram, listed, planes, spread
from torchrrm.kernels.rows import over_rows

__all__ = ["equal_power_batch"]


@kernel(inline="always")
def _equal_power(channel, noise_power, max_power, active, power, beam):
    """Write equal powers in W of active users whose channel is not 0, and their best beams; arguments of one instance.

    `channel` and `beam` are `[user ant]`, `noise_power`, `active` and `power` `[user]`.
    """
    chosen = listed(channel, active)
    real, imag = planes(channel, noise_power, max_power, chosen)
    g_real, g_imag = gram(real, imag)
    share = np.full(chosen.size, 1.0 / max(chosen.size, 1))
    spread(share, chosen, max_power, power)
    beams(real, imag, g_real, g_imag, share, chosen, beam)


@kernel
def _equal_power_rows(first, last, channel, noise_power, max_power, active, power, beam):
    """Rows `first` to `last` of `equal_power_batch`."""
    for i in range(first, last):
        _equal_power(channel[i], noise_power[i], max_power[i], active[i], power[i], beam[i])


def equal_power_batch(channel, noise_power, max_power, active, power, beam):
    """`_equal_power` of each row."""
    over_rows(_equal_power_rows, active.shape[0], channel, noise_power, max_power, active, power, beam)
