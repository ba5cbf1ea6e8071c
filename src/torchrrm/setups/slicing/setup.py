"""What commands need of slices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from torchrrm import bench, learning
from torchrrm.channels import SCENARIOS, Scenario
from torchrrm.policies import SliceGNN
from torchrrm.problems import (
    KINDS,
    Allocator,
    SliceAction,
    SliceBandwidth,
    SliceInstance,
)
from torchrrm.setups import workbench
from torchrrm.setups.places import user_columns
from torchrrm.setups.slicing.scene import slice_scene
from torchrrm.setups.workbench import Given
from torchrrm.solvers import SOLVERS, ExactSlicing

__all__ = ["SliceSetup", "find_kinds", "new_policy", "policy_loss"]

SCENARIO_NAMES = ("hml", "umi", "uma")


def new_policy(problem: SliceBandwidth, features: str, *, seed: int) -> SliceGNN:
    """A policy with random parameters."""
    return workbench.seeded(lambda: SliceGNN(problem, features), seed)


def policy_loss(policy: SliceGNN) -> learning.PolicyLoss:
    """The unsupervised loss of a policy in bit/s/Hz, whichever kind a task is of."""
    return learning.PolicyLoss(policy, learning.Unsupervised(learning.slice_bandwidth), bind=SliceGNN.serving)


def find_kinds(names: str) -> list[SliceBandwidth]:
    """The problems of the kinds of service whose names are separated by commas, or of all."""
    chosen = KINDS if names == "all" else names.split(",")
    return [workbench.find("kind", name, KINDS) for name in chosen]


@dataclass(frozen=True)
class SliceSetup:
    """Slices of one kind of service, held against the certified bound of the exact solver."""

    problem: SliceBandwidth

    name: ClassVar[str] = "slicing"
    default: ClassVar[str] = "exact"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = {n: SCENARIOS[n] for n in SCENARIO_NAMES}
    policies: ClassVar[tuple[type[nn.Module], ...]] = (SliceGNN,)
    priced: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "Allocation of slices"
    display: ClassVar[bench.Display] = bench.Display("sum rate", "(Mbit/s)", 1e6, "rate / (Mbit/s)", 1e6)

    @property
    def solvers(self) -> Mapping[str, Callable[[], Allocator[SliceInstance, SliceAction]]]:
        return {name: partial(solver, self.problem) for name, solver in SOLVERS[self.name].items()}

    def validate(self, instance: SliceInstance) -> SliceInstance:
        return self.problem.validate(instance)

    def serving(self, policy: SliceGNN) -> SliceGNN:
        return policy.serving(self.problem)

    def exported(self, policy: SliceGNN) -> SliceGNN:
        return self.serving(policy)

    def loss(self, policy: SliceGNN) -> learning.PolicyLoss:
        return policy_loss(policy)

    def certify(self, drawn: SliceInstance) -> bench.Bound:
        return bench.certified(self.problem, drawn, ExactSlicing(self.problem))

    def references(self) -> dict[str, Allocator[SliceInstance, SliceAction]]:
        return {}

    def measures(self, drawn: SliceInstance, action: SliceAction) -> dict[str, bench.Measure]:
        return {}

    def columns(self, given: Given[SliceInstance], action: SliceAction) -> dict[str, Tensor]:
        """A user a row."""
        schedule = self.problem.schedule(given.instance)
        return {
            "user": torch.arange(len(given.instance.cn0_hz)),
            **user_columns(given.place),
            "scheduled": schedule.active,
            "minimum_bandwidth_hz": schedule.minimum_bandwidth_hz,
            "bandwidth_hz": action.bandwidth_hz,
            "rate_bps": self.problem.evaluate(given.instance, action).utility,
        }

    def summary(self, given: Given[SliceInstance], action: SliceAction) -> str:
        scheduled = self.problem.schedule(given.instance).active
        note = "" if scheduled.any() else ": the slice is too small for any of them"
        return f"{int(scheduled.sum())} of {len(scheduled)} users scheduled{note}"

    def scene(self, given: Given[SliceInstance], actions: Mapping[str, SliceAction]) -> bench.Scene:
        told = {name: (action, workbench.told(self, given, action)) for name, action in actions.items()}
        return slice_scene(self.problem, given, told)
