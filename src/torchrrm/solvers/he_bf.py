"""The published baseline of beamforming for short packets: powers by convex programs, beams in closed form, in turn."""

import importlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from torchrrm.problems.beamforming import (
    BeamAction,
    MisoInstance,
    coupled_sinr,
    coupling,
    least_sinr,
    mmse_action,
    mmse_beams,
    mmse_sinr,
    relative_gram,
)
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.rates import packet_back_off, packet_rate
from torchrrm.records import axis_names, batch_shape, index, map_tensors, to
from torchrrm.solvers.base import Solution
from torchrrm.solvers.beam_baselines import heard_users
from torchrrm.solvers.minimum_power_beamforming import MinimumPowerBeamforming, restored_power

__all__ = ["HeBF"]

_FLOOR = 1e-6  # of the limit: least share of a user at which a program is expanded
_TAKEN = ("optimal", "optimal_inaccurate")
_TRIES: tuple[dict[str, Any], ...] = ({}, {"equilibrate_enable": False}, {"max_step_fraction": 0.9})
"""Settings of Clarabel, each for programs that fail under those before: some do where gains differ much."""

Progress = Callable[[int, int], None]


class HeBF:
    """Alternating successive convex approximation of [He2021URLLC], as told in Section III-A of [He2022USRMNet].

    From the beams and powers of least total power under the minimum rates (problem (36) of [He2021URLLC]), in turn:

    - *powers* by problem (10) at given beams, over `q, varphi, phi, psi, theta`, made convex at the last point, again
      and again until the objective settles;
    - *beams* by Eq. (9);

    until the weighted sum rate settles. With `S_k = q_k C_kk`, `I_k = 1 + sum_{l != k} q_l C_lk` and the point marked
    by 0, the convex program has, for what is not convex,

        varphi_k I_k <= S_k:    (I0 / varphi0 varphi^2 + varphi0 / I0 I^2) / 2 <= S,
        S_k <= phi_k I_k:       the difference of squares `((f + j)^2 - (f - j)^2) / 4` of `f = phi / phi0`,
                                `j = I / I0`, its first square linearised,
        V(phi_k) <= psi_k,  sqrt(psi_k) <= theta_k:    linearised, being concave on the left.

    Each bound is tight at the point, so the objective never falls. The paper refers to [He2021URLLC] for the
    approximations; these are the usual ones and need not be the same. It is no optimum: a stationary point.

    Deviation: users that ask for nothing have no power in problem (36), and the rate falls with the first power that
    they are given; where there are such users, it starts from equal powers, restored to the minimum rates.

    Needs cvxpy and Clarabel (`pip install 'torchrrm[convex]'`), loops over instances and carries no gradient: it is
    here to be compared with. Where the minimum rates need more than the limit, the action is that of
    `MinimumPowerBeamforming` and `converged` is `False`. `iterations` counts convex programs.

    Args:
        max_steps: updates of the beams.
        max_programs: convex programs between two updates.
        tolerance: relative change of the objective below which it has settled.
        progress: called with the number of instances done and that of all.
    """

    def __init__(
        self,
        max_steps: int = 20,
        max_programs: int = 20,
        tolerance: float = 1e-5,
        progress: Progress | None = None,
    ):
        if min(max_steps, max_programs) < 1:
            received = f"{max_steps} and {max_programs}"
            raise ValueError(f"max_steps, max_programs: must be at least 1, received {received}")
        self.max_steps, self.max_programs, self.tolerance = max_steps, max_programs, tolerance
        self.progress = progress
        self._programs: dict[int, _Program] = {}

    def __call__(self, instance: MisoInstance) -> BeamAction:
        return self.solve(instance).action

    @torch.no_grad()
    def solve(self, instance: MisoInstance) -> Solution[BeamAction]:
        """Run to convergence, instance by instance.

        Raises:
            ValueError: if cvxpy or Clarabel is not installed.
        """
        for name in ("cvxpy", "clarabel"):
            _require(name)
        require_numbers(require_record(instance, MisoInstance))
        start, feasible = _start_power_w(instance)
        shape, power_w = batch_shape(instance), start.double().clone()
        flat = map_tensors(lambda t: t.reshape(-1, *t.shape[len(shape) :]), to(instance, dtype=torch.float64))
        feasible, power_w = feasible.reshape(-1), power_w.reshape(flat.active.shape)
        converged, programs = torch.zeros_like(feasible), torch.zeros_like(feasible, dtype=torch.int64)
        for i in range(len(feasible)):
            if feasible[i]:
                power_w[i], converged[i], programs[i] = self._solve_one(index(flat, i), power_w[i])
            if self.progress is not None:
                self.progress(i + 1, len(feasible))
        chosen = power_w.reshape(instance.active.shape).to(instance.noise_power_w.dtype)
        return Solution(mmse_action(instance, chosen), converged.reshape(shape), programs.reshape(shape))

    def _solve_one(self, instance: MisoInstance, power_w: Tensor) -> tuple[Tensor, bool, int]:
        """Powers in W of a single instance in float64, whether they settled, and the number of programs."""
        heard = heard_users(instance)
        cell = _only(instance, heard)
        if not bool(heard.any()):
            return torch.zeros_like(power_w), True, 0
        gram, share = relative_gram(cell), power_w[heard] / cell.max_power_w
        value, settled, programs = -torch.inf, False, 0
        for _ in range(self.max_steps):
            beam = mmse_beams(cell, share * cell.max_power_w)
            share, steps = self._powers(cell, coupling(cell, beam), share)
            old, value, programs = value, _value(cell, mmse_sinr(gram, share)), programs + steps
            settled = value - old <= self.tolerance * abs(value)
            if settled:
                break
        power_w = torch.zeros_like(power_w).masked_scatter(heard, share * cell.max_power_w)
        return power_w, settled, programs

    def _powers(self, cell: MisoInstance, coupled: Tensor, share: Tensor) -> tuple[Tensor, int]:
        """Powers for given beams as fractions of the limit, and the number of programs that it took."""
        users = len(share)
        if users not in self._programs:
            self._programs[users] = _Program(users)
        value = _value(cell, coupled_sinr(coupled, share))
        for step in range(1, self.max_programs + 1):
            found = self._programs[users].solve(cell, coupled, share.clamp(min=_FLOOR))
            if found is None:
                return share, step
            old, value = value, _value(cell, coupled_sinr(coupled, found))
            share = found if value >= old else share
            if value - old <= self.tolerance * abs(value):
                return share, step
        return share, self.max_programs


