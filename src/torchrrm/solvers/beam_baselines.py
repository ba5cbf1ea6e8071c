"""Beams and powers that need no thought: what a method of beamforming must beat."""

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from torchrrm.kernels import beam_baselines as kernels
from torchrrm.problems.beamforming import (
    BeamAction,
    MisoInstance,
    coupling,
    dual_sinr,
    least_sinr,
    mmse_action,
    relative_channel,
)
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_numbers
from torchrrm.records import is_compilable
from torchrrm.solvers.base import Solution
from torchrrm.solvers.beam_arrays import miso_arrays

__all__ = ["EqualPowerMMSE", "ZeroForcing", "heard_users", "keeps_least_sinr"]

_RANK = 1e-10  # of the largest eigenvalue of the Gram matrix of unit channels: below, directions count as dependent
_SHORT = 1e-9  # relative, by which rounding may miss a least SINR
_DOUBLE = torch.float64


class EqualPowerMMSE:
    """Each active user has `P / K` of the uplink power, and the beams are the best for it, Eq. (9) of [He2022USRMNet].

    `K` counts the active users whose channel is not 0. Minimum rates are not looked at: `converged` says whether they
    are kept. In the cells of Table I of [He2022USRMNet] it is within 0.4 % of the paper's baseline.

    On a CPU, without gradients, a compiled kernel serves single instances and batches.
    """

    kind = "trivial"

    def solve(self, instance: MisoInstance) -> Solution[BeamAction]:
        """The action, in no steps."""
        return _in_one_go(self(instance), instance)

    def __call__(self, instance: MisoInstance) -> BeamAction:
        if is_compilable(require_record(instance, MisoInstance)):
            return _compiled_equal_power(instance)
        heard = heard_users(instance)
        users = heard.sum(-1, keepdim=True).clamp(min=1)
        power_w = heard * (instance.max_power_w[..., None] / users)
        return mmse_action(instance, power_w)


class ZeroForcing:
    """Beams of the pseudo-inverse of the channels, and the powers that are best for Shannon's rates under them.

    With `w_k^H h_l = 0` for all others, uplink and downlink powers coincide and users are decoupled: SINR `q_k C_kk`.
    Each has what its minimum rate needs, `nu_k / C_kk`, and the rest of the power is filled in,

        q_k = nu_k / C_kk + (a_k / level - (1 + nu_k) / C_kk)^+,

    which maximises `sum_k a_k ln(1 + q_k C_kk)` under minimum rates. Where they need more than the limit, the power
    is shared in their proportions. Where channels are linearly dependent, as with more users than antennas, the
    directions of the pseudo-inverse are not free of interference and minimum rates may be missed. `converged` says
    whether all are kept. Computed in float64.
    """

    kind = "trivial"

    def solve(self, instance: MisoInstance) -> Solution[BeamAction]:
        """The action, in no steps."""
        return _in_one_go(self(instance), instance)

    def __call__(self, instance: MisoInstance) -> BeamAction:
        require_numbers(require_record(instance, MisoInstance))
        beam = _inverse_beams(instance).to(instance.channel.dtype)
        heard = heard_users(instance)
        gain = coupling(instance, beam).diagonal(dim1=-2, dim2=-1).to(_DOUBLE)
        heard = heard & (gain > 0)
        gain = torch.where(heard, gain, 1.0)
        least = torch.where(heard, least_sinr(instance), 0.0)
        needed = least / gain
        total = needed.sum(-1, keepdim=True)
        weight = torch.where(heard, instance.weight.to(_DOUBLE), 0.0)
        filled = _water_filling(gain / (1 + least), weight, (1 - total).clamp(min=0))
        share = needed / total.clamp(min=1) + filled
        power_w = share * instance.max_power_w[..., None]
        return BeamAction(power_w=power_w.to(instance.max_power_w.dtype), beam=beam)


def heard_users(instance: MisoInstance) -> Bool[Tensor, "*batch user"]:
    """Active users whose channel is not 0."""
    return instance.active & (instance.channel != 0).any(-1)


def keeps_least_sinr(instance: MisoInstance, action: BeamAction) -> Bool[Tensor, "*batch"]:
    """Whether every active user has the SINR that its minimum rate needs, but for rounding."""
    reached = dual_sinr(instance, action)
    slack = max(_SHORT, 8 * torch.finfo(reached.dtype).eps)
    return (reached >= least_sinr(instance) * (1 - slack)).all(-1)


def _compiled_equal_power(instance: MisoInstance) -> BeamAction:
    channel, noise, limit, _, active = miso_arrays(instance)
    power, beam = np.empty_like(noise), np.empty_like(channel)
    kernels.equal_power_batch(channel, noise, limit, active, power, beam)
    return BeamAction(
        power_w=torch.from_numpy(power).to(instance.max_power_w.dtype).reshape(instance.active.shape),
        beam=torch.from_numpy(beam).to(instance.channel.dtype).reshape(instance.channel.shape),
    )


def _in_one_go(action: BeamAction, instance: MisoInstance) -> Solution[BeamAction]:
    steps = torch.zeros(instance.active.shape[:-1], dtype=torch.int64, device=instance.active.device)
    return Solution(action, keeps_least_sinr(instance, action), steps)


def _inverse_beams(instance: MisoInstance) -> Complex[Tensor, "*batch user ant"]:
    """`w_k ~ sum_l u_l [U^+]_lk` with unit channels `u` and `U_kl = u_k^H u_l`, of length 1; 0 of users not heard.

    Complex128. Unit channels, so that what counts as dependent does not depend on how far users are away.
    """
    channel = relative_channel(instance).to(torch.complex128)
    unit = _unit(channel)
    inverse = torch.linalg.pinv(unit.conj() @ unit.mT, rtol=_RANK, hermitian=True)
    beam = _unit(inverse.mT @ unit)
    return torch.where(heard_users(instance)[..., None], beam, torch.zeros_like(beam))


def _unit(vector: Complex[Tensor, "*batch user ant"]) -> Complex[Tensor, "*batch user ant"]:
    norm = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    there = norm > 0
    return torch.where(there, vector / torch.where(there, norm, 1.0), torch.zeros_like(vector))


def _water_filling(
    gain: Float[Tensor, "*batch user"],
    weight: Float[Tensor, "*batch user"],
    budget: Float[Tensor, "*batch 1"],
) -> Float[Tensor, "*batch user"]:
    """`(a_k / level - 1 / g_k)^+` with the level at which they add up to the budget; 0 if every weight is 0.

    The served are those of largest `a_k g_k`; of the first `m` the level is `sum a / (budget + sum 1 / g)`, and as
    many are served as have `a_k g_k` above the level that they have together.
    """
    product, order = (weight * gain).sort(-1, descending=True)
    weights = weight.gather(-1, order).cumsum(-1)
    level = weights / (budget + (1 / gain.gather(-1, order)).cumsum(-1))
    served = (product > level).sum(-1, keepdim=True)
    chosen = level.gather(-1, (served - 1).clamp(min=0))
    there = (served > 0) & (weight > 0)
    filled = weight / torch.where(there, chosen, 1.0) - 1 / gain
    return torch.where(there, filled.clamp(min=0), 0.0)
