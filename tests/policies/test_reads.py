"""What allocators of links read, and which control loops work with them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.testing.links import sample_ergodic
from torch import nn

from torchrrm.policies import (
    BestOf,
    CentralPower,
    EachSlot,
    Guarded,
    LocalPower,
    OnlineDual,
    PowerGNN,
    ProportionalFair,
    Refined,
    StateAugmented,
    TimeSharing,
    UnfoldedPower,
)
from torchrrm.policies.control import reads_of
from torchrrm.problems import ErgodicPower, LinkInstance, PowerAction, WeightedSumRate, ergodic_instance
from torchrrm.setups.demands import control_loop
from torchrrm.solvers import SOLVERS, WMMSE, GreedyLinks, ITLinQ, MaxPower, StrongestLink

LOOPS: dict[str, Callable[[Any], Any]] = {
    "EachSlot": EachSlot,
    "ProportionalFair": ProportionalFair,
    "OnlineDual": OnlineDual,
    "TimeSharing": TimeSharing,
}
POLICIES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "priority GNN": (PowerGNN, "priority"),
    "weight GNN": (lambda: PowerGNN("weight"), "weight"),
    "local": (LocalPower, "nothing"),
    "weighted local": (lambda: LocalPower(weighted=True), "weight"),
    "central": (lambda: CentralPower(6, (8,)), "nothing"),
    "central with demands": (lambda: CentralPower(6, (8,), demands=True), "demands"),
    "unfolded": (UnfoldedPower, "weight"),
    "refined": (lambda: Refined(MaxPower(), WMMSE(), 1), "weight"),
    "refined GNN": (lambda: Refined(PowerGNN(), WMMSE(), 1), "priority"),
    "best of": (lambda: BestOf([WMMSE(), ITLinQ()], WeightedSumRate()), "priority"),
    "guarded": (lambda: Guarded(MaxPower(), WMMSE(), WeightedSumRate()), "weight"),
}
READS = {"max-power": "nothing", "itlinq": "priority"}
ALL = {
    **{name: (make, READS.get(name, "weight")) for name, make in SOLVERS["sum-rate"].items()},
    **POLICIES,
}
REFUSED = {
    "EachSlot": {"demands"},
    "ProportionalFair": {"demands", "nothing"},
    "OnlineDual": {"demands", "priority"},
    "TimeSharing": {"demands"},
}


@pytest.mark.parametrize("name", ALL)
def test_what_allocators_declare(name: str) -> None:
    make, reads = ALL[name]
    assert reads_of(make()) == reads


def test_a_function_declares_it_by_its_arguments() -> None:
    def by_priority(links: LinkInstance, priority: Any = None) -> PowerAction:
        return PowerAction(power_w=links.max_power_w)

    assert reads_of(by_priority) == "priority"
    assert reads_of(lambda links: PowerAction(power_w=links.max_power_w)) == "weight"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ALL)
def test_every_allocator_runs_under_every_loop_or_is_refused(name: str, loop: str) -> None:
    torch.manual_seed(0)
    make, reads = ALL[name]
    allocator = make()
    if reads in REFUSED[loop]:
        rule = rf"^allocator: must read .* under {loop}, received {type(allocator).__name__}, which reads {reads}$"
        with pytest.raises(ValueError, match=rule):
            LOOPS[loop](allocator)
        return
    instance = sample_ergodic(1, generator=torch.Generator().manual_seed(0)).between(0, 2)
    with torch.no_grad():
        action = LOOPS[loop](allocator)(instance)
    assert ErgodicPower().evaluate(instance, action).violation["power"].max() <= 1e-6


@pytest.mark.parametrize("name", ALL)
def test_loops_of_demands_take_what_they_can_move(name: str) -> None:
    torch.manual_seed(0)
    make, reads = ALL[name]
    if reads == "demands":
        with pytest.raises(
            ValueError, match=r"^allocator: must be one that knows of no demands, received x$"
        ):
            control_loop("x", make())
        return
    assert isinstance(control_loop("x", make(), "time-sharing"), TimeSharing)
    if reads == "weight":
        assert isinstance(control_loop("x", make()), OnlineDual)
        return
    with pytest.raises(
        ValueError, match=r"^control: must be time-sharing, since x reads no weights, received"
    ):
        control_loop("x", make())


def test_a_state_augmented_policy_brings_its_own_loop() -> None:
    assert isinstance(control_loop("x", StateAugmented(widths=(8,))), OnlineDual)


@pytest.mark.parametrize(
    "allocator",
    [WMMSE(), GreedyLinks(), StrongestLink()],
    ids=lambda one: type(one).__name__,
)
def test_links_that_block_each_other_get_equal_shares_of_time(allocator: Any) -> None:
    """Proportional fairness of constant rates: equal shares, whatever the rates."""
    gain = torch.full((4, 4), 1e6, dtype=torch.float64)
    gain.diagonal().copy_(torch.tensor([3.0, 30.0, 300.0, 3000.0]))
    instance = ergodic_instance(
        gain.expand(1000, 4, 4), noise_power_w=1.0, max_power_w=1.0, min_rate_bps_hz=0.0
    )
    power = ProportionalFair(allocator)(instance).power_w[200:]
    assert ((power > 0.5).sum(-1) == 1).all()
    assert (power > 0.5).double().mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.01)


def test_weights_of_links_scale_their_shares() -> None:
    """Weights 1 and 3 of links that block each other: a quarter and three quarters of the slots."""
    gain = torch.tensor([[10.0, 1e6], [1e6, 10.0]], dtype=torch.float64).expand(2000, 2, 2)
    instance = ergodic_instance(gain, noise_power_w=1.0, max_power_w=1.0)
    loop = ProportionalFair(StrongestLink())
    state, seen = loop.start(instance), []
    for slot in range(1000):
        links = instance.slot(slot)
        links = LinkInstance(**{**vars(links), "weight": torch.tensor([1.0, 3.0], dtype=torch.float64)})
        power = loop.decide(links, state).power_w
        state = loop.observe(WeightedSumRate().rate(links, power), state)
        seen.append(power)
    assert torch.stack(seen[200:]).mean(0).tolist() == pytest.approx([0.25, 0.75], abs=0.02)
