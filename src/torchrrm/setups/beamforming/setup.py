"""What commands need of short packets from a station of many antennas."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from torchrrm import bench, learning
from torchrrm.bench import Measure, metrics
from torchrrm.channels import SCENARIOS, Scenario
from torchrrm.policies import USRMNet
from torchrrm.problems import Allocator
from torchrrm.problems.beamforming import (
    BeamAction,
    MisoInstance,
    UrllcBeamforming,
    least_rate_nats,
    to_downlink,
)
from torchrrm.setups import workbench
from torchrrm.setups.beamforming.scene import beam_scene
from torchrrm.setups.places import user_columns
from torchrrm.setups.workbench import Given
from torchrrm.solvers import SOLVERS, BeamformingBound, GramAscent, least_power_w
from torchrrm.solvers.minimum_power_beamforming import feasible

__all__ = ["MOST_CERTIFIED", "BeamSetup", "UrllcOfDraws", "new_policy"]

BeamAllocator = Allocator[MisoInstance, BeamAction]


MOST_CERTIFIED = 6
"""Users up to which the optimum is certified, to 1e-3, in milliseconds an instance; 8 users take a second or more."""


SCENARIO_NAMES = ("urllc", "urllc-wide", "urllc-edge")


@dataclass(frozen=True)
class UrllcOfDraws(UrllcBeamforming):
    """The problem on draws some of which no power within the limit can serve: these are counted and left out."""

    leaves_out_infeasible: ClassVar[bool] = True

    def feasible(self, instance: MisoInstance) -> Bool[Tensor, "*batch"]:
        """Whether every user can have its minimum rate."""
        return feasible(instance)


def new_policy(*, seed: int) -> USRMNet:
    """A policy with random parameters."""
    return workbench.seeded(USRMNet, seed)


def sum_of_weights(instance: MisoInstance) -> Tensor:
    """Scale of a weighted sum of rates, which makes the loss a mean rate."""
    return torch.where(instance.active, instance.weight, 0.0).sum(-1)


@dataclass(frozen=True)
class BeamSetup:
    """Short packets from a station, held against the certified optimum where there are few users.

    With more it is the best that `GramAscent` or any other allocator reaches. The bound is within 1e-3 of the optimum.

    Instances in which no power within the limit gives every user its minimum rate are counted and left out.
    """

    problem: UrllcOfDraws = field(default_factory=UrllcOfDraws)

    name: ClassVar[str] = "urllc"
    default: ClassVar[str] = "gram-ascent"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = {n: SCENARIOS[n] for n in SCENARIO_NAMES}
    policies: ClassVar[tuple[type[nn.Module], ...]] = (USRMNet,)
    priced: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "Short packets from a station of many antennas"
    display: ClassVar[bench.Display] = bench.Display(
        "weighted sum rate", "nat", utility="weighted rate / nat"
    )

    @property
    def solvers(self) -> Mapping[str, Callable[[], BeamAllocator]]:
        return SOLVERS[self.name]

    def validate(self, instance: MisoInstance) -> MisoInstance:
        return self.problem.validate(instance)

    def serving(self, policy: USRMNet) -> USRMNet:
        return policy

    def exported(self, policy: USRMNet) -> USRMNet:
        return policy

    def loss(self, policy: USRMNet) -> learning.PolicyLoss:
        """Negative weighted mean of the rates in nats, at powers restored to the minimum rates."""
        return learning.PolicyLoss(policy, learning.Unsupervised(sum_of_weights))

    def certify(self, drawn: MisoInstance) -> bench.Bound | None:
        """For at most `MOST_CERTIFIED` users; nothing if an instance is infeasible."""
        few = int(drawn.active.sum(-1).max()) <= MOST_CERTIFIED
        if not few or not self.problem.feasible(drawn).all():
            return None
        return bench.certified(self.problem, drawn, BeamformingBound())

    def references(self) -> dict[str, BeamAllocator]:
        return {"gram-ascent": GramAscent()}

    def measures(self, drawn: MisoInstance, action: BeamAction) -> dict[str, Measure]:
        return workbench.rate_measures(self.problem.rate(drawn, action), drawn.active, "nat")

    def columns(self, given: Given[MisoInstance], action: BeamAction) -> dict[str, Tensor]:
        """A user a row; `needed_power_w` is the total power that all minimum rates need."""
        instance, rate = given.instance, self.problem.rate(given.instance, action)
        least = least_rate_nats(instance)
        return {
            **user_columns(given.place),
            "weight": instance.weight,
            "uplink_power_w": action.power_w,
            "downlink_power_w": to_downlink(instance, action).power_w,
            "rate_nats": rate,
            "rate_bits": rate / math.log(2),
            "min_rate_nats": least,
            "slack_nats": rate - least,
            "needed_power_w": least_power_w(instance).expand_as(rate),
            "max_power_w": instance.max_power_w.expand_as(rate),
        }

    def summary(self, given: Given[MisoInstance], action: BeamAction) -> str:
        """How many users have their minimum rate, and where that cannot be all, what it would take."""
        columns = self.columns(given, action)
        slack, least = columns["slack_nats"], columns["min_rate_nats"]
        met = slack >= -metrics.VIOLATION_TOLERANCE * least
        told = f"{int(met.sum())} of {len(met)} users have their minimum rate"
        needed, limit = columns["needed_power_w"][0].item(), columns["max_power_w"][0].item()
        if needed <= limit * (1 + metrics.VIOLATION_TOLERANCE):
            return told
        if math.isinf(needed):
            return f"{told}; infeasible: no power would do"
        return f"{told}; infeasible: all need {needed:.4g} W, the limit is {limit:.4g} W"

    def scene(self, given: Given[MisoInstance], actions: Mapping[str, BeamAction]) -> bench.Scene:
        told = {name: (action, workbench.told(self, given, action)) for name, action in actions.items()}
        return beam_scene(self.problem, given, told)
