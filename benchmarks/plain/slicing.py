"""Greedy allocation of a slice by blocks, Algorithm 1 of [Hao2024] as printed: all increments anew at each block."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from torchrrm.problems import QoS, SliceBandwidth, SliceInstance

Reals = NDArray[np.float64]

BLOCK_HZ = 10e3


def rate_of(problem: SliceBandwidth) -> Callable[..., Reals]:
    """The rate of a kind of service in plain numpy, of bandwidths, `C / N0` and what the eavesdropper hears, in Hz."""
    gain, weight = (part.numpy() for part in problem.quadrature)
    loss, leakage, exponent = problem.loss_factor, problem.leakage_factor, problem.qos_exponent_per_bit

    def data_rate(width: Reals, cn0: Reals) -> Reals:
        rate = width * np.log2(1 + cn0 / width)
        return rate - loss * np.sqrt(width * (1 - (1 + cn0 / width) ** -2)) if loss else rate

    def secrecy(width: Reals, cn0: Reals, heard: Reals) -> Reals:
        rate = data_rate(width, cn0) - width * np.log2(1 + heard / width)
        return rate - leakage * np.sqrt(width * (1 - (1 + heard / width) ** -2)) if leakage else rate

    def capacity(width: Reals, cn0: Reals, heard: Reals) -> Reals:
        faded = data_rate(width[:, None], cn0[:, None] * gain)
        return -np.log((weight * np.exp(-exponent * faded)).sum(-1)) / exponent

    if problem.qos is QoS.EFFECTIVE_CAPACITY:
        return capacity
    return secrecy if problem.qos is QoS.SECRECY else lambda width, cn0, heard: data_rate(width, cn0)


def greedy(
    problem: SliceBandwidth, instance: SliceInstance, *, per_user: bool, blocks: int | None = None
) -> float:
    """Blocks that were given out, after at most so many: user by user, or with numpy over the users.

    Users and their least bandwidths are those of the problem's own schedule.
    """
    schedule = problem.schedule(instance)
    served = schedule.active.numpy()
    cn0 = instance.cn0_hz.numpy().astype(np.float64)[served]
    heard = problem.eavesdropper(instance).numpy().astype(np.float64)[served]
    width = schedule.minimum_bandwidth_hz.numpy().astype(np.float64)[served]
    rate, count = rate_of(problem), float(schedule.surplus_hz) / BLOCK_HZ
    for _ in range(int(count) if blocks is None else blocks):
        if per_user:
            parts = [slice(k, k + 1) for k in range(len(width))]
            gains = [
                (rate(width[k] + BLOCK_HZ, cn0[k], heard[k]) - rate(width[k], cn0[k], heard[k]))[0]
                for k in parts
            ]
        else:
            gains = rate(width + BLOCK_HZ, cn0, heard) - rate(width, cn0, heard)
        width[np.argmax(gains)] += BLOCK_HZ
    return count
