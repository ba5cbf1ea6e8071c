"""Solvers of interference links in plain numpy, one instance and one link at a time."""

import numpy as np

from torchrrm.problems import LinkInstance


def relative(instance: LinkInstance) -> np.ndarray:
    """Interference-to-noise ratios of a single instance."""
    gain, limit = instance.gain.double().numpy(), instance.max_power_w.double().numpy()
    active = instance.active.numpy()
    return gain * limit[None, :] / float(instance.noise_power_w) * np.outer(active, active)


def rates(gain: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Rate of each link in bit/s/Hz."""
    found = np.zeros(len(fraction))
    for k in range(len(fraction)):
        interference = sum(gain[k, j] * fraction[j] for j in range(len(fraction)) if j != k)
        found[k] = np.log2(1 + gain[k, k] * fraction[k] / (1 + interference))
    return found


def wmmse(gain: np.ndarray, weight: np.ndarray, first: np.ndarray, steps: int) -> list[np.ndarray]:
    """Power fractions after each step, by the three updates of [Shi2011] as printed."""
    links, v, seen = len(first), np.sqrt(first), [first]
    for _ in range(steps):
        u, w = np.zeros(links), np.zeros(links)
        for k in range(links):
            u[k] = np.sqrt(gain[k, k]) * v[k] / (1 + sum(gain[k, j] * v[j] ** 2 for j in range(links)))
            w[k] = 1 / (1 - u[k] * np.sqrt(gain[k, k]) * v[k])
        new = np.zeros(links)
        for k in range(links):
            price = sum(weight[j] * w[j] * u[j] ** 2 * gain[j, k] for j in range(links))
            worth = weight[k] * w[k] * u[k] * np.sqrt(gain[k, k])
            new[k] = min(worth / price, 1.0) if price > 0 else 0.0
        v = new
        seen.append(v**2)
    return seen


def itlinq(gain: np.ndarray, priority: np.ndarray, margin: float, exponent: float) -> np.ndarray:
    """Whether each link is admitted."""
    admitted: list[int] = []
    for k in sorted(range(len(gain)), key=lambda k: -priority[k]):
        worst = max([max(gain[k, j], gain[j, k]) for j in admitted], default=0.0)
        if gain[k, k] > 0 and worst <= margin * gain[k, k] ** exponent:
            admitted.append(k)
    return np.isin(np.arange(len(gain)), admitted)
