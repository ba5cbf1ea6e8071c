"""Allocators of one slot that the recipe compares, by the names of its tables."""

from collections.abc import Callable, Mapping

from torchrrm.policies import ConfigurationGNN, Refined, StateAugmented
from torchrrm.policies.control import LinkAllocator
from torchrrm.recipes.alcor.augmented import AugmentedTraining
from torchrrm.recipes.alcor.central import WIDTHS, CentralTraining
from torchrrm.recipes.alcor.local import LocalTraining
from torchrrm.recipes.alcor.unfolded import UnfoldedTraining
from torchrrm.recipes.jobs import Start
from torchrrm.solvers import SOLVERS, WMMSE, GreedyLinks

__all__ = ["ALLOCATORS", "SPREAD", "make_allocator", "regressor"]

SPREAD = 4.0
"""Of WMMSE's random starts: few links transmit where everybody disturbs everybody."""


def augmented(start: Start) -> StateAugmented:
    """The state-augmented policy of trained parameters."""
    return AugmentedTraining.trained(start.parameters)


def regressor(start: Start) -> ConfigurationGNN:
    """What gives first multipliers, of a trained state-augmented policy."""
    return augmented(start).first


def many_starts(starts: int) -> WMMSE:
    """WMMSE of 40 steps from several starts."""
    return WMMSE(40, starts=starts, spread=SPREAD)


def _central(start: Start, links: int) -> LinkAllocator:
    return CentralTraining(links, WIDTHS[links]).trained(start.parameters)


def _local(start: Start, links: int) -> LinkAllocator:
    return LocalTraining(links, diverse=True, seed=0).trained(start.parameters)


def _weighted_local(start: Start, links: int) -> LinkAllocator:
    return LocalTraining(links, diverse=True, seed=0, weighted=True).trained(start.parameters)


def _gnn(start: Start, links: int) -> LinkAllocator:
    return augmented(start).power


def _refined_gnn(start: Start, links: int) -> LinkAllocator:
    return Refined(augmented(start).power, WMMSE(), 10)


def _unfolded(start: Start, links: int) -> LinkAllocator:
    return UnfoldedTraining().trained(start.parameters)


ALLOCATORS: Mapping[str, Callable[[], LinkAllocator]] = {
    "max power": SOLVERS["sum-rate"]["max-power"],
    "one winner": SOLVERS["sum-rate"]["one-winner"],
    "greedy": GreedyLinks,
    "WMMSE": lambda: WMMSE(100),
    "WMMSE, 4 starts": lambda: many_starts(4),
    "WMMSE, 16 starts": lambda: many_starts(16),
    "WMMSE, 64 starts": lambda: many_starts(64),
}
"""Those without parameters."""

TRAINED: Mapping[str, Callable[[Start, int], LinkAllocator]] = {
    "central": _central,
    "local": _local,
    "local, weights": _weighted_local,
    "GNN": _gnn,
    "GNN + 10 WMMSE": _refined_gnn,
    "unfolded": _unfolded,
}
"""Those of trained parameters, for so many links."""


def make_allocator(name: str, start: Start | None, links: int) -> LinkAllocator:
    """The allocator of this name."""
    if start is None:
        return ALLOCATORS[name]()
    return TRAINED[name](start, links)
