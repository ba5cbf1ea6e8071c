"""Sum rate against latency on Rayleigh channels: learned allocators beside compiled solvers."""

from collections.abc import Mapping

import torch

from torchrrm import bench
from torchrrm.bench import Row
from torchrrm.problems import Allocator, LinkInstance, PowerAction
from torchrrm.recipes import exhibits
from torchrrm.recipes.alcor.allocators import make_allocator, many_starts
from torchrrm.recipes.alcor.cases import REPORT, generator_of, rayleigh
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.jobs import Start
from torchrrm.setups import workbench
from torchrrm.setups.links import SumRateSetup, draw_links

__all__ = ["front_exhibit", "front_rows"]

_STREAM = 53
_LATENCY = bench.Latency(calls=300, budget_s=0.5)
_LEARNED = {"GNN": "augmented", "GNN + 10 WMMSE": "augmented", "unfolded": "unfolded", "local": "local"}


def _allocators(weights: Mapping[str, Start], links: int) -> dict[str, Allocator[LinkInstance, PowerAction]]:
    solvers = {f"WMMSE, {n} start{'s' if n > 1 else ''}": many_starts(n) for n in (1, 2, 4, 8, 16, 32, 64)}
    plain = {name: make_allocator(name, None, links) for name in ("max power", "one winner", "greedy")}
    learned = {name: make_allocator(name, weights[key], links) for name, key in _LEARNED.items()}
    return plain | solvers | learned


def front_rows(weights: Mapping[str, Start], sizes: tuple[int, ...], draws: int) -> list[Row]:
    """All allocators on the same unseen draws of each size."""
    rows: list[Row] = []
    for links in sizes:
        generator = generator_of(REPORT, _STREAM, links)
        drawn = draw_links(rayleigh(links), draws, generator=generator)
        allocators = _allocators(weights, links)
        with torch.no_grad():
            setting = f"{links} links"
            rows += workbench.judge(SumRateSetup(), drawn, allocators, setting, latency=_LATENCY)
    return rows


def front_exhibit(rows: list[Row], draws: int) -> Exhibit:
    """The front of quality against latency, drawn for each size."""
    return exhibits.front_exhibit(
        rows,
        f"{draws} draws of each size, single calls from Python on one thread; of a compiled allocator's, some 13 µs "
        "are the way to its kernel, which a compiled loop does not take. WMMSE takes 40 steps from each start. For 10 "
        "links the bound is certified by branch and bound to 1 %; beyond, it is the best that any of the allocators "
        "reaches.",
    )
