"""Least powers with which a station of many antennas gives its users their minimum rates, and whether there are any."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchrrm.kernels import beam_power as kernels
from torchrrm.problems.beamforming import (
    BeamAction,
    MisoInstance,
    coupling,
    least_sinr,
    mmse_action,
    relative_gram,
)
from torchrrm.problems.structure import require_record, require_tensor
from torchrrm.problems.validation import require_broadcast
from torchrrm.records import is_compilable, to
from torchrrm.solvers.base import Solution
from torchrrm.solvers.beam_arrays import double_rows, miso_arrays
from torchrrm.solvers.beam_power import balanced_share, least_share, received_share, restored_share

__all__ = ["MinimumPowerBeamforming", "feasible", "least_power_w", "restored_power"]


class MinimumPowerBeamforming:
    """Least powers and beams under which every user reaches its minimum rate; exact.

    In the dual uplink with best beams a user needs `q_k >= nu_k I_k(q)` with the interference function
    `I_k(q) = 1 / (h_k^H (sigma^2 I + sum_{l != k} q_l h_l h_l^H)^-1 h_k)` and the least SINR `nu_k` of its rate. The
    fixed point of `q = nu I(q)` is the componentwise least solution ([Yates1995]), and its sum the least total power
    of the downlink too. It is found by Newton's method: solve the linear system of the present beams, take the best
    beams, and so on; the powers fall monotonically, and quadratically.

    *Where the rates cannot be reached* within the limit, `converged` is `False` and the action is that of balanced
    shares at full power: all users that ask for something reach the same fraction of their least SINR, the largest
    possible ([Schubert2004]). `least_power_w` tells the power that would do.

    `solve(instance).converged` says whether the instance is feasible, `iterations` how many sets of beams were taken.
    Both forms compute in float64, of the Gram matrix.

    *Rounding.* The powers are the least of the beams that are returned, as antennas receive them, so that they suffice
    whatever rounding has made of the beams. A user that is received at a ratio `g` to the noise and needs `c` times the
    power that it would need alone has them to some `1e-14 g c`. Where that is not small (nearly dependent channels far
    above 60 dB) better beams may need less, or no powers may be found where there are some. Where
    `g c` is above some 1e20, float64 cannot tell what antennas receive.

    Users that ask for nothing get no power.
    """

    def solve(self, instance: MisoInstance) -> Solution[BeamAction]:
        """Least powers with their beams, and whether they are within the limit."""
        if is_compilable(require_record(instance, MisoInstance)):
            _, action, within, steps = _compiled(instance)
            return Solution(action, within, steps)
        with torch.no_grad():
            needed, target, steps = _least(instance)
            within = needed.sum(-1) <= 1 + kernels.ROUNDING
            gram = relative_gram(to(instance, dtype=torch.float64))
            share = torch.where(within[..., None], needed, balanced_share(gram, target))
            power_w = share * instance.max_power_w.double()[..., None]
            return Solution(mmse_action(instance, power_w.to(instance.max_power_w.dtype)), within, steps)

    def __call__(self, instance: MisoInstance) -> BeamAction:
        return self.solve(instance).action


def least_power_w(instance: MisoInstance) -> Float[Tensor, "*batch"]:
    """Least total power in W under which every user has its minimum rate, in float64, whatever the limit.

    Infinite if no power would do, as for users of channel 0 that ask for something or, in general, of more users than
    antennas: none of at most 1e8 limits, or none of which users need less than 1e12 times what they need alone.
    """
    if is_compilable(require_record(instance, MisoInstance)):
        needed = _compiled(instance)[0]
    else:
        with torch.no_grad():
            needed = _least(instance)[0]
    return needed.sum(-1) * instance.max_power_w.double()


def feasible(instance: MisoInstance) -> Bool[Tensor, "*batch"]:
    """Whether some powers within the limit give every user its minimum rate; exact to 1e-9 of the limit and rounding.

    Rounding is told by `MinimumPowerBeamforming`.
    """
    return least_power_w(instance) <= instance.max_power_w.double() * (1 + kernels.ROUNDING)


def restored_power(
    instance: MisoInstance, power_w: Float[Tensor, "*batch user"]
) -> tuple[Float[Tensor, "*batch user"], Bool[Tensor, "*batch"]]:
    """Uplink powers in W at the limit that keep every minimum rate with best beams, and whether there are any.

    They are `q = max(s power, nu I(q))` with the `s` at which their sum is the limit: users whom `s power` would
    leave below their least SINR get exactly what reaches it, the others share the rest in the given proportions. For
    each `s` there is one such `q`, and it grows with `s`. Negative powers count as 0. Where the minimum rates cannot be
    reached, the powers are balanced, see `MinimumPowerBeamforming`.

    On a CPU, without gradients, a compiled kernel serves single instances and batches. The torch form carries
    gradients to `power_w` and the instance.
    """
    require_record(instance, MisoInstance)
    require_broadcast("power_w", require_tensor("power_w", power_w, "float"), instance.active.shape)
    if is_compilable(instance, power_w):
        return _compiled_restore(instance, power_w)
    limit = instance.max_power_w.double()[..., None]
    gram, target = relative_gram(to(instance, dtype=torch.float64)), least_sinr(instance)
    share, within = restored_share(gram, power_w.double() / limit, target)
    return (share * limit).to(power_w.dtype), within


def _least(instance: MisoInstance) -> tuple[Tensor, Tensor, Int[Tensor, "*batch"]]:
    """Least shares by the torch form, the least SINRs, and the steps."""
    target, exact = least_sinr(instance), to(instance, dtype=torch.float64)
    share, steps = least_share(relative_gram(exact), target)
    found = torch.isfinite(share).all(-1, keepdim=True)
    power_w = torch.where(found, share, torch.zeros_like(share)) * exact.max_power_w[..., None]
    received = received_share(coupling(exact, mmse_action(exact, power_w).beam), target)
    return torch.where(found, received, share), target, steps


def _compiled(
    instance: MisoInstance,
) -> tuple[Tensor, BeamAction, Bool[Tensor, "*batch"], Int[Tensor, "*batch"]]:
    """Least shares, the action, whether it is within the limit, and the steps, by the kernel."""
    arrays, batch = miso_arrays(instance), instance.max_power_w.shape
    beam = np.empty_like(arrays[0])
    needed, share, within, steps = kernels.least_batch(*arrays, beam)
    least = torch.from_numpy(needed).reshape(instance.active.shape)
    action = BeamAction(
        power_w=_watts(instance, share),
        beam=torch.from_numpy(beam).to(instance.channel.dtype).reshape(instance.channel.shape),
    )
    return least, action, torch.as_tensor(within).reshape(batch), torch.as_tensor(steps).reshape(batch)


def _compiled_restore(
    instance: MisoInstance, power_w: Float[Tensor, "*batch user"]
) -> tuple[Float[Tensor, "*batch user"], Bool[Tensor, "*batch"]]:
    arrays, batch = miso_arrays(instance), instance.max_power_w.shape
    wanted = power_w.expand(instance.active.shape)
    share, within = kernels.restore_batch(*arrays, double_rows(wanted, wanted.shape[-1]))
    return _watts(instance, share).to(power_w.dtype), torch.as_tensor(within).reshape(batch)


def _watts(instance: MisoInstance, share: np.ndarray) -> Tensor:
    """Powers in W of shares, in the precision of the limit."""
    limit = instance.max_power_w
    power = torch.from_numpy(share).reshape(instance.active.shape) * limit.double()[..., None]
    return power.to(limit.dtype)
