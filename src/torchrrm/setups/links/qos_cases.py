"""The settings in which powers of links under minimum rates are compared."""

from functools import partial

import torch

from torchrrm import records
from torchrrm.channels import bundled_snapshot
from torchrrm.problems import LinkInstance, PowerAction, QosSumRate, Task
from torchrrm.setups.links.given import drop_task, given_links
from torchrrm.setups.links.qos import QosOfDraws, QosSetup
from torchrrm.setups.links.sources import (
    LinkSource,
    LinkTerms,
    draw_links,
    named_channels,
    qos_task,
    terms_of,
)
from torchrrm.setups.workbench import Case, Given, Regime

__all__ = ["near_edge", "qos_cases"]

QosCase = Case[LinkInstance, PowerAction]

_MUNICH = "munich_d2d"
_DROPS = 50
"""Of the snapshot: there are no more instances of all its links."""
_INSTANCES = {"smoke": 6, "quick": 80, "full": 300}
_EDGE = 1.5
_CLOSELY = 10
_EXPONENTIAL = f"takes time exponential in the links; run up to {_CLOSELY}"
_MAP_DROP, _MAP_RATE = 4, 0.2
"""A drop whose 20 pairs can all have this rate, as in 20 of the 50 drops."""


def near_edge(
    source: LinkSource, problem: QosSumRate, times: float = _EDGE
) -> Task[LinkInstance, PowerAction]:
    """Draws whose minimum rates can all be met, but not if they were so many times as large."""
    asked = torch.as_tensor(problem.min_rate_bps_hz)

    def sample(batch_size: int, *, generator: torch.Generator) -> LinkInstance:
        kept: list[LinkInstance] = []
        while len(kept) < batch_size:
            drawn = draw_links(source, 4 * batch_size, generator=generator)
            near = problem.feasible(drawn) & ~QosSumRate(times * asked).feasible(drawn)
            kept += [records.index(drawn, i) for i in near.nonzero()[:, 0].tolist()]
        return records.stack(kept[:batch_size])

    return Task(problem, sample)


def qos_cases() -> list[QosCase]:
    """Links of the papers, some at the edge of what can be met, and those of Munich."""
    return [
        _drawn("paper", "square", "metagnn", 10, 0.5),
        _drawn("paper", "Rayleigh at 15 dB", "rayleigh", 5, 0.1),
        _drawn("hard", "square, at the edge", "metagnn", 8, 1.0, edge=True),
        _drawn("hard", "square, at the edge", "metagnn", 20, 0.25, edge=True),
        _drawn("munich", "Munich", _MUNICH, 8, 0.5),
        Case(
            "munich",
            f"Munich, 20 links, {_MAP_RATE:g} bit/s/Hz each",
            QosSetup(QosOfDraws(_MAP_RATE)),
            _munich_drops,
            {scale: min(count, _DROPS) for scale, count in _INSTANCES.items()},
            given=_given,
            left_out={"branch-and-bound": _EXPONENTIAL},
        ),
    ]


def _drawn(
    regime: Regime, place: str, channels: str, links: int, min_rate: float, *, edge: bool = False
) -> QosCase:
    problem = QosOfDraws(min_rate)
    return Case(
        regime,
        f"{place}, {links} links, {min_rate:g} bit/s/Hz each",
        QosSetup(problem),
        partial(_task, channels, links, problem, edge),
        _INSTANCES,
        left_out={"branch-and-bound": _EXPONENTIAL} if links > _CLOSELY else {},
    )


def _task(channels: str, links: int, problem: QosOfDraws, edge: bool) -> Task[LinkInstance, PowerAction]:
    source = LinkSource(named_channels(channels), links, terms_of(channels))
    return near_edge(source, problem) if edge else qos_task(source, problem)


def _munich_drops() -> Task[LinkInstance, PowerAction]:
    return drop_task(bundled_snapshot(_MUNICH), LinkTerms(), QosOfDraws(_MAP_RATE))


def _given() -> Given[LinkInstance]:
    return given_links(bundled_snapshot(_MUNICH), LinkTerms(), drop=_MAP_DROP)
