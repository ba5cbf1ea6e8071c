"""Weighted minimum mean square error power control."""

import functools
import math
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.kernels import wmmse as kernels
from torchrrm.kernels.link_rules import WmmseRule
from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.problems.structure import require_action, require_record
from torchrrm.records import is_compilable, tensor_record
from torchrrm.solvers.base import IterativeSolver, Solution
from torchrrm.solvers.link_baselines import safeguarded
from torchrrm.solvers.relative_links import (
    Coupled,
    RelativeLinks,
    arrays,
    power_action,
    powers,
    relative_links,
    sum_rate,
)

__all__ = ["WMMSE", "Amplitudes", "Start", "start_amplitudes", "wmmse_step"]

Start = Literal["max", "quarter", "random"]
_FIRST = {"max": 1.0, "quarter": 0.5}


@tensor_record
class Amplitudes:
    """Square roots of the power fractions, for each start."""

    amplitude: Float[Tensor, "*batch start tx"]


class WMMSE(IterativeSolver[RelativeLinks, PowerAction, Amplitudes]):
    """WMMSE of [Shi2011] with one antenna at each end: a stationary point of the weighted sum rate, not its optimum.

    With the noise 1, `G = relative_gain(instance)` (`G_kj` from transmitter `j` to receiver `k`) and powers
    `v_k^2` as fractions of the limits, a step updates receivers, weights and transmitters in turn:

        u_k = sqrt(G_kk) v_k / (1 + sum_j G_kj v_j^2),   w_k = 1 / (1 - u_k sqrt(G_kk) v_k),
        v_k = min(1, a_k w_k u_k sqrt(G_kk) / sum_j a_j w_j u_j^2 G_jk)   with the links' weights a.

    The objective never falls. A link of power 0 stays there. `u` and `w` are eliminated, as is the difference
    `1 - u sqrt(G) v`, in which float32 would cancel at high SNR.

    The iteration cannot tell equal links apart: on six links with equal gains at 34 dB it stays at full power, with
    1.58 bit/s/Hz, where one link alone has 11.30. Deviation from [Shi2011]: with `safeguard` the rules `MaxPower` and
    `StrongestLink` replace the result in the instances where they are better. `step` and `refine` are the plain
    iteration. Several groups of equal links need further `starts`.

    On a CPU, without gradients, a compiled kernel serves single instances and batches; it computes in float64.
    The torch form may be unrolled: `step` is differentiable, also where links are silent or not active.

    Args:
        max_steps: steps from each start.
        tol: a start is left once no amplitude changes by more (in the torch form, once that holds for all
            starts of an instance); by default all steps are taken and nothing counts as converged.
        starts: number of starts; the best result of each instance is returned.
        init: the first start: every link at its limit, at a quarter of it, or at a random fraction. Further
            starts are random.
        spread: random powers are `u ** spread` of the limit with uniform `u`: the larger, the fewer links start loud.
            Where interference is strong and few links transmit in the end, 4 finds better points than 1 in the
            same time (20 Rayleigh links at 15 dB, 16 starts: 8.30 against 8.03 bit/s/Hz).
        safeguard: compare the result with all links at full power and with the best link alone, and return the
            best; it takes about as long as two steps. `False` is the algorithm as published.
        seed: of the random starts, which are numbers for the strongest, second, ... direct gain of an instance:
            the same instance gets the same action, however its links are numbered and padded.
    """

    def __init__(
        self,
        max_steps: int = 100,
        tol: float | None = None,
        starts: int = 1,
        init: Start = "max",
        *,
        spread: float = 1.0,
        safeguard: bool = True,
        seed: int = 0,
    ):
        for name, value in (("max_steps", max_steps), ("starts", starts)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1, received {value}")
        if tol is not None and not tol >= 0:
            raise ValueError(f"tol: must not be negative, received {tol}")
        if init not in ("max", "quarter", "random"):
            raise ValueError(f"init: must be 'max', 'quarter' or 'random', received {init!r}")
        if not 0 < spread < math.inf:
            raise ValueError(f"spread: must be positive and finite, received {spread}")
        self.max_steps, self.tolerance, self.spread = max_steps, tol, spread
        self.starts, self.first_start, self.seed = starts, init, seed
        self.safeguard = safeguard

    def __call__(self, instance: LinkInstance) -> PowerAction:
        if is_compilable(require_record(instance, LinkInstance)):
            return PowerAction(power_w=self._compiled(instance)[0])
        return self.solve(instance).action

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Run; `iterations` are the most steps that any start of an instance took."""
        if is_compilable(require_record(instance, LinkInstance)):
            power, iterations, change = self._compiled(instance)
            batch, limit = power.shape[:-1], -1.0 if self.tolerance is None else self.tolerance
            taken = torch.as_tensor(iterations, dtype=torch.int64).reshape(batch)
            close = torch.as_tensor(change <= limit).reshape(batch)
            return Solution(PowerAction(power_w=power), close, taken)
        links = self.prepare(instance)
        state, converged, iterations = self.iterate(links)
        return Solution(power_action(instance, self.best(links, state)), converged, iterations)

    def prepare(self, instance: LinkInstance) -> RelativeLinks:
        """What `init`, `step` and `action` take: the links in relative units."""
        return relative_links(instance)

    def refine(self, instance: LinkInstance, action: PowerAction, steps: int | None = None) -> PowerAction:
        """`steps` further steps (by default `max_steps`) from an action, of which one is never worse.

        A warm start: from the powers of the last slot or from a policy's. Powers outside the limits are
        clipped first; links that the action silences stay silent.
        """
        steps = self.max_steps if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps: must not be negative, received {steps}")
        require_action(action, PowerAction, instance, LinkInstance)
        if is_compilable(instance, action.power_w):
            return self._refine_compiled(instance, action, steps)
        links = relative_links(instance)
        limit = torch.where(instance.active, instance.max_power_w, torch.ones_like(instance.max_power_w))
        first = torch.clamp(action.power_w / limit, 0, 1).unsqueeze(-2)
        heard = first > 0  # the root of 0 has no derivative
        amplitude = torch.where(heard, torch.sqrt(torch.where(heard, first, 1.0)), 0.0)
        for _ in range(steps):
            amplitude = wmmse_step(links, amplitude)
        better = (sum_rate(links, amplitude.square()) >= sum_rate(links, first))[..., None]
        return power_action(instance, torch.where(better, amplitude.square(), first).squeeze(-2))

    def rule(self, links: int) -> WmmseRule:
        """The solver for so many links as compiled control loops call it."""
        table = start_amplitudes(links, self.starts, self.first_start, self.seed, self.spread)
        tol = -1.0 if self.tolerance is None else self.tolerance
        return WmmseRule(table, self.max_steps, tol, self.safeguard)

    def init(self, instance: RelativeLinks) -> Amplitudes:
        """Amplitudes of each start."""
        table = self.rule(instance.direct.shape[-1]).start
        amplitude = torch.from_numpy(table).to(instance.direct)  # [rank, start]
        if self.starts == 1 and self.first_start != "random":
            return Amplitudes(amplitude=amplitude.mT.expand(instance.direct.shape))
        strength = torch.where(instance.active, instance.direct.squeeze(-2), -1.0)
        rank = strength.argsort(dim=-1, descending=True, stable=True).argsort(-1)
        return Amplitudes(amplitude=amplitude[rank].mT)

    def step(self, instance: RelativeLinks, state: Amplitudes) -> Amplitudes:
        return Amplitudes(amplitude=wmmse_step(instance, state.amplitude))

    def residual(self, instance: RelativeLinks, old: Amplitudes, new: Amplitudes) -> Tensor:
        """Largest change of an amplitude."""
        moved = (new.amplitude - old.amplitude).abs().amax(-2)
        return torch.where(instance.active, moved, 0.0).amax(-1)

    def best(self, links: RelativeLinks, state: Amplitudes) -> Float[Tensor, "*batch tx"]:
        """Power fractions of the best start, or of a better rule with `safeguard`."""
        fraction = state.amplitude.square()
        if fraction.shape[-2] > 1:
            chosen = sum_rate(links, fraction).argmax(-1)
            fraction = torch.take_along_dim(fraction, chosen[..., None, None], -2)
        best = fraction.squeeze(-2)
        ascended = self.first_start == "max"
        return safeguarded(links, best, ascended=ascended) if self.safeguard else best

    def action(self, instance: RelativeLinks, state: Amplitudes) -> PowerAction:
        """The best start, its powers as fractions of the limits."""
        fraction = self.best(instance, state)
        return PowerAction(power_w=torch.where(instance.active, fraction, 0.0))

    def _compiled(self, instance: LinkInstance) -> tuple[Tensor, Any, Any]:
        links = arrays(instance)
        run = kernels.solve if links[0].ndim == 2 else kernels.solve_batch
        power, iterations, change = run(*links, *self.rule(links[0].shape[-1]))
        return _tensor(power, instance), iterations, change

    def _refine_compiled(self, instance: LinkInstance, action: PowerAction, steps: int) -> PowerAction:
        links = arrays(instance)
        limit = links[2]
        first = powers(instance, action, limit)
        tol = -1.0 if self.tolerance is None else self.tolerance
        run = kernels.refine if links[0].ndim == 2 else kernels.refine_batch
        return PowerAction(power_w=_tensor(run(*links, first, steps, tol), instance))


_LEAST = 1e-30  # of a price, which is 0 only where nobody is heard


def wmmse_step(
    links: Coupled, amplitude: Float[Tensor, "*batch start tx"]
) -> Float[Tensor, "*batch start tx"]:
    """One step of `WMMSE`; differentiable."""
    power = amplitude.square()
    heard = links.heard(power)
    total = torch.addcmul(heard, links.direct, power)
    drive = links.worth * amplitude / heard  # a_k w_k u_k sqrt(G_kk)
    cost = drive * amplitude / total  # a_k w_k u_k^2
    return (drive / links.charge(cost).clamp_min(_LEAST)).clamp_max(1.0)


@functools.lru_cache(maxsize=64)
def start_amplitudes(links: int, starts: int, first: Start, seed: int, spread: float = 1.0) -> np.ndarray:
    """Amplitudes `[rank start]`; powers of random starts are uniform numbers to the power of `spread`.

    A larger table holds the smaller ones.
    """
    columns = [np.random.default_rng((seed, start)).random(links) for start in range(starts)]
    table = np.stack(columns, -1) ** (spread / 2)
    if first in _FIRST:
        table[:, 0] = _FIRST[first]
    return table


def _tensor(power: np.ndarray, instance: LinkInstance) -> Tensor:
    tensor = torch.from_numpy(power)
    return tensor if tensor.ndim == 1 else tensor.reshape(instance.max_power_w.shape)
