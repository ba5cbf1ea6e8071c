"""One instance at a time, by cvxpy and plain numpy: what solvers under minimum rates should find."""

import cvxpy
import numpy as np

from torchrrm.problems import LinkInstance


def scaled(instance: LinkInstance) -> tuple[np.ndarray, np.ndarray]:
    """Gain with noise 1 and limits 1, and the weights."""
    gain = instance.gain.numpy() * instance.max_power_w.numpy() / float(instance.noise_power_w)
    return gain, instance.weight.numpy()


def heard(gain: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Interference and noise."""
    return 1 + (gain - np.diag(np.diag(gain))) @ power


def value(gain: np.ndarray, weight: np.ndarray, power: np.ndarray) -> float:
    """Weighted sum rate in bit/s/Hz."""
    return float(weight @ np.log2(1 + np.diag(gain) * power / heard(gain, power)))


def condensations(instance: LinkInstance, rate: float, start: np.ndarray, steps: int) -> np.ndarray:
    """Powers after some condensations from the start, each a geometric program that cvxpy solves."""
    gain, weight = scaled(instance)
    size, power = len(weight), start
    x, c = cvxpy.Variable(size), cvxpy.Parameter(size, nonneg=True)

    def log_heard(k: int) -> cvxpy.Expression:
        others = [x[j] + np.log(gain[k, j]) for j in range(size) if j != k]
        return cvxpy.log_sum_exp(cvxpy.hstack([0.0, *others]))

    constraints: list[cvxpy.Constraint] = [x <= 0, x >= -25]
    if rate > 0:
        ask = [np.log(2**rate - 1) + log_heard(k) - np.log(gain[k, k]) for k in range(size)]
        constraints += [ask[k] <= x[k] for k in range(size)]
    cost = sum(weight[k] * log_heard(k) for k in range(size)) - c @ x
    program = cvxpy.Problem(cvxpy.Minimize(cost), constraints)
    for _ in range(steps):
        c.value = power * (gain.T @ (weight / (1 + gain @ power)))
        program.solve(solver="CLARABEL")
        assert x.value is not None
        power = np.exp(np.minimum(x.value, 0))
    return power


def weighted_errors(instance: LinkInstance, rate: float, start: np.ndarray, steps: int) -> np.ndarray:
    """Powers after some WMMSE steps from the start, the powers of each by cvxpy under the minimum rates."""
    gain, weight = scaled(instance)
    own, size, power = np.diag(gain), len(weight), start
    p, a, b = cvxpy.Variable(size), cvxpy.Parameter(size, nonneg=True), cvxpy.Parameter(size, nonneg=True)
    need = (2**rate - 1) / own
    across = need[:, None] * (gain - np.diag(own))
    program = cvxpy.Problem(
        cvxpy.Minimize(a @ p - b @ cvxpy.sqrt(p)), [p >= across @ p + need, p <= 1, p >= 0]
    )
    for _ in range(steps):
        u = np.sqrt(own * power) / (1 + gain @ power)
        w = 1 / (1 - u * np.sqrt(own * power))
        a.value, b.value = gain.T @ (weight * w * u**2), 2 * weight * w * u * np.sqrt(own)
        program.solve(solver="CLARABEL")
        assert p.value is not None
        power = np.clip(p.value, 0, 1)
    return power


def wmmse(instance: LinkInstance, steps: int) -> np.ndarray:
    """Powers after WMMSE steps of [Shi2011] from full power, without minimum rates."""
    gain, weight = scaled(instance)
    own, v = np.diag(gain), np.ones(len(weight))
    for _ in range(steps):
        u = np.sqrt(own) * v / (1 + gain @ v**2)
        w = 1 / (1 - u * np.sqrt(own) * v)
        v = np.clip(weight * w * u * np.sqrt(own) / (gain.T @ (weight * w * u**2)), 0, 1)
    return v**2
