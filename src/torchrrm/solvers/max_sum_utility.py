"""Association of the largest sum of the logarithms of rates, at full power or with power control."""

from dataclasses import replace
from typing import Literal

from torchrrm.kernels import max_sum_utility as kernels
from torchrrm.problems.association import AssociationAction, CellInstance, ProportionalFairAssociation
from torchrrm.solvers.base import Solution, best_action
from torchrrm.solvers.cell_arrays import StartPower, require_settings, run_cells, start_share

__all__ = ["ControlledMaxSumUtility", "MaxSumUtility"]


class MaxSumUtility:
    """Each user at the station that maximises `sum_i ln(c_ij / N_j)`, the load balancing of [Ye2013].

    At fixed powers, with `c_ij = log2(1 + SINR_ij)`, a station's price `mu_j` of a user decouples users and stations:
    users choose `max_j ln c_ij - mu_j`, a station would serve `exp(mu_j - 1)`, and prices descend along the difference
    by the path-based step that [Ye2013] has from Bertsekas. The best association met is kept. Loads of the dual are not
    whole numbers, so that it ends short of the best association; users are then exchanged along rings and chains of
    stations while that raises the utility, which ends at the optimum: `N ln N` is convex, so that this is a flow of
    convex cost. [Ye2013] stops at the prices (`exact=False`).

    `power="max"` (MSUAMP of [Zhang2022HBGNN]) leaves every station at its limit. `power="control"` (MSUAPC)
    alternates with powers that raise the same utility; [Zhang2022HBGNN] does not say how its own did. `ln ln(1 + SINR)`
    is concave in the logarithms of powers, so that at a given association the powers have one optimum; they move, in
    logarithms, towards the fixed point of the stationarity condition

        p_j = sum_{i at j} s_i / sum_{k not at j} s_k g_kj / I_k,   s = SINR / ((1 + SINR) ln(1 + SINR)),

    at most to the limits, by steps halved until the utility does not fall. Stations without users fall silent, and
    stay so. The utility rises from round to round; pairs of association and powers that neither alone improves are
    not optimal.

    Runs in compiled code on the CPU, in float64; no gradients. Users out of reach are `UNSERVED`.

    Args:
        power: powers at the limits, or controlled.
        start: first powers of the control: all stations as loud as the least limit allows, or each at its limit. In the
            networks of [Zhang2022HBGNN], equal powers end at a geometric mean one sixth higher: at its limit a macro
            station drowns the small ones, whose users it then takes.
        price_steps: steps of the prices.
        exact: whether exchanges follow.
        max_steps: rounds of power control and association; nothing counts as converged that uses them up.
        tol: mean gain of the users' logarithms below which powers, and rounds, end.
    """

    def __init__(
        self,
        power: Literal["max", "control"] = "max",
        *,
        start: StartPower = "equal",
        price_steps: int = 50,
        exact: bool = True,
        max_steps: int = 30,
        tol: float = 1e-6,
    ):
        require_settings(power, start, {"price_steps": price_steps, "max_steps": max_steps}, tol)
        self.control = power == "control"
        self.start: StartPower = start if self.control else "max"
        self.plan = (max_steps, price_steps, exact, float(tol))

    def solve(self, instance: CellInstance) -> Solution[AssociationAction]:
        """Run; `iterations` are rounds, of which there is one at full power."""
        share = start_share(instance, self.start)
        return run_cells(kernels.solve, kernels.solve_batch, instance, share, self.control, self.plan)

    def __call__(self, instance: CellInstance) -> AssociationAction:
        return self.solve(instance).action


class ControlledMaxSumUtility(MaxSumUtility):
    """`MaxSumUtility` with power control, or `MaxSumUtility` at full power in the instances where that is better.

    Equal powers, which the control starts from, leave users without a signal that only a loud station reaches. Full
    power is the safeguard: its association is the best one, so that the geometric mean of rates is never below that
    of `MaxSignalAssociation` or `MaxGainAssociation`. `iterations` and `converged` are those of the power control.
    """

    def __init__(self):
        super().__init__("control")

    def solve(self, instance: CellInstance) -> Solution[AssociationAction]:
        found = super().solve(instance)
        actions = [found.action, MaxSumUtility()(instance)]
        return replace(found, action=best_action(ProportionalFairAssociation(), instance, actions)[0])
