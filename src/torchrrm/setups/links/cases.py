"""The settings in which powers of links are compared, in one slot and over many."""

from dataclasses import replace
from functools import partial

import torch

from torchrrm import records
from torchrrm.channels import bundled_snapshot
from torchrrm.problems import ErgodicAction, ErgodicInstance, LinkInstance, PowerAction, Task, WeightedSumRate
from torchrrm.setups.links.given import drop_task, given_links, given_slots
from torchrrm.setups.links.qos_cases import qos_cases
from torchrrm.setups.links.setup import MOST_CERTIFIED, ErgodicSetup, SumRateSetup
from torchrrm.setups.links.sources import (
    LinkSource,
    LinkTerms,
    ergodic_task,
    named_channels,
    sum_rate_task,
    terms_of,
)
from torchrrm.setups.workbench import Case, Given, Regime

__all__ = ["cases"]

LinkCase = Case[LinkInstance, PowerAction]
ErgodicCase = Case[ErgodicInstance, ErgodicAction]

_MUNICH = "munich_d2d"
_DROPS = 50
"""Of the snapshot: there are no more instances of all its links."""
_INSTANCES = {"smoke": 4, "quick": 50, "full": 200}
_OVER_SLOTS = {"smoke": 2, "quick": 30, "full": 100}
_SIZES = {"central-power-5": 5, "central-power-20": 20}
"""Links that the networks of a fixed size are for."""
_EXPONENTIAL = f"takes time exponential in the links; run up to {MOST_CERTIFIED}"
_CERTIFIED_OVER_SLOTS = 8
_SEARCHED = f"branch and bound in every slot; run up to {_CERTIFIED_OVER_SLOTS} links"
_MAP_SEED = 70_000_000


def _sum_rate(name: str, links: int) -> Task[LinkInstance, PowerAction]:
    return sum_rate_task(LinkSource(named_channels(name), links, terms_of(name)))


def _ergodic(name: str, links: int, slots: int) -> Task[ErgodicInstance, ErgodicAction]:
    return ergodic_task(LinkSource(named_channels(name), links, terms_of(name)), slots=slots)


def _munich_drops() -> Task[LinkInstance, PowerAction]:
    return drop_task(bundled_snapshot(_MUNICH), LinkTerms(), WeightedSumRate())


def _given_links() -> Given[LinkInstance]:
    return given_links(bundled_snapshot(_MUNICH), LinkTerms())


def _given_slots() -> Given[ErgodicInstance]:
    """The first links of a drop, the others paused."""
    generator = torch.Generator().manual_seed(_MAP_SEED)
    given = given_slots(bundled_snapshot(_MUNICH), LinkTerms(), slots=64, generator=generator)
    links = given.instance
    on = torch.arange(links.active.shape[-1]) < _CERTIFIED_OVER_SLOTS
    both = on[:, None] & on
    few = records.replace(
        links,
        gain=links.gain * both,
        mean_gain=links.mean_gain * both,
        max_power_w=links.max_power_w * on,
        min_rate_bps_hz=links.min_rate_bps_hz * on,
        active=links.active & on,
    )
    return replace(given, instance=few, setting=f"{given.setting}, {_CERTIFIED_OVER_SLOTS} links")


def cases() -> list[LinkCase | ErgodicCase]:
    """Links of the papers, more of them or closer ones, and those of Munich."""
    return [*_of_one_slot(), *qos_cases(), *_over_slots()]


def _of_one_slot() -> list[LinkCase]:
    return [
        _one_slot("paper", "Rayleigh at 15 dB", "rayleigh", 5),
        _one_slot("paper", "Rayleigh at 15 dB", "rayleigh", 10),
        _one_slot("paper", "Rayleigh at 15 dB", "rayleigh", 20),
        _one_slot("paper", "seven cells", "seven-cells", 20),
        _one_slot("hard", "Rayleigh at 15 dB", "rayleigh", 50),
        _one_slot("hard", "dense square", "metagnn", 20),
        _one_slot("munich", "Munich", _MUNICH, 10),
        replace(
            _one_slot("munich", "Munich", _MUNICH, 20),
            task=_munich_drops,
            instances={scale: min(count, _DROPS) for scale, count in _INSTANCES.items()},
            given=_given_links,
        ),
    ]


def _of_other_sizes(links: int) -> dict[str, str]:
    return {name: f"serves {size} links only" for name, size in _SIZES.items() if size != links}


def _one_slot(regime: Regime, place: str, channels: str, links: int) -> LinkCase:
    left_out = _of_other_sizes(links)
    if links > MOST_CERTIFIED:
        left_out["branch-and-bound"] = _EXPONENTIAL
    return Case(
        regime,
        f"{place}, {links} links",
        SumRateSetup(),
        partial(_sum_rate, channels, links),
        _INSTANCES,
        left_out=left_out,
    )


def _over_slots() -> list[ErgodicCase]:
    """Those of up to 8 links are held against the certified bound."""
    return [
        _slots("paper", "square", "metagnn", 4, 32),
        _slots("paper", "square", "metagnn", 8, 64),
        _slots("hard", "dense square", "metagnn", 20, 64),
        _slots("munich", "Munich", _MUNICH, 8, 64),
    ]


def _slots(regime: Regime, place: str, channels: str, links: int, slots: int) -> ErgodicCase:
    certified = links <= _CERTIFIED_OVER_SLOTS
    left_out = _of_other_sizes(links)
    if not certified:
        left_out |= dict.fromkeys(("dual-bound", "branch-and-bound"), _SEARCHED)
    return Case(
        regime,
        f"{place}, {links} links, {slots} slots, 1 bit/s/Hz each",
        ErgodicSetup(certifies=certified),
        partial(_ergodic, channels, links, slots),
        _OVER_SLOTS,
        given=_given_slots if channels == _MUNICH else None,
        left_out=left_out,
    )
