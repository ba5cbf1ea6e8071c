"""What a problem is: it scores an action on an instance, and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "FEASIBLE_TO",
    "Allocator",
    "DeclaresReads",
    "Evaluation",
    "Problem",
    "Reads",
    "Task",
    "largest_violation",
]

I = TypeVar("I")  # noqa: E741
A = TypeVar("A")
I_contra = TypeVar("I_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)

FEASIBLE_TO = 1e-5
"""An action whose violations are all at most this does not violate; single precision leaves less behind.

The one tolerance of judging and feasibility: an instance is feasible if some action does not violate. A bound holds for
every action that keeps all constraints but for rounding; that of `QosSumRate` for every action that does not violate.
"""


@dataclass(frozen=True)
class Evaluation:
    """Score of an action.

    Attributes:
        objective: to be maximised, in the problem's unit.
        utility: each user's share of it.
        violation: how far each constraint is exceeded; `<= 0` is satisfied, 0 where a user is inactive.
    """

    objective: Float[Tensor, "*batch"]
    utility: Float[Tensor, "*batch user"]
    violation: Mapping[str, Tensor]


def largest_violation(evaluation: Evaluation) -> Float[Tensor, "*batch"]:
    """Largest violation of any constraint in each instance: 0 if all are met, infinite if one is not a number."""
    batch = evaluation.objective.ndim
    most = torch.zeros_like(evaluation.objective)
    for value in evaluation.violation.values():
        if value.numel():  # there may be no user at all
            worst = value.nan_to_num(nan=torch.inf, posinf=torch.inf)
            most = torch.maximum(most, worst.flatten(batch).amax(-1) if worst.ndim > batch else worst)
    return most


class Problem(Protocol[I_contra, A_contra]):
    """Scores an action on an instance; draws no random number and knows no allocator."""

    def evaluate(self, instance: I_contra, action: A_contra, /) -> Evaluation: ...


class Allocator(Protocol[I_contra, A_co]):
    """Maps an instance of any leading batch shape to an action: a learned policy or a classical solver."""

    def __call__(self, instance: I_contra, /) -> A_co: ...


Reads = Literal["weight", "priority", "demands", "nothing"]
"""What an allocator of links reads besides channels and limits, by which a control loop can tell it what to favour.

- `weight`: the weights of the instance;
- `priority`: priorities, in a call `allocator(links, priority=...)`; without them it uses an order of its own;
- `demands`: minimum rates, in a call `allocator(links, demands=...)`;
- `nothing`: its actions depend on the channels alone.
"""


@runtime_checkable
class DeclaresReads(Protocol):
    """An allocator of links that declares what it reads."""

    @property
    def reads(self) -> Reads: ...


@dataclass(frozen=True)
class Task(Generic[I, A]):
    """A problem with a source of instances: what a learner trains on. `sample(batch_size, *, generator)` draws."""

    problem: Problem[I, A]
    sample: Callable[..., I]
