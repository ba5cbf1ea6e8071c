"""The networks of one configuration: powers, slacks and multipliers, and the literal five of the paper."""

from collections.abc import Mapping
from typing import Any

from torchrrm.policies.base import Policy
from torchrrm.policies.configuration_gnn import ConfigurationGNN
from torchrrm.policies.control import ProportionalFair
from torchrrm.policies.power_gnn import PowerGNN
from torchrrm.problems.links import ErgodicAction, ErgodicInstance

__all__ = ["MetaGNN"]


class MetaGNN(Policy):
    """Power net, slack net and dual net of [Huang2024], which primal-dual learning adapts to a configuration.

    At work, only the power net counts, told the proportional-fairness ratios; the other networks serve learning
    (`torchrrm.learning.PrimalDual`). As a policy it gives the powers of all slots and the least slack that they
    need.

    Args:
        power: arguments of the power net; by default the paper's, `PowerGNN.literal()`.
        literal: with the mean rates and their multipliers as networks of their own, five in all, as printed. They can
            be eliminated exactly, which the default does.
    """

    not_exported = "its part `power` decides each slot and is what to export"

    def __init__(self, power: Mapping[str, Any] | None = None, *, literal: bool = False):
        super().__init__()
        self.power = PowerGNN.literal() if power is None else PowerGNN(**power)
        self.slack, self.multiplier = ConfigurationGNN(), ConfigurationGNN()
        self.rate = ConfigurationGNN() if literal else None
        self.rate_multiplier = ConfigurationGNN() if literal else None

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds the policy, as JSON."""
        return {"power": self.power.arguments, "literal": self.rate is not None}

    def forward(self, instance: ErgodicInstance) -> ErgodicAction:
        """Powers of all slots, in the order of time, and the least slack."""
        return ProportionalFair(self.power)(instance)
