"""Powers learned as decisions: each link is told what the weighted sum rate gains if it transmits."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems import LinkInstance, PowerAction, Problem, relative_gain

__all__ = ["Switching", "switching_gain"]

_MARGIN = 1e-6
"""Logarithms of shares nearer to 0 or 1 than this are cut off; there a power is decided."""


def switching_gain(instance: LinkInstance, power_w: Float[Tensor, "*batch tx"]) -> Float[Tensor, "*batch tx"]:
    """What the weighted sum rate gains, in bit/s/Hz, if one link goes from silence to its limit.

        G_j = U(p with p_j = p_max,j) - U(p with p_j = 0);     0 for links that are not active.

    All of them in `O(N^2)`: link `j` moves the interference of each other receiver by its own part.
    """
    ratio = relative_gain(instance)
    here = instance.active
    share = torch.where(here, power_w / torch.where(here, instance.max_power_w, 1.0), 0.0)
    direct = ratio.diagonal(dim1=-2, dim2=-1)
    wanted = (direct * share)[..., :, None]
    cross = ratio - torch.diag_embed(direct)
    unrest = 1.0 + (cross @ share[..., None])[..., 0]  # [*batch rx]: interference and noise, in noises
    silent = unrest[..., :, None] - cross * share[..., None, :]  # [*batch rx tx]: at rx, without tx
    silent = torch.clamp(silent, min=1.0)
    # On the diagonal 0: a link does not disturb itself.
    lost = (torch.log1p(wanted / silent) - torch.log1p(wanted / (silent + cross))) / math.log(2)
    weight = torch.where(here, instance.weight, 0.0)
    return weight * torch.log1p(direct / unrest) / math.log(2) - (weight[..., None, :] @ lost)[..., 0, :]


@dataclass(frozen=True)
class Switching:
    """Cross-entropy of each link's share of its limit to what pays more, on or off, weighted by how much it pays.

        loss = -mean_j sum_k |G_k| ( [G_k > 0] ln s_k + [G_k < 0] ln(1 - s_k) ),     s = p / p_max,

    for a `WeightedSumRate`, with the gains `G` of `switching_gain` as constants. Unsupervised: it is the policy's own
    powers that say what pays. Where it is 0, no link alone can better the others by being switched.

    The sum rate is a poor teacher of a new policy. At 20 links of equal mean gains the strongest link drowns any
    other that begins to transmit: the derivative by that one's power is negative although at its limit both would
    have more, and a sigmoid that has gone to 0 learns no more. Policies then stay at one winner, 6.77 bit/s/Hz of
    7.76 that WMMSE has. The difference between on and off looks across that valley, and the logarithm keeps its
    slope. Powers between, and the last percents, are for `Unsupervised` afterwards.
    """

    def __call__(
        self, problem: Problem[Any, Any], instance: LinkInstance, action: PowerAction, /
    ) -> Float[Tensor, ""]:
        gain = switching_gain(instance, action.power_w.detach())
        here = instance.active
        share = torch.where(here, action.power_w / torch.where(here, instance.max_power_w, 1.0), 0.5)
        share = torch.clamp(share, _MARGIN, 1.0 - _MARGIN)
        level = torch.where(gain > 0, torch.log(share), torch.log1p(-share))
        return -(gain.abs() * level).sum(-1).mean()
