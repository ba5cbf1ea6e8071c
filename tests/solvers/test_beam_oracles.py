"""Least powers in the dual uplink are those of the conic program of the downlink, feasible and infeasible alike."""

from collections.abc import Callable

import cvxpy
import numpy as np
import pytest
import torch
from tests.testing.beams import loaded

from torchrrm.problems import MisoInstance, UrllcBeamforming, miso_instance, to_downlink
from torchrrm.problems.beamforming import least_sinr, relative_channel
from torchrrm.records import replace
from torchrrm.solvers import MinimumPowerBeamforming, least_power_w

PROBLEM = UrllcBeamforming()
DRAWS = 10
CASES = {  # users, antennas, near and far in m, blocklength
    "few": (3, 6, 30.0, 200.0, 256.0),
    "square": (4, 4, 30.0, 120.0, 512.0),
    "far": (5, 16, 50.0, 300.0, 400.0),
    "loaded": (6, 12, 120.0, 140.0, 256.0),
    "crowded": (5, 3, 30.0, 140.0, 150.0),
}


def draw(case: str) -> MisoInstance:
    users, antennas, near_m, far_m, blocklength = CASES[case]
    generator = torch.Generator().manual_seed(users * antennas)
    channel = loaded(DRAWS, users, antennas, generator=generator, near_m=near_m, far_m=far_m)
    instance = miso_instance(channel, blocklength=blocklength)
    payload = 256 * (0.5 + torch.rand(DRAWS, users, generator=generator, dtype=torch.float64))
    return replace(instance, payload_bits=payload)


def conic(users: int, antennas: int) -> Callable[[np.ndarray, np.ndarray], float]:
    """Least power of the downlink with noise 1, infinite if there is none, as a second-order cone program.

    `sqrt(1 + 1 / nu_k) h_k^H v_k >= |(h_k^H v_1, ..., h_k^H v_K, 1)|` with a real left side, in real numbers.
    """
    real, imag = (cvxpy.Parameter((users, antennas)) for _ in range(2))
    factor = cvxpy.Parameter(users, nonneg=True)
    v_real, v_imag, length = (
        cvxpy.Variable((antennas, users)),
        cvxpy.Variable((antennas, users)),
        cvxpy.Variable(),
    )
    got_real, got_imag = cvxpy.Variable((users, users)), cvxpy.Variable((users, users))
    constraints: list[cvxpy.Constraint] = [
        got_real == real @ v_real + imag @ v_imag,
        got_imag == real @ v_imag - imag @ v_real,
        cvxpy.diag(got_imag) == 0,
        cvxpy.norm(cvxpy.vstack([v_real, v_imag]), "fro") <= length,
    ]
    for k in range(users):
        received = cvxpy.hstack([got_real[k], got_imag[k], 1.0])
        constraints.append(cvxpy.norm(received) <= factor[k] * got_real[k, k])
    program = cvxpy.Problem(cvxpy.Minimize(length), constraints)

    def least(channel: np.ndarray, sinr: np.ndarray) -> float:
        real.value, imag.value = np.real(channel), np.imag(channel)
        factor.value = np.sqrt(1 + 1 / sinr)
        program.solve(solver="CLARABEL", warm_start=False)
        return np.inf if length.value is None else float(length.value) ** 2

    return least


@pytest.mark.parametrize("case", CASES)
def test_least_power_is_that_of_the_conic_program(case):
    instance = draw(case)
    program = conic(*instance.channel.shape[1:])
    channel, sinr = relative_channel(instance).numpy(), least_sinr(instance).numpy()
    wanted = np.array([program(channel[i], sinr[i]) for i in range(DRAWS)])  # of the limit
    solution = MinimumPowerBeamforming().solve(instance)
    assert np.array_equal(solution.converged.numpy(), wanted <= 1)
    found = (least_power_w(instance) / instance.max_power_w).numpy()
    assert found == pytest.approx(wanted, rel=1e-5)
    sent = to_downlink(instance, solution.action).power_w.sum(-1) / instance.max_power_w
    assert sent.numpy()[wanted <= 1] == pytest.approx(wanted[wanted <= 1], rel=1e-5)
    missing = PROBLEM.evaluate(instance, solution.action).violation["min_rate"].amax(-1)
    assert np.array_equal(missing.numpy() <= 1e-9, wanted <= 1)


def test_the_draws_are_of_both_kinds():
    reached = torch.cat([MinimumPowerBeamforming().solve(draw(case)).converged for case in CASES])
    assert len(reached) == 50
    assert 10 <= reached.sum() <= 40
