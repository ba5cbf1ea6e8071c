"""Sum rate against latency: where a learned policy is worth its time, and where not."""

from collections.abc import Mapping

import torch

from torchrrm import bench
from torchrrm.bench import Row
from torchrrm.channels import metagnn_scenario
from torchrrm.learning import collect
from torchrrm.policies import OnlineDual, PowerGNN, Refined
from torchrrm.problems import Allocator, LinkInstance, PowerAction
from torchrrm.recipes import exhibits
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.metagnn.drops import REPORT, generator_of
from torchrrm.recipes.metagnn.settings import MetaSettings
from torchrrm.records import replace
from torchrrm.setups import workbench
from torchrrm.setups.links import LinkSource, SumRateSetup, draw_configurations, draw_links
from torchrrm.solvers import WMMSE, FPLinQ, ITLinQ, MaxPower

__all__ = ["front_exhibit", "front_rows"]

_TRAINED_FOR = 20  # links in the square of 500 m; beyond, the square grows so that the density stays


def _allocators(power: PowerGNN) -> Mapping[str, Allocator[LinkInstance, PowerAction]]:
    solvers = {f"WMMSE, {n} start{'s' if n > 1 else ''}": WMMSE(starts=n) for n in (1, 4, 16, 64)}
    learned = {f"GNN + {n} WMMSE": Refined(power, WMMSE(), n) for n in (2, 10, 40)}
    return {
        "max power": MaxPower(),
        "ITLinQ": ITLinQ(),
        "FPLinQ": FPLinQ(),
        "WMMSE, 10 steps": WMMSE(max_steps=10),
        **solvers,
        "GNN": power,
        **learned,
    }


def front_rows(power: PowerGNN, settings: MetaSettings) -> list[Row]:
    """All allocators on the same instances of each size: every weight 1, then weights as a control loop has them."""
    rows: list[Row] = []
    allocators, latency = _allocators(power), bench.Latency(calls=100 * settings.latency_calls)
    for weighted in (False, True):
        for links in settings.front_sizes:
            if weighted and links > _TRAINED_FOR:
                continue
            drawn = _instances(links, weighted, settings)
            setting = f"{links} links" + (", weights of a control loop" if weighted else "")
            with torch.no_grad():
                rows += workbench.judge(SumRateSetup(), drawn, allocators, setting, latency=latency)
    return rows


def _instances(links: int, weighted: bool, settings: MetaSettings) -> LinkInstance:
    """Configurations in one slot; beyond 20 links the square grows, so that the density stays."""
    side_m = 500.0 * max(1.0, links / _TRAINED_FOR) ** 0.5
    source = LinkSource(metagnn_scenario(side_m=side_m), links)
    generator = generator_of(REPORT, links, 5)
    if not weighted:
        return draw_links(source, settings.front_instances, generator=generator)
    slots = settings.loop_slots
    drawn = draw_configurations(source, settings.front_instances, slots=slots + 1, generator=generator)
    loop = OnlineDual(WMMSE(starts=4, max_steps=40))
    found = collect(loop, drawn.between(0, slots), 1)
    return replace(drawn.slot(slots), weight=1 + found.multiplier[:, 0])


def front_exhibit(rows: list[Row], instances: int, slots: int) -> Exhibit:
    """The front of quality against latency, drawn for each size."""
    return exhibits.front_exhibit(
        rows,
        f"{instances} instances of each size, single calls, one thread. For 10 links the bound is certified by "
        "branch and bound to 1 %; beyond, it is the best that any of the allocators reaches. The power net was trained "
        "on 4 to 20 links; larger squares keep the density of 20 links in 500 m. Weights of a control loop are those "
        f"after {slots} slots of `OnlineDual` over WMMSE with four starts.",
    )