def _start_power_w(instance: MisoInstance) -> tuple[Tensor, Tensor]:
    """Powers to start from, and whether the minimum rates are within the limit."""
    least = MinimumPowerBeamforming().solve(instance)
    heard = heard_users(instance)
    free = (heard & (least_sinr(instance) == 0)).any(-1) & least.converged
    if not bool(free.any()):
        return least.action.power_w, least.converged
    equal = restored_power(instance, heard * instance.max_power_w[..., None])[0]
    return torch.where(free[..., None], equal, least.action.power_w), least.converged


class _Program:
    """Problem (10) for one number of users, made convex at a point: compiled once, its numbers are parameters.

    Variables are relative to the point: `s = q / q0`, `v = varphi / varphi0`, `f = phi / phi0`, `j = I / I0`.
    """

    def __init__(self, users: int):
        self.cvxpy = cp = _require("cvxpy")
        shapes = dict.fromkeys(
            ("weight", "cost", "share", "ratio", "least", "most", "lowest", "highest"), users
        )
        shapes |= dict.fromkeys(("slope", "level", "root_slope", "root_level", "noise"), users)
        self.given = {name: cp.Parameter(size, nonneg=True) for name, size in shapes.items()}
        self.given["heard"] = cp.Parameter((users, users), nonneg=True)
        self.power = cp.Variable(users, nonneg=True)
        p, s = self.given, self.power
        inner, outer, psi, theta, total = (cp.Variable(users) for _ in range(5))
        interference = p["heard"] @ s + p["noise"]
        constraints = [
            p["share"] @ s <= 1,
            inner >= p["least"],
            outer <= p["most"],
            psi >= p["lowest"],
            psi <= p["highest"],
            cp.square(inner) + cp.square(interference) <= 2 * s,
            s + cp.square(outer - interference) / 4 <= outer + interference - 1,
            cp.multiply(p["slope"], outer) + p["level"] <= psi,
            cp.multiply(p["root_slope"], psi) + p["root_level"] <= theta,
            total == 1 + cp.multiply(p["ratio"], inner - 1),  # (1 + varphi) / (1 + varphi0)
        ]
        gained = cp.multiply(p["weight"], cp.log(total)) - cp.multiply(p["cost"], theta)
        self.problem = cp.Problem(cp.Maximize(cp.sum(gained)), constraints)

    def solve(self, cell: MisoInstance, coupled: Tensor, share: Tensor) -> Tensor | None:
        """Powers as fractions of the limit; `None` if the solver finds none."""
        for name, value in _expanded(cell, coupled, share).items():
            self.given[name].value = value.numpy()
        if not any(self._solved(**settings) for settings in _TRIES):
            return None
        found = share * torch.from_numpy(self.power.value).clamp(min=0)
        return found / found.sum().clamp(min=1)

    def _solved(self, **settings: Any) -> bool:
        with warnings.catch_warnings():
            # of a loss of accuracy: the caller looks at the value
            warnings.simplefilter("ignore", UserWarning)
            try:
                self.problem.solve(solver="CLARABEL", warm_start=False, **settings)
            except self.cvxpy.error.SolverError:
                return False
        return self.problem.status in _TAKEN


