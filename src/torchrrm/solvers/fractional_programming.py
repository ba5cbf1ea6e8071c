"""Power control and scheduling of links by fractional programming."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems.links import LinkInstance, PowerAction
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_signs
from torchrrm.records import to
from torchrrm.solvers.base import IterativeSolver, Solution
from torchrrm.solvers.link_baselines import safeguarded
from torchrrm.solvers.relative_links import RelativeLinks, power_action, relative_links
from torchrrm.solvers.wmmse import WMMSE, Amplitudes

__all__ = ["FPLinQ", "FractionalProgramming"]

_MORE, _LESS = 2.0, 0.25  # factors of the step after an ascent and after none


class FractionalProgramming(IterativeSolver[RelativeLinks, PowerAction, Amplitudes]):
    """The direct quadratic transform of [Shen2018] for power control: a stationary point of the weighted sum rate.

    In relative units (see `WMMSE`), with the noise and interference `I_k(v) = 1 + sum_{j != k} G_kj v_j^2`, a step sets
    `y_k = sqrt(G_kk) v_k / I_k(v)`, at which

        F(v) = sum_k a_k log2(1 + 2 y_k sqrt(G_kk) v_k - y_k^2 I_k(v))   with the links' weights a

    touches the objective from below, and moves `v` up on `F`, which is concave: projected gradient steps, scaled by
    the curvature of each amplitude, of which only those that raise `F` are taken. So the objective never falls.

    The closed form of [Shen2018], after a Lagrangian dual transform, is `WMMSE` step for step with one antenna at each
    end; ask that for it. The direct form takes about as many, dearer steps. Torch alone serves it, in float64: batched,
    on any device, and differentiable.

    Deviations: [Shen2018] solves the inner problem exactly by a convex solver; here `inner_steps` trials are
    made, which lose nothing (tests). With `safeguard` the result is never below `MaxPower` or `StrongestLink`, as
    for `WMMSE`: both methods stay at full power where all gains are equal.

    Args:
        max_steps: updates of `y`.
        tol: an instance is left once no amplitude changes by more; by default all steps are taken and nothing
            counts as converged.
        inner_steps: trials of an ascent on `F` in each.
        safeguard: compare the result with all links at full power and with the best link alone, and return the best.
    """

    def __init__(
        self,
        max_steps: int = 50,
        tol: float | None = None,
        inner_steps: int = 5,
        *,
        safeguard: bool = True,
    ):
        for name, value in (("max_steps", max_steps), ("inner_steps", inner_steps)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1, received {value}")
        if tol is not None and not tol >= 0:
            raise ValueError(f"tol: must not be negative, received {tol}")
        self.max_steps, self.tolerance, self.inner_steps = max_steps, tol, inner_steps
        self.safeguard = safeguard

    def __call__(self, instance: LinkInstance) -> PowerAction:
        return self.solve(instance).action

    def solve(self, instance: LinkInstance) -> Solution[PowerAction]:
        """Run from full power."""
        require_signs(require_record(instance, LinkInstance))
        links = relative_links(to(instance, dtype=torch.float64))  # of ascents below rounding none is taken
        state, converged, iterations = self.iterate(links)
        fraction = self.action(links, state).power_w.to(instance.gain.dtype)
        return Solution(power_action(instance, fraction), converged, iterations)

    def init(self, instance: RelativeLinks) -> Amplitudes:
        return Amplitudes(amplitude=torch.ones_like(instance.direct))

    def step(self, instance: RelativeLinks, state: Amplitudes) -> Amplitudes:
        amplitude = state.amplitude
        heard = instance.heard(amplitude.square())
        pull = instance.direct * amplitude / heard  # y_k sqrt(G_kk): the root of 0 has no derivative
        push = pull * amplitude / heard  # y_k^2
        sinr = pull * amplitude  # what the logarithms are taken of, less 1
        value = _surrogate(instance, sinr)
        reach = torch.ones_like(value)
        for _ in range(self.inner_steps):
            trial = torch.clamp(
                amplitude + reach * _direction(instance, amplitude, pull, push, 1.0 + sinr), 0, 1
            )
            heard = instance.heard(trial.square())
            found = 2.0 * pull * trial - push * heard
            new = _surrogate(instance, found)
            up = new > value
            amplitude, sinr = torch.where(up, trial, amplitude), torch.where(up, found, sinr)
            value = torch.where(up, new, value)
            reach = reach * torch.where(up, _MORE, _LESS)
        return Amplitudes(amplitude=amplitude)

    def residual(self, instance: RelativeLinks, old: Amplitudes, new: Amplitudes) -> Tensor:
        """Largest change of an amplitude."""
        moved = (new.amplitude - old.amplitude).abs().squeeze(-2)
        return torch.where(instance.active, moved, 0.0).amax(-1)

    def action(self, instance: RelativeLinks, state: Amplitudes) -> PowerAction:
        """Powers as fractions of the limits."""
        fraction = state.amplitude.squeeze(-2).square()
        fraction = safeguarded(instance, fraction, ascended=True) if self.safeguard else fraction
        return PowerAction(power_w=torch.where(instance.active, fraction, 0.0))


def _weight(links: RelativeLinks) -> Float[Tensor, "*batch 1 tx"]:
    return torch.where(links.active, links.weight, torch.zeros_like(links.weight)).unsqueeze(-2)


def _surrogate(links: RelativeLinks, sinr: Float[Tensor, "*batch 1 tx"]) -> Float[Tensor, "*batch 1 1"]:
    """`F` in nats, `sum_k a_k ln(1 + sinr_k)`; minus infinity outside its domain."""
    within = sinr > -1
    value = (_weight(links) * torch.log1p(torch.where(within, sinr, 0.0))).sum(-1, keepdim=True)
    return torch.where(within.all(-1, keepdim=True), value, -torch.inf)


def _direction(
    links: RelativeLinks, amplitude: Tensor, pull: Tensor, push: Tensor, inside: Tensor
) -> Float[Tensor, "*batch 1 tx"]:
    """Gradient of `F`, each part over its own curvature."""
    weight = _weight(links)
    cross = links.across.mT
    cost = weight * push / inside
    charge = cost @ cross  # [*batch 1 tx], of what each transmitter adds to the others' interference
    slope = weight * pull / inside - amplitude * charge
    bend = 2.0 * weight * (pull / inside).square() + charge
    bend = bend + 2.0 * amplitude.square() * ((cost * push / inside) @ cross.square())
    return slope / (bend + (bend == 0))


class FPLinQ:
    """Scheduling by fractional programming [Shen2017]: each link transmits at its limit or not at all.

    With one transmitter to each receiver, the iteration of [Shen2017] over relaxed powers is `WMMSE` from full power;
    links that end above a threshold are on, or, where none does, the one that ends highest.

    Deviation: the relaxed powers are those of `WMMSE` with its safeguard, so that links of equal gains do not all stay
    on. On or off may be worse than the relaxed powers, and then also worse than the rules of the safeguard.

    Args:
        max_steps: iterations over relaxed powers.
        threshold: fraction of the limit from which on a link is on.
    """

    def __init__(self, max_steps: int = 100, threshold: float = 0.5):
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold: must be above 0 and at most 1, received {threshold}")
        self.relaxed, self.threshold = WMMSE(max_steps), threshold

    def __call__(self, instance: LinkInstance) -> PowerAction:
        require_record(instance, LinkInstance)
        with torch.no_grad():
            limit = torch.where(instance.active, instance.max_power_w, torch.ones_like(instance.max_power_w))
            fraction = self.relaxed(instance).power_w / limit
            level = torch.clamp(fraction.amax(-1, keepdim=True), max=self.threshold)
            on = fraction >= level
        return power_action(instance, on.to(instance.gain.dtype))
