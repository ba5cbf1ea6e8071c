"""Demands met slot by slot: multipliers of shortfalls over plain WMMSE."""

import numpy as np

from plain.links import Reals, rates, wmmse


def online_dual(gain: Reals, demand_bps_hz: Reals, step: float, wmmse_steps: int) -> Reals:
    """Rates `[slot link]` in bit/s/Hz over slots of gains over the noise `[slot rx tx]`; weights are 1 + multiplier."""
    multiplier = np.zeros(gain.shape[-1])
    seen = []
    for slot in gain:
        power = wmmse(slot, wmmse_steps, 1.0 + multiplier)
        rate = rates(slot, power)
        for k in range(len(rate)):
            multiplier[k] = max(0.0, multiplier[k] + step * (demand_bps_hz[k] - rate[k]))
        seen.append(rate)
    return np.array(seen)
