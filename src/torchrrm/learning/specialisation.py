"""Online specialisation of a policy to the network at hand: SRL, Algorithm 3 of [Zhang2022HBGNN]."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from torchrrm.learning.association import AssociationLoss, AssociationTrainee, SoftAssociation
from torchrrm.learning.loop import parameters_of
from torchrrm.learning.objectives import Parameters
from torchrrm.learning.optimisers import DescentSettings, clip, gradient_and_value, make_optimiser, rate_at
from torchrrm.policies.compose import Refiner
from torchrrm.problems.association import AssociationAction, CellInstance, harden
from torchrrm.problems.base import Problem
from torchrrm.records import batch_shape, index, map_tensors, stack

__all__ = ["Specialisation", "SpecialiseSettings", "Specialised", "converged", "specialise"]


@dataclass(frozen=True)
class SpecialiseSettings(DescentSettings):
    """How weights are tuned to one network; see `specialise`.

    Attributes:
        steps: at most; the stopping rule usually ends before.
        window: `l`, how many steps a mean of the stopping rule has.
        tolerance: `e`, relative to the mean.
        entropy: `w_e`, weight of the entropy.
        adapted: beginnings of the names of the parameters that move; `()` moves all of them, None what the policy calls
            its `last_stage`, or all if it names none.
        rounds: of the solver that refines, where one is given.
        every: steps from one refinement to the next.
    """

    steps: int = 40
    learning_rate: float = 0.03
    window: int = 5
    tolerance: float = 1e-3
    entropy: float = 1e-2
    adapted: tuple[str, ...] | None = None
    rounds: int = 20
    every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window", "rounds", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, received {getattr(self, name)}")
        for name in ("tolerance", "entropy"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be at least 0 and finite, received {getattr(self, name)}")
        if self.decay is not None:
            raise ValueError(f"decay: must be none, received {self.decay}")


@dataclass(frozen=True)
class Specialisation:
    """Result for one network.

    Attributes:
        action: the best that was seen, refined ones among them if there is a solver.
        relaxed_objective: what was ascended, before each step.
        objective: of the hard action before each step, as the network has it.
        best_objective: of the best action seen so far.
        parameters: after the last step, by name.
        converged: whether the stopping rule ended it.
        seconds: that it took.
    """

    action: AssociationAction
    relaxed_objective: Float[Tensor, "step"]
    objective: Float[Tensor, "step"]
    best_objective: Float[Tensor, "step"]
    parameters: Parameters
    converged: bool
    seconds: float

    @property
    def steps(self) -> int:
        """That were taken."""
        return len(self.objective) - 1


def converged(rewards: Sequence[float], window: int, tolerance: float) -> bool:
    """The stopping rule of Algorithm 3: `|r_n - r_b| < e |r_b|`, of the means of the last window and the one before.

    In print `r_n` is the mean of the recent `l` rates, and `r_b` is not told. Were it the mean of one step before,
    the difference would be that of two single rates over `l`, and small by chance; windows that do not overlap differ
    by what `l` steps gained. `e` is relative here, so that it has no unit.

    >>> converged([1.0, 2.0, 3.0, 3.0], 2, 0.1), converged([1.0, 2.0, 3.0, 3.0, 3.0, 3.1], 2, 0.1)
    (False, True)
    """
    if len(rewards) < 2 * window:
        return False
    now = sum(rewards[-window:]) / window
    before = sum(rewards[-2 * window : -window]) / window
    return abs(now - before) < tolerance * abs(before)


def specialise(
    policy: nn.Module,
    instance: CellInstance,
    settings: SpecialiseSettings,
    *,
    problem: Problem[Any, Any] | None = None,
    refine: Refiner[CellInstance, AssociationAction] | None = None,
    generator: torch.Generator | None = None,
) -> Specialisation:
    """Tune a copy of a policy to one network, without labels, and return the best action that was met.

    Algorithm 3 of [Zhang2022HBGNN]: descent on `L_SRL = -w_r R - w_e H`, see `AssociationLoss`, R the relaxed
    objective at the temperature of `AssociationTrainee`, until the windowed mean of R rests (`converged`). It differs
    in that the best of all hard actions is kept: R may rise while the hard objective falls. Optionally each is refined.

    Args:
        policy: scores stations, such as `HBGNN`; neither it nor its weights are changed.
        instance: one network, without batch axes.
        settings: of the descent.
        problem: what is ascended; by default the policy's.
        refine: a solver whose few rounds start from the actions, such as `HungarianWMMSE`; the time counts.
        generator: of a Gumbel head's noise; without, it does not explore.

    Raises:
        ValueError: if the instance is a batch, or no parameter is to be adapted.
    """
    if batch_shape(instance):
        raise ValueError(
            f"instance: must be a single one, received a batch of {tuple(batch_shape(instance))}"
        )
    return _Run(policy, instance, settings, problem, refine, generator).descend()


class _Run:
    """State of one specialisation."""

    def __init__(
        self,
        policy: nn.Module,
        instance: CellInstance,
        settings: SpecialiseSettings,
        problem: Problem[Any, Any] | None,
        refine: Refiner[CellInstance, AssociationAction] | None,
        generator: torch.Generator | None,
    ):
        self.begin = time.perf_counter()
        self.instance, self.settings, self.refine = instance, settings, refine
        self.problem: Any = getattr(policy, "problem", None) if problem is None else problem
        self.trainee = AssociationTrainee(copy.deepcopy(policy), generator=generator).train()
        self.loss = AssociationLoss.specialising(settings.entropy)
        names = getattr(policy, "last_stage", ()) if settings.adapted is None else settings.adapted
        prefixes = tuple(f"policy.{name}" for name in names) or ("",)
        whole = parameters_of(self.trainee)
        self.parameters = {name: value for name, value in whole.items() if name.startswith(prefixes)}
        if not self.parameters:
            known = ", ".join(name.removeprefix("policy.") for name in whole)
            raise ValueError(f"adapted: must begin one of {known}, received {names}")
        self.trainee.requires_grad_(False)  # no graph beneath what is not adapted
        self.best = -math.inf
        self.action: AssociationAction | None = None
        self.traces: list[tuple[float, float, float]] = []

    def descend(self) -> Specialisation:
        optimiser = make_optimiser(self.settings)
        state, rested = optimiser.init(self.parameters), False
        for step in range(self.settings.steps + 1):
            last = step == self.settings.steps
            gradients = self._look(step, with_gradient=not last)
            rested = converged(
                [trace[0] for trace in self.traces], self.settings.window, self.settings.tolerance
            )
            if rested or last:
                break
            rate = rate_at(self.settings, step)
            gradients = clip(gradients, self.settings.clip_norm)
            self.parameters, state = optimiser.update(gradients, state, self.parameters, rate)
        return self._result(rested)

    def _look(self, step: int, *, with_gradient: bool) -> Parameters:
        """Judge the weights, and tell where the loss falls."""
        seen: list[SoftAssociation] = []

        def value(theta: Parameters) -> Tensor:
            soft = functional_call(self.trainee, theta, (self.instance,))
            seen.append(soft)
            return self.loss(self.problem, self.instance, soft)

        gradients: Parameters = {}
        with torch.set_grad_enabled(with_gradient):
            if with_gradient:
                gradients, _ = gradient_and_value(value, self.parameters)
            else:
                value(self.parameters)
        self._judge(step, seen[0])
        return gradients

    @torch.no_grad()
    def _judge(self, step: int, soft: SoftAssociation) -> None:
        instance, settings = self.instance, self.settings
        relaxed = map_tensors(torch.detach, soft.relaxed)
        action = harden(relaxed)
        objective = self._keep(action)
        if self.refine is not None and step % settings.every == 0:
            self._keep(self.refine.refine(instance, action, settings.rounds))
        self.traces.append((float(self.problem.relaxed(instance, relaxed)), objective, self.best))

    def _keep(self, action: AssociationAction) -> float:
        objective = float(self.problem.evaluate(self.instance, action).objective)
        if self.action is None or objective > self.best:
            self.best, self.action = objective, action
        return objective

    def _result(self, rested: bool) -> Specialisation:
        relaxed, hard, best = torch.tensor(self.traces, dtype=torch.float64).unbind(-1)
        if self.action is None:
            raise RuntimeError("action: must be judged before the result")
        return Specialisation(
            action=self.action,
            relaxed_objective=relaxed,
            objective=hard,
            best_objective=best,
            parameters={name.removeprefix("policy."): value for name, value in self.parameters.items()},
            converged=rested,
            seconds=time.perf_counter() - self.begin,
        )


class Specialised(nn.Module):
    """A policy that is tuned anew to each network that it is given: SRL of [Zhang2022HBGNN] as an allocator.

    The networks of a batch are taken one after the other, since each has weights of its own and ends by its own rule.

    Args:
        policy: that the tuning begins with; it stays as it is.
        settings: of the descent.
        problem: what is ascended; by default the policy's.
        refine: a solver whose rounds start from the actions on the way; without, the network is alone.
        seed: of a Gumbel head's noise, anew for each network.

    Attributes:
        steps, seconds: of each network of the last call, in order.
    """

    def __init__(
        self,
        policy: nn.Module,
        settings: SpecialiseSettings | None = None,
        *,
        problem: Problem[Any, Any] | None = None,
        refine: Refiner[CellInstance, AssociationAction] | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.policy, self.settings = policy, settings or SpecialiseSettings()
        self.kind = "policy"
        self.given, self.refine, self.seed = problem, refine, seed
        self.steps: list[int] = []
        self.seconds: list[float] = []

    @property
    def problem(self) -> Any:
        """What is ascended."""
        return getattr(self.policy, "problem", None) if self.given is None else self.given

    def forward(self, instance: CellInstance) -> AssociationAction:
        """The best action met for each network."""
        batch = batch_shape(instance)
        flat = map_tensors(lambda tensor: tensor.reshape(-1, *tensor.shape[len(batch) :]), instance)
        found = [self.specialise(index(flat, place)) for place in range(batch.numel())]
        self.steps = [each.steps for each in found]
        self.seconds = [each.seconds for each in found]
        if not found:
            return self.policy(instance)
        action = stack([each.action for each in found])
        return map_tensors(lambda tensor: tensor.reshape(*batch, *tensor.shape[1:]), action)

    def specialise(self, instance: CellInstance) -> Specialisation:
        """All that is known of one network."""
        generator = torch.Generator(instance.gain.device).manual_seed(self.seed)
        return specialise(
            self.policy,
            instance,
            self.settings,
            problem=self.given,
            refine=self.refine,
            generator=generator,
        )
