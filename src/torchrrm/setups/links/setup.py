"""What commands need of interference links: their sum rate in one slot, and their mean rates over many."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchrrm import bench, learning
from torchrrm.bench import Measure, metrics
from torchrrm.channels import SCENARIOS, Scenario
from torchrrm.policies import (
    BestOf,
    CentralPower,
    EachSlot,
    LocalPower,
    MetaGNN,
    OnlineDual,
    PowerGNN,
    ProportionalFair,
    StateAugmented,
    UnfoldedPower,
)
from torchrrm.policies.control import LinkAllocator, reads_of
from torchrrm.problems import (
    Allocator,
    ErgodicAction,
    ErgodicInstance,
    ErgodicPower,
    LinkInstance,
    PowerAction,
    WeightedSumRate,
)
from torchrrm.setups import workbench
from torchrrm.setups.links.scene import TRANSMITS, LinkService, link_scene
from torchrrm.setups.workbench import Given, Setup
from torchrrm.solvers import SOLVERS, BranchAndBound, ErgodicDualBound, MaxPower, StrongestLink

__all__ = ["MOST_CERTIFIED", "ErgodicSetup", "SumRateSetup", "new_policy"]

ErgodicAllocator = Allocator[ErgodicInstance, ErgodicAction]


MOST_CERTIFIED = 10
"""Links up to which the optimum is certified by branch and bound, in seconds an instance."""


SCENARIO_NAMES = ("metagnn", "rayleigh", "seven-cells")


def new_policy(*, seed: int) -> PowerGNN:
    """A policy with random parameters that reads the weights."""
    return workbench.seeded(lambda: PowerGNN("weight"), seed)


def active_links(instance: Any) -> Tensor:
    """Scale of a sum over links: their number, which makes the loss a mean rate."""
    return torch.clamp(instance.active.sum(-1), min=1)


_RATES = WeightedSumRate()


def slot_scene(
    setup: Setup[LinkInstance, PowerAction],
    given: Given[LinkInstance],
    actions: Mapping[str, PowerAction],
) -> bench.Scene:
    """Links in one slot, with what a setup tells of each action."""
    instance = given.instance
    services = {
        name: LinkService(
            action.power_w, _RATES.rate(instance, action.power_w), workbench.told(setup, given, action)
        )
        for name, action in actions.items()
    }
    return link_scene(given, services, max_power_w=instance.max_power_w, active=instance.active)


@dataclass(frozen=True)
class SumRateSetup:
    """The sum rate in one slot, held against the certified optimum where there are few links."""

    problem: WeightedSumRate = field(default_factory=WeightedSumRate)

    name: ClassVar[str] = "sum-rate"
    default: ClassVar[str] = "wmmse"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = {n: SCENARIOS[n] for n in SCENARIO_NAMES}
    policies: ClassVar[tuple[type[nn.Module], ...]] = (PowerGNN, CentralPower, LocalPower, UnfoldedPower)
    priced: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "Power control of links"
    display: ClassVar[bench.Display] = bench.Display("sum rate", "(bit/s/Hz)", utility="rate / (bit/s/Hz)")

    @property
    def solvers(self) -> Mapping[str, Callable[[], LinkAllocator]]:
        return SOLVERS[self.name]

    def validate(self, instance: LinkInstance) -> LinkInstance:
        return self.problem.validate(instance)

    def serving(self, policy: PowerGNN) -> PowerGNN:
        return policy

    def exported(self, policy: nn.Module) -> nn.Module:
        return policy

    def loss(self, policy: PowerGNN) -> learning.PolicyLoss:
        """Negative mean rate of a link in bit/s/Hz."""
        return learning.PolicyLoss(policy, learning.Unsupervised(active_links))

    def certify(self, drawn: LinkInstance) -> bench.Bound | None:
        """For at most `MOST_CERTIFIED` links."""
        few = int(drawn.active.sum(-1).max()) <= MOST_CERTIFIED
        return bench.certified(self.problem, drawn, BranchAndBound()) if few else None

    def references(self) -> dict[str, LinkAllocator]:
        return {}

    def measures(self, drawn: LinkInstance, action: PowerAction) -> dict[str, Measure]:
        return workbench.rate_measures(self.problem.rate(drawn, action.power_w), drawn.active)

    def columns(self, given: Given[LinkInstance], action: PowerAction) -> dict[str, Tensor]:
        """A link a row."""
        return {
            "link": torch.arange(given.instance.active.shape[-1]),
            **given.place,
            "weight": given.instance.weight,
            "power_w": action.power_w,
            "rate_bps_hz": self.problem.rate(given.instance, action.power_w),
        }

    def summary(self, given: Given[LinkInstance], action: PowerAction) -> str:
        power = action.power_w
        return f"{int((power > TRANSMITS * power.max()).sum())} of {len(power)} links transmit"

    def scene(self, given: Given[LinkInstance], actions: Mapping[str, PowerAction]) -> bench.Scene:
        return slot_scene(self, given, actions)


@dataclass(frozen=True)
class ErgodicSetup:
    """Mean rates over slots with minima that may be relaxed, held against the best that any allocator reaches.

    With `certifies` they are held against the certified bound of the dual, which takes branch and bound in every slot.

    Solvers of one slot, and policies that read neither weights nor priorities, work in each slot by itself
    (`EachSlot`). ITLinQ and policies that read priorities take turns by proportional fairness. Policies that read
    weights have them moved by the shortfall (`OnlineDual`), as `online-dual` does for WMMSE. `safeguarded-dual` returns
    the best of that loop and of the trivial rules in every slot, compared over all slots, which no loop can know.
    """

    problem: ErgodicPower = field(default_factory=ErgodicPower)
    certifies: bool = False

    name: ClassVar[str] = "ergodic-power"
    default: ClassVar[str] = "safeguarded-dual"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = SumRateSetup.scenarios
    policies: ClassVar[tuple[type[nn.Module], ...]] = (MetaGNN, StateAugmented, *SumRateSetup.policies)
    priced: ClassVar[tuple[str, ...]] = ("min_rate",)
    title: ClassVar[str] = "Power control of links over slots"
    display: ClassVar[bench.Display] = bench.Display(
        "penalised sum rate", "(bit/s/Hz)", utility="mean rate less penalty / (bit/s/Hz)"
    )

    @property
    def solvers(self) -> Mapping[str, Callable[[], ErgodicAllocator]]:
        safeguarded = {"safeguarded-dual": partial(_safeguarded_dual, self.problem)}
        return ERGODIC_SOLVERS | safeguarded | SOLVERS[self.name]

    def validate(self, instance: ErgodicInstance) -> ErgodicInstance:
        return self.problem.validate(instance)

    def serving(self, policy: Any) -> ErgodicAllocator:
        if isinstance(policy, MetaGNN | StateAugmented):
            return policy
        loops = {"priority": ProportionalFair, "weight": OnlineDual}
        return loops.get(reads_of(policy), EachSlot)(policy)

    def exported(self, policy: Any) -> nn.Module:
        """The power net of one slot; who runs it tells it priorities or weights."""
        return policy.power if isinstance(policy, MetaGNN | StateAugmented) else policy

    def certify(self, drawn: ErgodicInstance) -> bench.Bound | None:
        """If that was asked for."""
        if not self.certifies:
            return None
        return bench.certified(self.problem, drawn, ErgodicDualBound(self.problem), priced=self.priced)

    def references(self) -> dict[str, ErgodicAllocator]:
        return {}

    def measures(self, drawn: ErgodicInstance, action: ErgodicAction) -> dict[str, Measure]:
        return workbench.rate_measures(self.problem.rate(drawn, action.power_w), drawn.active)

    def columns(self, given: Given[ErgodicInstance], action: ErgodicAction) -> dict[str, Tensor]:
        """A link a row: means over the slots, and what is missing of the minimum."""
        rate = self.problem.rate(given.instance, action.power_w)
        least = given.instance.min_rate_bps_hz
        return {
            "link": torch.arange(given.instance.active.shape[-1]),
            **given.place,
            "mean_power_w": action.power_w.mean(-2),
            "mean_rate_bps_hz": rate,
            "min_rate_bps_hz": least,
            "shortfall_bps_hz": torch.clamp(least - rate, min=0),
        }

    def summary(self, given: Given[ErgodicInstance], action: ErgodicAction) -> str:
        columns = self.columns(given, action)
        met = columns["shortfall_bps_hz"] <= metrics.VIOLATION_TOLERANCE * columns["min_rate_bps_hz"]
        return f"{int(met.sum())} of {len(met)} links have their minimum rate"

    def scene(self, given: Given[ErgodicInstance], actions: Mapping[str, ErgodicAction]) -> bench.Scene:
        instance = given.instance
        services = {
            name: LinkService(
                action.power_w.mean(-2),
                self.problem.rate(instance, action.power_w),
                workbench.told(self, given, action),
            )
            for name, action in actions.items()
        }
        return link_scene(given, services, max_power_w=instance.max_power_w, active=instance.active)


def _each_slot(solver: Callable[[], LinkAllocator]) -> EachSlot:
    return EachSlot(solver())


def _fair_itlinq() -> ProportionalFair:
    return ProportionalFair(SOLVERS["sum-rate"]["itlinq"]())


def _dual_wmmse() -> OnlineDual:
    return OnlineDual(SOLVERS["sum-rate"]["wmmse"]())


def _safeguarded_dual(problem: ErgodicPower) -> BestOf[ErgodicInstance, ErgodicAction]:
    rules = [EachSlot(MaxPower()), EachSlot(StrongestLink())]
    return BestOf([_dual_wmmse(), *rules], problem, priced=ErgodicSetup.priced)


ERGODIC_SOLVERS: dict[str, Callable[[], ErgodicAllocator]] = {
    **{name: partial(_each_slot, solver) for name, solver in SOLVERS["sum-rate"].items()},
    "itlinq": _fair_itlinq,
    "online-dual": _dual_wmmse,
}
"""Solvers of one slot, put to work over many."""
