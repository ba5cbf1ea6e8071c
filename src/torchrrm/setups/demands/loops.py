"""Allocators of one slot as control loops that meet demands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from torchrrm.bench import Display
from torchrrm.channels import Scenario
from torchrrm.policies import CentralPower, LocalPower, OnlineDual, PowerGNN, StateAugmented, UnfoldedPower
from torchrrm.policies.control import Controller, SharingSettings, TimeSharing, reads_of
from torchrrm.problems import Allocator, LinkInstance, PowerAction
from torchrrm.setups.links import SumRateSetup
from torchrrm.solvers import SOLVERS

__all__ = ["Control", "DemandNames", "control_loop"]

Control = Literal["online-dual", "time-sharing"]


@dataclass(frozen=True)
class DemandNames:
    """What goes by a name in `torchrrm run`: allocators of one slot, which a loop goes around.

    The benchmark compares whole loops: `DemandSetup`.
    """

    name: ClassVar[str] = "demands"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = SumRateSetup.scenarios
    policies: ClassVar[tuple[type[nn.Module], ...]] = (
        PowerGNN,
        StateAugmented,
        CentralPower,
        LocalPower,
        UnfoldedPower,
    )
    display: ClassVar[Display] = Display("sum rate", "(bit/s/Hz)", utility="mean rate / (bit/s/Hz)")

    @property
    def solvers(self) -> Mapping[str, Callable[[], Allocator[LinkInstance, PowerAction]]]:
        return SOLVERS["sum-rate"]

    def serving(self, policy: Any) -> Any:
        return policy


def control_loop(
    name: str,
    allocator: Any,
    control: Control = "online-dual",
    *,
    step: float | None = None,
    sharing: SharingSettings | None = None,
    seed: int = 0,
) -> Controller[Any]:
    """The loop around an allocator; a state-augmented policy brings its regressor of first multipliers.

    Args:
        name: of the allocator, for messages.
        allocator: of one slot, or a state-augmented policy.
        control: which loop.
        step: of the multipliers under `online-dual`; by default 0.1, or the policy's own.
        sharing: of `time-sharing`.
        seed: of who is on in `time-sharing`.

    Raises:
        ValueError: if the loop moves weights that the allocator does not read, or if the allocator asks for demands.
    """
    reads = reads_of(allocator)
    if reads == "demands":
        raise ValueError(f"allocator: must be one that knows of no demands, received {name}")
    if control == "time-sharing":
        alone = allocator.controller.allocator if isinstance(allocator, StateAugmented) else allocator
        return TimeSharing(alone, settings=sharing, seed=seed)
    if reads != "weight":
        raise ValueError(f"control: must be time-sharing, since {name} reads no weights, received {control}")
    if isinstance(allocator, StateAugmented):
        return allocator.controller if step is None else allocator.set_to(step=step).controller
    return OnlineDual(allocator) if step is None else OnlineDual(allocator, step=step)
