"""Whether demands on mean rates can be met at all."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.links import ErgodicInstance
from torchrrm.records import replace
from torchrrm.solvers.branch_and_bound import BranchAndBound

__all__ = ["MOST_SEARCHED", "certify_out_of_reach"]

MOST_SEARCHED = 10
"""Links up to which slots are searched to the tolerance; of more, only the first box of each is bounded."""


def certify_out_of_reach(
    instance: ErgodicInstance,
    multiplier: Float[Tensor, "*batch tx"],
    demand_bps_hz: Float[Tensor, "*batch tx"],
    *,
    tolerance: float = 0.01,
) -> Float[Tensor, "*batch"]:
    """By how much demands exceed what any powers can give in these slots; certified if positive.

    For weights `w >= 0` no powers give more than `B(w) = mean_t max_p sum_i w_i r_i(H_t, p)`, so that demands with
    `sum_i w_i u_i > B(w)` are out of reach together (a theorem of the alternative; `B` is bounded from above by
    `BranchAndBound`). Returned is `1 - B(w) / sum_i w_i u_i`. The multipliers to which `OnlineDual` grows when demands
    are out of reach are such weights. A number that is not positive says nothing.

    Args:
        instance: slots that stand for what the channels will be.
        multiplier: the weights; scaled to a largest of 1.
        demand_bps_hz: mean rates asked for, in bit/s/Hz.
        tolerance: of the bound in each slot, for at most `MOST_SEARCHED` links.
    """
    demand = torch.where(instance.active, demand_bps_hz, torch.zeros_like(multiplier))
    weight = torch.where(demand > 0, multiplier, torch.zeros_like(multiplier))
    weight = weight / weight.amax(-1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    links = instance.slots()
    searched = int(instance.active.sum(-1).max()) <= MOST_SEARCHED
    solver = BranchAndBound(tolerance) if searched else BranchAndBound(tolerance, max_boxes=1, starts=0)
    weighted = replace(links, weight=weight.unsqueeze(-2).expand(links.weight.shape))
    bound = solver.solve(weighted).upper_bound
    if bound is None:
        raise TypeError("BranchAndBound gave no bound")
    asked = (weight * demand).sum(-1)
    reachable = bound.mean(-1)
    known = asked > 0
    excess = 1 - reachable / torch.where(known, asked, torch.ones_like(asked))
    return torch.where(known, excess, torch.zeros_like(excess))
