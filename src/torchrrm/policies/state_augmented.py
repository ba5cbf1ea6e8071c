"""One policy for every configuration: powers by multipliers that move while it runs [NaderiAlizadeh2022]."""

import copy
from collections.abc import Sequence
from typing import Any

from torchrrm.policies.base import Policy
from torchrrm.policies.compose import Refined
from torchrrm.policies.configuration_gnn import ConfigurationGNN
from torchrrm.policies.control import OnlineDual
from torchrrm.policies.power_gnn import PowerGNN
from torchrrm.problems.links import ErgodicAction, ErgodicInstance
from torchrrm.solvers import WMMSE

__all__ = ["StateAugmented"]


class StateAugmented(Policy):
    """A power net that reads the multipliers of the minimum rates, and multipliers moved by dual steps.

    It needs no adaptation: what differs between configurations is the multipliers, which each slot's shortfall
    moves (`OnlineDual`), starting from what a regressor makes of the configuration. New minima need no training
    either.

    Args:
        widths: of the power net's layers.
        edges: of the power net, a name in `torchrrm.policies.power_gnn.EDGES`.
        step: of the multipliers, per slot.
        slack_penalty: `alpha`, if the minima may be relaxed; by default they are hard.
        refine_steps: steps of `WMMSE` on each slot's powers.
    """

    not_exported = "its part `power` decides each slot and is what to export"

    def __init__(
        self,
        *,
        widths: Sequence[int] = (128, 128, 128),
        edges: str = "local",
        step: float = 0.1,
        slack_penalty: float | None = None,
        refine_steps: int = 0,
    ):
        super().__init__()
        self.widths, self.edges, self.step = tuple(widths), edges, step
        self.slack_penalty, self.refine_steps = slack_penalty, refine_steps
        self.power = PowerGNN("weight", edges=edges, widths=self.widths)
        self.first = ConfigurationGNN(edges="local", outgoing=True, widths=(64, 64), init_mean=1e-3)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {
            "widths": list(self.widths),
            "edges": self.edges,
            "step": self.step,
            "slack_penalty": self.slack_penalty,
            "refine_steps": self.refine_steps,
        }

    def set_to(self, **changed: Any) -> "StateAugmented":
        """The same networks, their parameters shared, with another step, slack penalty or refinement."""
        other = copy.copy(self)
        for name, value in changed.items():
            if name not in ("step", "slack_penalty", "refine_steps"):
                raise ValueError(f"changed: must be step, slack_penalty or refine_steps, received {name}")
            setattr(other, name, value)
        return other

    @property
    def controller(self) -> OnlineDual:
        """The control loop, to be run slot by slot."""
        allocator = Refined(self.power, WMMSE(), self.refine_steps) if self.refine_steps else self.power
        return OnlineDual(allocator, step=self.step, slack_penalty=self.slack_penalty, first=self.first)

    def forward(self, instance: ErgodicInstance) -> ErgodicAction:
        """Powers of all slots, in the order of time, and the least slack that they need."""
        return self.controller(instance)
