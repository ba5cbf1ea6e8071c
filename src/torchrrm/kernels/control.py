"""Control loops over slots, compiled: the loops of `torchrrm.policies.control` around a rule of one slot.

A loop runs in the order of time over `gain` `[slot rx tx]`; names and formulas are those of the loops in torch.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.elementary import log1p_nonnegative
from torchrrm.kernels.link_rules import decide
from torchrrm.kernels.links import at_most, gain_ceiling
from torchrrm.kernels.rows import over_rows

__all__ = [
    "CORRECTED",
    "MIXES",
    "PRINTED",
    "SIMPLE",
    "STRIDE_LINK",
    "STRIDE_SLOT",
    "chance",
    "dual_batch",
    "dual_step",
    "sharing_batch",
    "sharing_step",
]

PRINTED, CORRECTED, SIMPLE = 0, 1, 2
_PER_NAT = 1.0 / math.log(2.0)

# SplitMix64; int64 wraps around as uint64 does, its shifts need masks. Shift, mask and factor of each step.
MIXES = (
    (30, (1 << 34) - 1, -4658895280553007687),
    (27, (1 << 37) - 1, -7723592293110705685),
    (31, (1 << 33) - 1, 1),
)
STRIDE_SLOT, STRIDE_LINK = -7046029254386353131, -2643881736870682267


@kernel(inline="always")
def chance(key, slot, link):
    """Uniform number in [0, 1) that only the three integers determine."""
    z = key + slot * STRIDE_SLOT + link * STRIDE_LINK
    for shift, mask, factor in MIXES:
        z = (z ^ ((z >> shift) & mask)) * factor
    return ((z >> 11) & ((1 << 53) - 1)) * 2.0**-53


@kernel
def _rates(gain, largest, noise_power, power, active, rate):
    """Rate of each link in bit/s/Hz; 0 where inactive. Gains of a transmitter above its `largest` count as it."""
    links = power.size
    for k in range(links):
        rate[k] = 0.0
        if not active[k] or power[k] <= 0.0:
            continue
        heard, row = float(noise_power), gain[k]
        for j in range(links):
            if j != k and active[j]:
                heard += at_most(row[j], largest[j]) * power[j]
        rate[k] = log1p_nonnegative(at_most(row[k], largest[k]) * power[k] / heard) * _PER_NAT


@kernel
def dual_step(multiplier, least, rate, step, relaxed, ceiling):
    """One step of `OnlineDual`, in place; `relaxed` is the inverse of the slack penalty, 0 of hard minima."""
    for k in range(multiplier.size):
        if least[k] > 0.0:
            moved = multiplier[k] + step * (least[k] - relaxed * multiplier[k] - rate[k])
            multiplier[k] = min(max(moved, 0.0), ceiling)
        else:
            multiplier[k] = 0.0


@kernel(inline="always")
def _dual(rule, gain, links, multiplier, settings, power, rate, history):
    noise, limit, active, least = links
    step, relaxed, ceiling = settings
    weight, largest = np.empty_like(limit), gain_ceiling(noise, limit)
    for slot in range(gain.shape[0]):
        for k in range(weight.size):
            weight[k] = 1.0 + multiplier[k]
        chosen = decide(rule, gain[slot], noise, limit, weight, active)
        _rates(gain[slot], largest, noise, chosen, active, rate[slot])
        dual_step(multiplier, least, rate[slot], step, relaxed, ceiling)
        power[slot] = chosen
        history[slot] = multiplier


@kernel
def _dual_rows(
    first, last, rule, gain, noise, limit, active, least, multiplier, settings, power, rate, history
):
    """Rows `first` to `last` of `dual_batch`."""
    for run in range(first, last):
        links = (noise[run], limit[run], active[run], least[run])
        _dual(rule, gain[run], links, multiplier[run], settings, power[run], rate[run], history[run])


def dual_batch(rule, gain, noise, limit, active, least, multiplier, settings):
    """`OnlineDual` over all slots of each run, `gain` `[run slot rx tx]`; moves `multiplier` `[run tx]` in place.

    Returns powers in W, rates in bit/s/Hz and multipliers, each `[run slot tx]`.
    """
    power = np.zeros(gain.shape[:2] + limit.shape[1:], limit.dtype)
    links, out = (gain, noise, limit, active), (power, np.zeros_like(power), np.zeros_like(power))
    over_rows(_dual_rows, gain.shape[0], rule, *links, least, multiplier, settings, *out)
    return out


@kernel
def sharing_step(state, slot, demand, rate, settings):
    """One step of `TimeSharing` after the slot of this number, in place.

    `state` holds the rows multiplier, base, extrapolated, momentum and shortfall, each `[tx]`.
    """
    multiplier, base, extrapolated, momentum, shortfall = state
    rule, batch, gamma, alpha, decay, ceiling = settings
    shortfall += demand - rate
    if (slot + 1) % batch != 0:
        return
    half = slot // batch
    iteration = half if rule == SIMPLE else half // 2
    damping = alpha / math.sqrt(1.0 + decay * iteration)
    for k in range(multiplier.size):
        move, shortfall[k] = gamma * shortfall[k] / batch, 0.0
        if rule == SIMPLE:
            base[k] = min(max(base[k] + damping * move, 0.0), ceiling)
            multiplier[k] = base[k]
        elif half % 2 == 0:
            extrapolated[k] = min(base[k] + move + (1.0 - damping) * (momentum[k] - move), ceiling)
            if rule == CORRECTED:
                multiplier[k] = max(extrapolated[k], 0.0)
        else:
            before = base[k]
            base[k] = min(before - damping * (min(extrapolated[k], 0.0) - move), ceiling)
            momentum[k] = extrapolated[k] - before
            multiplier[k] = max(base[k] if rule == CORRECTED else extrapolated[k], 0.0)


@kernel
def select(multiplier, active, key, slot, on):
    """Which links are on: each active one with probability `(1 + multiplier) / max(1 + multiplier)`."""
    top = 0.0
    for k in range(multiplier.size):
        if active[k]:
            top = max(top, 1.0 + multiplier[k])
    for k in range(multiplier.size):
        on[k] = active[k] and chance(key, slot, k) * top < 1.0 + multiplier[k]


@kernel(inline="always")
def _sharing(rule, gain, links, state, clock, settings, out):
    noise, limit, active, demand = links
    key, first = clock
    power, rate, history = out
    weight, on, largest = np.ones_like(limit), np.empty(limit.size, np.bool_), gain_ceiling(noise, limit)
    for slot in range(gain.shape[0]):
        select(state[0], active, key, first + slot, on)
        chosen = decide(rule, gain[slot], noise, limit, weight, on)
        _rates(gain[slot], largest, noise, chosen, on, rate[slot])
        sharing_step(state, first + slot, demand, rate[slot], settings)
        power[slot] = chosen
        history[slot] = state[0]


@kernel
def _sharing_rows(
    first, last, rule, gain, noise, limit, active, demand, state, clock, settings, power, rate, history
):
    """Rows `first` to `last` of `sharing_batch`."""
    for run in range(first, last):
        links = (noise[run], limit[run], active[run], demand[run])
        out = (power[run], rate[run], history[run])
        _sharing(rule, gain[run], links, state[run], clock[run], settings, out)


def sharing_batch(rule, gain, noise, limit, active, demand, state, clock, settings):
    """`TimeSharing` over all slots of each run; moves `state` `[run 5 tx]` in place; `clock` holds keys and slots.

    Returns powers in W, rates in bit/s/Hz and multipliers, each `[run slot tx]`.
    """
    power = np.zeros(gain.shape[:2] + limit.shape[1:], limit.dtype)
    links, out = (gain, noise, limit, active), (power, np.zeros_like(power), np.zeros_like(power))
    over_rows(_sharing_rows, gain.shape[0], rule, *links, demand, state, clock, settings, *out)
    return out
