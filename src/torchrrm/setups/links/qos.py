"""What commands need of interference links that each have a minimum rate in every slot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from torchrrm import bench, learning
from torchrrm.bench import Measure, metrics
from torchrrm.channels import Scenario
from torchrrm.policies import UnrolledPower
from torchrrm.policies.control import LinkAllocator
from torchrrm.problems import LinkInstance, PowerAction, QosSumRate
from torchrrm.problems.links.qos_sum_rate import demanded_rate
from torchrrm.setups import workbench
from torchrrm.setups.links.setup import SumRateSetup, active_links, slot_scene
from torchrrm.setups.workbench import Given
from torchrrm.solvers import SOLVERS, GeometricProgram, QosBound, QosWMMSE

__all__ = ["MOST_CERTIFIED", "USUAL_MIN_RATE", "QosOfDraws", "QosSetup", "new_unrolled_policy"]

USUAL_MIN_RATE = 0.5
"""In bit/s/Hz: what the shipped policy was trained for."""
MOST_CERTIFIED = 20
"""Links up to which the optimum is certified, in seconds an instance."""
_CLOSELY, _GAPS = 10, (0.001, 0.01)  # links up to which the first gap is asked for, and beyond them
_MOST_BOXES = 50_000  # some 15 seconds an instance of 20 links
_TRIVIAL = ("max-power", "one-winner")


@dataclass(frozen=True, eq=False)
class QosOfDraws(QosSumRate):
    """The problem on draws some of which no powers can serve: these are counted and left out."""

    leaves_out_infeasible: ClassVar[bool] = True


def new_unrolled_policy(min_rate_bps_hz: float, *, seed: int) -> UnrolledPower:
    """A policy with random parameters for this minimum rate."""
    return workbench.seeded(lambda: UnrolledPower(min_rate_bps_hz), seed)


@dataclass(frozen=True)
class QosSetup:
    """The sum rate in one slot under minimum rates, held against a certified bound where there are few links.

    With more it is the best that `GeometricProgram`, `QosWMMSE` or any other allocator reaches. The bound
    (`QosBound`) is within 0.1 % of the optimum for at most 10 links and within 1 % for 20, unless its budget of boxes
    runs out; the gap is that of the table.

    Instances in which no powers give every link its minimum rate are counted and left out. Policies serve any
    minimum rates, whatever they were trained for.
    """

    problem: QosOfDraws = field(default_factory=lambda: QosOfDraws(USUAL_MIN_RATE))

    name: ClassVar[str] = "qos-sum-rate"
    default: ClassVar[str] = "geometric-program"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = SumRateSetup.scenarios
    policies: ClassVar[tuple[type[nn.Module], ...]] = (UnrolledPower,)
    priced: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "Power control of links under minimum rates"
    display: ClassVar[bench.Display] = SumRateSetup.display

    @property
    def solvers(self) -> Mapping[str, Callable[[], LinkAllocator]]:
        asking = SOLVERS[self.name].items()
        found = {name: partial(solver, self.problem.min_rate_bps_hz) for name, solver in asking}
        return found | {name: SOLVERS["sum-rate"][name] for name in _TRIVIAL}

    def validate(self, instance: LinkInstance) -> LinkInstance:
        return self.problem.validate(instance)

    def serving(self, policy: UnrolledPower) -> UnrolledPower:
        return policy.asking(self.problem.min_rate_bps_hz)

    def exported(self, policy: UnrolledPower) -> UnrolledPower:
        return policy

    def loss(self, policy: UnrolledPower) -> learning.PolicyLoss:
        """Negative mean rate of a link in bit/s/Hz, at powers that keep the minimum rates where that is possible."""
        return learning.PolicyLoss(policy, learning.Unsupervised(active_links))

    def certify(self, drawn: LinkInstance) -> bench.Bound | None:
        """For at most `MOST_CERTIFIED` links; nothing if an instance is infeasible."""
        links = int(drawn.active.sum(-1).max())
        if links > MOST_CERTIFIED or not self.problem.feasible(drawn).all():
            return None
        gap = _GAPS[links > _CLOSELY]
        solver = QosBound(self.problem.min_rate_bps_hz, gap, max_boxes=_MOST_BOXES)
        return bench.certified(self.problem, drawn, solver)

    def references(self) -> dict[str, LinkAllocator]:
        least = self.problem.min_rate_bps_hz
        return {"geometric-program": GeometricProgram(least), "qos-wmmse": QosWMMSE(least)}

    def measures(self, drawn: LinkInstance, action: PowerAction) -> dict[str, Measure]:
        rate = self.problem.rate(drawn, action.power_w)
        met = (self._spare(drawn, rate) >= 0).all(-1)
        share = Measure(*metrics.mean_interval(100 * met.double()))
        return {**workbench.rate_measures(rate, drawn.active), "all minima met / %": share}

    def columns(self, given: Given[LinkInstance], action: PowerAction) -> dict[str, Tensor]:
        """A link a row, with what is left above its minimum rate."""
        rate = self.problem.rate(given.instance, action.power_w)
        least = demanded_rate(given.instance, self.problem.min_rate_bps_hz).expand_as(rate)
        return {
            "link": torch.arange(given.instance.active.shape[-1]),
            **given.place,
            "weight": given.instance.weight,
            "power_w": action.power_w,
            "rate_bps_hz": rate,
            "min_rate_bps_hz": least,
            "slack_bps_hz": rate - least,
        }

    def summary(self, given: Given[LinkInstance], action: PowerAction) -> str:
        """How many links have their minimum rate, and whether all can."""
        met = self._spare(given.instance, self.problem.rate(given.instance, action.power_w)) >= 0
        told = f"{int(met.sum())} of {len(met)} links have their minimum rate"
        return told if self.problem.feasible(given.instance) else f"{told}; infeasible: no powers serve all"

    def scene(self, given: Given[LinkInstance], actions: Mapping[str, PowerAction]) -> bench.Scene:
        return slot_scene(self, given, actions)

    def _spare(self, drawn: LinkInstance, rate: Tensor) -> Tensor:
        """What rates have above their minima, with the tolerance of violations."""
        least = demanded_rate(drawn, self.problem.min_rate_bps_hz)
        return rate - (1 - metrics.VIOLATION_TOLERANCE) * least
