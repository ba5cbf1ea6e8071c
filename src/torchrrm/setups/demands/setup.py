"""What the benchmark needs of demands over slots: a control loop around an allocator of links is one allocator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchrrm import bench
from torchrrm.bench import Display, Measure, metrics
from torchrrm.channels import Scenario
from torchrrm.policies.control import Controller, LinkAllocator, reads_of
from torchrrm.problems import Allocator, DemandInstance, MetDemands, SlotPowers, Task
from torchrrm.records import replace
from torchrrm.setups import workbench
from torchrrm.setups.demands.history import TRIVIAL
from torchrrm.setups.demands.loops import Control, DemandNames, control_loop
from torchrrm.setups.links import MOST_CERTIFIED, LinkSource
from torchrrm.setups.links.scene import LinkService, link_scene
from torchrrm.setups.workbench import Given
from torchrrm.solvers import SOLVERS, ErgodicDualBound

__all__ = ["DemandSetup", "OverWindows", "WithoutDemands", "demand_task"]

DemandAllocator = Allocator[DemandInstance, SlotPowers]

_PAIRS: tuple[tuple[str, Control], ...] = (
    ("wmmse", "online-dual"),
    ("greedy-links", "online-dual"),
    ("fplinq", "online-dual"),
    ("wmmse", "time-sharing"),
    ("greedy-links", "time-sharing"),
)
_LOOPS = {f"{loop} over {allocator}": (allocator, loop) for allocator, loop in _PAIRS}


class OverWindows:
    """A control loop from the first slot to the last, its state carried from window to window."""

    def __init__(self, loop: Controller[Any]):
        self.loop = loop
        self.kind = bench.kind_of(loop)

    def __call__(self, instance: DemandInstance) -> SlotPowers:
        state, powers = None, []
        for number in range(instance.windows):
            part = instance.window(number)
            state = self.loop.start(part) if state is None else self.loop.retarget(state, part)
            seen, state = self.loop.track(part, state)
            powers.append(seen.power_w)
        return SlotPowers(power_w=torch.cat(powers, dim=-2))


class WithoutDemands:
    """A rule of one slot in every slot by itself, whatever is asked for."""

    def __init__(self, allocator: LinkAllocator):
        self.allocator = allocator
        self.kind = bench.kind_of(allocator)

    def __call__(self, instance: DemandInstance) -> SlotPowers:
        return SlotPowers(power_w=self.allocator(instance.slots()).power_w)


def demand_task(
    source: LinkSource, demand_bps_hz: tuple[tuple[float, ...], ...], slots: int, problem: MetDemands
) -> Task[DemandInstance, SlotPowers]:
    """Independent runs of a source, with these demands in windows of so many slots each."""
    demands = torch.tensor(demand_bps_hz)

    def sample(batch_size: int, *, generator: torch.Generator) -> DemandInstance:
        gain, mean_gain = source.sample_gain(batch_size, slots=slots * len(demands), generator=generator)
        links = (batch_size, gain.shape[-1])
        return DemandInstance(
            gain=gain,
            mean_gain=mean_gain,
            noise_power_w=gain.new_full((batch_size,), source.terms.noise_power_w),
            max_power_w=gain.new_full(links, source.terms.max_power_w),
            demand_bps_hz=demands.to(gain).expand(batch_size, *demands.shape),
            active=torch.ones(links, dtype=torch.bool, device=gain.device),
        )

    return Task(problem, sample)


def _loop(allocator: str, control: Control) -> OverWindows:
    return OverWindows(control_loop(allocator, SOLVERS["sum-rate"][allocator](), control))


def _rule(name: str) -> WithoutDemands:
    return WithoutDemands(TRIVIAL[name])


@dataclass(frozen=True)
class DemandSetup:
    """Demands on mean rates over slots, met by control loops around allocators of links.

    Policies that read weights go under `OnlineDual`, the others under `TimeSharing` (ALCOR). Rules that need no
    thought take no notice of demands. Latency is that of a slot. With `certifies` sum rates are held against the
    dual's certified bound (`ErgodicDualBound`) on the slots that count; else against the best that meets all demands.
    """

    problem: MetDemands = field(default_factory=MetDemands)
    certifies: bool = False

    name: ClassVar[str] = DemandNames.name
    default: ClassVar[str] = "online-dual over wmmse"
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = DemandNames.scenarios
    policies: ClassVar[tuple[type[nn.Module], ...]] = DemandNames.policies
    priced: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "Demands on mean rates, slot by slot (latency is that of a slot)"
    display: ClassVar[Display] = DemandNames.display

    @property
    def solvers(self) -> Mapping[str, Callable[[], DemandAllocator]]:
        loops = {name: partial(_loop, *parts) for name, parts in _LOOPS.items()}
        return {**loops, **{name: partial(_rule, name) for name in TRIVIAL}}

    def validate(self, instance: DemandInstance) -> DemandInstance:
        return self.problem.validate(instance)

    def serving(self, policy: Any) -> OverWindows:
        control: Control = "online-dual" if reads_of(policy) == "weight" else "time-sharing"
        return OverWindows(control_loop(type(policy).__name__, policy, control))

    def exported(self, policy: Any) -> nn.Module:
        raise ValueError(f"policy: must be exported as one of sum-rate, received a {type(policy).__name__}")

    def certify(self, drawn: DemandInstance) -> bench.Bound | None:
        """If that was asked for, of at most `MOST_CERTIFIED` links: window by window, on the slots that count."""
        if not self.certifies or int(drawn.active.sum(-1).max()) > MOST_CERTIFIED:
            return None
        drawn, solver, values = bench.in_double(drawn), ErgodicDualBound(hard=True), []
        for number in range(drawn.windows):
            part = drawn.window(number, self.problem.first(drawn))
            least = (1 - self.problem.tolerance) * part.min_rate_bps_hz
            bound = solver.solve(replace(part, min_rate_bps_hz=least)).upper_bound
            if bound is None:
                raise TypeError("ErgodicDualBound gave no bound")
            values.append(bound)
        return bench.Bound(torch.stack(values).mean(0), "certified", solver.tolerance)

    def references(self) -> dict[str, DemandAllocator]:
        return {}

    def measures(self, drawn: DemandInstance, action: SlotPowers) -> dict[str, Measure]:
        """Eq. (12) of [Behmandpoor2024] of single runs, the worse window's, and how many meet all demands."""
        missing = self.problem.shortfall(drawn, action.power_w).clamp(min=0).flatten(-2).amax(-1)
        met = missing <= self.problem.tolerance * (1 + metrics.VIOLATION_TOLERANCE)
        return {
            "shortfall / %": Measure(*metrics.mean_interval(100 * missing)),
            "runs with all demands met / %": Measure(*metrics.mean_interval(100 * met.double())),
        }

    def columns(self, given: Given[DemandInstance], action: SlotPowers) -> dict[str, Tensor]:
        """A link a row, with rate and demand of each window."""
        rate, told = self.problem.rate(given.instance, action.power_w), {}
        for number in range(given.instance.windows):
            told[f"rate_{number + 1}_bps_hz"] = rate[number]
            told[f"demand_{number + 1}_bps_hz"] = given.instance.demand_bps_hz[number]
        return {"link": torch.arange(rate.shape[-1]), **given.place, **told}

    def summary(self, given: Given[DemandInstance], action: SlotPowers) -> str:
        missing = self.problem.shortfall(given.instance, action.power_w, self.problem.tolerance)
        met = (missing <= metrics.VIOLATION_TOLERANCE).all(-2)
        return f"{int(met.sum())} of {len(met)} links have their demands"

    def scene(self, given: Given[DemandInstance], actions: Mapping[str, SlotPowers]) -> bench.Scene:
        instance = given.instance
        services = {
            name: LinkService(
                action.power_w.mean(-2),
                self.problem.rate(instance, action.power_w).mean(-2),
                workbench.told(self, given, action),
            )
            for name, action in actions.items()
        }
        return link_scene(given, services, max_power_w=instance.max_power_w, active=instance.active)
