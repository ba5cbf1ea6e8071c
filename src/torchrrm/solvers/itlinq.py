"""Information-theoretic link scheduling."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import itlinq as kernels
from torchrrm.problems.base import Reads
from torchrrm.problems.links import LinkInstance, PowerAction, relative_gain
from torchrrm.problems.structure import require_record
from torchrrm.records import is_compilable
from torchrrm.solvers.base import Solution
from torchrrm.solvers.link_baselines import in_one_go
from torchrrm.solvers.relative_links import arrays, power_action
from torchrrm.units import db_to_linear

__all__ = ["ITLinQ"]


class ITLinQ:
    """Links are admitted one by one where treating interference as noise is nearly optimal [NaderiAlizadeh2014].

    In the order of falling priority, link `k` transmits at its limit if

        max(INR_kj, INR_jk) <= M SNR_k^eta   for each link j admitted before it,

    all ratios at full power and `SNR_k` the candidate's in both directions; else it is silent. Powers are on or off
    and the weights play no part, but through the priority.

    Args:
        m_db: `M` in dB.
        eta: exponent of the SNR.
    """

    reads: Reads = "priority"

    def __init__(self, m_db: float = 25.0, eta: float = 0.5):
        if not math.isfinite(m_db):
            raise ValueError(f"m_db: must be finite, received {m_db}")
        if not 0 <= eta < math.inf:
            raise ValueError(f"eta: must be finite and not negative, received {eta}")
        self.margin, self.exponent = db_to_linear(m_db), eta

    def solve(
        self, instance: LinkInstance, priority: Float[Tensor, "*batch tx"] | None = None
    ) -> Solution[PowerAction]:
        """Limits or zeros, in no steps."""
        return in_one_go(self(instance, priority), instance)

    def __call__(
        self, instance: LinkInstance, priority: Float[Tensor, "*batch tx"] | None = None
    ) -> PowerAction:
        """Limits or zeros.

        Args:
            instance: the links; their weights are not used.
            priority: of each link, such as its weight times rate over its mean rate so far (proportional
                fairness); by default the direct gain.
        """
        compiled = is_compilable(require_record(instance, LinkInstance))
        if priority is None:
            priority = instance.gain.diagonal(dim1=-2, dim2=-1)
        elif priority.shape != instance.max_power_w.shape:
            expected, received = list(instance.max_power_w.shape), list(priority.shape)
            raise ValueError(f"priority: must have shape {expected}, received {received}")
        if compiled:
            return PowerAction(power_w=self._compiled(instance, priority))
        return power_action(instance, self._admitted(instance, priority.detach()))

    def _compiled(self, instance: LinkInstance, priority: Tensor) -> Tensor:
        gain, noise, limit, _, active = arrays(instance)
        values = np.ascontiguousarray(priority.detach().numpy().reshape(limit.shape), np.float64)
        run = kernels.admit if gain.ndim == 2 else kernels.admit_batch
        power = run(gain, noise, limit, values, active, self.margin, self.exponent)
        return torch.from_numpy(power).reshape(instance.max_power_w.shape)

    @torch.no_grad()
    def _admitted(self, instance: LinkInstance, priority: Tensor) -> Float[Tensor, "*batch tx"]:
        """1 for the links admitted, else 0."""
        gain = relative_gain(instance)
        order = torch.where(instance.active, priority, -torch.inf).argsort(
            dim=-1, descending=True, stable=True
        )
        worst = torch.maximum(gain, gain.mT)
        worst = torch.take_along_dim(
            worst, order[..., None], -2
        )  # rows and columns in the order of admission
        worst = torch.take_along_dim(worst, order[..., None, :], -1)
        limit = self.margin * worst.diagonal(dim1=-2, dim2=-1) ** self.exponent
        able = torch.take_along_dim(instance.active, order, -1)
        met = torch.zeros_like(limit)  # the worst ratio of each link with those admitted so far
        admitted = []
        for k in range(limit.shape[-1]):
            fits = able[..., k] & (met[..., k] <= limit[..., k])
            met = torch.where(fits[..., None], torch.maximum(met, worst[..., k]), met)
            admitted.append(fits)
        place = order.argsort(-1)
        return torch.take_along_dim(torch.stack(admitted, -1), place, -1).to(gain.dtype)
