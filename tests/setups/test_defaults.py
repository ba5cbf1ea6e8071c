"""The default of each problem is never below the trivial rules, and commands say where another allocator is."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.testing.links import hall, symmetric
from tests.testing.slices import sample as sample_slices

from torchrrm import bench, records
from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.cli import association as cell_options
from torchrrm.cli import beamforming as beam_options
from torchrrm.cli import links as link_options
from torchrrm.cli import slicing as slice_options
from torchrrm.problems import KINDS, LinkInstance, ergodic_instance, link_instance
from torchrrm.problems.association import cell_instance
from torchrrm.setups import workbench
from torchrrm.setups.association import AssociationSetup, CellSource, CellTerms, FairAssociationSetup
from torchrrm.setups.association.sources import draw_cells
from torchrrm.setups.beamforming import BeamSource
from torchrrm.setups.beamforming.sources import draw_beams
from torchrrm.setups.links import ErgodicSetup, LinkSource, QosOfDraws, QosSetup, SumRateSetup, terms_of
from torchrrm.setups.links.sources import draw_configurations, draw_links
from torchrrm.setups.registry import SETUPS
from torchrrm.setups.slicing import SliceSetup
from torchrrm.setups.workbench import Given
from torchrrm.solvers import MaxPower, StrongestLink

LINKS = {"rayleigh": 8, "seven-cells": 7, "metagnn": 10, "munich_d2d": 8}
ROUNDING = 1e-6


def source(name: str, links: int, min_rate: float = 1.0) -> LinkSource:
    channels = bundled_snapshot(name) if name.startswith("munich") else SCENARIOS[name]()
    return LinkSource(channels, links, replace(terms_of(name), min_rate_bps_hz=min_rate))


def alike(
    count: int, spread_db: float, far: float, generator: torch.Generator, groups: int = 1
) -> LinkInstance:
    """Six links near -80 dB, in groups between which gains are 60 dB lower."""
    level = -80 + spread_db * torch.randn(count, 6, 6, generator=generator)
    group = torch.arange(6) * groups // 6
    near = torch.where(group[:, None] == group, torch.where(torch.eye(6, dtype=torch.bool), 1.0, far), 1e-6)
    return link_instance(10 ** (level / 10) * near)


def families(count: int, generator: torch.Generator) -> Iterator[tuple[str, LinkInstance]]:
    for name, links in LINKS.items():
        yield name, draw_links(source(name, links), count, generator=generator)
    for spread in (0.0, 1e-6, 0.1, 0.5, 3.0):
        for far in (1.0, 0.1):
            for groups in (1, 2):
                yield f"alike {spread} {far} {groups}", alike(count, spread, far, generator, groups)
    weight = torch.rand(count, 6, generator=generator) ** 3
    yield "weights", records.replace(alike(count, 3.0, 1.0, generator), weight=weight)


def require_default_above_rules(setup: Any, drawn: Any, where: str) -> None:
    on = bench.judged(setup.problem, drawn)
    found = {
        name: workbench.assess(setup, on, setup.solvers[name]())
        for name in workbench.with_trivial([setup.default], setup)
    }
    own = found.pop(setup.default)
    best = torch.stack([torch.where(rule.valid, rule.objective, -torch.inf) for rule in found.values()]).amax(
        0
    )
    below = (best > own.objective + ROUNDING * own.objective.abs()) | (~own.valid & (best > -torch.inf))
    assert not below.any(), f"{where}: {own.objective[below][:3]} below {best[below][:3]}"


def test_sum_rate(generator: torch.Generator) -> None:
    for where, drawn in families(200, generator):
        require_default_above_rules(SumRateSetup(), drawn, where)


@pytest.mark.parametrize("least", [0.0, 0.1])
def test_sum_rate_under_minimum_rates(least: float, generator: torch.Generator) -> None:
    drawn = [records.pad(links, rx=10, tx=10) for _, links in families(2, generator)]
    batch = LinkInstance(
        **{name: torch.cat([getattr(one, name) for one in drawn]) for name in vars(drawn[0])}
    )
    require_default_above_rules(QosSetup(QosOfDraws(least)), batch, "all families")


@pytest.mark.parametrize("least", [0.0, 0.3, 1.0])
def test_links_over_slots(least: float, generator: torch.Generator) -> None:
    for name, links in LINKS.items():
        drawn = draw_configurations(source(name, links, least), 6, slots=16, generator=generator)
        require_default_above_rules(ErgodicSetup(), drawn, name)
    still = alike(6, 0.5, 1.0, generator).gain[:, None].expand(-1, 16, -1, -1)
    require_default_above_rules(ErgodicSetup(), ergodic_instance(still, min_rate_bps_hz=least), "static")


@pytest.mark.parametrize("setup", [AssociationSetup(), FairAssociationSetup()], ids=lambda one: one.name)
def test_cells(setup: Any, generator: torch.Generator) -> None:
    for channels in (SCENARIOS["hudn"](), bundled_snapshot("munich_hudn_200m")):
        for users, stations in ((3, 10), (10, 3), (10, 5)):
            cells = CellSource(channels, users, stations, CellTerms())
            require_default_above_rules(
                setup, draw_cells(cells, 40, generator=generator), f"{users}, {stations}"
            )
    for spread in (0.0, 0.5):
        gain = 10 ** ((-80 + spread * torch.randn(20, 4, 4, generator=generator)) / 10)
        require_default_above_rules(setup, cell_instance(gain), f"alike {spread}")


def test_beams(generator: torch.Generator) -> None:
    for name, users in (("urllc", 2), ("urllc-wide", 2), ("urllc-edge", 2)):
        drawn = draw_beams(BeamSource(SCENARIOS[name](), users, 16), 60, generator=generator)
        require_default_above_rules(SETUPS["urllc"], drawn, name)
    drawn = draw_beams(BeamSource(bundled_snapshot("munich_miso64"), 6), 60, generator=generator)
    require_default_above_rules(SETUPS["urllc"], drawn, "Munich")


@pytest.mark.parametrize("kind", KINDS)
def test_slices(kind: str, generator: torch.Generator) -> None:
    require_default_above_rules(SliceSetup(KINDS[kind]), sample_slices(60, generator=generator), kind)


def test_commands_use_the_defaults() -> None:
    options = {
        "slicing": slice_options.SliceAllocation,
        "sum-rate": link_options.SumRateAllocation,
        "qos-sum-rate": link_options.QosAllocation,
        "ergodic-power": link_options.ErgodicAllocation,
        "urllc": beam_options.BeamAllocation,
        "association": cell_options.AssociationAllocation,
        "fair-association": cell_options.FairAllocation,
    }
    assert {name: option.allocator for name, option in options.items()} == {
        name: setup.default for name, setup in SETUPS.items()
    }


def test_a_better_rule_is_told() -> None:
    setup, given = SumRateSetup(), Given(symmetric(), "six")
    told = workbench.better_rule(setup, given, "itlinq", MaxPower()(given.instance))
    assert told == "one-winner reaches 11.30 bit/s/Hz, more than itlinq with 1.578; try --allocator wmmse"
    told = workbench.better_rule(setup, given, "wmmse", MaxPower()(given.instance))
    assert told == "one-winner reaches 11.30 bit/s/Hz, more than wmmse with 1.578"
    assert workbench.better_rule(setup, given, "x", StrongestLink()(given.instance)) is None
    loud = records.map_tensors(lambda power: 2 * power, StrongestLink()(given.instance))
    told = workbench.better_rule(setup, given, "x", loud)
    assert told == "one-winner reaches 11.30 bit/s/Hz, and x violates a constraint; try --allocator wmmse"


def test_rules_that_violate_a_constraint_are_not_told() -> None:
    given = Given(hall(), "hall")
    for least in (0.15, 5.0):  # kept by all at full power; by nobody
        setup = QosSetup(QosOfDraws(least))
        assert workbench.better_rule(setup, given, "x", MaxPower()(given.instance)) is None
