"""Weighted sum rate of short packets under minimum rates, by Newton's method over the powers of the dual uplink."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchrrm.kernels import beam_ascent as kernels
from torchrrm.problems.beamforming import (
    BeamAction,
    MisoInstance,
    least_sinr,
    mmse_action,
    relative_gram,
)
from torchrrm.problems.structure import require_action, require_record
from torchrrm.problems.validation import require_shape
from torchrrm.rates import packet_back_off
from torchrrm.records import is_compilable, map_tensors, to
from torchrrm.solvers.base import Solution
from torchrrm.solvers.beam_arrays import miso_arrays, miso_weights, rows
from torchrrm.solvers.beam_ascent import (
    BeamUplink,
    ascend_share,
    sharpened_share,
    start_shares,
    weighted_rate,
)
from torchrrm.solvers.beam_power import restored_share

__all__ = ["GramAscent"]

_State = tuple[Tensor, Tensor, Tensor, Tensor]  # shares, objective, converged, steps


class GramAscent:
    """Ascent over K real powers: a local optimum of the weighted sum rate in which minimum rates are always kept.

    Under best beams rates are functions of the `K` uplink powers by the Gram matrix alone, whatever the antennas. In
    the levels `r_k = ln(1 + SINR_k)` the objective is separable and minimum rates are bounds; the limit is the only
    constraint that couples users, and it is tight. A step is Newton's for the users above their bounds (and those at
    a bound whose gain exceeds the price of power); its end is restored exactly to minimum rates and full power, so
    every point on the way is feasible and none is worse than the one before. Two to six steps are usual.

    The result is never below equal power where that is feasible, which is the first start. It is a local optimum:
    where channels are nearly parallel, starts may differ (12 users at 16 antennas: 5e-4 between the worst and the best
    start).

    *Where the rates cannot be reached* `converged` is `False`, and the action is that of balanced shares, see
    `MinimumPowerBeamforming`.

    On a CPU, without gradients, a compiled kernel serves single instances and batches. Both forms compute in float64.
    The torch form carries gradients, which are those of the local optimum: by one more step of Newton's method.
    `converged` says whether the instance is feasible and every start converged, `iterations` the most steps of any.

    Args:
        max_steps: of Newton's method, from each start.
        starts: number of starts, of which the best result is returned: equal power; the user whose level is cheapest
            at the least powers alone; shares that fall with the fourth power of that price; the least powers scaled
            up; then the other users alone, cheapest first; then random ones. Each is restored to the minimum rates.
        tol: a start has converged once a step promises a rise below this part of the objective.
        seed: of the random starts, which are numbers for the cheapest, second, ... user of an instance: the same
            instance gets the same action, however its users are numbered and padded.
    """

    def __init__(self, max_steps: int = 60, starts: int = 3, tol: float = 1e-9, *, seed: int = 0):
        for name, value in (("max_steps", max_steps), ("starts", starts)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1, received {value}")
        if not tol >= 0:
            raise ValueError(f"tol: must not be negative, received {tol}")
        self.max_steps, self.starts, self.tol, self.seed = max_steps, starts, tol, seed
        self._tables: dict[int, np.ndarray] = {}

    def solve(self, instance: MisoInstance) -> Solution[BeamAction]:
        """The best action of all starts."""
        if is_compilable(require_record(instance, MisoInstance)):
            return self._compiled(instance, None, kernels.solve_batch)
        return self._traced(instance, None)

    def refine(self, instance: MisoInstance, action: BeamAction) -> BeamAction:
        """The local optimum that the powers of an action lead to, restored to the minimum rates first."""
        require_action(action, BeamAction, instance, MisoInstance)
        require_shape("power_w", action.power_w, list(instance.active.shape))
        if is_compilable(instance, action.power_w):
            return self._compiled(instance, action.power_w, kernels.refine_batch).action
        return self._traced(instance, action.power_w).action

    def __call__(self, instance: MisoInstance) -> BeamAction:
        return self.solve(instance).action

    def table(self, users: int) -> np.ndarray:
        """Random shares `[rank start]`; a larger table holds the smaller ones."""
        if users not in self._tables:
            columns = [
                np.random.default_rng((self.seed, start)).random(users) for start in range(self.starts)
            ]
            self._tables[users] = np.stack(columns, -1) ** 4
        return self._tables[users]

    def _compiled(
        self,
        instance: MisoInstance,
        power_w: Tensor | None,
        run: Callable[..., Any],
    ) -> Solution[BeamAction]:
        channel, noise, limit, packet, active = miso_arrays(instance)
        batch, like = instance.max_power_w.shape, instance.max_power_w.dtype
        weight = miso_weights(instance, active)
        power = np.zeros(active.shape) if power_w is None else rows(power_w.double(), active.shape[-1]).copy()
        beam = np.empty_like(channel)
        plan = (self.table(active.shape[-1]), self.max_steps, self.tol)
        converged, steps = run(channel, noise, limit, packet, active, weight, plan, power, beam)
        action = BeamAction(
            power_w=torch.from_numpy(power).to(like).reshape(instance.active.shape),
            beam=torch.from_numpy(beam).to(instance.channel.dtype).reshape(instance.channel.shape),
        )
        return Solution(
            action, torch.as_tensor(converged).reshape(batch), torch.as_tensor(steps).reshape(batch)
        )

    def _traced(self, instance: MisoInstance, power_w: Tensor | None) -> Solution[BeamAction]:
        """The torch form, from all starts or from the powers given; one more step of Newton's carries gradients."""
        limit, like = instance.max_power_w.double()[..., None], instance.max_power_w.dtype
        uplink, lost = _uplink(instance)
        fixed = map_tensors(Tensor.detach, uplink)
        table = torch.from_numpy(self.table(instance.active.shape[-1])).to(limit.device)
        with torch.no_grad():
            if power_w is None:
                states = [self._climb(fixed, start_shares(fixed, i, table)) for i in range(self.starts)]
            else:
                states = [self._climb(fixed, power_w.double() / limit)]
            share, _, converged, taken = functools.reduce(_better, states)
        if torch.is_grad_enabled():
            share = torch.where(converged[..., None], sharpened_share(uplink, share), share)
        action = mmse_action(instance, (share * limit).to(like))
        return Solution(action, converged & ~lost, taken)

    def _climb(self, uplink: BeamUplink, aim: Tensor) -> _State:
        """What one start leads to."""
        share, within = restored_share(uplink.gram, aim, uplink.target)
        new, done, taken = ascend_share(uplink, share, self.max_steps, self.tol)
        share = torch.where(within[..., None], new, share)
        return share, weighted_rate(uplink, share), within & done, torch.where(within, taken, 0)


def _uplink(instance: MisoInstance) -> tuple[BeamUplink, Tensor]:
    """What the ascent reads of the instance, in float64, and whether a user asks for a rate without a channel."""
    target, gram = least_sinr(instance), relative_gram(to(instance, dtype=torch.float64))
    heard = gram.diagonal(dim1=-2, dim2=-1).real > 0
    back_off = packet_back_off(instance.error_probability.double(), instance.blocklength.double())
    uplink = BeamUplink(
        gram=gram,
        weight=torch.where(heard, instance.weight.double(), 0.0),
        target=torch.where(heard, target, 0.0),
        back_off=back_off[..., None],
    )
    return uplink, ((target > 0) & ~heard).any(-1)


def _better(best: _State, new: _State) -> _State:
    """Of each instance the better point; all must have converged, and the most steps count."""
    wins = new[1] > best[1]
    share = torch.where(wins[..., None], new[0], best[0])
    return share, torch.where(wins, new[1], best[1]), best[2] & new[2], torch.maximum(best[3], new[3])
