"""Association of the largest sum of effective rates, at full power or with power control."""

from typing import Literal

from torchrrm.kernels import effective_rate as kernels
from torchrrm.problems.association import AssociationAction, CellInstance
from torchrrm.solvers.base import Solution
from torchrrm.solvers.cell_arrays import StartPower, require_settings, run_cells, start_share

__all__ = ["ControlledEffectiveRate", "EffectiveRateAssociation"]


class EffectiveRateAssociation:
    """Users and stations by the sum of effective rates `sum_ij x_ij c_ij / N_j`, after [Zhou2018].

    That sum is the objective of `SumRateAssociation`; all weights are 1. At fixed powers it is a sum of ratios
    `f_j / h_j` of the stations' sums of rates and numbers of users. [Zhou2018] turns it into a polynomial with
    parameters, `max_x sum_j l_j (f_j - a_j h_j)`, in which each user chooses for itself,

        station of i = argmax_j l_j (c_ij - a_j),

    and moves the parameters by the damped Newton rule of [Jong2012] towards `a_j = f_j / h_j`, `l_j = 1 / h_j` of the
    association that they lead to: by the first of the steps 1, 1/2, 1/4, ... that reduces the error enough. Users start
    at the station of their highest rate, and the best association met is kept.

    `power="max"` is UAMWSER of [Zhang2022HBGNN], with every station at its limit. `power="control"` is JUAPCMWSER: an
    outer loop of that association, an inner one of a power update function, the fixed point of the condition that
    the derivative of the sum of effective rates is 0,

        p_j = min(p_max,j, A_j / B_j),   A_j = sum_{i at j} (1 / N_j) SINR_i / (1 + SINR_i),
        B_j = sum_{k not at j} (1 / N_s(k)) SINR_k / (1 + SINR_k) g_kj / I_k.

    Each of its steps maximises a separable lower bound that touches the sum at the present powers, so that the sum
    never falls; stations whose powers do not pay fall silent. The best round is kept.

    The text of [Zhou2018] was not at hand, only what it says of itself: effective rates, a sum of ratios in a
    parameterised polynomial form solved by one loop, two loops with a power update function inside. Assumed are
    therefore: the stations as ratios; an empty station counting as one of a single user, so that it promises a newcomer
    the whole rate; equal promises being decided by signal; the least error where no step reduces it enough, since
    associations jump; this power update function; the first powers; and how far the association goes in a round. The
    last two matter: in the networks of [Zhang2022HBGNN], one step of association a round from full power
    (`start="max"`, `association_steps=1`) ends one seventh lower than the default.

    Runs in compiled code on the CPU, in float64; no gradients. Users out of reach are `UNSERVED`.

    Args:
        power: powers at the limits, or controlled.
        start: first powers of the control: all stations as loud as the least limit allows, or each at its limit.
        association_steps: steps of the parameters in a round of the control.
        power_steps: steps of the powers in a round.
        max_steps: rounds of the control, or steps of the association at full power.
        tol: relative gain that ends the steps of a round, and the rounds once ten of them gain less.
    """

    def __init__(
        self,
        power: Literal["max", "control"] = "max",
        *,
        start: StartPower = "equal",
        association_steps: int = 10,
        power_steps: int = 100,
        max_steps: int = 100,
        tol: float = 1e-4,
    ):
        steps = {"association_steps": association_steps, "power_steps": power_steps, "max_steps": max_steps}
        require_settings(power, start, steps, tol)
        self.control = power == "control"
        self.start: StartPower = start if self.control else "max"
        self.plan = (max_steps, association_steps, power_steps, float(tol))

    def solve(self, instance: CellInstance) -> Solution[AssociationAction]:
        """Run. Without control it has converged if the parameters are those of the association that they lead to."""
        share = start_share(instance, self.start)
        return run_cells(kernels.solve, kernels.solve_batch, instance, share, self.control, self.plan)

    def __call__(self, instance: CellInstance) -> AssociationAction:
        return self.solve(instance).action


class ControlledEffectiveRate(EffectiveRateAssociation):
    """`EffectiveRateAssociation` with power control."""

    def __init__(self):
        super().__init__("control")
