"""The certified dual of demands: what no power control can exceed that meets them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.policies import OnlineDual
from torchrrm.recipes.alcor.allocators import many_starts
from torchrrm.recipes.alcor.cases import REPORT, Case, generator_of, rayleigh
from torchrrm.recipes.alcor.loops import draw_runs
from torchrrm.solvers import ErgodicDualBound

__all__ = ["DualCertificate"]

_STREAM = 29


@dataclass(frozen=True)
class DualCertificate:
    """Certified bound on the mean sum rate of any powers that meet the demands: the job of a worker.

    The multipliers are those at which `OnlineDual` over WMMSE settles; the bound is certified at them on other slots,
    so that the interval for the expectation holds as it stands.

    Attributes:
        case: the demands, of at most ten links.
        slots: that the bound is averaged over.
        settle: slots of the loop.
    """

    case: Case
    slots: int
    settle: int = 2000

    @property
    def name(self) -> str:
        return (
            f"certificate-{self.case.links}-{sum(self.case.demand_bps_hz):g}-{max(self.case.demand_bps_hz):g}"
        )

    def __call__(self) -> dict[str, Tensor]:
        """`bound` in bit/s/Hz, its 95 % `interval` `[2]`, and the `multiplier` `[tx]`."""
        generator = generator_of(REPORT, _STREAM, self.case.links)
        source, demand = rayleigh(self.case.links), self.case.demand
        loop = OnlineDual(many_starts(16), step=0.01)
        before = draw_runs(source, demand, 1, self.settle, generator)
        seen, _ = loop.track(before, loop.start(before))
        multiplier = seen.multiplier[:, self.settle // 2 :].mean(-2)
        slots = draw_runs(source, demand, 1, self.slots, generator)
        bound, each = ErgodicDualBound(hard=True).certify(slots, multiplier)
        half = 1.96 * each.std(-1) / self.slots**0.5 if self.slots > 1 else torch.full_like(bound, torch.inf)
        interval = torch.stack([bound - half, bound + half], dim=-1)
        return {"bound": bound[0], "interval": interval[0], "multiplier": multiplier[0]}
