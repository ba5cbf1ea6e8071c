"""What a policy is trained for: a loss of its actions, minimised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from torchrrm.problems.base import Problem

__all__ = [
    "CertifiedGap",
    "Measuring",
    "Objective",
    "Parameters",
    "PolicyLoss",
    "Unsupervised",
    "slice_bandwidth",
]

Parameters = dict[str, Tensor]


class Objective(Protocol):
    """Loss of a batch of actions, a scalar to be minimised; the lower, the better."""

    def __call__(self, problem: Problem[Any, Any], instance: Any, action: Any, /) -> Float[Tensor, ""]: ...


class Measuring(Objective, Protocol):
    """An objective that also measures, at each step of a training, what its loss does not say.

    Measures are scalars without a gradient, of the same names at every step; see `History`.
    """

    def measures(
        self, problem: Problem[Any, Any], instance: Any, action: Any, /
    ) -> Mapping[str, Float[Tensor, ""]]: ...


def slice_bandwidth(instance: Any) -> Float[Tensor, "*batch"]:
    """Scale of slicing: the slice's bandwidth in Hz, which makes the loss a spectral efficiency, bit/s/Hz."""
    return instance.bandwidth_hz


@dataclass(frozen=True)
class Unsupervised:
    """Negative mean of the problem's objective over the batch, in units of `scale`: Eq. (15) of [Hao2024].

    `loss = -mean_j objective_j / scale(instance)_j`. The paper has no scale. In bit/s the objective and its
    gradient are about 1e8 times larger than in bit/s/Hz, so a learning rate such as the paper's 1e-4 means
    nothing without the unit; dividing by the slice's bandwidth also weighs tasks of 10 MHz and of 100 MHz
    alike.

    Attributes:
        scale: maps an instance to its scale [*batch], positive, for example `slice_bandwidth`.
    """

    scale: Callable[[Any], Float[Tensor, "*batch"]]

    def __call__(self, problem: Problem[Any, Any], instance: Any, action: Any, /) -> Float[Tensor, ""]:
        return -(problem.evaluate(instance, action).objective / self.scale(instance)).mean()


@dataclass(frozen=True)
class CertifiedGap:
    """Logarithm of the mean relative gap to a certified bound: `ln(floor + mean_j (1 - objective_j / bound_j))`.

    The bound needs no labels, only a solver that certifies; instances of bound 0 count as solved. In the
    logarithm a task whose gap is 0.1 % weighs as much as one whose gap is 10 %: training one policy over six
    kinds of service, it reached a third of the gap that the mean objective did in the same time.

    Attributes:
        bound: maps an instance to the bound on its objective `[*batch]`.
        floor: gap at which a task counts as solved.
    """

    bound: Callable[[Any], Float[Tensor, "*batch"]]
    floor: float = 1e-5

    def __call__(self, problem: Problem[Any, Any], instance: Any, action: Any, /) -> Float[Tensor, ""]:
        bound = self.bound(instance)
        solved = torch.ones_like(bound)
        reached = problem.evaluate(instance, action).objective / torch.where(bound > 0, bound, solved)
        gap = torch.clamp(1 - torch.where(bound > 0, reached, solved), min=0).mean()
        return torch.log(self.floor + gap)


def _serve_every_problem(policy: nn.Module, _problem: Problem[Any, Any]) -> nn.Module:
    return policy


@dataclass(frozen=True)
class PolicyLoss:
    """Loss of a policy as a pure function of its parameters, of a problem and of instances.

    Attributes:
        policy: whose forward pass maps an instance to an action. It must draw no random numbers of its own.
        objective: scores the action.
        bind: gives the module that serves a problem, with the policy's parameters under the same names. The
            default is the policy itself; for one that serves several problems pass, for example,
            `SliceGNN.serving`.
    """

    policy: nn.Module
    objective: Objective
    bind: Callable[[Any, Any], nn.Module] = _serve_every_problem

    def __call__(
        self, parameters: Parameters, problem: Problem[Any, Any], instance: Any
    ) -> Float[Tensor, ""]:
        return self.objective(problem, instance, self._action(parameters, problem, instance))

    def measured(
        self, parameters: Parameters, problem: Problem[Any, Any], instance: Any
    ) -> tuple[Float[Tensor, ""], Mapping[str, Float[Tensor, ""]]]:
        """The loss, and the measures of an objective that is `Measuring`."""
        action = self._action(parameters, problem, instance)
        loss = self.objective(problem, instance, action)
        measures = getattr(self.objective, "measures", None)
        if measures is None:
            return loss, {}
        with torch.no_grad():
            return loss, measures(problem, instance, action)

    def _action(self, parameters: Parameters, problem: Problem[Any, Any], instance: Any) -> Any:
        return functional_call(self.bind(self.policy, problem), parameters, (instance,))
