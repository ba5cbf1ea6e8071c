"""Upper bound on the weighted sum rate under minimum rates, with a certificate."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.problems.links.qos_sum_rate import demanded_rate, require_min_rate
from torchrrm.records import replace, to
from torchrrm.solvers.base import Solution
from torchrrm.solvers.branch_and_bound import BranchAndBound
from torchrrm.solvers.geometric_program import GeometricProgram
from torchrrm.solvers.minimum_power import MinimumPower

__all__ = ["QosBound"]


@dataclass(frozen=True)
class QosBound:
    """Certified bound on `QosSumRate`: the lower of two relaxations, each by `BranchAndBound`.

    1. Without the minimum rates.
    2. Around the least powers `l` (`MinimumPower`), which no powers that keep all minimum rates fall below in any
       link: with `p = l + q` and `N_k = n + sum_{j != k} g_kj l_j`, where `log2(1 + g_kk l_k / N_k) = r_k`,

           R_k(l + q) <= r_k + log2(1 + 2^-r_k g_kk q_k / (N_k + sum_{j != k} g_kj q_j)),   0 <= q <= p_max - l,

       since interference divides what a link has, too. That is a weighted sum rate of other links.

    It is no optimum: where minimum rates bind, the best powers lie below. The action is that of
    `GeometricProgram`. `converged` says whether the minimum rates can be reached; where not, the bound is `-inf`.

    Attributes:
        min_rate_bps_hz: a number for all links, or a tensor that broadcasts to `[*batch tx]`, in bit/s/Hz.
        tolerance: of each search.
    """

    min_rate_bps_hz: float | Tensor = 0.0
    tolerance: float = 0.01

    kind = "solver"

    def __post_init__(self) -> None:
        require_min_rate(self.min_rate_bps_hz)
        BranchAndBound(self.tolerance)

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Powers, and a bound in bit/s/Hz; `iterations` counts the boxes of both searches."""
        with torch.no_grad():
            exact = to(instance, device="cpu", dtype=torch.float64)
            rate = demanded_rate(exact, torch.as_tensor(self.min_rate_bps_hz).cpu(), torch.float64)
            least = MinimumPower(rate).solve(exact)
            solver = BranchAndBound(self.tolerance)
            free, above = solver.solve(exact), solver.solve(_above(exact, rate, least.action.power_w))
            asked = (torch.where(exact.active, exact.weight, 0.0) * rate).sum(-1)
            bound = torch.minimum(_bound(free), asked + _bound(above))
            bound = torch.where(least.converged, bound, -torch.inf)
            rounding = 1 + 8 * torch.finfo(instance.gain.dtype).eps
            device = instance.gain.device
            return Solution(
                GeometricProgram(self.min_rate_bps_hz)(instance),
                least.converged.to(device),
                (free.iterations + above.iterations).to(device),
                (bound * rounding).to(instance.gain),
            )

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action


def _above(
    instance: LinkInstance, rate: Float[Tensor, "*batch tx"], least_w: Float[Tensor, "*batch tx"]
) -> LinkInstance:
    """The links of the second relaxation, in powers beyond the least ones."""
    own = torch.eye(rate.shape[-1], dtype=torch.bool)
    noise = instance.noise_power_w[..., None]
    heard = noise + (instance.gain.masked_fill(own, 0.0) @ least_w[..., None])[..., 0]
    scaled = instance.gain * (noise / heard)[..., None]
    return replace(
        instance,
        gain=torch.where(own, scaled * torch.exp2(-rate)[..., None], scaled),
        max_power_w=torch.clamp(instance.max_power_w - least_w, min=0.0),
    )


def _bound(solution: Solution[PowerAction]) -> Tensor:
    if solution.upper_bound is None:
        raise TypeError("BranchAndBound gave no bound")
    return solution.upper_bound
