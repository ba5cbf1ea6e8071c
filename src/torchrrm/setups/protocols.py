"""What each problem brings to be worked on, what somebody brings of it, and the settings in which it is compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from torchrrm import bench, learning
from torchrrm.bench import Display, Measure, Scene
from torchrrm.channels import Scenario
from torchrrm.problems import Allocator, Problem, Task

__all__ = ["Case", "Given", "Known", "Regime", "Selective", "Setup", "Trainable"]

I = TypeVar("I")  # noqa: E741
A = TypeVar("A")
I_contra = TypeVar("I_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)


@dataclass(frozen=True)
class Given(Generic[I]):
    """One instance that somebody brought.

    Attributes:
        instance: without a batch axis.
        setting: its name in tables.
        attribution: whom to name with it.
        place: columns of positions, by their names; none if they are not known. Those of the one station of all, whose
            names begin with `station`, are no columns of a table of users.
        notes: what was assumed of the file, a phrase each.
    """

    instance: I
    setting: str
    attribution: str = ""
    place: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Known(Protocol[I_contra, A_co]):
    """What goes by a name where one problem is worked on.

    Attributes:
        name: that `--problem` takes.
        scenarios: by name, that its instances are drawn from.
        policies: classes of policies that serve it.
    """

    name: ClassVar[str]
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]]
    policies: ClassVar[tuple[type[nn.Module], ...]]

    @property
    def solvers(self) -> Mapping[str, Callable[[], Allocator[I_contra, A_co]]]:
        """What makes the solvers, by name."""
        ...

    def serving(self, policy: Any) -> Any:
        """The policy as an allocator of this problem, its parameters shared."""
        ...


@runtime_checkable
class Selective(Protocol):
    """A setup that does not serve every policy of its classes."""

    def unsuited(self, policy: Any) -> str | None:
        """Return why the policy is not served, such as `trained for the sum of rates`; None if it is."""
        ...


class Setup(Known[I, A], Protocol[I, A]):
    """One problem, set up to be worked on by commands and recipes.

    Attributes:
        default: name of the solver that commands use by default; its objective is never below the trivial rules'.
        title: of its reports.
        display: how its objective is shown.
        priced: constraints that an action may violate, since the objective has a price for it.
    """

    default: ClassVar[str]
    title: ClassVar[str]
    display: ClassVar[Display]
    priced: ClassVar[tuple[str, ...]]

    @property
    def problem(self) -> Problem[I, A]: ...

    def validate(self, instance: I) -> I:
        """The instance, if it is one; else a ValueError of one line."""
        ...

    def exported(self, policy: Any) -> nn.Module:
        """What an inference runtime runs of the policy."""
        ...

    def certify(self, drawn: I) -> bench.Bound | None:
        """A certified bound, where one is found in reasonable time."""
        ...

    def references(self) -> Mapping[str, Allocator[I, A]]:
        """Allocators that help to find the best known value where nothing is certified."""
        ...

    def measures(self, drawn: I, action: A) -> Mapping[str, Measure]:
        """What tables tell besides the objective."""
        ...

    def columns(self, given: Given[I], action: A) -> dict[str, Tensor]:
        """The allocation of one instance as columns of a table."""
        ...

    def summary(self, given: Given[I], action: A) -> str:
        """The allocation in a few words."""
        ...

    def scene(self, given: Given[I], actions: Mapping[str, A]) -> Scene:
        """One instance, allocated by several allocators, to look at."""
        ...


@runtime_checkable
class Trainable(Setup[I, A], Protocol[I, A]):
    """A setup whose policies can be trained."""

    def loss(self, policy: Any) -> learning.PolicyLoss:
        """What training minimises."""
        ...


Regime = Literal["paper", "hard", "munich"]
"""The settings of a paper, one where constraints or interference bind more, and ray-traced channels of a city."""


@dataclass(frozen=True)
class Case(Generic[I, A]):
    """One setting in which all allocators of a setup meet the same instances.

    Attributes:
        setting: its name in tables.
        task: what instances are drawn from; made when it is asked for, since channels may have to be loaded.
        instances: how many, by the scale of a benchmark: `smoke`, `quick`, `full`.
        given: one instance with positions, for a map, if there is one.
        published: counterparts of `optimality` in print, by allocator.
        left_out: allocators that do not serve this setting, and why.
    """

    regime: Regime
    setting: str
    setup: Setup[I, A]
    task: Callable[[], Task[I, A]]
    instances: Mapping[str, int]
    given: Callable[[], Given[I]] | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