def _expanded(cell: MisoInstance, coupled: Tensor, share: Tensor) -> dict[str, Tensor]:
    """Numbers of a program at the powers `share`, the SINR there being both `varphi0` and `phi0`."""
    sinr = coupled_sinr(coupled, share)
    received = coupled.mT * share  # [user user]: [k, l] of user l in beam k
    own = received.diagonal()
    interference = own / sinr
    least, most = least_sinr(cell), relative_gram(cell).diagonal().real
    root = torch.sqrt(_dispersion(sinr))
    slope = 2 * sinr / (1 + sinr) ** 3  # V'(phi0) phi0
    back_off = packet_back_off(cell.error_probability, cell.blocklength)
    return {
        "weight": cell.weight,
        "cost": cell.weight * back_off,
        "share": share,
        "ratio": sinr / (1 + sinr),
        "heard": (received - torch.diag(own)) / interference[:, None],
        "noise": 1 / interference,
        "least": least / sinr,
        "most": most / sinr,
        "lowest": _dispersion(least),
        "highest": _dispersion(most),
        "slope": slope,
        "level": root.square() - slope,
        "root_slope": 0.5 / root,
        "root_level": 0.5 * root,
    }


def _dispersion(sinr: Tensor) -> Tensor:
    """`V = 1 - (1 + SINR)^-2`."""
    return sinr * (sinr + 2) / (1 + sinr).square()


def _value(cell: MisoInstance, sinr: Tensor) -> float:
    """Weighted sum rate in nats a channel use."""
    back_off = packet_back_off(cell.error_probability, cell.blocklength)
    return float((cell.weight * packet_rate(sinr, back_off)).sum())


def _only(instance: MisoInstance, users: Tensor) -> MisoInstance:
    """A single instance of some of its users."""
    fields = vars(instance)
    cut = {name: fields[name][users] for name, axes in axis_names(MisoInstance).items() if "user" in axes}
    return MisoInstance(**(fields | cut))


def _require(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = f"{name}: must be installed, received no such package; pip install 'torchrrm[convex]'"
        raise ValueError(missing) from error
